"""The landscapes of the tasks over both means: surfaces, minima, and basins of attraction."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from biglearn_core.experiments.jobs import Job, run_missing
from biglearn_core.experiments.principle.minima import (
    basin,
    near_optimum,
    off_diagonal,
    refined_minima,
    square,
)
from biglearn_core.experiments.principle.tasks import (
    CONDITIONALS,
    JOINT,
    MARGINALS,
    Task,
    mean_kl,
    mean_kl_gradient,
    monte_carlo_kl,
)
from biglearn_core.experiments.store import Result, ResultStore

__all__ = ["GROUPS", "Landscape", "LandscapeConfig", "MonteCarlo", "run_landscapes"]

_ZERO = 1e-4
_MIDDLE, _OUTER = CONDITIONALS[24], CONDITIONALS[26]

# By name: the tasks whose mean is shown. Angles beyond 90° repeat those below it.
GROUPS: Mapping[str, tuple[Task, ...]] = MappingProxyType(
    {
        "joint": (JOINT,),
        **{task.name: (task,) for task in MARGINALS[1:7]},
        "mean of the 12 marginals": MARGINALS,
        _MIDDLE.name: (_MIDDLE,),
        _OUTER.name: (_OUTER,),
        "mean of the 49 conditionals": CONDITIONALS,
        "mean of all 61 tasks": MARGINALS + CONDITIONALS,
    }
)


@dataclass(frozen=True, kw_only=True)
class LandscapeConfig:
    """Settings of the landscapes.

    Parameters
    ----------
    groups : tuple of str
        Of `GROUPS`.
    side : int
        Points of the grid along each axis of [−2, 2]²; 100 as published.
    basin_side : int
        The same of the starts of the descents.
    monte_carlo_side, monte_carlo_samples : int
        Grid and samples of the published estimate, which is taken for the joint law.
    monte_carlo_seed : int
        888 as published.
    """

    groups: tuple[str, ...] = tuple(GROUPS)
    side: int = 201
    basin_side: int = 41
    monte_carlo_side: int = 100
    monte_carlo_samples: int = 2000
    monte_carlo_seed: int = 888


@dataclass(frozen=True)
class Landscape:
    """Mean reverse KL of a group of tasks over both means.

    Parameters
    ----------
    name : str
        Of the group.
    surface : ndarray of shape (side, side)
        In nats, on `minima.square(side)`.
    minima : ndarray of shape (M, 2)
        Local minima, the lowest first; none where the surface is flat.
    values : ndarray of shape (M,)
        There, in nats.
    basin : float or None
        Share of the starts off the diagonal that descend to an optimum; None where the task is
        below 1e-4 nats elsewhere, too: on a plateau, or along a valley.
    """

    name: str
    surface: np.ndarray
    minima: np.ndarray
    values: np.ndarray
    basin: float | None

    @property
    def spurious(self) -> np.ndarray:
        """Local minima above 1e-4 nats, of shape (n, 2): neither optima nor on a valley."""
        return self.minima[self.values > _ZERO]

    @property
    def spurious_value(self) -> float:
        """Least value at a spurious minimum, in nats; infinite where there is none."""
        return float(self.values[self.values > _ZERO].min(initial=np.inf))


@dataclass(frozen=True)
class MonteCarlo:
    """The published estimate of the joint landscape, beside the exact one.

    Parameters
    ----------
    estimate, exact : ndarray of shape (side, side)
        In nats, on `minima.square(side)`.
    """

    estimate: np.ndarray
    exact: np.ndarray

    @property
    def error(self) -> float:
        """Root of the mean squared deviation, in nats."""
        return float(np.sqrt(np.mean((self.estimate - self.exact) ** 2)))


def run_landscapes(
    config: LandscapeConfig, *, root: str | os.PathLike | None = None, n_jobs: int | None = None
) -> tuple[dict[str, Landscape], MonteCarlo]:
    """Compute every landscape, or load what is finished.

    Parameters
    ----------
    config : LandscapeConfig
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    n_jobs : int, optional
        Parallel processes; one per core when not given. Results do not depend on it.

    Returns
    -------
    landscapes : dict of str to Landscape
        By group.
    monte_carlo : MonteCarlo

    Raises
    ------
    ValueError
        When a group is unknown.
    """
    store = ResultStore("principle", config, module=__name__, root=root)
    numbers = [list(GROUPS).index(name) for name in config.groups]
    # The largest groups begin first.
    order = sorted(zip(config.groups, numbers, strict=True), key=lambda pair: -_size(pair[0]))
    jobs = [Job(store, f"landscape_{number}", (config, name)) for name, number in order]
    jobs.append(Job(store, "monte_carlo", (config, "")))
    *results, estimate = run_missing(_run_one, jobs, n_jobs=n_jobs, description="landscapes")
    found = {result.summary["name"]: _landscape(result) for result in results}
    return {name: found[name] for name in config.groups}, MonteCarlo(**estimate.arrays)


def _size(name: str) -> int:
    return len(GROUPS[name])


def _run_one(config: LandscapeConfig, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not name:
        return _monte_carlo(config)
    value, gradient = (partial(f, GROUPS[name]) for f in (mean_kl, mean_kl_gradient))
    surface = value(square(config.side))
    minima, values = refined_minima(value, partial(gradient, n_nodes=64), surface)
    elsewhere = surface[~near_optimum(square(config.side))].min()
    identified = float(elsewhere) > _ZERO
    share = basin(gradient, off_diagonal(config.basin_side)) if identified else None
    arrays = {"surface": surface, "minima": minima, "values": values}
    summary = {"name": name, "basin": share}
    return summary, {key: array.numpy() for key, array in arrays.items()}


def _monte_carlo(config: LandscapeConfig) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    means = square(config.monte_carlo_side)
    generator = torch.Generator().manual_seed(config.monte_carlo_seed)
    # Row by row, as all samples at once would take gigabytes.
    rows = [
        monte_carlo_kl(JOINT, row, n_samples=config.monte_carlo_samples, generator=generator)
        for row in means
    ]
    exact = mean_kl((JOINT,), means)
    return {}, {"estimate": torch.stack(rows).numpy(), "exact": exact.numpy()}


def _landscape(result: Result) -> Landscape:
    return Landscape(result.summary["name"], basin=result.summary["basin"], **result.arrays)
