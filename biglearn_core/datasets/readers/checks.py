"""What every reader of data files demands of its table: classes, and finite features."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["check_labels", "split_class"]


def split_class(path: Path, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a table with the class in its first column into checked features and classes.

    Parameters
    ----------
    path : Path
        What errors name.
    table : ndarray of shape (N, 1 + D), float64

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64

    Raises
    ------
    ValueError
        As `check_labels`; for fewer than two columns; for a first column of three or more rows
        that holds another integer in each of them: it numbers the rows, and classes none.
    """
    if table.shape[1] < 2:
        raise ValueError(
            f"{path} has {table.shape[1]} column; expected the class, then at least one feature "
            "(cells are separated by commas, semicolons or tabs)"
        )
    X = np.ascontiguousarray(table[:, 1:])
    y = check_labels(path, X, table[:, 0])
    if y.size > 2 and np.unique(y).size == y.size:
        raise ValueError(
            f"{path}: the first column holds {y.size} different integers in {y.size} rows "
            f"({y[0]}, {y[1]}, {y[2]}, …): an index of the rows, not their class; write the file "
            "without it (in pandas df.to_csv(path, index=False)), the class first"
        )
    return X, y


def check_labels(path: Path, X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels as int64 where they are integers and all features are finite.

    Parameters
    ----------
    path : Path
        What errors name.
    X : ndarray of shape (N, D), float64
    labels : ndarray of shape (N,), float64

    Returns
    -------
    ndarray of shape (N,), int64

    Raises
    ------
    ValueError
        Naming the row, and the feature where one is not finite; where there is nothing to fit.
    """
    if X.size == 0:
        raise ValueError(f"{path} holds {X.shape[0]} rows of {X.shape[1]} features: nothing to fit")
    # 2**53: beyond it float64 no longer holds every integer.
    whole = np.isfinite(labels) & (np.abs(labels) < 2**53)
    whole &= np.rint(np.where(whole, labels, 0)) == labels
    if not whole.all():
        row = int(np.argmin(whole))
        raise ValueError(
            f"{path}: the class of data row {row + 1} is {labels[row]}, not an integer; "
            "the first column must hold the class: number the classes, or reorder the columns"
        )
    finite = np.isfinite(X)
    if not finite.all():
        row, column = np.unravel_index(np.argmin(finite), X.shape)
        value = X[row, column]
        raise ValueError(
            f"{path}: feature {column + 1} of data row {row + 1} is {value}"
            f"{', a missing value' if np.isnan(value) else ''}; "
            "remove such rows or fill in the missing values first"
        )
    return labels.astype(np.int64)
