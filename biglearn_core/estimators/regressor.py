"""Regression by one mixture of features and targets."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from biglearn_core.estimators.conditional import ConditionalLaw
from biglearn_core.estimators.inner import allows_nan, unfitted_mixture
from biglearn_core.estimators.randomness import RandomState
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.estimators.rows import validate_rows, validate_targets

__all__ = ["MixtureRegressor"]


class MixtureRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Regression by a Gaussian mixture of features and targets together.

    One mixture is fitted to the rows (x, y); what is told of y is its law given x, a mixture again:
    its mean is piecewise linear and smooth between the pieces, its spread and shape go with x. With
    one component it is linear regression. Features that are missing are integrated out.

    Parameters
    ----------
    mixture : mixture estimator, optional
        Fitted to features and targets, as a clone; `BigLearnEM()` when not given.
    random_state : int, RandomState instance or None, default None
        Where it is given, it sets that of `mixture`.

    Attributes
    ----------
    mixture_estimator_ : mixture estimator
        Fitted to rows (x, y): first the features, then the targets.
    n_outputs_ : int
        Number of targets.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    References
    ----------
    Z. Ghahramani and M. I. Jordan, "Supervised learning from incomplete data via an EM approach",
    NIPS 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import BigLearnEM, MixtureRegressor
    >>> x = np.linspace(-1, 1, 400)[:, None]
    >>> y = np.abs(x[:, 0]) + 0.05 * np.random.default_rng(0).normal(size=400)
    >>> model = MixtureRegressor(BigLearnEM(4), random_state=0).fit(x, y)
    >>> mean, std = model.predict([[-0.5], [0.5]], return_std=True)
    >>> mean.round(1)
    array([0.5, 0.5])
    """

    def __init__(self, mixture: Any = None, *, random_state: RandomState = None) -> None:
        self.mixture = mixture
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture of features and targets.

        Parameters
        ----------
        X : array-like of shape (N, D)
            float32 and float64 are kept, everything else becomes float64. NaN where missing, if the
            mixture takes that.
        y : array-like of shape (N,) or (N, m)
            Finite.
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row.

        Returns
        -------
        self : MixtureRegressor

        Raises
        ------
        ValueError
            As the mixture's `fit`, and when `y` is not finite or not of the length of `X`.
        TypeError
            When `mixture` is no mixture estimator.
        """
        with kept_on_error(self):
            mixture = unfitted_mixture(self.mixture, random_state=self.random_state)
            X = validate_rows(self, X, allow_nan=allows_nan(mixture), reset=True)
            targets = validate_targets(self, y, X)
            self._flat = targets.ndim == 1
            # Targets that float32 would have rounded away are told in float64.
            self._dtype_of_targets = targets.dtype
            targets = targets.reshape(len(X), -1)
            self.n_outputs_ = targets.shape[1]
            rows = np.column_stack([X, targets])
            self.mixture_estimator_ = mixture.fit(rows, sample_weight=sample_weight)
        return self

    def predict(
        self, X: ArrayLike, return_std: bool = False, return_cov: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the targets by their expectation given the features.

        Parameters
        ----------
        X : array-like of shape (N, D)
        return_std : bool, default False
            Return standard deviations of the targets, too.
        return_cov : bool, default False
            Return covariances between the targets of a row, too. Rows are independent of each
            other here, so that these are not the covariances between rows of a Gaussian process.

        Returns
        -------
        mean : ndarray of shape (N,) or (N, m)
            As `y` was.
        std : ndarray of shape (N,) or (N, m)
            With `return_std`; of a new observation, its noise included.
        cov : ndarray of shape (N, m, m)
            With `return_cov`.

        Raises
        ------
        RuntimeError
            When both are asked for.
        """
        if return_std and return_cov:
            raise RuntimeError(
                "return_std and return_cov cannot both be asked for: the deviations are the roots "
                "of the diagonals of the covariances"
            )
        law = self.condition(X)
        mean = self._as_targets(law.means)
        if return_std:
            return mean, self._as_targets(law.standard_deviations)
        if return_cov:
            return mean, law.covariances.copy()
        return mean

    def predict_quantiles(self, X: ArrayLike, quantiles: ArrayLike) -> np.ndarray:
        """Quantiles of every target given the features.

        Parameters
        ----------
        X : array-like of shape (N, D)
        quantiles : float or array-like of shape (Q,)
            Above zero and below one.

        Returns
        -------
        y : ndarray of shape (N,) or (N, m), with a last axis of length Q where a sequence was given
        """
        values = self.condition(X).quantile(quantiles)
        if np.ndim(quantiles) == 0:
            return self._as_targets(values)
        return self._as_targets(np.moveaxis(values, 0, -1))

    def sample_y(
        self, X: ArrayLike, n_samples: int = 1, random_state: RandomState = 0
    ) -> np.ndarray:
        """Draw targets from their law given the features.

        Parameters
        ----------
        X : array-like of shape (N, D)
        n_samples : int, default 1
            Draws for each row.
        random_state : int, RandomState instance or None, default 0

        Returns
        -------
        y : ndarray of shape (N, n_samples) or (N, m, n_samples)
        """
        draws = self.condition(X).sample(n_samples, random_state)
        return self._as_targets(np.moveaxis(draws, 0, -1))

    def condition(self, X: ArrayLike) -> ConditionalLaw:
        """Law of the targets given the features, for everything else that may be asked of it.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        law : ConditionalLaw
            Over m columns, the targets.
        """
        check_is_fitted(self)
        X = validate_rows(self, X, allow_nan=allows_nan(self.mixture_estimator_), reset=False)
        X = X.astype(np.result_type(X, self._dtype_of_targets), copy=False)
        return self.mixture_estimator_.condition(np.arange(X.shape[1]), X)

    def _as_targets(self, values: np.ndarray) -> np.ndarray:
        """Drop the axis of the targets, the second, where `y` had none; and let it be written."""
        return (values[:, 0] if self._flat else values).copy()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = allows_nan(self.mixture)
        return tags
