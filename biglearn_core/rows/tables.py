"""Tables as people have them: what is missing becomes NaN, and what is no number is told."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import torch

__all__ = ["holds_float32", "is_frame", "native", "with_nan"]

_MISSING = ("NAType", "NaTType")
_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)


def with_nan(X: Any) -> Any:
    """Write every missing value of a table as NaN.

    Parameters
    ----------
    X : array-like, data frame or tensor
        Missing values are NaN, None, pandas.NA, or hidden by the mask of a masked array.

    Returns
    -------
    X : the same, or an ndarray or data frame with NaN in their place
        Names of columns stay.

    Raises
    ------
    TypeError
        For dates, and for a lazy frame.
    ValueError
        For complex numbers in a data frame or a masked array.
    """
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        return (X.double() if X.dtype in (torch.float16, torch.bfloat16) else X).numpy()
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):
        raise TypeError(f"X is a {type(X).__name__}, which holds no values yet: call X.collect()")
    if hasattr(X, "to_pandas") and hasattr(X, "schema") and not is_frame(X):  # a pyarrow.Table
        X = X.to_pandas()
    if is_frame(X):
        return _frame_with_nan(X)
    if hasattr(X, "dtype") and not isinstance(X, np.ndarray):
        _check_kind("X", X.dtype)  # one column of a frame
    if isinstance(X, list | tuple):
        X = _as_objects(X)
    if isinstance(X, np.ma.MaskedArray):
        _check_kind("X", X.dtype)
        X = X.astype(np.float64) if X.dtype.kind in "biu" else X
        if X.dtype.kind == "f":
            return with_nan(X.filled(np.nan))
        X = np.where(np.ma.getmaskarray(X), None, X.data)
    if not isinstance(X, np.ndarray):
        return X
    if X.dtype.kind in "mM":
        _check_kind("X", X.dtype)
    if X.dtype.kind == "f":
        return X.astype(X.dtype.newbyteorder("="), copy=False)
    return _objects_with_nan("X", X) if X.dtype.kind == "O" else X


def native(X: Any) -> Any:
    """Lay an array out as torch takes it: in the byte order of the machine, and not backwards.

    Parameters
    ----------
    X : array-like or Tensor

    Returns
    -------
    X : Tensor or ndarray
    """
    if isinstance(X, torch.Tensor):
        return X
    array = np.asarray(X)
    backwards = any(stride < 0 for stride in array.strides)
    return (array.copy() if backwards else array).astype(array.dtype.newbyteorder("="), copy=False)


def is_frame(X: Any) -> bool:
    """Whether something is a data frame of whatever library, with its values there.

    Parameters
    ----------
    X : object

    Returns
    -------
    frame : bool
    """
    lazy = hasattr(X, "collect_schema") and hasattr(X, "collect")
    return not lazy and hasattr(X, "dtypes") and hasattr(X, "columns")


def holds_float32(X: Any) -> bool:
    """Whether all columns of a data frame are float32, nullable or not.

    scikit-learn sees it in some frames alone and makes float64 of the others.

    Parameters
    ----------
    X : array-like or data frame

    Returns
    -------
    single : bool
    """
    return is_frame(X) and {str(d).lower() for d in X.dtypes} == {"float32"}


def _frame_with_nan(frame: Any) -> Any:
    """Look through the columns of a frame; a frame of another library is only looked at."""
    pandas = hasattr(frame, "iloc")
    dtypes = list(frame.dtypes)
    for name, dtype in zip(frame.columns, dtypes, strict=True):
        _check_kind(f"column {name!r}", dtype)
    objects = [i for i, dtype in enumerate(dtypes) if getattr(dtype, "kind", "") == "O"]
    if not (pandas and objects):
        return frame
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    for i in objects:
        column = columns[i]
        cells = _objects_with_nan(f"column {column.name!r}", column.to_numpy(dtype=object))
        columns[i] = type(column)(cells, index=column.index, name=column.name)
    filled = type(frame)(dict(enumerate(columns)), index=frame.index)
    filled.columns = frame.columns
    return filled


def _as_objects(rows: list | tuple) -> Any:
    """Look into nested lists for cells that are no numbers; leave all others to scikit-learn."""
    # An array of arrays would drop their masks, and turn dates into numbers.
    unpacked = [list(row) if isinstance(row, np.ndarray) and row.ndim else row for row in rows]
    try:
        cells = np.array(unpacked, dtype=object)
    except ValueError:  # rows of different lengths
        return rows
    return cells if any(_is_missing(c) or _is_date(c) for c in cells.ravel()) else rows


def _objects_with_nan(what: str, cells: np.ndarray) -> np.ndarray:
    if any(_is_date(cell) and not _is_missing(cell) for cell in cells.ravel()):
        raise TypeError(_dates(what))
    missing = np.fromiter(map(_is_missing, cells.ravel()), dtype=bool, count=cells.size)
    cells = np.where(missing.reshape(cells.shape), np.nan, cells)
    try:
        return cells.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return cells  # text and the like, of which scikit-learn tells


def _check_kind(what: str, dtype: Any) -> None:
    """Refuse what conversion to float would turn into other numbers without a word."""
    temporal = getattr(dtype, "is_temporal", None)  # polars
    if getattr(dtype, "kind", "") in ("m", "M") or (temporal is not None and temporal()):
        raise TypeError(_dates(what))
    if getattr(dtype, "kind", "") == "c":
        raise ValueError(f"{what} holds complex numbers: pass real and imaginary parts as features")


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is np.ma.masked or type(cell).__name__ in _MISSING


def _is_date(cell: Any) -> bool:
    return isinstance(cell, _DATES) or type(cell).__name__ == "Period"


def _dates(what: str) -> str:
    return (
        f"{what} holds dates or durations: turn them into numbers, for example days since the first"
    )
