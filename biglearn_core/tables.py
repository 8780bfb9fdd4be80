"""Tables as people have them: what is missing becomes NaN, and what is no number is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["with_nan"]


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
    """
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        return (X.float() if X.dtype in (torch.float16, torch.bfloat16) else X).numpy()
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):
        raise TypeError(f"X is a {type(X).__name__}, which holds no values yet: call X.collect()")
    if hasattr(X, "dtypes") and hasattr(X, "iloc"):
        return _frame_with_nan(X)
    if isinstance(X, np.ma.MaskedArray):
        X = X if X.dtype.kind == "f" else X.astype(np.float64)
        return X.filled(np.nan)
    if isinstance(X, list | tuple):
        X = _as_objects(X)
    kind = getattr(getattr(X, "dtype", None), "kind", "")
    if kind in ("m", "M"):
        raise TypeError(_dates("X"))
    return _objects_with_nan(X) if kind == "O" and isinstance(X, np.ndarray) else X


def _frame_with_nan(frame: Any) -> Any:
    dates = [name for name, dtype in frame.dtypes.items() if dtype.kind in "mM"]
    if dates:
        raise TypeError(_dates(f"columns {dates}"))
    objects = [i for i, dtype in enumerate(frame.dtypes) if dtype.kind == "O"]
    if not objects:
        return frame
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    for i in objects:
        column = columns[i]
        columns[i] = type(column)(
            _objects_with_nan(column.to_numpy()), index=column.index, name=column.name
        )
    filled = type(frame)(dict(enumerate(columns)), index=frame.index)
    filled.columns = frame.columns
    return filled


def _as_objects(rows: list | tuple) -> Any:
    """Look into nested lists for None and the like; leave all others to scikit-learn."""
    try:
        cells = np.array(rows, dtype=object)
    except ValueError:  # rows of different lengths
        return rows
    return cells if any(map(_is_missing, cells.ravel())) else rows


def _objects_with_nan(cells: np.ndarray) -> np.ndarray:
    missing = np.fromiter(map(_is_missing, cells.ravel()), dtype=bool, count=cells.size)
    cells = np.where(missing.reshape(cells.shape), np.nan, cells)
    try:
        return cells.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return cells  # text and the like, of which scikit-learn tells


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is np.ma.masked or type(cell).__name__ in ("NAType", "NaTType")


def _dates(what: str) -> str:
    return (
        f"{what} hold dates or durations: turn them into numbers, for example days since the first"
    )
