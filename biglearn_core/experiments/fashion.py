"""Fashion-MNIST: BigLearn-EM on 784 raw pixels, one Gaussian a cluster."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from biglearn_core.devices import device_name
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.fashion_mnist import load_fashion_mnist
from biglearn_core.fit import fit_biglearn_em
from biglearn_core.gmm import GMM
from biglearn_core.init import kmeans_start, paper_start
from biglearn_core.lowrank import floor_to_low_rank
from biglearn_core.matching import TASK_KINDS, Schedule
from biglearn_core.metrics import ClusteringScores, score_labels
from biglearn_core.persistence import load_arrays, save_arrays

__all__ = [
    "CLASS_NAMES",
    "Config",
    "Images",
    "SeedRun",
    "Trace",
    "load_images",
    "most_likely",
    "run",
    "run_seed",
    "state_files",
]

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

Report = Callable[["Trace"], None]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the Fashion-MNIST experiment; the defaults are the published ones.

    Parameters
    ----------
    seeds : tuple of int
        One start and schedule each.
    n_images : int
        Images taken from all 70000, at random where fewer, always the same.
    n_components : int
        K.
    n_iterations, n_local_steps : int
        Tasks, and EM steps in each.
    p_joint, p_marginal : float
        Probabilities of the tasks.
    beta : pair of float
        Law of the share of pixels in a marginal.
    transform : {"orthogonal", "rotation"}
    covariance_floor : float
        ε, for pixels in [0, 1].
    start : {"paper", "kmeans"}
        The paper's blind start, or one run of k-means.
    chunk_size : int, optional
        Images whose log-densities are held at once; picked from a memory bound when None.
    """

    seeds: tuple[int, ...] = (30,)
    n_images: int = 70000
    n_components: int = 10
    n_iterations: int = 70
    n_local_steps: int = 5
    p_joint: float = 0.4
    p_marginal: float = 0.1
    beta: tuple[float, float] = (5.0, 1.0)
    transform: str = "orthogonal"
    covariance_floor: float = 0.05
    start: str = "paper"
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        if self.start not in ("paper", "kmeans"):
            raise ValueError(f'start must be "paper" or "kmeans", got {self.start!r}')

    @property
    def weight_smoothing(self) -> float:
        """α = 1/K, as published."""
        return 1 / self.n_components


@dataclass(frozen=True, eq=False)
class Images:
    """Images to cluster.

    Parameters
    ----------
    X : float32 Tensor of shape (N, D)
        Pixels in [0, 1].
    classes : int64 ndarray of shape (N,)
        Used for scores alone.
    """

    X: Tensor
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Trace:
    """What a run looked like, one entry per iteration.

    Parameters
    ----------
    task : int8 ndarray
        Position in `matching.TASK_KINDS`.
    n_coordinates : int64 ndarray
        |T|.
    acc, nmi, ari : float64 ndarray
        Of all images, after the iteration; chosen by nothing.
    log_likelihood : float64 ndarray
        Mean of log p(x) over all images after the iteration, in nats.
    fit_seconds, score_seconds : float64 ndarray
        Wall clock of the iteration, and of the scores after it.
    """

    task: np.ndarray
    n_coordinates: np.ndarray
    acc: np.ndarray
    nmi: np.ndarray
    ari: np.ndarray
    log_likelihood: np.ndarray
    fit_seconds: np.ndarray
    score_seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.task)

    def line(self, i: int) -> str:
        """Format iteration `i`, under `Trace.header`."""
        return (
            f"{i + 1:9d}  {TASK_KINDS[self.task[i]]:<11}  {self.n_coordinates[i]:4d}  "
            f"{self.acc[i]:.4f}  {self.nmi[i]:.4f}  {self.ari[i]:.4f}  "
            f"{self.log_likelihood[i]:14.4f}  {self.fit_seconds[i] + self.score_seconds[i]:7.1f}"
        )

    @staticmethod
    def header() -> str:
        """Names of the columns of `line`."""
        return "iteration  task          |T|     ACC     NMI     ARI  log-likelihood  seconds"

    def arrays(self) -> dict[str, np.ndarray]:
        """All columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class SeedRun:
    """Outcome of one seed.

    Parameters
    ----------
    seed : int
    model : GMM
        After the last iteration.
    clusters : ndarray of shape (N,)
        Its most probable component of every image.
    classes : ndarray of shape (N,)
    trace : Trace
    peak_bytes : int
        Most memory the process held on the host, and on the device where that is a GPU.
    device : str
    """

    seed: int
    model: GMM
    clusters: np.ndarray
    classes: np.ndarray
    trace: Trace
    peak_bytes: int
    device: str

    @property
    def final(self) -> ClusteringScores:
        """Scores of the final model, the fair protocol: no label chose anything."""
        trace = self.trace
        return ClusteringScores(
            nmi=float(trace.nmi[-1]), ari=float(trace.ari[-1]), acc=float(trace.acc[-1])
        )

    @property
    def best(self) -> ClusteringScores:
        """Best of each score over the iterations, the paper's protocol: chosen with labels."""
        trace = self.trace
        return ClusteringScores(
            nmi=float(trace.nmi.max()), ari=float(trace.ari.max()), acc=float(trace.acc.max())
        )

    @property
    def log_likelihood(self) -> float:
        """Mean training log-likelihood of the final model, in nats."""
        return float(self.trace.log_likelihood[-1])


