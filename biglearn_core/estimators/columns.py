"""Columns of a table as users name them, and rows that hold these columns alone."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from biglearn_core.estimators.rows import validate_rows

__all__ = ["Columns", "check_columns", "validate_columns"]

Columns = int | str | Sequence[int] | Sequence[bool] | Sequence[str] | np.ndarray


def check_columns(columns: Columns, n_features: int, names: np.ndarray | None) -> np.ndarray:
    """Find the positions of columns.

    Parameters
    ----------
    columns : int, str, or sequence of int, of str, or of D bool
        Positions, names, or a mask.
    n_features : int
        D.
    names : ndarray of shape (D,), optional
        Of the columns of the data of `fit`.

    Returns
    -------
    positions : int64 ndarray of shape (d,)
        Distinct, from 0 to D−1, in the order given.

    Raises
    ------
    TypeError
        When `columns` is neither positions, nor names, nor a mask.
    ValueError
        When it is empty, repeats a column, or names one that is not there.
    """
    if isinstance(columns, str | Integral) and not isinstance(columns, bool):
        columns = [columns]
    try:
        wanted = list(columns)  # type: ignore[arg-type]
    except TypeError:
        wanted = [columns]
    if not wanted:
        raise ValueError("columns is empty: name at least one, or ask the marginal of mixture_")
    if all(isinstance(c, bool | np.bool_) for c in wanted):
        if len(wanted) != n_features:
            raise ValueError(
                f"columns is a mask of {len(wanted)} entries, but the data of fit have "
                f"{n_features} features; give one entry a feature"
            )
        positions = np.flatnonzero(wanted)
        if len(positions) == 0:
            raise ValueError("columns is a mask without a True; mark at least one feature")
        return positions
    if all(isinstance(c, str) for c in wanted):
        positions = _positions_of(wanted, names)
    elif all(isinstance(c, Integral) and not isinstance(c, bool | np.bool_) for c in wanted):
        positions = np.array([int(c) for c in wanted])
        outside = (positions < 0) | (positions >= n_features)
        if outside.any():
            raise ValueError(
                f"columns {positions[outside].tolist()} are not there: positions go from 0 to "
                f"{n_features - 1}"
            )
    else:
        raise TypeError(
            "columns must be positions (int), names (str) or a mask (bool), all of one kind, got "
            f"{columns!r}"
        )
    distinct, counts = np.unique(positions, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"columns repeats {distinct[counts > 1].tolist()}; name each once")
    return positions


def _positions_of(wanted: Sequence[Any], names: np.ndarray | None) -> np.ndarray:
    if names is None:
        raise ValueError(
            f"columns are given by name, {list(wanted)}, but the data of fit had no column names: "
            "give positions, or fit a data frame"
        )
    place = {name: i for i, name in enumerate(names)}
    unknown = [name for name in wanted if name not in place]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(place), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {list(place)[:20]}"
        raise ValueError(f"columns {unknown} are not among the features of fit: {hint}")
    return np.array([place[name] for name in wanted])


def validate_columns(
    estimator: BaseEstimator, X: ArrayLike, columns: np.ndarray, *, allow_nan: bool
) -> np.ndarray:
    """Check rows that hold some columns of the data of `fit`, as scikit-learn checks all.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted.
    X : array-like of shape (N, d)
        Where it is a data frame, its columns have the names of `columns`, in that order.
    columns : int64 ndarray of shape (d,)
    allow_nan : bool

    Returns
    -------
    X : float32 or float64 ndarray of shape (N, d)

    Raises
    ------
    TypeError, ValueError
        As `validate_rows`, for one row that is no table, too.
    """
    names = getattr(estimator, "feature_names_in_", None)
    chosen = columns if names is None else names[columns]
    shape: tuple = getattr(X, "shape", ())
    if len(shape) == 2 and shape[1] != len(columns):
        raise ValueError(
            f"X has {shape[1]} columns, but {len(columns)} are named, {chosen.tolist()}: pass "
            "these alone"
        )
    narrowed = copy.copy(estimator)
    narrowed.n_features_in_ = len(columns)
    if names is not None:
        narrowed.feature_names_in_ = chosen
    return validate_rows(narrowed, X, allow_nan=allow_nan, reset=False)
