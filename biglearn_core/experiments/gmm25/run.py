"""25-GMM simulation: Joint-EM against BigLearn-EM on a 5×5 grid of Gaussians.

Data, starts and settings are those of the published run, whose random streams are replayed without
touching the global generators.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biglearn_core.experiments.config import ScheduleConfig
from biglearn_core.experiments.jobs import Job, run_missing, seed_name
from biglearn_core.experiments.published import GMM25_SEEDS
from biglearn_core.experiments.recording import Recorder
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.fit import fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import paper_start
from biglearn_core.metrics import KLEvaluator

__all__ = [
    "KL_COLUMNS",
    "METHODS",
    "Config",
    "Data",
    "MethodRun",
    "SeedRun",
    "draw_data",
    "fit_method",
    "optimum",
    "run",
]

METHODS = ("Joint-EM", "BigLearn-EM")
KL_COLUMNS = ("joint", "marginal 1", "marginal 2", "conditional 1", "conditional 2")

_SIDE = 5
_VARIANCE = 0.1
_CURVE = torch.float32


@dataclass(frozen=True, kw_only=True)
class Config(ScheduleConfig):
    """Settings of the 25-GMM simulation; the defaults are the published ones.

    Parameters
    ----------
    seeds, n_local_steps, p_joint, p_marginal, beta, transform, covariance_floor
        As in `ScheduleConfig`; a seed also draws its data.
    n_train, n_test : int
        Points drawn.
    joint_iterations, biglearn_iterations : int
        Iterations of Joint-EM and of BigLearn-EM.
    weight_smoothing : float
        α of BigLearn-EM, 1/√K as published; Joint-EM has none.
    final_iterations, final_tol : int, float
        Joint steps that end a fit in the fair protocol: at most so many, until the mean training
        log-likelihood changes by less, in nats.
    evaluate_every : int
        Iterations between two evaluations of the test divergences.
    n_snapshots : int
        Models kept along every fit, for the animation.
    """

    seeds: tuple[int, ...] = GMM25_SEEDS
    n_train: int = 2000
    n_test: int = 5000
    joint_iterations: int = 500
    biglearn_iterations: int = 2000
    covariance_floor: float = 1e-5
    weight_smoothing: float = 0.2
    final_iterations: int = 2000
    final_tol: float = 1e-10
    evaluate_every: int = 1
    n_snapshots: int = 60


@dataclass(frozen=True)
class Data:
    """One draw of the simulation, in float64.

    Parameters
    ----------
    truth : GMM
        Twenty-five equal components of variance 0.1 on {−4, −2, 0, 2, 4}².
    X_train : Tensor of shape (n_train, 2)
    X_test : Tensor of shape (n_test, 2)
    start : GMM
        The paper's start.
    """

    truth: GMM
    X_train: Tensor
    X_test: Tensor
    start: GMM


@dataclass(frozen=True)
class MethodRun:
    """One method on one seed.

    Parameters
    ----------
    iterations : ndarray of int
        Iterations after which the divergences were evaluated, from 0.
    kl : ndarray of shape (len(iterations), 5)
        Test divergences after them, in nats; columns as in `KL_COLUMNS`.
    snapshot_iterations : ndarray of int
        Iterations after which a model was kept.
    snapshots : tuple of GMM
    final : GMM
        After the last iteration.
    final_kl : float
        Test joint KL of `final`, in nats.
    fair : GMM
        After joint steps to convergence, chosen without test data.
    fair_kl : float
        Test joint KL of `fair`, in nats.
    fair_log_likelihood : float
        Mean training log-likelihood of `fair`, in nats.
    seconds : float
        Of the iterations.
    """

    iterations: np.ndarray
    kl: np.ndarray
    snapshot_iterations: np.ndarray
    snapshots: tuple[GMM, ...]
    final: GMM
    final_kl: float
    fair: GMM
    fair_kl: float
    fair_log_likelihood: float
    seconds: float

    @property
    def min_kl(self) -> float:
        """Least test KL over the iterations, the paper's score."""
        return float(self.kl[:, 0].min())


