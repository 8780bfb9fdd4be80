"""Fashion-MNIST: BigLearn-EM on 784 raw pixels, one Gaussian a cluster."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from biglearn_core.datasets.fashion_mnist import load_fashion_mnist
from biglearn_core.experiments.config import ScheduleConfig
from biglearn_core.experiments.jobs import seed_name
from biglearn_core.experiments.parallel import run_jobs
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.gmm import GMM
from biglearn_core.init import kmeans_start, paper_start
from biglearn_core.matching import TASK_KINDS
from biglearn_core.metrics import ClusteringScores, score_labels
from biglearn_core.numerics.lowrank import floor_to_low_rank
from biglearn_core.system.devices import check_memory, device_name
from biglearn_core.system.digest import digest
from biglearn_core.system.numbers import LARGEST_SEED, check_integer, check_real
from biglearn_core.system.persistence import load_arrays, save_arrays, take_columns
from biglearn_core.validation import Facts, check_covariance_floor

__all__ = [
    "CLASS_NAMES",
    "Config",
    "Images",
    "SeedRun",
    "Trace",
    "load_images",
    "most_likely",
    "open_store",
    "require_own",
    "run_configs",
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

# What k-means takes as its random state.
_LARGEST_KMEANS_SEED = 2**32 - 1

Report = Callable[["Trace"], None]


@dataclass(frozen=True, kw_only=True)
class Config(ScheduleConfig):
    """Settings of the Fashion-MNIST experiment; the defaults are the published ones.

    Parameters
    ----------
    seeds, n_local_steps, p_joint, p_marginal, beta, transform, covariance_floor
        As in `ScheduleConfig`; ε is for pixels in [0, 1].
    n_images : int
        Images taken from all 70000, at random where fewer, always the same.
    n_components : int
        K.
    n_iterations : int
        Tasks.
    start : {"paper", "kmeans"}
        The paper's blind start, or one run of k-means.
    chunk_size : int, optional
        Images whose log-densities are held at once; picked from a memory bound when None.
    """

    seeds: tuple[int, ...] = (30,)
    n_images: int = 70000
    n_components: int = 10
    n_iterations: int = 70
    covariance_floor: float = 0.05
    start: str = "paper"
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start not in ("paper", "kmeans"):
            raise ValueError(f'start must be "paper" or "kmeans", got {self.start!r}')
        most = LARGEST_SEED if self.start == "paper" else _LARGEST_KMEANS_SEED
        for seed in self.seeds:
            check_integer("seeds", seed, least=0, most=most)
        for name in ("n_images", "n_components", "n_iterations", "n_local_steps"):
            check_integer(name, getattr(self, name), least=1)
        if self.chunk_size is not None:
            check_integer("chunk_size", self.chunk_size, least=1)
        check_real("covariance_floor", self.covariance_floor, least=0)

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

    @property
    def fingerprint(self) -> str:
        """Digest of all pixels and classes."""
        return digest(self.X, self.classes)


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
    # Divided on the CPU: a GPU's quotients may round otherwise, and are other data.
    X = torch.as_tensor(np.array(pixels)).to(torch.float32).div_(255).to(device)
    return Images(X, np.asarray(classes, dtype=np.int64))


def open_store(
    config: Config,
    images: Images,
    *,
    root: str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
) -> ResultStore:
    """Open the results of a config on some images.

    Parameters
    ----------
    config : Config
    images : Images
        What they are counts, not how they were read.
    root, folder
        As in `ResultStore`.

    Returns
    -------
    store : ResultStore
    """
    read = {"biglearn_core.datasets.fashion_mnist": images.fingerprint}
    return ResultStore("fashion", config, module=__name__, root=root, folder=folder, read=read)


def run_configs(
    configs: Sequence[Config],
    *,
    root: str | os.PathLike | None = None,
    device: torch.device | str = "cpu",
    n_jobs: int | None = None,
) -> list[list[SeedRun]]:
    """Run every seed, go on with what was begun, or load what is finished.

    Parameters
    ----------
    configs : sequence of Config
        Of the same number of images; their seeds share the processes.
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    device : torch.device or str
    n_jobs : int, optional
        Seeds that run at once, each in a process of one thread; when not given one per core, on a
        GPU one. A single seed takes all threads. Models do not depend on it, but for the rounding
        of a start by k-means.

    Returns
    -------
    runs : list of list of SeedRun
        In the order of the configs and of their seeds.

    Raises
    ------
    ValueError
        When the numbers of images differ.
    """
    device = torch.device(device)
    sizes = {config.n_images for config in configs}
    if len(sizes) != 1:
        raise ValueError(f"configs must be of one number of images, got {sorted(sizes)}")
    images = load_images(sizes.pop(), device=device)
    stores = [open_store(config, images, root=root) for config in configs]
    wanted = [
        (config, seed, store)
        for config, store in zip(configs, stores, strict=True)
        for seed in config.seeds
    ]
    missing = [(config, seed, store) for config, seed, store in wanted if not _is_done(store, seed)]
    if device.type == "cpu" and n_jobs != 1 and len(missing) > 1:
        run_jobs(_run_alone, missing, n_jobs=n_jobs, description="Fashion-MNIST, raw pixels")
    runs = iter([run_seed(config, seed, images, store=store) for config, seed, store in wanted])
    return [[next(runs) for _ in config.seeds] for config in configs]


@threadpool_limits.wrap(limits=1)
def _run_alone(config: Config, seed: int, store: ResultStore) -> None:
    """Run a seed in a process of its own, which reads the images itself."""
    run_seed(config, seed, load_images(config.n_images), store=store)


def run_seed(
    config: Config,
    seed: int,
    images: Images,
    *,
    store: ResultStore,
    report: Report | None = None,
) -> SeedRun:
    """Run one seed, go on with it, or load it.

    The start is on disk before the first iteration, with the settings and the code that drew it,
    and the state after every iteration. A run that was killed, at any moment, goes on from there
    and ends with the model of an unbroken run.

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
        When the state or result there is of other settings, data or code, or damaged; when memory
        lacks.
    OSError
        When the folder cannot be written.
    """
    name = seed_name(seed)
    result, saved_model = store.load(name), _model_file(store, seed)
    if result is None or not saved_model.exists():
        start = _begin(config, seed, images.X, store)
        scores = _Scores(config, seed, images, store, report)
        fitted = config.fit(
            images.X,
            start,
            n_iter=config.n_iterations,
            weight_smoothing=config.weight_smoothing,
            seed=seed,
            callback=scores,
            chunk_size=config.chunk_size,
            checkpoint=store.checkpoint(name),
        )
        fitted.model.save(saved_model)
        result = _save(store, seed, fitted.model, images, scores.trace())
    return SeedRun(
        seed=seed,
        model=GMM.load(saved_model),
        clusters=result.arrays["clusters"],
        classes=images.classes,
        trace=Trace(**{field.name: result.arrays[field.name] for field in fields(Trace)}),
        peak_bytes=result.summary["peak_bytes"],
        device=result.summary["device"],
    )


def _model_file(store: ResultStore, seed: int) -> Path:
    return store.folder / f"{seed_name(seed)}.model.npz"


def _is_done(store: ResultStore, seed: int) -> bool:
    return store.load(seed_name(seed)) is not None and _model_file(store, seed).exists()


def require_own(store: ResultStore, seed: int) -> None:
    """Refuse to touch what a run of this seed under other settings, or by other code, has left.

    Parameters
    ----------
    store : ResultStore
    seed : int

    Raises
    ------
    ValueError
        Names the file and the settings that differ.
    """
    if store.load(seed_name(seed)) is None:
        _saved_start(store, seed)


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
    return sorted(store.folder.glob(f"{seed_name(seed)}.*"))


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


class _Scores:
    """Callback that scores every iteration and keeps the scores on disk.

    They are written before the fit's own checkpoint, so they are never behind it; what a killed
    run wrote beyond the checkpoint is dropped.
    """

    def __init__(
        self, config: Config, seed: int, images: Images, store: ResultStore, report: Report | None
    ) -> None:
        self._config = config
        self._images = images
        self._report = report
        self._schedule = config.schedule(images.X.shape[1], seed=seed)
        self._path = store.folder / f"{seed_name(seed)}.scores.npz"
        self._rows: list[tuple] = []
        checkpoint = store.checkpoint(seed_name(seed))
        if checkpoint.exists() and not self._path.exists():
            warnings.warn(f"{self._path} is gone: seed {seed} starts anew", stacklevel=3)
            checkpoint.unlink()
        if checkpoint.exists():
            done = take_columns(load_arrays(checkpoint), ["task"], source=str(checkpoint))[0]
            names = [field.name for field in fields(Trace)]
            columns = take_columns(load_arrays(self._path), names, source=str(self._path))
            if len(columns[0]) < len(done):
                raise ValueError(
                    f"{self._path} is of {len(columns[0])} iterations, {checkpoint} of "
                    f"{len(done)}; delete both"
                )
            self._rows = list(zip(*columns, strict=True))[: len(done)]
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


def _begin(config: Config, seed: int, X: Tensor, store: ResultStore) -> GMM:
    """Give the start from disk; draw and keep it where there is none.

    Its file tells of which settings and code the run is. It is not drawn again: k-means may round
    otherwise another time, with other threads, and would begin another run.
    """
    start = _saved_start(store, seed)
    if start is None:
        start = _start(config, seed, X)
        origin = json.dumps({"config": store.config, "code": store.code})
        path = store.folder / f"{seed_name(seed)}.start.npz"
        save_arrays(path, start.arrays() | {"origin": np.array(origin)})
    return start.to(device=X.device)


def _saved_start(store: ResultStore, seed: int) -> GMM | None:
    """Give the start of a run, None where none was begun; refuse that of another run."""
    path = store.folder / f"{seed_name(seed)}.start.npz"
    if not path.exists():
        if (checkpoint := store.checkpoint(seed_name(seed))).exists():
            raise ValueError(
                f"{checkpoint} lacks {path.name} beside it, which tells the settings of the run: "
                f"delete it, and seed {seed} starts anew"
            )
        return None
    arrays = load_arrays(path)
    try:
        origin = json.loads(str(arrays["origin"]))
        config, code = origin["config"].items(), origin["code"]
        start = GMM.from_arrays(arrays, source=str(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no start of a run ({error}); delete it") from error
    store.require_same(dict(config), code, source=path)
    return start


def _start(config: Config, seed: int, X: Tensor) -> GMM:
    """Draw the start, on the floor."""
    K, D = config.n_components, X.shape[1]
    check_covariance_floor(config.covariance_floor, Facts.of(X))
    check_memory(
        X.element_size() * (3 * K * D * D + X.numel()),  # the start, and a step from it
        X.device,
        purpose=f"a mixture of n_components={K} in {D} dimensions",
    )
    if config.start == "paper":
        generator = torch.Generator().manual_seed(seed)
        return paper_start(K, D, generator=generator, dtype=X.dtype, device=X.device)
    rough = kmeans_start(X, K, seed=seed)
    covariances, low_rank = floor_to_low_rank(rough.covariances, config.covariance_floor)
    return GMM.unchecked(rough.weights, rough.means, covariances, low_rank)


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
    return store.save(seed_name(seed), summary, trace.arrays() | {"clusters": clusters})


def _peak_bytes(device: torch.device) -> int:
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    host *= 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return host + (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)
