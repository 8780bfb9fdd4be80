"""The matching tasks of BigLearn-EM and the schedule that draws them.

Cong and Li, AAAI 2024, arXiv 2312.11926: joint, marginal and transformed marginal matching. Every
task is "transform, EM steps on some coordinates, transform back" around the one step in em.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from biglearn_core.em import EMStep, em_step
from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import haar_orthogonal
from biglearn_core.numerics.points import FitPoints
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.system.numbers import check_integer, check_real, check_seed

__all__ = ["TASK_KINDS", "Schedule", "Task", "run_task"]

TASK_KINDS = ("joint", "marginal", "transformed")


@dataclass(frozen=True)
class Task:
    """One matching task: which coordinates of which basis.

    Parameters
    ----------
    kind : {"joint", "marginal", "transformed"}
    index : int64 ndarray, optional
        The set T, increasing; None for all coordinates.
    transform : ndarray of shape (D, D), optional
        Orthogonal A; None for the identity.
    """

    kind: Literal["joint", "marginal", "transformed"]
    index: np.ndarray | None = None
    transform: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which task is drawn in which iteration.

    Parameters
    ----------
    n_features : int
        D.
    seed : int or sequence of int
        Each from 0 to 2⁶⁴ − 1.
    p_joint : float or callable, default 0.4
        Probability of a joint task. A callable gets the share of iterations done, in [0, 1).
    p_marginal : float or callable, default 0.1
        Probability of a marginal task; what is left goes to transformed marginals.
    beta : pair of float, default (5, 1)
        A marginal has max(1, int(D·b)) coordinates, b ~ Beta(beta).
    transform : {"orthogonal", "rotation"}, default "orthogonal"
        Haar measure on O(D) or SO(D).

    Raises
    ------
    TypeError
        When an argument is of the wrong kind.
    ValueError
        When one is out of range, NaN or infinite.

    Notes
    -----
    The task of an iteration depends on the seed and the iteration alone, so a resumed run needs no
    state of a random generator, and the draws are the same on every device.
    """

    n_features: int
    seed: int | tuple[int, ...]
    p_joint: float | Callable[[float], float] = 0.4
    p_marginal: float | Callable[[float], float] = 0.1
    beta: tuple[float, float] = (5.0, 1.0)
    transform: Literal["orthogonal", "rotation"] = "orthogonal"

    def __post_init__(self) -> None:
        check_integer("n_features", self.n_features, least=1)
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        if not isinstance(self.transform, str) or self.transform not in ("orthogonal", "rotation"):
            raise ValueError(
                f'transform must be "orthogonal" or "rotation", got {self.transform!r}'
            )
        if not isinstance(self.beta, tuple | list) or len(self.beta) != 2:
            raise ValueError(f"beta must be two positive numbers, got {self.beta!r}")
        beta = (check_real(f"beta[{i}]", b, positive=True) for i, b in enumerate(self.beta))
        object.__setattr__(self, "beta", tuple(beta))
        self.probabilities(0.0)

    def probabilities(self, progress: float) -> tuple[float, float]:
        """Probabilities of a joint and of a marginal task.

        Parameters
        ----------
        progress : float
            Share of iterations done.

        Returns
        -------
        p_joint, p_marginal : float

        Raises
        ------
        TypeError
            When one is no number.
        ValueError
            When they are no probabilities.
        """
        p_joint = _probability("p_joint", self.p_joint, progress)
        p_marginal = _probability("p_marginal", self.p_marginal, progress)
        if p_joint + p_marginal > 1 + 1e-12:
            raise ValueError(
                "p_joint and p_marginal must be non-negative with a sum of at most 1, got "
                f"{p_joint} and {p_marginal}"
            )
        return p_joint, p_marginal

    def outline(self, iteration: int, progress: float = 0.0) -> tuple[str, int]:
        """Kind and number of coordinates of an iteration's task, without drawing the rest.

        Parameters
        ----------
        iteration : int
        progress : float, default 0
            As in `task`.

        Returns
        -------
        kind : {"joint", "marginal", "transformed"}
        n_coordinates : int
            Size of T.
        """
        return self._begin(iteration, progress)[:2]

    def task(self, iteration: int, progress: float = 0.0) -> Task:
        """Draw the task of an iteration.

        Parameters
        ----------
        iteration : int
        progress : float, default 0
            Share of iterations done, for probabilities that change.

        Returns
        -------
        task : Task
        """
        kind, size, rng = self._begin(iteration, progress)
        if kind == "joint":
            return Task(kind)
        index = np.sort(rng.permutation(self.n_features)[:size])
        if kind == "marginal":
            return Task(kind, index)
        rotation = self.transform == "rotation"
        return Task(kind, index, haar_orthogonal(self.n_features, rng, rotation=rotation))

    def _begin(
        self, iteration: int, progress: float
    ) -> tuple[Literal["joint", "marginal", "transformed"], int, np.random.Generator]:
        """Kind and size of a task, and the generator that draws the rest of it."""
        seed = self.seed if isinstance(self.seed, tuple) else (self.seed,)
        rng = np.random.default_rng((*seed, iteration))
        p_joint, p_marginal = self.probabilities(progress)
        u = rng.random()
        if u < p_joint:
            return "joint", self.n_features, rng
        size = max(1, int(self.n_features * rng.beta(*self.beta)))
        return "marginal" if u < p_joint + p_marginal else "transformed", size, rng


def _probability(name: str, value: float | Callable[[float], float], progress: float) -> float:
    if callable(value):
        name, value = f"{name}({progress:g})", value(progress)
    return check_real(name, value, least=0)


def run_task(
    task: Task,
    points: FitPoints,
    model: GMM,
    *,
    n_local_steps: int,
    covariance_floor: float,
    weight_smoothing: float,
    prior: CovariancePrior | None = None,
) -> EMStep:
    """Match one law: transform, take EM steps on the task's coordinates, transform back.

    Parameters
    ----------
    task : Task
    points : FitPoints
        All coordinates of the data, in their own basis.
    model : GMM
    n_local_steps : int
        W, steps on the same coordinates.
    covariance_floor, weight_smoothing : float
        As in `em_step`.
    prior : CovariancePrior, optional
        Of joint tasks alone.

    Returns
    -------
    step : EMStep
        The last local step, its model in the basis of the data.
    """
    A = index = None
    if task.transform is not None:
        A = torch.as_tensor(task.transform, dtype=model.dtype, device=model.device)
    if task.index is not None and len(task.index) < model.n_features:
        index = torch.as_tensor(task.index, device=model.device)
    if index is None:
        A = None  # an orthogonal image on all coordinates has the same likelihood: a joint task

    view = points.project(index, A)
    if A is not None:
        model = model.rotate(A)
    for _ in range(n_local_steps):
        step = em_step(
            view,
            model,
            index=index,
            covariance_floor=covariance_floor,
            weight_smoothing=weight_smoothing,
            prior=prior,
        )
        model = step.model
    return step if A is None else replace(step, model=step.model.rotate(A.mT))
