"""Outliers: rows where a mixture has little density."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from biglearn_core.estimators.inner import allows_nan, unfitted_mixture
from biglearn_core.estimators.randomness import RandomState
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.estimators.rows import validate_rows, validate_weights
from biglearn_core.system.numbers import check_real

__all__ = ["MixtureOutlierDetector"]

# Share of the mixture's own rows that contamination="auto" calls outliers.
_ALPHA = 0.025

# Rows drawn from the mixture, of which that share sets the level: its error is 4 % of it.
_N_DRAWS = 20_000

# Of them, those that set the level for rows with the same gaps: each pattern costs an evaluation.
_N_DRAWS_WITH_GAPS = 5_000

# Rounding of log densities and of sums of weights.
_ROUNDING = 1e-9


class MixtureOutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier and novelty detection by the density of a Gaussian mixture.

    Parameters
    ----------
    mixture : mixture estimator, optional
        Fitted to the data, as a clone; `BigLearnEM()` when not given.
    contamination : "auto" or float, default "auto"
        "auto" calls a row an outlier where the density is below the level that holds 97.5 % of the
        probability of the fitted mixture: of rows from the mixture itself one in forty. A
        number in (0, 0.5] is the share of the training rows, by weight, that at least are called
        outliers: the fewest of least density.
    random_state : int, RandomState instance or None, default None
        Where it is given, it sets that of `mixture`, and so the rows drawn for the level.

    Attributes
    ----------
    mixture_estimator_ : mixture estimator
    offset_ : float
        Log density below which a row is an outlier: `decision_function` is `score_samples` less
        this, for rows without gaps.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    Notes
    -----
    The level of "auto" is the 0.025-quantile of the log densities of 20000 rows drawn from the
    mixture, the region above it the smallest that holds 97.5 % (R. J. Hyndman, "Computing and
    graphing highest density regions", The American Statistician 50, 1996). For one Gaussian that is
    the customary cut-off of distances, the root of the 97.5 % point of χ² (P. J. Rousseeuw and
    B. C. van Zomeren, "Unmasking multivariate outliers and leverage points", JASA 85, 1990).

    The log density of a row with gaps is that of the values that it has, which cannot be held
    against the density of a whole row: its unit is another. Such a row is compared with the level
    of the same values of the drawn rows, and `decision_function` tells how far it lies above or
    below that, as for a whole row. A row without any value is no outlier.

    The mixture is fitted to all rows, outliers among them. Where they are many or lie together, a
    component may take them in: choose few components.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import MixtureOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> MixtureOutlierDetector(random_state=0).fit(X).predict([[0, 0], [9, 9]])
    array([ 1, -1])
    """

    def __init__(
        self,
        mixture: Any = None,
        *,
        contamination: float | Literal["auto"] = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.mixture = mixture
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture, and set the level.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing, if the mixture takes that.
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row.

        Returns
        -------
        self : MixtureOutlierDetector

        Raises
        ------
        TypeError, ValueError
            As the mixture's `fit`, and when `contamination` or `mixture` are out of range.
        """
        with kept_on_error(self):
            share = _check_contamination(self.contamination)
            mixture = unfitted_mixture(self.mixture, random_state=self.random_state)
            X = validate_rows(self, X, allow_nan=allows_nan(mixture), reset=True)
            self.mixture_estimator_ = mixture.fit(X, sample_weight=sample_weight)
            self._draws, _ = mixture.sample(_N_DRAWS)
            self._level = self._level_of(np.ones(X.shape[1], dtype=bool))
            margin = 0.0
            if share is not None:
                weights = validate_weights(1.0 if sample_weight is None else sample_weight, len(X))
                # A row without any value is no outlier, and counts in the total alone.
                known = ~np.isnan(X).all(axis=1)
                wanted = share * weights.sum()
                of_known = wanted / max(weights[known].sum(), wanted)
                margin = _threshold(self._margins(X[known]), weights[known], of_known)
            self.offset_ = self._level + margin
        return self

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log density of every row; of its observed features where some are missing.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        log_density : ndarray of shape (N,)
            In nats; the lower, the more abnormal.
        """
        X = self._validated(X)
        return self.mixture_estimator_.score_samples(X)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Log density beyond the level below which a row is an outlier.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        decision : float64 ndarray of shape (N,)
            In nats; negative for outliers.
        """
        X = self._validated(X)
        decision = self._margins(X) - (self.offset_ - self._level)
        decision[np.isnan(X).all(axis=1)] = 0
        return decision

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Tell outliers from inliers.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        labels : int64 ndarray of shape (N,)
            −1 for an outlier, 1 for an inlier.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _validated(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        allow_nan = allows_nan(self.mixture_estimator_)
        return validate_rows(self, X, allow_nan=allow_nan, reset=False)

    def _margins(self, X: np.ndarray) -> np.ndarray:
        """Log density beyond the 0.025-quantile of rows of the mixture with the same gaps."""
        known, pattern = np.unique(~np.isnan(X), axis=0, return_inverse=True)
        levels = np.array([self._level if f.all() else self._level_of(f) for f in known])
        log_density = self.mixture_estimator_.score_samples(X).astype(np.float64)
        return log_density - levels[pattern.ravel()]

    def _level_of(self, known: np.ndarray) -> float:
        if not known.any():
            return 0.0
        if known.all():
            log_density = self.mixture_estimator_.score_samples(self._draws)
        else:
            marginal = self.mixture_estimator_.mixture_.marginal(known)
            log_density = marginal.log_prob(self._draws[:_N_DRAWS_WITH_GAPS, known])
        return float(np.quantile(log_density.astype(np.float64), _ALPHA))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = allows_nan(self.mixture)
        return tags


def _check_contamination(contamination: Any) -> float | None:
    """Share of outliers; None for "auto"."""
    if isinstance(contamination, str) and contamination == "auto":
        return None
    try:
        return check_real("contamination", contamination, positive=True, most=0.5)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{error}; give a share of the rows, or "auto"') from error


def _threshold(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Halfway between the fewest least values that have this share of the weight and the next."""
    values, weights = values[weights > 0], weights[weights > 0]
    order = np.argsort(values, kind="stable")
    values, cumulated = values[order], np.cumsum(weights[order] / weights.max())
    # Equal rows stand or fall together, though their values may differ by rounding.
    ends = np.append(np.diff(values) > _ROUNDING * (1 + np.abs(values[1:])), False)
    enough = cumulated >= share * cumulated[-1] * (1 - _ROUNDING)
    ends = np.flatnonzero(ends)
    if len(ends) == 0:
        return float(values[0] - 1)  # below all, of which none stands out
    reaching = ends[enough[ends]]
    last = reaching[0] if len(reaching) else ends[-1]
    return float(values[last] / 2 + values[last + 1] / 2)
