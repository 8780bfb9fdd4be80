"""Gradient descent on one marginal task after another, and how long it stays on each."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biglearn_core.experiments.jobs import Job, run_missing
from biglearn_core.experiments.principle.minima import near_optimum, off_diagonal
from biglearn_core.experiments.principle.tasks import marginal_gradient
from biglearn_core.experiments.store import Result, ResultStore

__all__ = ["JOINT_ONLY", "DwellConfig", "DwellRun", "descend", "run_dwelling"]

JOINT_ONLY = 0

_NODES = 32


@dataclass(frozen=True, kw_only=True)
class DwellConfig:
    """Settings of the descents; all ours, as the authors train nothing on the two Gaussians.

    Parameters
    ----------
    seeds : tuple of int
        A sequence of angles each, the same for all starts.
    dwells : tuple of int
        Steps on one angle before the next is drawn, uniform in [0°, 180°).
    n_steps : int
        Steps of every descent.
    learning_rate : float
    side : int
        Starts along each axis of [−2, 2]².
    shown : tuple of tuple of float
        Starts whose paths under the first seed are kept, μ₁ and μ₂.
    every : int
        Steps between two kept points of a path.

    Raises
    ------
    ValueError
        When a dwell is below 1.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    dwells: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 400)
    n_steps: int = 3000
    learning_rate: float = 0.1
    side: int = 21
    shown: tuple[tuple[float, float], ...] = ((-1.8, -0.4), (0.6, 1.8), (1.0, 1.4))
    every: int = 5

    def __post_init__(self) -> None:
        if min(self.dwells, default=1) < 1:
            raise ValueError(f"a dwell is at least 1 step, got {self.dwells}")


@dataclass(frozen=True)
class DwellRun:
    """Descents that stayed equally long on every task.

    Parameters
    ----------
    dwell : int
        Steps on one angle; `JOINT_ONLY` where the joint law was the only task.
    seeds : tuple of int
        None where the joint law was the only task.
    success : ndarray of shape (max(len(seeds), 1),)
        Share of the starts off the diagonal that end within 0.1 of an optimum.
    paths : ndarray of shape (T, n_shown, 2)
        Of the starts that are shown.
    """

    dwell: int
    seeds: tuple[int, ...]
    success: np.ndarray
    paths: np.ndarray


def run_dwelling(
    config: DwellConfig, *, root: str | os.PathLike | None = None, n_jobs: int | None = None
) -> list[DwellRun]:
    """Descend under every dwell, or load what is finished.

    Parameters
    ----------
    config : DwellConfig
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    n_jobs : int, optional
        Parallel processes; one per core when not given. Results do not depend on it.

    Returns
    -------
    runs : list of DwellRun
        The joint law alone, then the dwells in their order.
    """
    store = ResultStore("principle", config, module=__name__, root=root)
    text = "-".join(map(str, config.seeds))
    jobs = [
        Job(store, f"dwell_{dwell}_seeds_{text}", (config, dwell))
        for dwell in (JOINT_ONLY, *config.dwells)
    ]
    results = run_missing(_run_one, jobs, n_jobs=n_jobs, description="two Gaussians, dwells")
    return [_dwell_run(result) for result in results]


def descend(
    starts: Tensor,
    seeds: Sequence[int],
    *,
    dwell: int,
    n_steps: int = 3000,
    learning_rate: float = 0.1,
    every: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Descend from every start, under every sequence of angles.

    Parameters
    ----------
    starts : Tensor of shape (N, 2)
    seeds : sequence of int
        Of the angles; not used for the joint law alone.
    dwell : int
        Steps on one angle, or `JOINT_ONLY`.
    n_steps : int, default 3000
    learning_rate : float, default 0.1
    every : int, optional
        Steps between two points of the path; none are kept when not given.

    Returns
    -------
    means : Tensor of shape (S, N, 2)
        After the last step; S is 1 for the joint law.
    path : Tensor of shape (T, S, N, 2)
        From the starts on.
    """
    if dwell == JOINT_ONLY:
        cosines = torch.ones(1, 1, 1, dtype=torch.float64)
    else:
        n_angles = -(-n_steps // dwell)
        angles = [np.random.default_rng(seed).uniform(0, math.pi, n_angles) for seed in seeds]
        cosines = torch.from_numpy(np.stack(angles, 1)).cos()[..., None]
    means = starts.expand(cosines.shape[1], *starts.shape)
    path = []
    for step in range(n_steps):
        if every and step % every == 0:
            path.append(means)
        own = cosines[step // dwell if dwell else 0]
        means = means - learning_rate * marginal_gradient(own, means, n_nodes=_NODES)
    return means, torch.stack([*path, means])


def _run_one(config: DwellConfig, dwell: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    options = {
        "dwell": dwell,
        "n_steps": config.n_steps,
        "learning_rate": config.learning_rate,
    }
    means, _ = descend(off_diagonal(config.side), config.seeds, **options)
    shown = torch.tensor(config.shown, dtype=torch.float64).reshape(-1, 2)
    _, path = descend(shown, config.seeds[:1], every=config.every, **options)
    summary = {"dwell": dwell, "seeds": list(config.seeds) if dwell else []}
    success = near_optimum(means).double().mean(-1)
    return summary, {"success": success.numpy(), "paths": path[:, 0].numpy()}


def _dwell_run(result: Result) -> DwellRun:
    summary, arrays = result.summary, result.arrays
    return DwellRun(summary["dwell"], tuple(summary["seeds"]), arrays["success"], arrays["paths"])