@dataclass(frozen=True)
class SeedRun:
    """Both methods on one seed.

    Parameters
    ----------
    seed : int
    methods : dict of str to MethodRun
        By the names in `METHODS`.
    optimum_kl : float
        Test KL of the optimum found from the true parameters with the smoothing kept, in nats.
    """

    seed: int
    methods: dict[str, MethodRun]
    optimum_kl: float

    def at_optimum(self, method: str, *, tolerance: float = 0.02) -> bool:
        """Tell whether the fair model is as good as the optimum.

        Parameters
        ----------
        method : str
        tolerance : float, default 0.02
            Accepted relative excess of its test KL.

        Returns
        -------
        answer : bool
        """
        return self.methods[method].fair_kl <= (1 + tolerance) * self.optimum_kl


def draw_data(seed: int, *, n_train: int = 2000, n_test: int = 5000) -> Data:
    """Replay the data and the start of a published seed, or draw those of a new one.

    Parameters
    ----------
    seed : int
    n_train, n_test : int
        The published streams hold for 2000 and 5000.

    Returns
    -------
    data : Data
        Drawn in float32, as published, then converted.
    """
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(1.0 - _SIDE, _SIDE - 1.0, _SIDE)
    means = torch.cartesian_prod(axis, axis)
    K = len(means)
    uniform = torch.full((K,), 1 / K)

    def draw(n: int) -> Tensor:
        z = torch.multinomial(uniform, n, replacement=True, generator=generator)
        noise = torch.randn([n, 2], generator=generator)
        return (means[z] + math.sqrt(_VARIANCE) * noise).double()

    X_train, X_test = draw(n_train), draw(n_test)
    start = paper_start(K, 2, generator=generator, dtype=torch.float64)
    covariances = _VARIANCE * torch.eye(2, dtype=torch.float64).repeat(K, 1, 1)
    truth = GMM(torch.full((K,), 1 / K, dtype=torch.float64), means.double(), covariances)
    return Data(truth, X_train, X_test, start)


def run(
    config: Config, *, root: str | os.PathLike | None = None, n_jobs: int | None = None
) -> list[SeedRun]:
    """Run both methods on every seed, or load what is finished.

    Parameters
    ----------
    config : Config
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    n_jobs : int, optional
        Parallel processes; one per core when not given. Results do not depend on it.

    Returns
    -------
    runs : list of SeedRun
        In the order of the seeds.

    Raises
    ------
    OSError
        When a result cannot be written; finished seeds stay.
    """
    store = ResultStore("gmm25", config, module=__name__, root=root)
    jobs = [Job(store, seed_name(seed), (config, seed)) for seed in config.seeds]
    results = run_missing(_run_seed, jobs, n_jobs=n_jobs, description="25-GMM seeds")
    return [_seed_run(result) for result in results]


def fit_method(
    method: str, data: Data, config: Config, *, seed: int, callback: Callable | None = None
) -> FitResult:
    """Train one method from the paper's start.

    Parameters
    ----------
    method : {"Joint-EM", "BigLearn-EM"}
    data : Data
    config : Config
    seed : int
        Draws the tasks of BigLearn-EM.
    callback : callable, optional
        Called as callback(iteration, model).

    Returns
    -------
    result : FitResult
    """
    if method == "Joint-EM":
        return fit_joint_em(
            data.X_train,
            data.start,
            n_iter=config.joint_iterations,
            covariance_floor=config.covariance_floor,
            callback=callback,
        )
    return config.fit(
        data.X_train,
        data.start,
        n_iter=config.biglearn_iterations,
        weight_smoothing=config.weight_smoothing,
        seed=seed,
        callback=callback,
    )


def optimum(data: Data, config: Config, *, start: GMM | None = None) -> FitResult:
    """Take joint steps to convergence, with BigLearn-EM's smoothing.

    Parameters
    ----------
    data : Data
    config : Config
    start : GMM, optional
        The truth when not given, which leads to the optimum that a fit can hope for.

    Returns
    -------
    result : FitResult
    """
    return _to_convergence(data, config, start or data.truth, config.weight_smoothing)


