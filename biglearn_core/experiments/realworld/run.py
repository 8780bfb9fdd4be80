"""Real-world clustering: Joint-EM, BigLearn-EM and scikit-learn's peers on any data set.

Fair protocol: the data scaled by their training part, the final model scored. Paper's protocol: the
test part scaled by itself, BigLearn-EM scored by the mean of its last ten evaluations. Settings per
set are in settings.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
from biglearn_core.experiments.config import ScheduleConfig
from biglearn_core.experiments.jobs import Job, run_missing, seed_name
from biglearn_core.experiments.realworld.peers import PEERS, fit_peer
from biglearn_core.experiments.recording import Recorder
from biglearn_core.experiments.store import Result, ResultStore, config_from
from biglearn_core.fit import fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import kmeans_plusplus_start, paper_start
from biglearn_core.metrics import score_labels
from biglearn_core.system.digest import digest

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

# Settings that only some methods depend on: results of the others survive a change of them.
_BIGLEARN_ONLY = (
    *("biglearn_iterations", "n_local_steps", "weight_smoothing"),
    *("p_joint", "p_marginal", "beta", "transform"),
)
_OURS_ONLY = ("start", "joint_iterations", "evaluate_every")
_PEERS_ONLY = ("peer_inits", "peer_iterations")


@dataclass(frozen=True, kw_only=True)
class Config(ScheduleConfig):
    """Settings of one data set; the defaults are the paper's where it states any.

    Parameters
    ----------
    seeds, n_local_steps, p_joint, p_marginal, beta, transform, covariance_floor
        As in `ScheduleConfig`; a seed also draws the split, where the source has none, and ε, after
        scaling to [0, 1], is `reg_covar` of the peers.
    dataset : str
        A registered set, or the path of a file of one's own.
    protocol : {"fair", "paper"}
    n_components : int, optional
        K; the number of classes when not given.
    weight_smoothing : float, optional
        α of BigLearn-EM, 1/K when not given; Joint-EM and joint steps that end a fit have none.
    start : {"paper", "k-means++"}
    joint_iterations : int
        Most iterations of Joint-EM, and of the joint steps that end BigLearn-EM in the fair
        protocol.
    tol : float
        Rise of the mean training log-likelihood, in nats, below which joint steps and peers have
        converged; 0 takes all iterations.
    biglearn_iterations : int
        Iterations of BigLearn-EM.
    evaluate_every : int
        Iterations between two evaluations; iterations 1, 2, 5 and 10 are evaluated, too.
    peer_inits, peer_iterations : int
        `n_init` of K-means and GaussianMixture, `max_iter` of all peers.
    dtype : {"float32", "float64"}
        Of every fit. float32 halves the time; log-likelihoods differ by about 1e-5 nats.
    """

    seeds: tuple[int, ...] = tuple(range(10))
    dataset: str = "glass"
    protocol: str = "fair"
    n_components: int | None = None
    covariance_floor: float = 1e-2
    weight_smoothing: float | None = None
    start: str = "paper"
    joint_iterations: int = 1000
    tol: float = 1e-5
    biglearn_iterations: int = 400
    evaluate_every: int = 20
    peer_inits: int = 10
    peer_iterations: int = 500
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
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

    @property
    def fingerprint(self) -> str:
        """Digest of all values and classes."""
        return digest(self.X_train, self.y_train, self.X_test, self.y_test)


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
        Of the fit, on one core.
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
    parts = load_dataset(config.dataset, protocol=config.protocol, seed=seed)
    kind = getattr(torch, config.dtype)
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
    jobs = []
    for config in configs:
        for seed in config.seeds:
            data = load_data(config, seed).fingerprint
            for method in methods:
                store = _store(config, method, data, root)
                name = f"{method}_{seed_name(seed)}"
                jobs.append(Job(store, name, (config, method, seed, data)))
    results = iter(run_missing(_run_one, jobs, n_jobs=n_jobs, description="real-world fits"))
    return [
        [_method_run(next(results)) for _ in range(len(config.seeds) * len(methods))]
        for config in configs
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
    result = config.fit(
        X,
        start,
        n_iter=config.biglearn_iterations,
        weight_smoothing=smoothing,
        seed=seed,
        callback=callback,
    )
    if config.protocol == "paper":
        return result
    ended = fit_joint_em(X, result.model, **joint)
    return replace(ended, n_iter=result.n_iter + ended.n_iter)


def _store(config: Config, method: str, data: str, root: str | os.PathLike | None) -> ResultStore:
    """Store of one method, keyed by the data and the settings that the method depends on."""
    ignored = list(_OURS_ONLY if method in PEERS else _PEERS_ONLY)
    if method != "BigLearn-EM":
        ignored += _BIGLEARN_ONLY
    defaults = {field.name: field.default for field in fields(Config) if field.name in ignored}
    key, read = replace(config, **defaults), {"biglearn_core.datasets": data}
    return ResultStore("realworld", key, module=__name__, root=root, read=read)


@lru_cache(maxsize=1)
def _load(config: Config, seed: int, fingerprint: str) -> Data:
    """Load the data once in a process, as long as they stay the same."""
    data = load_data(config, seed)
    if data.fingerprint != fingerprint:
        raise ValueError(f"{config.dataset} was changed while results on it were computed")
    return data


@threadpool_limits.wrap(limits=1)
def _run_one(
    config: Config, method: str, seed: int, fingerprint: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = _load(config, seed, fingerprint)
    recorder = _recorder(data, config)
    if method in PEERS:
        result = fit_peer(
            method,
            data.X_train,
            config.n_components or data.n_classes,
            covariance_floor=config.covariance_floor,
            n_init=config.peer_inits,
            max_iter=config.peer_iterations,
            tol=config.tol,
            seed=seed,
        )
    else:
        result = fit_method(method, data, config, seed=seed, callback=recorder)
    seconds, model = recorder.clock.read(), result.model
    predict = result.predict if method in PEERS else None
    train = _score(model, data.X_train, data.y_train, predict)
    test = _score(model, data.X_test, data.y_test, predict)
    curve = np.array(recorder.values["curve"]).reshape(-1, len(CURVE_COLUMNS))
    if method == "BigLearn-EM" and config.protocol == "paper":
        last = curve[-_N_LAST:].mean(axis=0)
        test = Scores(**{field.name: last[i] for i, field in enumerate(fields(Scores))})
    summary = {
        "method": method,
        "seed": seed,
        "train": asdict(train),
        "test": asdict(test),
        "n_iter": int(result.n_iter),
        "converged": bool(result.converged),
        "n_empty": int((model.weights < 1e-5).sum()),
        "seconds": seconds,
    }
    iterations = 1 + np.array(recorder.iterations["curve"], dtype=np.int64)
    return summary, {"iterations": iterations, "curve": curve} | model.arrays()


def _recorder(data: Data, config: Config) -> Recorder:
    """Record the scores on the test part, and the log-likelihood on both, along a fit."""

    def evaluate(model: GMM) -> list[float]:
        test = _score(model, data.X_test, data.y_test)
        return [*asdict(test).values(), _mean_log_prob(model, data.X_train)]

    every, n = config.evaluate_every, max(config.joint_iterations, config.biglearn_iterations)
    done = {*_EARLY, *range(every, n + 1, every)}
    return Recorder(curve=({number - 1 for number in done}, evaluate))


def _score(model: GMM, X: Tensor, y: np.ndarray, predict: Callable | None = None) -> Scores:
    """Score a model, with the clusters of a peer where it has its own rule for them."""
    clusters = model.predict(X).numpy() if predict is None else predict(X.numpy())
    agreement = score_labels(y, clusters)
    return Scores(**asdict(agreement), log_likelihood=_mean_log_prob(model, X))


def _mean_log_prob(model: GMM, X: Tensor) -> float:
    return model.log_prob(X).double().mean().item()


def _method_run(result: Result) -> MethodRun:
    known, arrays = result.summary, result.arrays
    return MethodRun(
        train=Scores(**known["train"]),
        test=Scores(**known["test"]),
        iterations=arrays["iterations"],
        curve=arrays["curve"],
        model=GMM.from_arrays(arrays),
        **{
            name: known[name]
            for name in ("method", "seed", "n_iter", "converged", "n_empty", "seconds")
        },
    )
