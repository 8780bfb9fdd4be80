"""Deep clustering peers on Fashion-MNIST, and BigLearn-EM on the features that they use.

Every outcome is kept under a key made of its settings and of the code that computes it: the peer's
own module, the scores, and what these import. An autoencoder is pretrained once per seed, by the
first method that needs it, and shared by all of its widths.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from biglearn_core.experiments.code_digest import code_digest
from biglearn_core.experiments.jobs import Job, load_or_run, run_missing, seed_name
from biglearn_core.experiments.network_training import training_arithmetic
from biglearn_core.experiments.parallel import single_thread
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.metrics import ClusteringScores
from biglearn_core.system.devices import device_name
from biglearn_core.system.paths import RESULTS
from BL_vs_deepClustering.comparison.methods import METHODS, Config
from BL_vs_deepClustering.comparison.scoring import scored
from BL_vs_deepClustering.peers.autoencoder import Autoencoder, pretrain
from BL_vs_deepClustering.pixels.run import Images, load_images

__all__ = ["METHODS", "Config", "PeerRun", "default_root", "run"]

# What metrics needs for divergences of mixtures; no network is trained anew for a change in these.
_NOT_OF_SCORES = ("biglearn_core.gmm", "biglearn_core.numerics.points")


@dataclass(frozen=True, eq=False)
class PeerRun:
    """Outcome of one method and seed, scored.

    Parameters
    ----------
    method : str
    seed : int
    acc, nmi, ari : float64 ndarray of shape (T,)
        Scores on the way, as `Clustering.history` has it; chosen by nothing.
    final : ClusteringScores
        Of the final model, the fair protocol: no label chose anything.
    clusters : int16 ndarray of shape (N,)
        Of the final model.
    curves : dict of str to ndarray
        What the method saw of itself; "reconstruction" is the pretraining's error by epoch.
    seconds, pretrain_seconds : float
        Wall clock of the fit, and of the pretraining of its autoencoder before it.
    n_parameters, n_steps : int
    converged : bool
    device : str
    n_threads : int
        Of torch.
    """

    method: str
    seed: int
    acc: np.ndarray
    nmi: np.ndarray
    ari: np.ndarray
    final: ClusteringScores
    clusters: np.ndarray
    curves: dict[str, np.ndarray]
    seconds: float
    pretrain_seconds: float
    n_parameters: int
    n_steps: int
    converged: bool
    device: str
    n_threads: int

    @property
    def best(self) -> ClusteringScores:
        """Best of each score on the way or at the end: chosen with labels."""
        return ClusteringScores(
            **{
                name: max(float(getattr(self, name).max()), getattr(self.final, name))
                for name in ("nmi", "ari", "acc")
            }
        )

    @property
    def total_seconds(self) -> float:
        """Seconds that the method needs by itself, pretraining included."""
        return self.seconds + self.pretrain_seconds


def default_root() -> Path:
    """Folder of the results that the notebook reads.

    Returns
    -------
    root : Path
    """
    return RESULTS / "deep_clustering"


def run(
    config: Config,
    *,
    root: str | os.PathLike | None = None,
    device: torch.device | str = "cpu",
    n_jobs: int | None = None,
) -> list[PeerRun]:
    """Run every method and seed, go on with what was begun, or load what is finished.

    Parameters
    ----------
    config : Config
    root : path-like, optional
        Folder of results; results/deep_clustering of the repository when not given.
    device : torch.device or str
    n_jobs : int, optional
        Processes of one thread each; when not given one per core, on a GPU one.

    Returns
    -------
    runs : list of PeerRun
        Method by method, and seed by seed in each.

    Raises
    ------
    ValueError
        When a state on disk is damaged or of other settings.
    OSError
        When the folder cannot be written.
    """
    device = torch.device(device)
    n_jobs = 1 if n_jobs is None and device.type != "cpu" else n_jobs
    peers = [_peer(method, config, root or default_root(), device) for method in config.methods]
    wanted = [(peer, seed) for peer in peers for seed in config.seeds]
    jobs = [Job(peer.store, seed_name(seed), (peer, seed)) for peer, seed in reversed(wanted)]
    results = run_missing(_fit, jobs, n_jobs=n_jobs, description="peers")[::-1]
    return [_read(*job, result) for job, result in zip(wanted, results, strict=True)]


@dataclass(frozen=True)
class _Settings:
    """What an outcome depends on beside its seed and its own code."""

    n_images: int
    options: dict[str, Any]
    precision: str | None
    # Of a method alone: its K, the key of its autoencoders, and the code of its scores.
    n_clusters: int | None = None
    autoencoder: str | None = None
    scores: str | None = None


@dataclass(frozen=True, eq=False)
class _Peer:
    """A method under a config, and where its outcomes and its autoencoders lie."""

    method: str
    config: Config
    device: torch.device
    store: ResultStore
    autoencoders: ResultStore | None

    def images(self) -> Images:
        return _images(self.config.n_images, self.device)

    def machine(self) -> dict[str, Any]:
        return {"device": device_name(self.device), "n_threads": torch.get_num_threads()}


def _peer(name: str, config: Config, root: str | os.PathLike, device: torch.device) -> _Peer:
    method, autoencoders = METHODS[name], None
    if method.pretraining is not None:
        options = asdict(method.pretraining(config))
        settings = _Settings(config.n_images, options, config.precision)
        autoencoders = ResultStore("autoencoder", settings, module=pretrain.__module__, root=root)
    settings = _Settings(
        config.n_images,
        asdict(method.settings(config)),
        config.precision if method.trains_network else None,
        n_clusters=config.n_clusters,
        autoencoder=autoencoders and autoencoders.key,
        scores=code_digest(scored.__module__, without=_NOT_OF_SCORES),
    )
    store = ResultStore(name, settings, module=method.fit.__module__, root=root)
    return _Peer(name, config, device, store, autoencoders)


@threadpool_limits.wrap(limits=1)
def _fit(peer: _Peer, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fit one method from one seed, and score it."""
    method, config, images = METHODS[peer.method], peer.config, peer.images()
    inputs = [images.X]
    if peer.autoencoders is not None:
        arrays, pretraining = _pretrained(peer, seed).arrays, method.pretraining(config)
        inputs.append(Autoencoder.from_arrays(arrays, pretraining, device=peer.device))
    fit = partial(method.fit, *inputs, config.n_clusters, method.settings(config), seed=seed)
    if method.trains_network:
        with training_arithmetic(config.precision):
            clustering = fit(checkpoint=peer.store.checkpoint(seed_name(seed)))
    else:
        clustering = fit()
    summary, arrays = scored(clustering, images.classes)
    return summary | {"method": peer.method, "seed": seed} | peer.machine(), arrays