def load_images(n_images: int = 70000, *, device: torch.device | str = "cpu") -> Images:
    """Load Fashion-MNIST, training and test images together, as pixels in [0, 1].

    Parameters
    ----------
    n_images : int
        At most 70000; fewer are a fixed random subset.
    device : torch.device or str

    Returns
    -------
    images : Images

    Raises
    ------
    ValueError
        When `n_images` is out of range.
    """
    data = load_fashion_mnist()
    pixels, classes = data.images, data.labels
    if not 1 <= n_images <= len(pixels):
        raise ValueError(f"n_images must be 1 to {len(pixels)}, got {n_images}")
    if n_images < len(pixels):
        rows = np.sort(np.random.default_rng(0).choice(len(pixels), n_images, replace=False))
        pixels, classes = pixels[rows], classes[rows]
    X = torch.as_tensor(np.array(pixels), device=device).to(torch.float32).div_(255)
    return Images(X, np.asarray(classes, dtype=np.int64))


def run(
    config: Config,
    *,
    root: str | os.PathLike | None = None,
    device: torch.device | str = "cpu",
    report: Report | None = None,
) -> list[SeedRun]:
    """Run every seed, go on with what was begun, or load what is finished.

    Parameters
    ----------
    config : Config
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    device : torch.device or str
    report : callable, optional
        Called with the trace after every iteration.

    Returns
    -------
    runs : list of SeedRun
        In the order of the seeds.
    """
    store = ResultStore("fashion", config, module=__name__, root=root)
    images = load_images(config.n_images, device=device)
    return [run_seed(config, seed, images, store=store, report=report) for seed in config.seeds]


def run_seed(
    config: Config,
    seed: int,
    images: Images,
    *,
    store: ResultStore,
    report: Report | None = None,
) -> SeedRun:
    """Run one seed, go on with it, or load it.

    The state is on disk after every iteration. A run that was killed, at any moment, goes on from
    there and ends with the model of an unbroken run.

    Parameters
    ----------
    config : Config
    seed : int
    images : Images
    store : ResultStore
        Where the state and the result lie.
    report : callable, optional
        Called with the trace after every iteration.

    Returns
    -------
    run : SeedRun

    Raises
    ------
    ValueError
        When the state there is of other settings or data, or damaged.
    OSError
        When the folder cannot be written.
    """
    name = _name(seed)
    result = store.load(name)
    saved_model = store.folder / f"{name}.model.npz"
    if result is None or not saved_model.exists():
        checkpoint = store.folder / f"{name}.checkpoint.npz"
        recorder = _Recorder(config, seed, images, checkpoint, report)
        fitted = fit_biglearn_em(
            images.X,
            _start(config, seed, images.X),
            n_iter=config.n_iterations,
            n_local_steps=config.n_local_steps,
            p_joint=config.p_joint,
            p_marginal=config.p_marginal,
            beta=config.beta,
            transform=config.transform,
            covariance_floor=config.covariance_floor,
            weight_smoothing=config.weight_smoothing,
            seed=seed,
            callback=recorder,
            chunk_size=config.chunk_size,
            checkpoint=checkpoint,
        )
        fitted.model.save(saved_model)
        result = _save(store, seed, fitted.model, images, recorder.trace())
    _require_same(config, result)
    return SeedRun(
        seed=seed,
        model=GMM.load(saved_model),
        clusters=result.arrays["clusters"],
        classes=images.classes,
        trace=Trace(**{field.name: result.arrays[field.name] for field in fields(Trace)}),
        peak_bytes=result.summary["peak_bytes"],
        device=result.summary["device"],
    )


def state_files(store: ResultStore, seed: int) -> list[Path]:
    """Files that a run of this seed has left, finished or not.

    Parameters
    ----------
    store : ResultStore
    seed : int

    Returns
    -------
    files : list of Path
    """
    return sorted(store.folder.glob(f"{_name(seed)}.*"))


