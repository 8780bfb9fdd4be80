"""Rows and weights as users hand them in: validated, with a remedy in every message."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from biglearn_core.rows.tables import holds_float32, with_nan

# Share of its standard deviation that a target may lose by rounding.
_LOST = 1e-4

__all__ = [
    "WeightedMean",
    "check_values",
    "refuse_values",
    "validate_rows",
    "validate_targets",
    "validate_weights",
    "weighted_mean",
]


def validate_rows(
    estimator: BaseEstimator,
    X: ArrayLike,
    *,
    allow_nan: bool,
    reset: bool,
    least_rows: int | None = None,
) -> np.ndarray:
    """Check data as scikit-learn does, with a remedy in every message.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets, or is compared with, the number and names of features.
    X : array-like of shape (N, D)
    allow_nan : bool
    reset : bool
        Whether this is a fit.
    least_rows : int, optional
        Rows that there must be; two for a fit, else one, when not given.

    Returns
    -------
    X : float32 or float64 ndarray of shape (N, D)
        NaN where a value is missing, however the table writes it.

    Raises
    ------
    TypeError, ValueError
        As scikit-learn.
    """
    table = with_nan(X)
    try:
        rows: np.ndarray = validate_data(
            estimator,
            table,
            dtype=np.float32 if holds_float32(table) else [np.float64, np.float32],
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=(2 if reset else 1) if least_rows is None else least_rows,
            reset=reset,
        )
    except OverflowError as error:
        raise ValueError(f"Input X contains a number too large for float64: {error}") from error
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"{error}: encode categorical columns as numbers, or drop them") from error
    check_values(rows, allow_nan=allow_nan)
    return rows


def check_values(rows: np.ndarray, *, allow_nan: bool) -> None:
    """Refuse infinite values, and missing ones where there may be none.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
    allow_nan : bool

    Raises
    ------
    ValueError
        When there are some.
    """
    infinite, missing = np.isinf(rows).any(axis=1).sum(), np.isnan(rows).any(axis=1).sum()
    refuse_values(int(infinite), 0 if allow_nan else int(missing), rows.dtype)


def refuse_values(n_infinite: int, n_incomplete: int, dtype: np.dtype) -> None:
    """Raise an error where there are rows that cannot be taken.

    Parameters
    ----------
    n_infinite, n_incomplete : int
        Rows with an infinite value, and rows with a missing one where there may be none.
    dtype : numpy.dtype

    Raises
    ------
    ValueError
        Unless both are zero.
    """
    if n_infinite:
        raise ValueError(
            f"Input X contains infinity or a value too large for {dtype} in {n_infinite} rows; "
            "drop these rows, or replace the values by NaN, which BigLearnEM takes as missing"
        )
    if n_incomplete:
        raise ValueError(
            f"Input X contains NaN in {n_incomplete} rows; drop them, or use BigLearnEM with its "
            "default preset, which fits and imputes incomplete rows"
        )


def validate_weights(sample_weight: ArrayLike, n_rows: int, *, some: bool = True) -> np.ndarray:
    """Check sample weights.

    Parameters
    ----------
    sample_weight : array-like of shape (N,)
    n_rows : int
        N.
    some : bool, default True
        Whether one has to be positive.

    Returns
    -------
    sample_weight : float64 ndarray of shape (N,)

    Raises
    ------
    ValueError
        When weights are of another length, not finite, negative or all zero.
    """
    if np.ma.is_masked(sample_weight):
        raise ValueError(
            f"sample_weight has {np.ma.count_masked(sample_weight)} masked entries; give every row "
            "a weight, zero to leave it out"
        )
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_rows, sample_weight)
    try:
        weights = check_array(
            with_nan(sample_weight),
            dtype=np.float64,
            ensure_2d=False,
            ensure_min_samples=int(some),
            input_name="sample_weight",
        )
        if weights.shape != (n_rows,):
            raise ValueError(f"its shape is {weights.shape}, expected {(n_rows,)}")
    except (TypeError, ValueError) as error:
        raise type(error)(f"sample_weight must hold one finite number a row: {error}") from error
    if (weights < 0).any():
        raise ValueError(
            f"Negative values in data passed to sample_weight: {(weights < 0).sum()} of "
            f"{len(weights)}; weights count copies of a row and must be non-negative"
        )
    if some and not weights.any():
        raise ValueError("sample_weight is zero everywhere; give at least one row a weight")
    return weights


def validate_targets(estimator: BaseEstimator, y: ArrayLike, X: np.ndarray) -> np.ndarray:
    """Check the targets of a regression.

    Parameters
    ----------
    estimator : BaseEstimator
    y : array-like of shape (N,) or (N, m)
    X : ndarray of shape (N, D)

    Returns
    -------
    y : ndarray of shape (N,) or (N, m)
        In the dtype of `X`, or in that of `y` where this would round away what `y` varies by.

    Raises
    ------
    TypeError, ValueError
        When there is none, it is of another length, or not finite.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None"
        )
    targets: np.ndarray = check_array(
        with_nan(y),
        dtype=(np.float64, np.float32),
        ensure_2d=False,
        allow_nd=True,
        input_name="y",
    )
    rounded = targets.astype(X.dtype)
    lost = np.abs(rounded - targets).max(axis=0, initial=0)
    if (lost <= _LOST * targets.std(axis=0)).all():
        targets = rounded
    if targets.ndim not in (1, 2):
        raise ValueError(f"y must have one axis or two, (N,) or (N, m), got shape {targets.shape}")
    check_consistent_length(X, targets)
    return targets


class WeightedMean(NamedTuple):
    """A mean over rows.

    Parameters
    ----------
    mean : float
    total : float
        Number of rows that the weights stand for.
    """

    mean: float
    total: float


def weighted_mean(log_density: np.ndarray, sample_weight: ArrayLike | None) -> WeightedMean:
    """Take the mean of log-densities.

    Parameters
    ----------
    log_density : float64 ndarray of shape (N,)
        −inf counts only where it has weight.
    sample_weight : array-like of shape (N,), optional

    Returns
    -------
    mean : WeightedMean

    Raises
    ------
    ValueError
        As `validate_weights`.
    """
    if sample_weight is None:
        sample_weight = np.ones(len(log_density))
    weights = validate_weights(sample_weight, len(log_density))
    exponent = np.frexp(weights.max())[1]
    scaled = np.ldexp(weights, -exponent)  # so that no sum leaves float64
    total, some = scaled.sum(), scaled > 0
    with np.errstate(over="ignore"):
        n_rows = float(np.ldexp(total, exponent))
    return WeightedMean(float((scaled[some] / total) @ log_density[some]), n_rows)