def _pretrained(peer: _Peer, seed: int) -> Result:
    """Load the autoencoder of a method, or pretrain it."""
    return load_or_run(peer.autoencoders, seed_name(seed), _pretrain, peer, seed)


@single_thread()
def _pretrain(peer: _Peer, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    pretraining = METHODS[peer.method].pretraining(peer.config)
    checkpoint = peer.autoencoders.checkpoint(seed_name(seed))
    with training_arithmetic(peer.config.precision):
        trained = pretrain(peer.images().X, pretraining, seed=seed, checkpoint=checkpoint)
    summary = {"seed": seed, "seconds": trained.seconds, "restarts": trained.restarts}
    return summary | peer.machine(), trained.arrays()


def _read(peer: _Peer, seed: int, result: Result) -> PeerRun:
    pretrain_seconds, curves = 0.0, result.part("curve")
    if peer.autoencoders is not None:
        pretraining = _pretrained(peer, seed)
        pretrain_seconds = pretraining.summary["seconds"]
        curves["reconstruction"] = pretraining.arrays["losses"]
    own = ("seconds", "n_parameters", "n_steps", "converged", "device", "n_threads")
    return PeerRun(
        method=peer.method,
        seed=seed,
        final=ClusteringScores(**result.summary["final"]),
        clusters=result.arrays["clusters"],
        curves=curves,
        pretrain_seconds=pretrain_seconds,
        **result.part("score"),
        **{name: result.summary[name] for name in own},
    )


@lru_cache(maxsize=1)
def _images(n_images: int, device: torch.device) -> Images:
    """Images of this process, read once."""
    return load_images(n_images, device=device)
