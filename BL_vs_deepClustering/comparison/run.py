"""Deep clustering peers on Fashion-MNIST, and BigLearn-EM on the features that they use.

Every outcome is kept under a key made of its settings and of the code that computes it: the peer's
own module and what that imports of its package, and those of its features. An autoencoder is
pretrained once per seed, by the first method that needs it, and shared by all of its widths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from biglearn_core.experiments.code_digest import code_digest
from biglearn_core.experiments.parallel import run_jobs, single_thread
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.metrics import ClusteringScores, score_labels
from biglearn_core.system.devices import device_name
from biglearn_core.system.paths import RESULTS
from biglearn_core.system.run_lock import run_lock
from BL_vs_deepClustering.peers.autoencoder import (
    Autoencoder,
    CodeKMeansConfig,
    PretrainConfig,
    Pretrained,
    cluster_code,
    pretrain,
)
from BL_vs_deepClustering.peers.dec import dec_config, fit_dec, idec_config
from BL_vs_deepClustering.peers.edesc import EDESCConfig, fit_edesc
from BL_vs_deepClustering.peers.features import FeatureMixtureConfig, cluster_features
from BL_vs_deepClustering.peers.shallow import (
    KMeansConfig,
    PCAConfig,
    PCAMixtureConfig,
    cluster_kmeans,
    cluster_pca_mixture,
    principal_components,
)
from BL_vs_deepClustering.peers.training import (
    Clustering,
    MatmulPrecision,
    Stopwatch,
    check_precision,
    count_parameters,
    matmul_precision,
)
from BL_vs_deepClustering.pixels.run import Images, load_images

__all__ = ["METHODS", "Config", "PeerRun", "default_root", "run"]

METHODS = (
    "kmeans",
    "pca-gmm",
    "ae-kmeans",
    "dec",
    "idec",
    "edesc",
    "biglearn-pca",
    "biglearn-ae",
)

# The module whose code, with what it imports of its package, decides a method's outcome.
_MODULES = {
    "kmeans": "BL_vs_deepClustering.peers.shallow",
    "pca-gmm": "BL_vs_deepClustering.peers.shallow",
    "ae-kmeans": "BL_vs_deepClustering.peers.autoencoder",
    "dec": "BL_vs_deepClustering.peers.dec",
    "idec": "BL_vs_deepClustering.peers.dec",
    "edesc": "BL_vs_deepClustering.peers.edesc",
    "biglearn-pca": "BL_vs_deepClustering.peers.features",
    "biglearn-ae": "BL_vs_deepClustering.peers.features",
    "autoencoder": "BL_vs_deepClustering.peers.autoencoder",
}
_TRAINED = ("dec", "idec", "edesc")
_ON_SHARED_CODE = ("ae-kmeans", "dec", "idec", "biglearn-ae")

# The longest first, so that no process is left alone with one.
_BY_LENGTH = (
    *("edesc", "dec", "idec", "biglearn-pca", "pca-gmm", "kmeans"),
    *("biglearn-ae", "ae-kmeans"),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the comparison; what is not here is as each peer's module states it.

    Parameters
    ----------
    methods : tuple of str
        Of `METHODS`; "all" among them stands for all.
    seeds : tuple of int
    n_images : int
        Images taken from all 70000, at random where fewer, always the same.
    n_clusters : int
        K.
    n_epochs : int
        Of the pretraining of an autoencoder; EDESC's own takes at most its published 50.
    n_updates : int
        Mini-batches of DEC and IDEC, at most.
    n_steps : int
        Full-batch steps of EDESC.
    precision : {"highest", "high", "medium"}
        Of the matrix products that train the networks, as `matmul_precision` has it. All mixtures
        are fitted in full float32.
    """

    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    n_images: int = 70000
    n_clusters: int = 10
    n_epochs: int = 150
    n_updates: int = 20000
    n_steps: int = 200
    precision: MatmulPrecision = "highest"

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if "all" in self.methods:
            object.__setattr__(self, "methods", METHODS)
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"there is no method {method!r}; there are: {', '.join(METHODS)}")
        for name in ("methods", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from one another, got {values}")
        if min(self.seeds, default=0) < 0:
            raise ValueError(f"seeds must not be negative, got {self.seeds}")
        for name in ("n_images", "n_clusters", "n_epochs", "n_updates", "n_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def options(self, method: str) -> Any:
        """Give the settings of a method alone.

        Parameters
        ----------
        method : str

        Returns
        -------
        options : dataclass instance
        """
        return {
            "kmeans": KMeansConfig,
            "pca-gmm": PCAMixtureConfig,
            "ae-kmeans": CodeKMeansConfig,
            "dec": lambda: dec_config(max_updates=self.n_updates),
            "idec": lambda: idec_config(max_updates=self.n_updates),
            "edesc": lambda: EDESCConfig(n_steps=self.n_steps),
            "biglearn-pca": FeatureMixtureConfig,
            "biglearn-ae": FeatureMixtureConfig,
        }[method]()

    def pretraining(self, method: str) -> PretrainConfig | None:
        """Give the pretraining of the autoencoder of a method, None where it has none.

        Parameters
        ----------
        method : str

        Returns
        -------
        pretraining : PretrainConfig or None
        """
        if method == "edesc":
            return EDESCConfig().pretraining(self.n_clusters, n_epochs=min(50, self.n_epochs))
        return PretrainConfig(n_epochs=self.n_epochs) if method in _ON_SHARED_CODE else None


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
    plan = _Plan.of(config, Path(root or default_root()), device)
    unfinished = [
        (plan, method, seed)
        for method in sorted(config.methods, key=_BY_LENGTH.index)
        for seed in config.seeds
        if plan.peers[method].load(_name(seed)) is None
    ]
    run_jobs(_fit, unfinished, n_jobs=n_jobs, description="peers")
    return [_read(plan, method, seed) for method in config.methods for seed in config.seeds]


@dataclass(frozen=True)
class _AutoencoderSettings:
    """What a pretrained autoencoder depends on beside its seed."""

    n_images: int
    pretraining: dict[str, Any]
    precision: str


@dataclass(frozen=True)
class _PeerSettings:
    """What a method's outcome depends on beside its seed."""

    method: str
    n_images: int
    n_clusters: int
    options: dict[str, Any]
    precision: str | None
    # Its key; for principal components, which take its place, their settings and code.
    autoencoder: str | list | None
    # Of what `_fit` scores and saves; raised when that changes, as its code is not in the key.
    layout: int = 1


def _name(seed: int) -> str:
    return f"seed_{seed}"


@dataclass(frozen=True, eq=False)
class _Plan:
    """A config, where to compute it, and where its outcomes lie."""

    config: Config
    device: torch.device
    autoencoders: dict[PretrainConfig, ResultStore]
    peers: dict[str, ResultStore]

    @classmethod
    def of(cls, config: Config, root: Path, device: torch.device) -> _Plan:
        autoencoders, peers = {}, {}
        for method in config.methods:
            pretraining, key = config.pretraining(method), None
            if pretraining is not None:
                if pretraining not in autoencoders:
                    autoencoders[pretraining] = ResultStore(
                        "autoencoder",
                        _AutoencoderSettings(
                            config.n_images, asdict(pretraining), config.precision
                        ),
                        module=_MODULES["autoencoder"],
                        root=root,
                    )
                key = autoencoders[pretraining].folder.name
            elif method == "biglearn-pca":
                key = [asdict(PCAConfig()), code_digest(_MODULES["pca-gmm"])]
            settings = _PeerSettings(
                method,
                config.n_images,
                config.n_clusters,
                asdict(config.options(method)),
                config.precision if method in _TRAINED else None,
                key,
            )
            peers[method] = ResultStore(method, settings, module=_MODULES[method], root=root)
        return cls(config, device, autoencoders, peers)

    def pretrained(self, method: str, seed: int) -> Pretrained | None:
        """Give the autoencoder of a method, None where it has none."""
        result = self.pretraining(method, seed)
        if result is None:
            return None
        pretraining, seconds = self.config.pretraining(method), result.summary["seconds"]
        return Pretrained.from_arrays(
            result.arrays, pretraining, seconds=seconds, device=self.device
        )

    def pretraining(self, method: str, seed: int) -> Result | None:
        """Load the pretraining of a method, or do it where it is missing; None if none needed.

        Processes that need the same one wait for the first of them.
        """
        pretraining = self.config.pretraining(method)
        if pretraining is None:
            return None
        store, name = self.autoencoders[pretraining], _name(seed)
        if (result := store.load(name)) is not None:
            return result
        with run_lock(store.folder / f".{name}.lock", wait=True), single_thread():
            return store.load(name) or self._pretrain(pretraining, seed)

    def _pretrain(self, pretraining: PretrainConfig, seed: int) -> Result:
        store, name = self.autoencoders[pretraining], _name(seed)
        checkpoint = store.folder / f"{name}.checkpoint.npz"
        with _training(self.config.precision):
            trained = pretrain(self.images().X, pretraining, seed=seed, checkpoint=checkpoint)
        summary = {"seed": seed, "seconds": trained.seconds, "restarts": trained.restarts}
        summary |= self.machine()
        result = store.save(name, summary, trained.arrays())
        checkpoint.unlink(missing_ok=True)
        return result

    def images(self) -> Images:
        return _images(self.config.n_images, self.device)

    def machine(self) -> dict[str, Any]:
        return {"device": device_name(self.device), "n_threads": torch.get_num_threads()}


@contextmanager
def _training(precision: MatmulPrecision) -> Iterator[None]:
    """Set how numbers are treated while a network is trained.

    Denormal numbers count as zero: the momentum of a unit that no point excites decays into them
    and stays there, where it changes no weight but makes every update several times as long.
    """
    flushed = bool(torch.tensor(1e-39) * 1 == 0)  # torch tells the setting in no other way
    torch.set_flush_denormal(True)
    try:
        with matmul_precision(precision):
            yield
    finally:
        torch.set_flush_denormal(flushed)


@threadpool_limits.wrap(limits=1)
def _fit(plan: _Plan, method: str, seed: int) -> None:
    """Fit one method from one seed, score it and save it; another run may be at it already."""
    store, name = plan.peers[method], _name(seed)
    with run_lock(store.folder / f".{name}.lock", wait=True):
        if store.load(name) is None:
            _fit_and_save(plan, method, seed)


def _fit_and_save(plan: _Plan, method: str, seed: int) -> None:
    config, store, name = plan.config, plan.peers[method], _name(seed)
    images, pretrained = plan.images(), plan.pretrained(method, seed)
    checkpoint = store.folder / f"{name}.checkpoint.npz"
    model = None if pretrained is None else pretrained.model
    outcome = _cluster(config, method, seed, images.X, model, checkpoint)
    final = score_labels(images.classes, outcome.clusters)
    scores = [score_labels(images.classes, clusters) for clusters in outcome.history]
    summary = {
        "method": method,
        "seed": seed,
        "final": asdict(final),
        "seconds": outcome.seconds,
        "n_parameters": outcome.n_parameters,
        "n_steps": outcome.n_steps,
        "converged": outcome.converged,
    } | plan.machine()
    arrays = {f"score/{n}": np.array([getattr(s, n) for s in scores]) for n in asdict(final)}
    arrays |= {f"curve/{n}": np.asarray(curve) for n, curve in outcome.curves.items()}
    store.save(name, summary, arrays | {"clusters": outcome.clusters})
    checkpoint.unlink(missing_ok=True)


def _cluster(
    config: Config,
    method: str,
    seed: int,
    X: Tensor,
    model: Autoencoder | None,
    checkpoint: Path,
) -> Clustering:
    """Fit one method; no label comes here."""
    K, options = config.n_clusters, config.options(method)
    if method == "kmeans":
        return cluster_kmeans(X, K, options, seed=seed)
    if method == "pca-gmm":
        return cluster_pca_mixture(X, K, options, seed=seed)
    if method == "ae-kmeans":
        return cluster_code(X, model, K, options, seed=seed)
    if method in _TRAINED:
        fit = fit_edesc if method == "edesc" else fit_dec
        with _training(config.precision):
            return fit(X, model, K, options, seed=seed, checkpoint=checkpoint)
    clock = Stopwatch()  # the features are a part of the method
    if method == "biglearn-ae":
        Z, n_projection = model.encode(X), count_parameters(model.encoder)
    else:
        d = PCAConfig().n_directions
        Z = torch.as_tensor(principal_components(X, d), device=X.device)
        n_projection = X.shape[1] * (d + 1)
    outcome = cluster_features(Z, K, options, seed=seed, n_projection=n_projection)
    return replace(outcome, seconds=clock.read())


def _read(plan: _Plan, method: str, seed: int) -> PeerRun:
    result, pretraining = plan.peers[method].load(_name(seed)), plan.pretraining(method, seed)
    pretrain_seconds, curves = 0.0, _named(result, "curve")
    if pretraining is not None:
        pretrain_seconds = pretraining.summary["seconds"]
        curves["reconstruction"] = pretraining.arrays["losses"]
    own = ("seconds", "n_parameters", "n_steps", "converged", "device", "n_threads")
    return PeerRun(
        method=method,
        seed=seed,
        final=ClusteringScores(**result.summary["final"]),
        clusters=result.arrays["clusters"],
        curves=curves,
        pretrain_seconds=pretrain_seconds,
        **_named(result, "score"),
        **{name: result.summary[name] for name in own},
    )


def _named(result: Result, kind: str) -> dict[str, np.ndarray]:
    prefix = f"{kind}/"
    return {
        name.removeprefix(prefix): array
        for name, array in result.arrays.items()
        if name.startswith(prefix)
    }


@lru_cache(maxsize=1)
def _images(n_images: int, device: torch.device) -> Images:
    """Images of this process, read once."""
    return load_images(n_images, device=device)