def most_likely(runs: Sequence[SeedRun]) -> SeedRun:
    """Choose between runs by training log-likelihood, as the fair protocol does.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    run : SeedRun
    """
    return max(runs, key=lambda run: run.log_likelihood)


class _Recorder:
    """Callback that scores every iteration and keeps the scores on disk.

    They are written before the fit's own checkpoint, so they are never behind it; what a killed
    run wrote beyond the checkpoint is dropped.
    """

    def __init__(
        self, config: Config, seed: int, images: Images, checkpoint: Path, report: Report | None
    ) -> None:
        self._config = config
        self._images = images
        self._report = report
        self._schedule = Schedule(
            n_features=images.X.shape[1],
            seed=seed,
            p_joint=config.p_joint,
            p_marginal=config.p_marginal,
            beta=config.beta,
            transform=config.transform,
        )
        self._path = checkpoint.with_name(checkpoint.name.replace(".checkpoint.", ".scores."))
        self._rows: list[tuple] = []
        if checkpoint.exists() and not self._path.exists():
            warnings.warn(f"{self._path} is gone: seed {seed} starts anew", stacklevel=3)
            checkpoint.unlink()
        if checkpoint.exists():
            done = len(load_arrays(checkpoint)["task"])
            columns = load_arrays(self._path)
            self._rows = list(zip(*(columns[f.name] for f in fields(Trace)), strict=True))[:done]
        self._started = time.perf_counter()

    def __call__(self, iteration: int, model: GMM) -> None:
        fitted = time.perf_counter()
        log_prob = model.component_log_prob(self._images.X)
        log_likelihood = log_prob.logsumexp(dim=1).double().mean().item()
        scores = score_labels(self._images.classes, log_prob.argmax(dim=1).cpu().numpy())
        kind, size = self._schedule.outline(iteration, iteration / self._config.n_iterations)
        scored = time.perf_counter()
        self._rows.append(
            (TASK_KINDS.index(kind), size, scores.acc, scores.nmi, scores.ari, log_likelihood,
             fitted - self._started, scored - fitted)
        )  # fmt: skip
        self._started = scored
        trace = self.trace()
        save_arrays(self._path, trace.arrays())
        if self._report is not None:
            self._report(trace)

    def trace(self) -> Trace:
        columns = list(zip(*self._rows, strict=True)) or [[]] * len(fields(Trace))
        types = [np.int8, np.int64] + [np.float64] * (len(columns) - 2)
        return Trace(*(np.array(c, dtype=t) for c, t in zip(columns, types, strict=True)))


def _start(config: Config, seed: int, X: Tensor) -> GMM:
    """Draw the start, on the floor."""
    K, D = config.n_components, X.shape[1]
    if config.start == "paper":
        generator = torch.Generator().manual_seed(seed)
        return paper_start(K, D, generator=generator, dtype=X.dtype, device=X.device)
    rough = kmeans_start(X, K, seed=seed)
    covariances, low_rank = floor_to_low_rank(rough.covariances, config.covariance_floor)
    return GMM.unchecked(rough.weights, rough.means, covariances, low_rank)


def _name(seed: int) -> str:
    return f"seed_{seed}"


def _save(store: ResultStore, seed: int, model: GMM, images: Images, trace: Trace) -> Result:
    clusters = model.predict(images.X).cpu().numpy().astype(np.int16)
    scores = ("acc", "nmi", "ari")
    summary = {
        "seed": seed,
        "device": device_name(images.X.device),
        "n_threads": torch.get_num_threads(),
        "final": {name: float(getattr(trace, name)[-1]) for name in scores},
        "best_chosen_with_labels": {name: float(getattr(trace, name).max()) for name in scores},
        "log_likelihood": float(trace.log_likelihood[-1]),
        "fit_seconds": float(trace.fit_seconds.sum()),
        "score_seconds": float(trace.score_seconds.sum()),
        "peak_bytes": _peak_bytes(images.X.device),
    }
    return store.save(_name(seed), summary, trace.arrays() | {"clusters": clusters})


def _require_same(config: Config, result: Result) -> None:
    """Refuse a result of other settings; the seeds may be other ones."""
    own = json.loads(json.dumps(asdict(config)))
    saved = result.summary["config"]
    other = {name for name in own if name != "seeds" and own[name] != saved.get(name)}
    if other:
        differences = ", ".join(f"{n}: {saved.get(n)} there, {own[n]} now" for n in sorted(other))
        raise ValueError(
            f"seed {result.summary['seed']} is finished there under other settings "
            f"({differences}); name another folder"
        )


def _peak_bytes(device: torch.device) -> int:
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    host *= 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return host + (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)
