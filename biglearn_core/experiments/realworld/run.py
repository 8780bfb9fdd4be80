"""Real-world clustering: Joint-EM, BigLearn-EM and scikit-learn's peers on any data set.

Fair protocol: the data scaled by their training part, the final model scored. Paper's protocol: the
test part scaled by itself, BigLearn-EM scored by the mean of its last ten evaluations. Settings per
set are in settings.yaml.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from threadpoolctl import threadpool_limits
from torch import Tensor

from biglearn_core.datasets import dataset_names, is_available, load_dataset
from biglearn_core.datasets.registry import REGISTRY, canonical_name
from biglearn_core.experiments.parallel import run_jobs
from biglearn_core.experiments.realworld.peers import PEERS, fit_peer
from biglearn_core.experiments.store import Result, ResultStore, config_from
from biglearn_core.fit import fit_biglearn_em, fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import kmeans_plusplus_start, paper_start
from biglearn_core.metrics import score_labels

__all__ = [
    "CURVE_COLUMNS",
    "METHODS",
    "Config",
    "Data",
    "MethodRun",
    "Scores",
    "available_sets",
    "fit_method",
    "load_data",
    "run",
    "run_sets",
    "settings",
]

METHODS = ("BigLearn-EM", "Joint-EM", *PEERS)
CURVE_COLUMNS = ("nmi", "ari", "acc", "log_likelihood", "train_log_likelihood")

_SETTINGS = Path(__file__).with_name("settings.yaml")
_N_LAST = 10
_EARLY = (1, 2, 5, 10)
_PARAMETERS = ("weights", "means", "covariances")

# Settings that only some methods depend on: results of the others survive a change of them.
_BIGLEARN_ONLY = (
    *("biglearn_iterations", "n_local_steps", "weight_smoothing"),
    *("p_joint", "p_marginal", "beta", "transform"),
)
_OURS_ONLY = ("start", "joint_iterations", "evaluate_every")
_PEERS_ONLY = ("peer_inits", "peer_iterations")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one data set; the defaults are the paper's where it states any.

    Parameters
    ----------
    dataset : str
        A registered set, or the path of a file of one's own. Results do not notice when that file
        changes.
    protocol : {"fair", "paper"}
    seeds : tuple of int
        One split (where the source has none), start and schedule each.
    n_components : int, optional
        K; the number of classes when not given.
    covariance_floor : float
        ε, after scaling to [0, 1]; `reg_covar` of the peers.
    weight_smoothing : float, optional
        α of BigLearn-EM, 1/K when not given; Joint-EM and joint steps that end a fit have none.
    start : {"paper", "k-means++"}
    joint_iterations : int
        Most iterations of Joint-EM, and of the joint steps that end BigLearn-EM in the fair
        protocol.
    tol : float
        Rise of the mean training log-likelihood, in nats, below which joint steps and peers have
        converged; 0 takes all iterations.
    biglearn_iterations, n_local_steps : int
        Iterations of BigLearn-EM and EM steps in each.
    p_joint, p_marginal : float
        Probabilities of the tasks.
    beta : pair of float
        Law of the size of a marginal.
    transform : {"orthogonal", "rotation"}
    evaluate_every : int
        Iterations between two evaluations; iterations 1, 2, 5 and 10 are evaluated, too.
    peer_inits, peer_iterations : int
        `n_init` of K-means and GaussianMixture, `max_iter` of all peers.
    dtype : {"float32", "float64"}
        Of every fit. float32 halves the time; log-likelihoods differ by about 1e-5 nats.
    """

    dataset: str = "glass"
    protocol: str = "fair"
    seeds: tuple[int, ...] = tuple(range(10))
    n_components: int | None = None
    covariance_floor: float = 1e-2
    weight_smoothing: float | None = None
    start: str = "paper"
    joint_iterations: int = 1000
    tol: float = 1e-5
    biglearn_iterations: int = 400
    n_local_steps: int = 5
    p_joint: float = 0.4
    p_marginal: float = 0.1
    beta: tuple[float, ...] = (5.0, 1.0)
    transform: str = "orthogonal"
    evaluate_every: int = 20
    peer_inits: int = 10
    peer_iterations: int = 500
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, known in (
            ("protocol", ("fair", "paper")),
            ("start", ("paper", "k-means++")),
            ("dtype", ("float32", "float64")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {self.n_components}")
        if self.evaluate_every < 1:
            raise ValueError(f"evaluate_every must be at least 1, got {self.evaluate_every}")


@dataclass(frozen=True)
class Data:
    """A set as the methods see it.

    Parameters
    ----------
    X_train : Tensor of shape (N, D)
    y_train : int64 ndarray of shape (N,)
        Classes, for scores only.
    X_test : Tensor of shape (M, D)
    y_test : int64 ndarray of shape (M,)
    n_classes : int
    """

    X_train: Tensor
    y_train: np.ndarray
    X_test: Tensor
    y_test: np.ndarray
    n_classes: int


@dataclass(frozen=True)
class Scores:
    """Scores of a clustering on one part of the data.

    Parameters
    ----------
    nmi, ari, acc : float
        Agreement with the classes.
    log_likelihood : float
        Mean log density, in nats.
    """

    nmi: float
    ari: float
    acc: float
    log_likelihood: float


@dataclass(frozen=True)
class MethodRun:
    """One method on one seed.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    seed : int
    train, test : Scores
        Of the final model; for BigLearn-EM in the paper's protocol, `test` is the mean of the last
        ten evaluations.
    iterations : int64 ndarray of shape (E,)
        Iterations done at every evaluation; none for peers.
    curve : float64 ndarray of shape (E, 5)
        Columns as in `CURVE_COLUMNS`, on the test part but for the last; joint steps that end
        BigLearn-EM not included.
    model : GMM
        The final one.
    n_iter : int
        Iterations, joint steps that end BigLearn-EM included.
    converged : bool
        Whether `tol` was reached.
    n_empty : int
        Components with less than 1e-5 of the training data, or none, at the end.
    seconds : float
        Of one core, spent on the fit; evaluations are not counted.
    """

    method: str
    seed: int
    train: Scores
    test: Scores
    iterations: np.ndarray
    curve: np.ndarray
    model: GMM
    n_iter: int
    converged: bool
    n_empty: int
    seconds: float


def settings(dataset: str, *, protocol: str = "fair", **changes: Any) -> Config:
    """Take the settings of a set from settings.yaml.

    Parameters
    ----------
    dataset : str
        A registered set, or the path of a file, which gets the defaults.
    protocol : {"fair", "paper"}
    **changes
        Values of `Config` that come before the file's.

    Returns
    -------
    config : Config

    Raises
    ------
    TypeError
        When a name is unknown or a value has the wrong type.
    ValueError
        When a value is out of range.
    """
    source = REGISTRY.get(canonical_name(dataset))
    name = dataset if source is None else source.name
    values = dict(yaml.safe_load(_SETTINGS.read_text(encoding="utf-8")).get(name, {}))
    paper = values.pop("paper", {})
    if protocol == "paper":
        values |= paper
    return config_from(Config, values | {"dataset": name, "protocol": protocol} | changes)


def available_sets(root: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Name the registered sets that can be loaded without a download.

    Parameters
    ----------
    root : path-like, optional
        As for `load_dataset`.

    Returns
    -------
    names : tuple of str
    """
    return tuple(name for name in dataset_names() if is_available(name, root=root))


def load_data(config: Config, seed: int) -> Data:
    """Load, split and scale the data of one seed.

    Parameters
    ----------
    config : Config
    seed : int

    Returns
    -------
    data : Data
    """
    return _load(config.dataset, config.protocol, config.dtype, seed)


@lru_cache(maxsize=1)
def _load(dataset: str, protocol: str, dtype: str, seed: int) -> Data:
    parts = load_dataset(dataset, protocol=protocol, seed=seed)
    kind = getattr(torch, dtype)
    return Data(
        torch.as_tensor(parts.X_train).to(kind),
        parts.y_train,
        torch.as_tensor(parts.X_test).to(kind),
        parts.y_test,
        parts.n_classes,
    )


def run(
    config: Config,
    *,
    methods: Sequence[str] = METHODS,
    root: str | os.PathLike | None = None,
    n_jobs: int | None = None,
) -> list[MethodRun]:
    """Run every method on every seed of one set, or load what is finished.

    Parameters
    ----------
    config : Config
    methods : sequence of str
        Of `METHODS`.
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    n_jobs : int, optional
        Parallel processes; one per core when not given. Results but for seconds do not depend on
        it.

    Returns
    -------
    runs : list of MethodRun
        Seed by seed, in the order of the methods.

    Raises
    ------
    FileNotFoundError
        When the set is absent; says how to get it.
    OSError
        When a result cannot be written; finished ones stay.
    """
    return run_sets([config], methods=methods, root=root, n_jobs=n_jobs)[0]


def run_sets(
    configs: Sequence[Config],
    *,
    methods: Sequence[str] = METHODS,
    root: str | os.PathLike | None = None,
    n_jobs: int | None = None,
) -> list[list[MethodRun]]:
    """Run several sets, sharing the processes among all of them.

    Parameters
    ----------
    configs : sequence of Config
    methods, root, n_jobs
        As in `run`.

    Returns
    -------
    runs : list of list of MethodRun
        In the order of the configs.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}; known are {METHODS}")
    groups = [_tasks(config, methods, root) for config in configs]
    missing = [task for group in groups for task in group if task[0].load(_name(*task[2:])) is None]
    run_jobs(_run_one, missing, n_jobs=n_jobs, description="real-world fits")
    return [
        [_method_run(store.load(_name(method, seed))) for store, _, method, seed in group]
        for group in groups
    ]


def fit_method(
    method: str, data: Data, config: Config, *, seed: int, callback: Any = None
) -> FitResult:
    """Train Joint-EM or BigLearn-EM, in the fair protocol until joint steps converge.

    Parameters
    ----------
    method : {"Joint-EM", "BigLearn-EM"}
    data : Data
        Only the training points are used.
    config : Config
    seed : int
        Draws start and tasks.
    callback : callable, optional
        Called as callback(iteration, model), not in joint steps that end BigLearn-EM.

    Returns
    -------
    result : FitResult
        Its history is that of the last stage, its iterations those of all.
    """
    X = data.X_train
    K = config.n_components or data.n_classes
    if config.start == "paper":
        generator = torch.Generator().manual_seed(seed)
        start = paper_start(K, X.shape[1], generator=generator, dtype=X.dtype)
    else:
        start = kmeans_plusplus_start(X, K, seed=seed)
    joint = {
        "n_iter": config.joint_iterations,
        "covariance_floor": config.covariance_floor,
        "tol": config.tol,
    }
    if method == "Joint-EM":
        return fit_joint_em(X, start, callback=callback, **joint)
    smoothing = 1 / K if config.weight_smoothing is None else config.weight_smoothing
    result = fit_biglearn_em(
        X,
        start,
        n_iter=config.biglearn_iterations,
        n_local_steps=config.n_local_steps,
        p_joint=config.p_joint,
        p_marginal=config.p_marginal,
        beta=config.beta,
        transform=config.transform,
        covariance_floor=config.covariance_floor,
        weight_smoothing=smoothing,
        seed=seed,
        callback=callback,
    )
    if config.protocol == "paper":
        return result
    ended = fit_joint_em(X, result.model, **joint)
    return replace(ended, n_iter=result.n_iter + ended.n_iter)


def _tasks(config: Config, methods: Sequence[str], root: str | os.PathLike | None) -> list[tuple]:
    stores = {method: _store(config, method, root) for method in methods}
    return [(stores[method], config, method, seed) for seed in config.seeds for method in methods]


def _store(config: Config, method: str, root: str | os.PathLike | None) -> ResultStore:
    """Store of one method, keyed by the settings that the method depends on."""
    ignored = list(_OURS_ONLY if method in PEERS else _PEERS_ONLY)
    if method != "BigLearn-EM":
        ignored += _BIGLEARN_ONLY
    defaults = {field.name: field.default for field in fields(Config) if field.name in ignored}
    key = replace(config, **defaults)
    return ResultStore("realworld", key, module=__name__, root=root)


def _name(method: str, seed: int) -> str:
    return f"{method}_seed_{seed}"


@threadpool_limits.wrap(limits=1)
def _run_one(store: ResultStore, config: Config, method: str, seed: int) -> None:
    data = load_data(config, seed)
    recorder = _Recorder(data, config)
    started = time.process_time()
    if method in PEERS:
        peer = fit_peer(
            method,
            data.X_train,
            config.n_components or data.n_classes,
            covariance_floor=config.covariance_floor,
            n_init=config.peer_inits,
            max_iter=config.peer_iterations,
            tol=config.tol,
            seed=seed,
        )
        seconds = time.process_time() - started
        model, n_iter, converged = peer.model, peer.n_iter, peer.converged
        clusters = [peer.predict(X.numpy()) for X in (data.X_train, data.X_test)]
    else:
        result = fit_method(method, data, config, seed=seed, callback=recorder)
        seconds = time.process_time() - started - recorder.seconds
        model, n_iter, converged = result.model, result.n_iter, result.converged
        clusters = [model.predict(X).numpy() for X in (data.X_train, data.X_test)]
    train = _score(model, data.X_train, data.y_train, clusters[0])
    test = _score(model, data.X_test, data.y_test, clusters[1])
    iterations, curve = recorder.arrays()
    if method == "BigLearn-EM" and config.protocol == "paper":
        last = curve[-_N_LAST:].mean(axis=0)
        test = Scores(**{field.name: last[i] for i, field in enumerate(fields(Scores))})
    summary = {
        "method": method,
        "seed": seed,
        "train": asdict(train),
        "test": asdict(test),
        "n_iter": int(n_iter),
        "converged": bool(converged),
        "n_empty": int((model.weights < 1e-5).sum()),
        "seconds": seconds,
    }
    parameters = {name: getattr(model, name).numpy() for name in _PARAMETERS}
    store.save(
        _name(method, seed), summary, {"iterations": iterations, "curve": curve} | parameters
    )


class _Recorder:
    """Callback that evaluates the model now and then, and counts the time that takes."""

    def __init__(self, data: Data, config: Config) -> None:
        self._data = data
        self._every = config.evaluate_every
        self._iterations: list[int] = []
        self._rows: list[list[float]] = []
        self.seconds = 0.0

    def __call__(self, iteration: int, model: GMM) -> None:
        done = iteration + 1
        if done % self._every and done not in _EARLY:
            return
        started = time.process_time()
        data = self._data
        clusters = model.predict(data.X_test).numpy()
        test = _score(model, data.X_test, data.y_test, clusters)
        self._iterations.append(done)
        self._rows.append([*asdict(test).values(), _mean_log_prob(model, data.X_train)])
        self.seconds += time.process_time() - started

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        curve = np.array(self._rows).reshape(-1, len(CURVE_COLUMNS))
        return np.array(self._iterations, dtype=np.int64), curve


def _score(model: GMM, X: Tensor, y: np.ndarray, clusters: np.ndarray) -> Scores:
    agreement = score_labels(y, clusters)
    return Scores(**asdict(agreement), log_likelihood=_mean_log_prob(model, X))


def _mean_log_prob(model: GMM, X: Tensor) -> float:
    return model.log_prob(X).double().mean().item()


def _method_run(result: Result) -> MethodRun:
    known: Mapping[str, Any] = result.summary
    return MethodRun(
        method=known["method"],
        seed=known["seed"],
        train=Scores(**known["train"]),
        test=Scores(**known["test"]),
        iterations=result.arrays["iterations"],
        curve=result.arrays["curve"],
        model=GMM.unchecked(*(torch.from_numpy(result.arrays[name]) for name in _PARAMETERS)),
        n_iter=known["n_iter"],
        converged=known["converged"],
        n_empty=known["n_empty"],
        seconds=known["seconds"],
    )
