"""Classification by one mixture a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags, assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from biglearn_core.estimators.inner import allows_nan, unfitted_mixture
from biglearn_core.estimators.randomness import RandomState
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.estimators.rows import validate_rows, validate_weights
from biglearn_core.rows.tables import with_nan

__all__ = ["MixtureClassifier"]

# What rounding may leave of the sum of probabilities.
_ROUNDING = 1e-6


class MixtureClassifier(ClassifierMixin, BaseEstimator):
    """Bayes' rule with a Gaussian mixture for every class.

    With one component a class it is quadratic discriminant analysis; with more, mixture
    discriminant analysis with a covariance for each component. Features that are missing are
    integrated out.

    Parameters
    ----------
    mixture : mixture estimator, optional
        Fitted to the rows of every class, as clones; `BigLearnEM()` when not given.
    priors : array-like of shape (C,) or mapping, optional
        Probabilities of the classes, in the order of `classes_`, or by class: a dict, or a pandas
        Series that the classes index, such as `y.value_counts(normalize=True)`. Their shares of the
        rows, by weight, when not given.
    random_state : int, RandomState instance or None, default None
        Where it is given, it sets that of `mixture`.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    priors_ : ndarray of shape (C,)
    mixture_estimators_ : list of C mixture estimators
        In the order of `classes_`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    Notes
    -----
    A feature that does not vary within a class has a density there that the covariance floor sets,
    in units of what the class itself tells: the mixture warns of it. Drop such features.

    References
    ----------
    C. Fraley and A. E. Raftery, "Model-based clustering, discriminant analysis, and density
    estimation", JASA 97, 2002.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from biglearn_core import MixtureClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> MixtureClassifier(random_state=0).fit(X, y).score(X, y)
    0.98
    """

    def __init__(
        self,
        mixture: Any = None,
        *,
        priors: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.mixture = mixture
        self.priors = priors
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit a mixture to the rows of every class.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing, if the mixture takes that.
        y : array-like of shape (N,)
            Classes.
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row, and a row of weight
            zero is absent.

        Returns
        -------
        self : MixtureClassifier

        Raises
        ------
        ValueError
            When `y` holds no classes, a class has too few rows for its mixture, `priors` are no
            probabilities of the classes, and as the mixture's `fit`.
        TypeError
            When `mixture` is no mixture estimator.
        """
        with kept_on_error(self):
            mixture = unfitted_mixture(self.mixture, random_state=self.random_state)
            X = validate_rows(self, X, allow_nan=allows_nan(mixture), reset=True)
            labels = _validate_labels(self, y, X)
            weights = validate_weights(1.0 if sample_weight is None else sample_weight, len(X))
            X, labels, weights = X[weights > 0], labels[weights > 0], weights[weights > 0]
            self.classes_, z = np.unique(labels, return_inverse=True)
            relative = weights / weights.max()
            mass = np.bincount(z, weights=relative)
            self.priors_ = _check_priors(self.priors, self.classes_, mass)
            self.mixture_estimators_ = []
            for c, name in enumerate(self.classes_):
                rows = np.flatnonzero(z == c)
                # A row and its weight are as two rows of half the weight, which a fit needs.
                rows = np.repeat(rows, 2) if len(rows) == 1 else rows
                kept = None if sample_weight is None else weights[rows]
                try:
                    fitted = clone(mixture).fit(X[rows], sample_weight=kept)
                except ValueError as error:
                    raise ValueError(
                        f"class {name} with {(z == c).sum()} rows: {error}. Or drop the class, or "
                        "join it with another"
                    ) from error
                self.mixture_estimators_.append(fitted)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Most probable class of every row.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        labels : ndarray of shape (N,)
        """
        most_probable = self._joint(X).argmax(axis=1)
        return self.classes_[most_probable]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Posterior probability of every class.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        probabilities : float64 ndarray of shape (N, C)
        """
        return softmax(self._joint(X), axis=1)

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Log posterior probability of every class.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        log_probabilities : float64 ndarray of shape (N, C)
            In nats.
        """
        return log_softmax(self._joint(X), axis=1)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Log of prior times density of every class; of two classes, the difference.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        decision : float64 ndarray of shape (N, C), or (N,) where there are two classes
            In nats; of two, positive for the second of `classes_`.
        """
        joint = self._joint(X)
        return joint[:, 1] - joint[:, 0] if len(self.classes_) == 2 else joint

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log density of every row, whatever its class.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        log_density : float64 ndarray of shape (N,)
            In nats.
        """
        return logsumexp(self._joint(X), axis=1)

    def _joint(self, X: ArrayLike) -> np.ndarray:
        """Log of prior times density, shape (N, C); in float64, whatever the rows are in."""
        check_is_fitted(self)
        allow_nan = allows_nan(self.mixture_estimators_[0])
        X = validate_rows(self, X, allow_nan=allow_nan, reset=False)
        rows = X.astype(np.float64)
        with np.errstate(divide="ignore"):
            log_priors = np.log(self.priors_)
        columns = [mixture.score_samples(rows) for mixture in self.mixture_estimators_]
        joint = np.column_stack(columns) + log_priors
        far = np.isneginf(joint).all(axis=1)
        if far.any():
            raise ValueError(
                f"{far.sum()} of {len(X)} rows, row {far.argmax()} the first, lie so far out that "
                "the density of every class is zero in float64; drop them"
            )
        return joint

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = allows_nan(self.mixture)
        return tags


def _validate_labels(estimator: MixtureClassifier, y: ArrayLike, X: np.ndarray) -> np.ndarray:
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None"
        )
    if np.ma.is_masked(y):
        raise ValueError(f"y is masked in {np.ma.count_masked(y)} rows; drop these rows")
    labels: np.ndarray = column_or_1d(y, warn=True)
    check_consistent_length(X, labels)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def _check_priors(priors: Any, classes: np.ndarray, mass: np.ndarray) -> np.ndarray:
    if priors is None:
        return mass / mass.sum()
    given = np.asarray(with_nan(_in_order(priors, classes.tolist())), dtype=np.float64)
    if given.shape != mass.shape:
        raise ValueError(
            f"priors have shape {given.shape}, but there are {len(mass)} classes: give one "
            "probability a class, in the order of the sorted classes"
        )
    if not ((given >= 0).all() and abs(given.sum() - 1) <= _ROUNDING):
        raise ValueError(
            f"priors must be non-negative and sum to one, got {given.tolist()}; divide them by "
            "their sum"
        )
    return given / given.sum()


def _in_order(priors: Any, classes: list) -> Any:
    """Sort by class what names the classes; a Series that only counts is taken as it stands."""
    is_series = hasattr(priors, "index") and hasattr(priors, "to_dict")
    if not (is_series or isinstance(priors, Mapping)):
        return priors
    named = priors.to_dict() if is_series else dict(priors)
    if set(named) == set(classes):
        return [named[name] for name in classes]
    if is_series and list(named) == list(range(len(named))):
        return priors
    raise ValueError(
        f"priors are given for {list(named)}, but the classes are {classes}: name these, or give "
        "the probabilities in their order"
    )
