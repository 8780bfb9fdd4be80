"""The settings that every experiment with BigLearn-EM has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from biglearn_core.fit import fit_biglearn_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.matching import Schedule

__all__ = ["ScheduleConfig"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Seeds and schedule; the defaults are the published ones, where all runs share them.

    Parameters
    ----------
    seeds : tuple of int
        One start and schedule each, and what else the experiment draws.
    n_local_steps : int
        W, EM steps in each task.
    p_joint, p_marginal : float
        Probabilities of the tasks: P1 and P2 − P1 in the paper's code.
    beta : pair of float
        Law of the size of a marginal.
    transform : {"orthogonal", "rotation"}
    covariance_floor : float
        ε.

    Raises
    ------
    TypeError, ValueError
        When the schedule has no probabilities or no law.
    """

    seeds: tuple[int, ...] = ()
    n_local_steps: int = 5
    p_joint: float = 0.4
    p_marginal: float = 0.1
    beta: tuple[float, float] = (5.0, 1.0)
    transform: str = "orthogonal"
    covariance_floor: float = 0.0

    def __post_init__(self) -> None:
        self.schedule(1, seed=0)

    def schedule(self, n_features: int, *, seed: int) -> Schedule:
        """Give the tasks of a seed.

        Parameters
        ----------
        n_features : int
            D.
        seed : int

        Returns
        -------
        schedule : Schedule
        """
        return Schedule(n_features=n_features, seed=seed, **self._law())

    def fit(self, X: Tensor, start: GMM, **options: Any) -> FitResult:
        """Run BigLearn-EM under this schedule.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        start : GMM
        **options
            What `fit_biglearn_em` takes besides: iterations, smoothing, seed and others.

        Returns
        -------
        result : FitResult
        """
        return fit_biglearn_em(
            X,
            start,
            n_local_steps=self.n_local_steps,
            covariance_floor=self.covariance_floor,
            **self._law(),
            **options,
        )

    def _law(self) -> dict[str, Any]:
        names = ("p_joint", "p_marginal", "beta", "transform")
        return {name: getattr(self, name) for name in names}
