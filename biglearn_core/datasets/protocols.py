"""Splitting and min-max scaling: the paper's way, the fair way, or none."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

__all__ = ["PROTOCOLS", "min_max_scale", "stratified_split"]

PROTOCOLS = ("fair", "paper", "raw")
TEST_SHARE = 0.2


def stratified_split(y: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an 80/20 split that keeps the share of every class.

    A class with one member cannot be divided: it goes to the training part, and the test part
    does not contain that class.

    Parameters
    ----------
    y : ndarray of shape (N,)
        Class labels.
    seed : int
        The split depends on `y` and the seed alone; global random state is not touched.

    Returns
    -------
    train, test : ndarrays of int64
        Row numbers, disjoint, together all of ``range(N)``.

    Raises
    ------
    ValueError
        Where there are too few rows to give every class a share of the test part.
    """
    classes, inverse, count = np.unique(y, return_inverse=True, return_counts=True)
    alone = count[inverse] == 1
    shared = np.flatnonzero(~alone)
    n_shared = int((count > 1).sum())
    n_test = int(np.ceil(TEST_SHARE * shared.size))
    if n_shared == 0 or min(n_test, shared.size - n_test) < n_shared:
        raise ValueError(
            f"{y.size} rows of {classes.size} classes are too few for an 80/20 split stratified "
            "by class; use split=False, or merge the smallest classes"
        )
    train, test = train_test_split(
        shared, test_size=TEST_SHARE, stratify=inverse[shared], random_state=seed
    )
    return np.concatenate([train, np.flatnonzero(alone)]), test


def min_max_scale(X: np.ndarray, *others: np.ndarray) -> None:
    """Scale the columns of `X` to [0, 1], in place, and apply the same map to `others`.

    A column that is constant in `X` has no scale: it becomes 0 everywhere, in `others` too.

    Parameters
    ----------
    X : ndarray of shape (N, D), float64
        Gives the minimum and maximum of every column; N ≥ 1.
    *others : ndarrays of shape (M, D), float64
        May leave [0, 1].

    Raises
    ------
    ValueError
        Where a column is too wide for a double to hold its span or a scaled value.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    with np.errstate(over="ignore"):
        span = high - low
    # A span within rounding of the values themselves is a constant that was computed, not a scale.
    constant = span <= 10 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high))
    span[constant] = 1.0
    for part in (X, *others):
        with np.errstate(over="ignore", invalid="ignore"):
            part -= low
            part /= span
        part[:, constant] = 0.0
        sound = np.isfinite(span) & np.isfinite(part).all(axis=0)
        if not sound.all():
            column = int(np.argmin(sound))
            raise ValueError(
                f"feature {column + 1} cannot be scaled to [0, 1]: it spans {low[column]} to "
                f"{high[column]} in the training part, which doubles cannot hold together with "
                'the other values; take protocol="raw" and scale it by yourself'
            )
