"""The two training loops: Joint-EM, and BigLearn-EM over a schedule of matching tasks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from biglearn_core.agreement import check_same_settings, check_same_start
from biglearn_core.checkpoint import Checkpoint, check_path
from biglearn_core.data import TrainingData
from biglearn_core.em import EMStep
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult, Trace
from biglearn_core.matching import Schedule, Task, run_task
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.rows.source import RowSource
from biglearn_core.system.digest import digest
from biglearn_core.system.numbers import check_integer, check_real
from biglearn_core.system.processes import Processes
from biglearn_core.validation import check_log_likelihood, check_options

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["fit_biglearn_em", "fit_joint_em", "joint_em"]

Callback = Callable[[int, GMM], "bool | None"]


def fit_joint_em(
    X: Tensor | RowSource,
    init: GMM,
    *,
    n_iter: int,
    covariance_floor: float,
    weight_smoothing: float = 0.0,
    tol: float = 0.0,
    sample_weight: Tensor | None = None,
    prior: CovariancePrior | None = None,
    callback: Callback | None = None,
    chunk_size: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 1,
    process_group: ProcessGroup | Processes | None = None,
) -> FitResult:
    """Run ordinary EM on all coordinates.

    Parameters
    ----------
    X : Tensor of shape (N, D) or RowSource
        float32 or float64, on any device; N may be smaller than K. A source (`biglearn_core.rows`)
        is read anew in every step, and never held as a whole.
    init : GMM
        Start, of the same dtype and on the same device; the type of its covariances is kept.
    n_iter : int
        Iterations at most.
    covariance_floor : float
        ε ≥ 0, least eigenvalue of every covariance.
    weight_smoothing : float, default 0
        α ≥ 0.
    tol : float, default 0
        Stop once the mean log-likelihood rises by less, in nats; 0 runs all iterations.
    sample_weight : Tensor of shape (N,), optional
        Non-negative; an integer weight acts as so many copies of the row. Their scale does not
        matter. A source has its own.
    prior : CovariancePrior, optional
        Of the covariances, the likelihood of which is then raised together with their prior.
    callback : callable, optional
        Called as callback(iteration, model) after every iteration, from 0; a true answer stops.
    chunk_size : int, optional
        Points per chunk; picked from a memory bound when not given.
    checkpoint : path-like, optional
        File that keeps the state; where it exists, the fit goes on from it, with any number of
        processes.
    checkpoint_every : int, default 1
        Iterations between two writes.
    process_group : torch.distributed.ProcessGroup, optional
        Processes that fit together, each of which gives rows of its own, or none, and the same
        start; all end with the same model. Every process where torch.distributed is initialised,
        when not given.

    Returns
    -------
    result : FitResult

    Raises
    ------
    TypeError
        When an argument is of the wrong kind, or dtypes or devices of data and start differ.
    ValueError
        When data are not finite, of another shape than the start, or so large that their squares
        leave the dtype; when an option is out of range; when memory lacks; or when the checkpoint
        is damaged, holds more iterations than asked for, or is of another fit.
    ProcessesError
        When another process has failed or ended.

    Examples
    --------
    >>> import torch
    >>> from biglearn_core import GMM, fit_joint_em
    >>> X = torch.tensor([[-5.0], [-3.0], [3.0], [5.0]])
    >>> start = GMM([0.5, 0.5], [[-1], [1]], [[[1.0]], [[1.0]]]).to(dtype=torch.float32)
    >>> fit_joint_em(X, start, n_iter=20, covariance_floor=1e-5).model.means.flatten().round()
    tensor([-4.,  4.])
    """
    processes = Processes.of(process_group)
    settings = {
        "n_iter": n_iter,
        "covariance_floor": covariance_floor,
        "weight_smoothing": weight_smoothing,
        "tol": tol,
        "prior": getattr(prior, "scale", prior),
    }
    check_same_settings(settings, processes)
    data = TrainingData.of(X, init, sample_weight=sample_weight, processes=processes)
    check_same_start(init, processes)
    n_iter, options = check_options(
        data.facts,
        n_iter=n_iter,
        covariance_floor=covariance_floor,
        weight_smoothing=weight_smoothing,
        callback=callback,
        chunk_size=chunk_size,
    )
    tol = check_real("tol", tol, least=0)
    check_path(checkpoint, processes)
    state = Checkpoint(
        checkpoint,
        every=check_integer("checkpoint_every", checkpoint_every, least=1),
        n_iter=n_iter,
        conditions=_conditions(checkpoint, data, init, tol=tol, prior=prior, **options),
        processes=processes,
    )
    task = Task("joint")
    with torch.inference_mode(), one_thread_an_operation():
        points = data.points(chunk_size)

        def step(model: GMM) -> EMStep:
            return run_task(task, points, model, n_local_steps=1, prior=prior, **options)

        result = joint_em(
            step, *state.load(init), n_iter=n_iter, tol=tol, callback=callback, state=state
        )
    return replace(result, model=result.model.with_feature_names(init.feature_names))


def joint_em(
    step: Callable[[GMM], EMStep],
    model: GMM,
    trace: Trace,
    *,
    n_iter: int,
    tol: float,
    callback: Callback | None = None,
    state: Checkpoint,
) -> FitResult:
    """Take joint EM steps while they gain.

    Parameters
    ----------
    step : callable
    model : GMM
        Where to go on.
    trace : Trace
        Of the iterations before.
    n_iter : int
        Iterations in all, at most.
    tol : float
        As in `fit_joint_em`.
    callback : callable, optional
    state : Checkpoint

    Returns
    -------
    result : FitResult
    """
    before, last = ([-math.inf, -math.inf, *trace.freeze().log_likelihood.tolist()])[-2:]
    converged = tol > 0 and abs(last - before) < tol
    task = Task("joint")
    while not converged and len(trace) < n_iter:
        iteration = len(trace)
        taken = step(model)
        check_log_likelihood(taken.log_likelihood, iteration, model.dtype)
        trace.append(task, taken)
        model = taken.model
        converged = tol > 0 and abs(taken.log_likelihood - last) < tol
        last = taken.log_likelihood
        stop = bool(callback is not None and callback(iteration, model)) or converged
        state.save(model, trace, last=stop or len(trace) == n_iter)
        if stop:
            break
    return FitResult.of(model, trace, converged=converged)


def fit_biglearn_em(
    X: Tensor | RowSource,
    init: GMM,
    *,
    n_iter: int,
    n_local_steps: int = 5,
    p_joint: float | Callable[[float], float] = 0.4,
    p_marginal: float | Callable[[float], float] = 0.1,
    beta: tuple[float, float] = (5.0, 1.0),
    transform: Literal["orthogonal", "rotation"] = "orthogonal",
    covariance_floor: float,
    weight_smoothing: float,
    seed: int | tuple[int, ...],
    sample_weight: Tensor | None = None,
    callback: Callback | None = None,
    chunk_size: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 1,
    process_group: ProcessGroup | Processes | None = None,
) -> FitResult:
    """Run BigLearn-EM: in every iteration draw one matching task and take its local EM steps.

    Parameters
    ----------
    X : Tensor of shape (N, D) or RowSource
        float32 or float64, on any device; N may be smaller than K. A source (`biglearn_core.rows`)
        is read anew in every step, and never held as a whole.
    init : GMM
        Start, of the same dtype and on the same device, with full covariances.
    n_iter : int
        Iterations, one task each.
    n_local_steps : int, default 5
        W, EM steps per task.
    p_joint, p_marginal : float or callable, default 0.4 and 0.1
        Probabilities of joint and marginal tasks, the rest being transformed marginals (P1 and
        P2 − P1 in the paper's code). A callable gets the share of iterations done.
    beta : pair of float, default (5, 1)
        A marginal has max(1, int(D·b)) coordinates, b ~ Beta(beta).
    transform : {"orthogonal", "rotation"}, default "orthogonal"
        Law of the random transforms: Haar on O(D) or on SO(D).
    covariance_floor : float
        ε ≥ 0, least eigenvalue of every covariance.
    weight_smoothing : float
        α ≥ 0; the paper takes 1/√K or 1/K.
    seed : int or tuple of int
        From 0 to 2⁶⁴ − 1. Draws the tasks; nothing else is random.
    sample_weight : Tensor of shape (N,), optional
        Non-negative; an integer weight acts as so many copies of the row. Their scale does not
        matter. A source has its own.
    callback : callable, optional
        Called as callback(iteration, model) after every iteration, from 0; a true answer stops.
    chunk_size : int, optional
        Points per chunk; picked from a memory bound when not given.
    checkpoint : path-like, optional
        File that keeps the state; where it exists, the fit goes on from it, with any number of
        processes, and with constant probabilities may be extended by a larger `n_iter`.
    checkpoint_every : int, default 1
        Iterations between two writes.
    process_group : torch.distributed.ProcessGroup, optional
        As in `fit_joint_em`.

    Returns
    -------
    result : FitResult

    Raises
    ------
    TypeError
        When an argument is of the wrong kind, or dtypes or devices of data and start differ.
    ValueError
        When data are not finite, of another shape than the start, or so large that their squares
        leave the dtype; when an option is out of range; when memory lacks; or when the checkpoint
        is damaged, holds more iterations than asked for, or is of other data, start, weights,
        options or seed, which it names.
    ProcessesError
        When another process has failed or ended.

    References
    ----------
    Y. Cong and S. Li, "Big Learning Expectation Maximization", AAAI 2024, arXiv 2312.11926.

    Examples
    --------
    >>> import torch
    >>> from biglearn_core import GMM, fit_biglearn_em
    >>> X = torch.tensor([[-5.0, 0.0], [-3.0, 1.0], [3.0, 1.0], [5.0, 0.0]])
    >>> start = GMM([0.5, 0.5], [[-1, 0], [1, 0]], [torch.eye(2).numpy()] * 2)
    >>> result = fit_biglearn_em(
    ...     X, start.to(dtype=torch.float32), n_iter=30, covariance_floor=0.1,
    ...     weight_smoothing=0.5, seed=0,
    ... )
    >>> result.n_iter, result.model.n_components
    (30, 2)
    """
    processes = Processes.of(process_group)
    settings = {
        "n_iter": n_iter,
        "n_local_steps": n_local_steps,
        "p_joint": p_joint,
        "p_marginal": p_marginal,
        "beta": beta,
        "transform": transform,
        "covariance_floor": covariance_floor,
        "weight_smoothing": weight_smoothing,
        "seed": seed,
    }
    check_same_settings(settings, processes)
    data = TrainingData.of(X, init, sample_weight=sample_weight, processes=processes)
    check_same_start(init, processes)
    n_iter, options = check_options(
        data.facts,
        n_iter=n_iter,
        covariance_floor=covariance_floor,
        weight_smoothing=weight_smoothing,
        callback=callback,
        chunk_size=chunk_size,
    )
    if init.covariance_type != "full":
        raise ValueError(
            f"init has covariance_type={init.covariance_type!r}, but matching tasks on some "
            "coordinates are defined for full covariances: use fit_joint_em"
        )
    n_local_steps = check_integer("n_local_steps", n_local_steps, least=1)
    schedule = Schedule(
        n_features=init.n_features,
        seed=seed,
        p_joint=p_joint,
        p_marginal=p_marginal,
        beta=beta,
        transform=transform,
    )
    check_path(checkpoint, processes)
    state = Checkpoint(
        checkpoint,
        every=check_integer("checkpoint_every", checkpoint_every, least=1),
        n_iter=n_iter,
        conditions=_conditions(checkpoint, data, init, n_local_steps=n_local_steps, **options),
        schedule=schedule,
        processes=processes,
    )
    model, trace = state.load(init)
    with torch.inference_mode(), one_thread_an_operation():
        points = data.points(chunk_size)
        for iteration in range(len(trace), n_iter):
            task = schedule.task(iteration, iteration / n_iter)
            step = run_task(task, points, model, n_local_steps=n_local_steps, prior=None, **options)
            check_log_likelihood(step.log_likelihood, iteration, model.dtype)
            trace.append(task, step)
            model = step.model
            stop = callback is not None and callback(iteration, model)
            state.save(model, trace, last=bool(stop) or iteration + 1 == n_iter)
            if stop:
                break
    return FitResult.of(model.with_feature_names(init.feature_names), trace)


def _conditions(
    checkpoint: str | os.PathLike | None, data: TrainingData, init: GMM, **settings: Any
) -> dict[str, Any]:
    """Tell what the state of a fit depends on, where one is kept."""
    if checkpoint is None:
        return {}
    return {**data.describe(), "start": digest(*init.arrays().values()), **settings}
