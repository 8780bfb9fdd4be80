"""The two training loops: Joint-EM, and BigLearn-EM over a schedule of matching tasks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from biglearn_core.checkpoint import Checkpoint
from biglearn_core.gmm import GMM
from biglearn_core.history import History, Trace
from biglearn_core.matching import Schedule, Task, run_task
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.system.digest import digest
from biglearn_core.validation import (
    check_covariance_floor,
    check_data,
    check_finite_model,
    check_integer,
    check_log_likelihood,
    check_real,
    check_sample_weight,
    check_start,
)

__all__ = ["FitResult", "History", "fit_biglearn_em", "fit_joint_em"]

Callback = Callable[[int, GMM], "bool | None"]


@dataclass(frozen=True)
class FitResult:
    """Outcome of a fit.

    Parameters
    ----------
    model : GMM
        After the last iteration.
    history : History
    n_iter : int
        Iterations done, those before a resume counted in.
    converged : bool
        Whether the log-likelihood rose by less than `tol` (always False for BigLearn-EM, which runs
        its schedule to the end).
    """

    model: GMM
    history: History
    n_iter: int
    converged: bool


def fit_joint_em(
    X: Tensor,
    init: GMM,
    *,
    n_iter: int,
    covariance_floor: float,
    weight_smoothing: float = 0.0,
    tol: float = 0.0,
    sample_weight: Tensor | None = None,
    callback: Callback | None = None,
    chunk_size: int | None = None,
) -> FitResult:
    """Run ordinary EM on all coordinates.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        float32 or float64, on any device; N may be smaller than K.
    init : GMM
        Start, of the same dtype and on the same device.
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
        matter.
    callback : callable, optional
        Called as callback(iteration, model) after every iteration, from 0; a true answer stops.
    chunk_size : int, optional
        Points per chunk; picked from a memory bound when not given.

    Returns
    -------
    result : FitResult

    Raises
    ------
    TypeError
        When an argument is of the wrong kind, or dtypes or devices of data and start differ.
    ValueError
        When data are not finite, of another shape than the start, or so large that their squares
        leave the dtype; when an option is out of range; or when memory lacks.
    """
    sample_weight, n_iter, covariance_floor, weight_smoothing = _check(
        X, init, sample_weight, n_iter, covariance_floor, weight_smoothing, callback, chunk_size
    )
    tol = check_real("tol", tol, least=0)
    task = Task("joint")
    model, trace = init, Trace()
    last, converged = -math.inf, False
    with torch.inference_mode(), one_thread_an_operation():
        points = Points.of(X, sample_weight=sample_weight, chunk_size=chunk_size)
        for iteration in range(n_iter):
            step = run_task(
                task,
                points,
                model,
                n_local_steps=1,
                covariance_floor=covariance_floor,
                weight_smoothing=weight_smoothing,
            )
            check_log_likelihood(step.log_likelihood, iteration, X.dtype)
            trace.append(task, init.n_features, step)
            model = step.model
            converged = tol > 0 and abs(step.log_likelihood - last) < tol
            last = step.log_likelihood
            if (callback is not None and callback(iteration, model)) or converged:
                break
    return FitResult(_ordinary(model), trace.freeze(), len(trace), converged)


def fit_biglearn_em(
    X: Tensor,
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
) -> FitResult:
    """Run BigLearn-EM: in every iteration draw one matching task and take its local EM steps.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        float32 or float64, on any device; N may be smaller than K.
    init : GMM
        Start, of the same dtype and on the same device.
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
        matter.
    callback : callable, optional
        Called as callback(iteration, model) after every iteration, from 0; a true answer stops.
    chunk_size : int, optional
        Points per chunk; picked from a memory bound when not given.
    checkpoint : path-like, optional
        File that keeps the state; where it exists, the fit goes on from it, and with constant
        probabilities may be extended by a larger `n_iter`.
    checkpoint_every : int, default 1
        Iterations between two writes.

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

    References
    ----------
    Y. Cong and S. Li, "Big Learning Expectation Maximization", AAAI 2024, arXiv 2312.11926.
    """
    sample_weight, n_iter, covariance_floor, weight_smoothing = _check(
        X, init, sample_weight, n_iter, covariance_floor, weight_smoothing, callback, chunk_size
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
    state = Checkpoint(
        checkpoint,
        every=check_integer("checkpoint_every", checkpoint_every, least=1),
        schedule=schedule,
        n_iter=n_iter,
        conditions={} if checkpoint is None else {
            "data": digest(X),
            "start": digest(*init.arrays().values()),
            "sample_weight": digest(sample_weight),
            "n_local_steps": str(n_local_steps),
            "seed": str(schedule.seed),
            "beta": str(schedule.beta),
            "transform": schedule.transform,
            "covariance_floor": str(covariance_floor),
            "weight_smoothing": str(weight_smoothing),
        },
    )  # fmt: skip
    model, trace = state.load(init)
    with torch.inference_mode(), one_thread_an_operation():
        points = Points.of(X, sample_weight=sample_weight, chunk_size=chunk_size)
        for iteration in range(len(trace), n_iter):
            task = schedule.task(iteration, iteration / n_iter)
            step = run_task(
                task,
                points,
                model,
                n_local_steps=n_local_steps,
                covariance_floor=covariance_floor,
                weight_smoothing=weight_smoothing,
            )
            check_log_likelihood(step.log_likelihood, iteration, X.dtype)
            size = init.n_features if task.index is None else len(task.index)
            trace.append(task, size, step)
            model = step.model
            stop = callback is not None and callback(iteration, model)
            state.save(model, trace, last=bool(stop) or iteration + 1 == n_iter)
            if stop:
                break
    return FitResult(_ordinary(model), trace.freeze(), len(trace), converged=False)


def _ordinary(model: GMM) -> GMM:
    """Copy the parameters out of inference mode, whose tensors autograd refuses."""
    check_finite_model(model)
    low_rank = None if model.low_rank is None else model.low_rank.clone()
    return GMM.unchecked(
        model.weights.clone(), model.means.clone(), model.covariances.clone(), low_rank
    )


def _check(
    X: Tensor,
    init: GMM,
    sample_weight: Tensor | None,
    n_iter: int,
    covariance_floor: float,
    weight_smoothing: float,
    callback: Callback | None,
    chunk_size: int | None,
) -> tuple[Tensor | None, int, float, float]:
    """Check what both loops take; give weights, iterations, floor and smoothing for use."""
    check_data(X)
    check_start(X, init)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {type(callback).__name__}")
    if chunk_size is not None:
        check_integer("chunk_size", chunk_size, least=1)
    return (
        check_sample_weight(sample_weight, X),
        check_integer("n_iter", n_iter, least=0),
        check_covariance_floor(covariance_floor, X),
        check_real(
            "weight_smoothing",
            weight_smoothing,
            least=0,
            most=math.sqrt(torch.finfo(X.dtype).max),  # its sum over the components is finite
        ),
    )
