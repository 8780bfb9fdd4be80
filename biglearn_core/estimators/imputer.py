"""Gaps filled in a pipeline, by the law of a mixture."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from biglearn_core.estimators.inner import allows_nan, unfitted_mixture
from biglearn_core.estimators.randomness import RandomState
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.estimators.rows import validate_rows

__all__ = ["MixtureImputer"]


class MixtureImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Transformer that fills missing values by what a Gaussian mixture says of the row.

    Parameters
    ----------
    mixture : mixture estimator, optional
        Fitted to the data, gaps included, as a clone; `BigLearnEM()`, one Gaussian, when not given.
    sample_posterior : bool, default False
        Whether to fill with a draw from the law of the missing values given the row's own, and not
        with their expectation, which varies less than the data do.
    random_state : int, RandomState instance or None, default None
        Where it is given, it sets that of `mixture`, and so the draws; with an integer every call
        of `transform` draws the same.

    Attributes
    ----------
    mixture_estimator_ : mixture estimator
        Its `impute(X, n_draws=)` fills a table several times.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    See Also
    --------
    BigLearnEM.impute : The same of a mixture that is fitted already.

    Notes
    -----
    The values are taken to be missing at random (Z. Ghahramani and M. Jordan, "Supervised learning
    from incomplete data via an EM approach", NIPS 1993). With one Gaussian the expectation is
    linear in the values that are there, as in scikit-learn's `IterativeImputer`; more components
    let it bend, and differ from group to group.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import MixtureImputer
    >>> x = np.linspace(0, 1, 200)
    >>> X = np.column_stack([x, 2 * x + 0.01 * np.sin(99 * x)])
    >>> imputer = MixtureImputer(random_state=0).fit(X)
    >>> imputer.transform([[0.5, np.nan]]).round(1)
    array([[0.5, 1. ]])
    """

    def __init__(
        self,
        mixture: Any = None,
        *,
        sample_posterior: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.mixture = mixture
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture to the values that are there.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing; every column has a value.
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row.

        Returns
        -------
        self : MixtureImputer

        Raises
        ------
        TypeError, ValueError
            As the mixture's `fit`, and when `mixture` or `sample_posterior` are out of range.
        """
        if not isinstance(self.sample_posterior, bool | np.bool_):
            raise TypeError(
                f"sample_posterior must be True or False, got {self.sample_posterior!r}"
            )
        with kept_on_error(self):
            mixture = unfitted_mixture(self.mixture, random_state=self.random_state)
            X = validate_rows(self, X, allow_nan=allows_nan(mixture), reset=True)
            self.mixture_estimator_ = mixture.fit(X, sample_weight=sample_weight)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Fill the gaps.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing.

        Returns
        -------
        filled : ndarray of shape (N, D)
            A frame after `set_output`. Values that are there are unchanged; a row without any
            becomes the mean of the mixture, or a draw from it.

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`, and when `X` is no table of these columns.
        """
        check_is_fitted(self)
        mixture = self.mixture_estimator_
        X = validate_rows(self, X, allow_nan=allows_nan(mixture), reset=False)
        filled: np.ndarray = (
            mixture.sample_conditional if self.sample_posterior else mixture.impute
        )(X)
        return filled

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = allows_nan(self.mixture)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
