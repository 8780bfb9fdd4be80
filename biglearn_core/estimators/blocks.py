"""Rows that an estimator is given, in blocks: checked as they come, and never all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from biglearn_core.estimators.rows import check_values, validate_rows
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.opening import is_source, open_rows
from biglearn_core.rows.source import RowSource

__all__ = [
    "HELD_NUMBERS",
    "QueryBlock",
    "as_source",
    "check_features",
    "is_large",
    "query_blocks",
    "query_source",
]

# Numbers up to which data are held in memory, in the several copies that this takes.
HELD_NUMBERS = 2**23

# Numbers of the answers to a block, at most.
_ANSWERED = 2**21


class QueryBlock(NamedTuple):
    """Rows that are asked about.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
    weights : ndarray of shape (n,) or None
        Of a source that has some.
    first : int
        Position of the first of them.
    """

    rows: np.ndarray
    weights: np.ndarray | None
    first: int


def is_large(X: Any) -> bool:
    """Whether an array of numbers is not to be held in memory once more."""
    return (
        isinstance(X, np.ndarray)
        and not isinstance(X, np.ma.MaskedArray)
        and X.ndim == 2
        and X.dtype.kind in "fiub"
        and X.size > HELD_NUMBERS
    )


def as_source(estimator: BaseEstimator, X: Any, *, reset: bool) -> RowSource | None:
    """Open rows that are read in blocks.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets, or is compared with, the number and names of features.
    X : array-like or source
    reset : bool
        Whether this is a fit.

    Returns
    -------
    source : RowSource or None
        None for what is held in memory.

    Raises
    ------
    TypeError, ValueError, OSError
        As `open_rows`; ValueError when the features are not those of the fit.
    """
    if is_source(X):
        source = open_rows(X)
    elif is_large(X):
        source = ArrayRows(X)
    else:
        return None
    check_features(estimator, source, reset=reset)
    return source


def check_features(estimator: BaseEstimator, source: RowSource, *, reset: bool) -> None:
    """Set or compare number and names of features, as scikit-learn does for arrays.

    Parameters
    ----------
    estimator : BaseEstimator
    source : RowSource
    reset : bool

    Raises
    ------
    ValueError
        When they are not those of the fit.
    """
    D, names, name = source.n_features, source.feature_names, type(estimator).__name__
    if reset:
        estimator.n_features_in_ = D
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        return
    if estimator.n_features_in_ != D:
        raise ValueError(
            f"X has {D} features, but {name} is expecting {estimator.n_features_in_} features as "
            "input"
        )
    known = getattr(estimator, "feature_names_in_", None)
    if names is not None and known is not None and list(names) != list(known):
        raise ValueError(
            f"the features of {source.label} are {', '.join(names)}, those of the fit "
            f"{', '.join(known)}: open the same columns in the same order"
        )


def query_source(estimator: BaseEstimator, X: Any, *, allow_nan: bool) -> RowSource:
    """Open rows that a fitted estimator is asked about.

    Parameters
    ----------
    estimator : BaseEstimator
    X : array-like or source
    allow_nan : bool

    Returns
    -------
    source : RowSource

    Raises
    ------
    TypeError, ValueError, OSError
        As `as_source` and `validate_rows`.
    """
    source = as_source(estimator, X, reset=False)
    if source is not None:
        return source
    return ArrayRows(validate_rows(estimator, X, allow_nan=allow_nan, reset=False))


def query_blocks(source: RowSource, *, allow_nan: bool, n_answers: int) -> Iterator[QueryBlock]:
    """Read rows, and check them.

    Parameters
    ----------
    source : RowSource
    allow_nan : bool
    n_answers : int
        Numbers that are computed for a row.

    Yields
    ------
    block : QueryBlock

    Raises
    ------
    ValueError, OSError
        When values are not allowed, or the rows cannot be read.
    """
    size, first = max(1, _ANSWERED // max(source.n_features, n_answers)), 0
    for block in source.blocks(size):
        check_values(block.rows, allow_nan=allow_nan)
        yield QueryBlock(block.rows, block.weights, first)
        first += len(block)
