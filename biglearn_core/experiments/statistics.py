"""One number over several seeds: its mean and spread, and how they are written.

Deviations are those of a sample (ddof 1); intervals are Student's. Two methods are compared over
several sets of data by Wilcoxon's signed-rank test of the sets' mean differences (J. Demšar,
"Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006), which asks no more
of scores of different sets than that their differences can be ranked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, t as student, wilcoxon

__all__ = ["Sample", "rate_interval", "signed_rank"]


@dataclass(frozen=True)
class Sample:
    """Mean and spread of one number over seeds.

    Parameters
    ----------
    mean : float
    std : float or None
        Standard deviation with ddof 1; None for a single seed, and where it was not kept.
    n : int
        Seeds.
    """

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Sample:
        """Condense the values of at least one seed.

        Parameters
        ----------
        values : sequence of float

        Returns
        -------
        sample : Sample
        """
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), std, len(values))

    @classmethod
    def of_differences(
        cls, first: Mapping[int, float], second: Mapping[int, float]
    ) -> Sample | None:
        """Condense what one method has over another, seed by seed.

        Parameters
        ----------
        first, second : mapping of int to float
            By seed.

        Returns
        -------
        sample : Sample or None
            Of first − second on the seeds that both have; None where there are none.
        """
        gaps = [value - second[seed] for seed, value in first.items() if seed in second]
        return cls.of(gaps) if gaps else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Give the interval that holds the mean.

        Parameters
        ----------
        confidence : float, default 0.95

        Returns
        -------
        low, high : float
            None in their place where there is no deviation.
        """
        return self._around(confidence, math.sqrt(1 / self.n))

    def prediction_interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Give the interval that holds the value of one more seed.

        Parameters
        ----------
        confidence : float, default 0.95

        Returns
        -------
        low, high : float
            None in their place where there is no deviation.
        """
        return self._around(confidence, math.sqrt(1 + 1 / self.n))

    def with_std(self, digits: int = 3) -> str:
        """Write mean ± standard deviation; the mean alone where there is no deviation.

        Parameters
        ----------
        digits : int, default 3
            Decimals.

        Returns
        -------
        text : str
        """
        mean = f"{self.mean:.{digits}f}"
        return mean if self.std is None else f"{mean} ± {self.std:.{digits}f}"

    def with_interval(self, digits: int = 3, *, sign: str = "") -> str:
        """Write the mean and in brackets its 95% interval; "(one seed)" where there is one.

        Parameters
        ----------
        digits : int, default 3
            Decimals.
        sign : {"", "+"}
            "+" writes the sign of positive numbers, too.

        Returns
        -------
        text : str
        """
        shown = [f"{x:{sign}.{digits}f}" for x in (self.mean, *(self.interval() or ()))]
        if len(shown) == 1:
            return f"{shown[0]} (one seed)" if self.n == 1 else shown[0]
        return f"{shown[0]} [{shown[1]}, {shown[2]}]"

    def _around(self, confidence: float, factor: float) -> tuple[float, float] | None:
        if self.std is None:
            return None
        half = student.ppf((1 + confidence) / 2, self.n - 1) * self.std * factor
        return float(self.mean - half), float(self.mean + half)


def rate_interval(hits: int, n: int) -> tuple[float, float]:
    """Give the exact binomial 95% interval of a rate.

    Parameters
    ----------
    hits, n : int
        So many of n.

    Returns
    -------
    low, high : float
    """
    interval = binomtest(hits, n).proportion_ci()
    return float(interval.low), float(interval.high)


def signed_rank(differences: Sequence[float] | np.ndarray) -> float:
    """Test whether differences are as often above zero as below, and by as much.

    Parameters
    ----------
    differences : sequence of float
        One a seed, or one a set of data.

    Returns
    -------
    p : float
        Of Wilcoxon's signed-rank test, exact and two-sided; 1 where there is no difference. Of n
        differences it is at least 2^(1−n).
    """
    nonzero = [x for x in differences if x != 0]
    if not nonzero:
        return 1.0
    return float(wilcoxon(nonzero, method="exact" if len(nonzero) <= 50 else "approx").pvalue)
