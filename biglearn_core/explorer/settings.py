"""What two fits that are compared have in common, and their start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from biglearn_core.explorer.tables import Table
from biglearn_core.gmm import GMM
from biglearn_core.init import (
    kmeans_plusplus_start,
    kmeans_start,
    paper_start,
    random_points_start,
)
from biglearn_core.matching import Schedule
from biglearn_core.system.numbers import check_integer

__all__ = ["STARTS", "Settings", "start_of"]

STARTS = ("paper", "k-means++", "k-means", "random rows")

_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a comparison; the schedule's are the published ones.

    Parameters
    ----------
    n_components : int
        K.
    start : {"paper", "k-means++", "k-means", "random rows"}, default "paper"
        "paper" is N(0, I), blind to where the data lie (`biglearn_core.init`).
    seed : int, default 0
        Of the start and of the tasks.
    n_local_steps : int, default 5
        W, EM steps a task; Joint-EM takes as many joint steps meanwhile.
    p_joint, p_marginal : float, default 0.4 and 0.1
        P1, and P2 − P1.
    transform : {"orthogonal", "rotation"}, default "orthogonal"
    covariance_floor : float, default 1e-5
        ε, in the squared units that the fits see.
    weight_smoothing : float, optional
        α of BigLearn-EM, 1/√K when not given; Joint-EM has none.

    Raises
    ------
    TypeError, ValueError
        When one is of the wrong kind or out of range.
    """

    n_components: int
    start: Literal["paper", "k-means++", "k-means", "random rows"] = "paper"
    seed: int = 0
    n_local_steps: int = 5
    p_joint: float = 0.4
    p_marginal: float = 0.1
    transform: Literal["orthogonal", "rotation"] = "orthogonal"
    covariance_floor: float = 1e-5
    weight_smoothing: float | None = None

    def __post_init__(self) -> None:
        check_integer("n_components", self.n_components, least=1)
        check_integer("n_local_steps", self.n_local_steps, least=1)
        check_integer("seed", self.seed, least=0, most=_LARGEST_SEED)
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, got {self.start!r}")
        self.schedule(1)

    def schedule(self, n_features: int) -> Schedule:
        """Give the schedule of BigLearn-EM over D columns."""
        return Schedule(
            n_features=n_features,
            seed=self.seed,
            p_joint=self.p_joint,
            p_marginal=self.p_marginal,
            transform=self.transform,
        )

    @property
    def smoothing(self) -> float:
        """α of BigLearn-EM."""
        if self.weight_smoothing is None:
            return float(self.n_components**-0.5)
        return self.weight_smoothing


def start_of(table: Table, settings: Settings) -> GMM:
    """Draw the start of both fits.

    Parameters
    ----------
    table : Table
    settings : Settings

    Returns
    -------
    start : GMM
        In the units that the fits see. The published start where the table has one of K components.

    Raises
    ------
    ValueError
        When a start from the data is asked for more components than there are rows.
    """
    K, seed = settings.n_components, settings.seed
    if settings.start == "k-means++":
        return kmeans_plusplus_start(table.X, K, seed=seed)
    if settings.start == "k-means":
        return kmeans_start(table.X, K, seed=seed)
    if settings.start == "random rows":
        return random_points_start(table.X, K, seed=seed)
    if table.start is not None and table.start.n_components == K:
        return table.start
    generator = torch.Generator().manual_seed(seed)
    return paper_start(K, len(table.columns), generator=generator, dtype=torch.float64)
