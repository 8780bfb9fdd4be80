"""The two training loops: Joint-EM, and BigLearn-EM over a schedule of matching tasks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from biglearn_core.em import EMStep
from biglearn_core.gmm import GMM
from biglearn_core.lowrank import LowRankCovariances
from biglearn_core.matching import TASK_KINDS, Schedule, Task, run_task
from biglearn_core.persistence import load_arrays, save_arrays
from biglearn_core.points import Points

__all__ = ["FitResult", "History", "fit_biglearn_em", "fit_joint_em"]

Callback = Callable[[int, GMM], "bool | None"]


@dataclass(frozen=True)
class History:
    """Trace of a fit, one entry per iteration.

    Parameters
    ----------
    task : int8 ndarray of shape (n_iter,)
        Position in `matching.TASK_KINDS`: joint 0, marginal 1, transformed marginal 2.
    n_coordinates : int64 ndarray of shape (n_iter,)
        |T|.
    log_likelihood : float64 ndarray of shape (n_iter,)
        Mean log p(y_T) before the last local step, in nats; of all coordinates in joint tasks.
    n_floored : int64 ndarray of shape (n_iter,)
        Components with an eigenvalue that the last local step raised to the floor.
    n_empty : int64 ndarray of shape (n_iter,)
        Components with less than 1e-5 of the data in the last local step.
    """

    task: np.ndarray
    n_coordinates: np.ndarray
    log_likelihood: np.ndarray
    n_floored: np.ndarray
    n_empty: np.ndarray

    def __len__(self) -> int:
        return len(self.task)


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


class _Trace:
    """History in the making."""

    def __init__(self, rows: list[tuple] | None = None) -> None:
        self._rows = rows or []

    def append(self, task: Task, n_coordinates: int, step: EMStep) -> None:
        kind = TASK_KINDS.index(task.kind)
        self._rows.append((kind, n_coordinates, step.log_likelihood, step.n_floored, step.n_empty))

    def freeze(self) -> History:
        columns = list(zip(*self._rows, strict=True)) or [[]] * len(fields(History))
        types = (np.int8, np.int64, np.float64, np.int64, np.int64)
        return History(*(np.array(c, dtype=t) for c, t in zip(columns, types, strict=True)))

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> _Trace:
        columns = (arrays[field.name].tolist() for field in fields(History))
        return cls(list(zip(*columns, strict=True)))


class _Checkpoint:
    """State of a fit on disk: model, trace and what the fit was of."""

    def __init__(self, path: str | os.PathLike | None, every: int, settings: str) -> None:
        self._path = None if path is None else Path(path)
        self._every = every
        self._settings = settings

    def load(self, init: GMM) -> tuple[GMM, _Trace]:
        if self._path is None or not self._path.exists():
            return init, _Trace()
        arrays = load_arrays(self._path)
        if str(arrays.get("settings")) != self._settings:
            raise ValueError(
                f"{self._path} is the checkpoint of a fit with other settings or data: "
                f"{arrays.get('settings')} there, {self._settings} now. Delete it or name another"
            )
        low_rank = LowRankCovariances.from_arrays(arrays)
        weights, means = (torch.from_numpy(arrays[name]) for name in ("weights", "means"))
        if low_rank is None:
            covariances = torch.from_numpy(arrays["covariances"])
        else:
            covariances = low_rank.dense()
        model = GMM.unchecked(weights, means, covariances, low_rank)
        return model.to(device=init.device), _Trace.of(arrays)

    def save(self, iteration: int, last: bool, model: GMM, trace: _Trace) -> None:
        if self._path is None or not (last or (iteration + 1) % self._every == 0):
            return
        history = trace.freeze()
        arrays = {field.name: getattr(history, field.name) for field in fields(History)}
        arrays |= {name: getattr(model, name).cpu().numpy() for name in ("weights", "means")}
        if model.low_rank is None:
            arrays["covariances"] = model.covariances.cpu().numpy()
        else:  # a tenth of the bytes, and what the next step starts from
            arrays |= model.low_rank.arrays()
        save_arrays(self._path, arrays | {"settings": np.array(self._settings)})


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
        Non-negative; an integer weight acts as so many copies of the row.
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
        When dtypes or devices of data and start differ.
    ValueError
        When data are not finite or of another shape than the start, or an option is out of range.
    """
    _check(X, init, sample_weight, n_iter, covariance_floor, weight_smoothing, chunk_size)
    if not tol >= 0:
        raise ValueError(f"tol must be non-negative, got {tol}")
    task = Task("joint")
    model, trace = init, _Trace()
    last, converged = -math.inf, False
    with torch.inference_mode():  # less overhead a call than no_grad, which small data feel
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
            trace.append(task, init.n_features, step)
            model = step.model
            converged = tol > 0 and abs(step.log_likelihood - last) < tol
            last = step.log_likelihood
            if (callback is not None and callback(iteration, model)) or converged:
                break
    history = trace.freeze()
    return FitResult(_ordinary(model), history, len(history), converged)


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
        Draws the tasks; nothing else is random.
    sample_weight : Tensor of shape (N,), optional
        Non-negative; an integer weight acts as so many copies of the row.
    callback : callable, optional
        Called as callback(iteration, model) after every iteration, from 0; a true answer stops.
    chunk_size : int, optional
        Points per chunk; picked from a memory bound when not given.
    checkpoint : path-like, optional
        File that keeps the state; where it exists, the fit goes on from it.
    checkpoint_every : int, default 1
        Iterations between two writes.

    Returns
    -------
    result : FitResult

    Raises
    ------
    TypeError
        When dtypes or devices of data and start differ.
    ValueError
        When data are not finite or of another shape than the start, an option is out of range, or
        the checkpoint is of other settings.

    References
    ----------
    Y. Cong and S. Li, "Big Learning Expectation Maximization", AAAI 2024, arXiv 2312.11926.
    """
    _check(X, init, sample_weight, n_iter, covariance_floor, weight_smoothing, chunk_size)
    if n_local_steps < 1 or checkpoint_every < 1:
        raise ValueError(
            "n_local_steps and checkpoint_every must be at least 1, got "
            f"{n_local_steps} and {checkpoint_every}"
        )
    schedule = Schedule(
        n_features=init.n_features,
        seed=seed,
        p_joint=p_joint,
        p_marginal=p_marginal,
        beta=beta,
        transform=transform,
    )
    settings = repr((tuple(X.shape), str(X.dtype), init.n_components, n_local_steps, schedule,
                     covariance_floor, weight_smoothing))  # fmt: skip
    state = _Checkpoint(checkpoint, checkpoint_every, settings)
    model, trace = state.load(init)
    with torch.inference_mode():  # less overhead a call than no_grad, which small data feel
        points = Points.of(X, sample_weight=sample_weight, chunk_size=chunk_size)
        for iteration in range(len(trace.freeze()), n_iter):
            task = schedule.task(iteration, iteration / n_iter)
            step = run_task(
                task,
                points,
                model,
                n_local_steps=n_local_steps,
                covariance_floor=covariance_floor,
                weight_smoothing=weight_smoothing,
            )
            size = init.n_features if task.index is None else len(task.index)
            trace.append(task, size, step)
            model = step.model
            stop = callback is not None and callback(iteration, model)
            state.save(iteration, stop or iteration + 1 == n_iter, model, trace)
            if stop:
                break
    history = trace.freeze()
    return FitResult(_ordinary(model), history, len(history), converged=False)


def _ordinary(model: GMM) -> GMM:
    """Copy the parameters out of inference mode, whose tensors autograd refuses."""
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
    chunk_size: int | None,
) -> None:
    if not isinstance(X, Tensor) or X.dtype not in (torch.float32, torch.float64):
        kind = X.dtype if isinstance(X, Tensor) else type(X).__name__
        raise TypeError(f"X must be a float32 or float64 torch.Tensor, got {kind}")
    if X.ndim != 2 or X.shape[0] == 0:
        raise ValueError(f"X must have shape (N, D) with N >= 1, got {tuple(X.shape)}")
    if X.shape[1] != init.n_features:
        raise ValueError(f"X has {X.shape[1]} columns, the start {init.n_features}")
    if X.dtype != init.dtype or X.device != init.device:
        raise TypeError(
            f"X is {X.dtype} on {X.device}, the start {init.dtype} on {init.device}; convert one "
            "of them with .to(...)"
        )
    bad = (~torch.isfinite(X)).sum().item()
    if bad:
        raise ValueError(f"X holds {bad} values that are NaN or infinite; drop or impute them")
    if sample_weight is not None:
        if sample_weight.shape != (X.shape[0],) or sample_weight.device != X.device:
            raise ValueError(
                f"sample_weight must have shape ({X.shape[0]},) on {X.device}, got "
                f"{tuple(sample_weight.shape)} on {sample_weight.device}"
            )
        if not (torch.isfinite(sample_weight) & (sample_weight >= 0)).all():
            raise ValueError("sample_weight must be finite and non-negative")
        if sample_weight.sum() <= 0:
            raise ValueError("sample_weight must not be zero everywhere")
    if n_iter < 0:
        raise ValueError(f"n_iter must be non-negative, got {n_iter}")
    for name, value in (
        ("covariance_floor", covariance_floor),
        ("weight_smoothing", weight_smoothing),
    ):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and non-negative, got {value}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