def _to_convergence(data: Data, config: Config, start: GMM, weight_smoothing: float) -> FitResult:
    return fit_joint_em(
        data.X_train,
        start,
        n_iter=config.final_iterations,
        covariance_floor=config.covariance_floor,
        weight_smoothing=weight_smoothing,
        tol=config.final_tol,
    )


def _run_seed(config: Config, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = draw_data(seed, n_train=config.n_train, n_test=config.n_test)
    evaluate = KLEvaluator(data.truth, data.X_test)
    summary = {"seed": seed, "optimum_kl": evaluate(optimum(data, config).model).joint}
    arrays: dict[str, np.ndarray] = {}
    for method in METHODS:
        recorder = _recorder(method, data, config)
        final = fit_method(method, data, config, seed=seed, callback=recorder).model
        seconds = recorder.clock.read()
        smoothing = config.weight_smoothing if method == "BigLearn-EM" else 0.0
        fair = _to_convergence(data, config, final, smoothing)
        summary[method] = {
            "seconds": seconds,
            "final_kl": evaluate(final).joint,
            "fair_kl": evaluate(fair.model).joint,
            "fair_log_likelihood": float(fair.history.log_likelihood[-1]),
            "fair_iterations": fair.n_iter,
            "fair_converged": fair.converged,
        }
        arrays |= {
            f"{method}/iterations": np.array(recorder.iterations["kl"]),
            f"{method}/kl": np.array(recorder.values["kl"]),
            f"{method}/snapshot_iterations": np.array(recorder.iterations["snapshots"]),
            **_pack(f"{method}/snapshots", recorder.values["snapshots"]),
            **_pack(f"{method}/final", [final]),
            **_pack(f"{method}/fair", [fair.model]),
        }
    return summary, arrays


def _recorder(method: str, data: Data, config: Config) -> Recorder:
    """Record the divergences and some models along a fit.

    The curve is evaluated in float32, in which the points were drawn: a third faster, and within
    2e-5 nats of float64. What is reported of single models is evaluated in float64.
    """
    n = config.joint_iterations if method == "Joint-EM" else config.biglearn_iterations
    spaced = np.geomspace(1, max(n, 1), config.n_snapshots).round().astype(int) - 1
    evaluate = KLEvaluator(data.truth.to(dtype=_CURVE), data.X_test.to(_CURVE))

    def divergences(model: GMM) -> tuple[float, ...]:
        kl = evaluate(model.to(dtype=_CURVE))
        return kl.joint, *kl.marginal, *kl.conditional

    return Recorder(
        kl=({*range(0, n, config.evaluate_every), n - 1}, divergences),
        snapshots=(set(spaced.tolist()), lambda model: model),
    )


def _seed_run(result: Result) -> SeedRun:
    methods = {}
    for method in METHODS:
        arrays, numbers = result.arrays, result.summary[method]
        own = ("final_kl", "fair_kl", "fair_log_likelihood", "seconds")
        methods[method] = MethodRun(
            **{n: arrays[f"{method}/{n}"] for n in ("iterations", "kl", "snapshot_iterations")},
            snapshots=tuple(_unpack(arrays, f"{method}/snapshots")),
            final=_unpack(arrays, f"{method}/final")[0],
            fair=_unpack(arrays, f"{method}/fair")[0],
            **{name: numbers[name] for name in own},
        )
    return SeedRun(result.summary["seed"], methods, result.summary["optimum_kl"])


def _pack(prefix: str, models: list[GMM]) -> dict[str, np.ndarray]:
    packed = [model.arrays() for model in models]
    return {f"{prefix}/{name}": np.stack([own[name] for own in packed]) for name in packed[0]}


def _unpack(arrays: dict[str, np.ndarray], prefix: str) -> list[GMM]:
    stacks = {name: arrays[f"{prefix}/{name}"] for name in ("weights", "means", "covariances")}
    models = (dict(zip(stacks, own, strict=True)) for own in zip(*stacks.values(), strict=True))
    return [GMM.from_arrays(model) for model in models]
