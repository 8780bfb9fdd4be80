"""What a panel shows of a mixture and its rows in two columns, however it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biglearn_core.matching import Task

__all__ = ["Panel", "directions_of", "task_in_words"]


@dataclass(frozen=True, eq=False)
class Panel:
    """One mixture over two columns, in units of the data.

    Parameters
    ----------
    title : str
    task : str
        The last task in words.
    log_likelihood : float
        Mean over all rows, of all columns as the fit sees them; in nats.
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, 2)
    covariances : ndarray of shape (K, 2, 2)
    labels : int64 ndarray of shape (n,)
        Most probable component of every row that is drawn, under all columns.
    responsibilities : ndarray of shape (n,)
        Its probability.
    directions : ndarray of shape (m, 2)
        What is seen of the coordinates that the last task matched; their length says how much of
        each lies in the plane. None for a joint task.
    """

    title: str
    task: str
    log_likelihood: float
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray
    directions: np.ndarray


def directions_of(task: Task | None, features: tuple[int, int]) -> np.ndarray:
    """Give the coordinates of a task as directions in the plane of two columns.

    Parameters
    ----------
    task : Task or None
    features : pair of int

    Returns
    -------
    directions : float64 ndarray of shape (|T|, 2)
        Rows of A under both columns, or of the identity; without rows for a joint task.
    """
    if task is None or task.index is None:
        return np.empty((0, 2))
    if task.transform is not None:
        return np.asarray(task.transform[task.index][:, list(features)], dtype=np.float64)
    return (task.index[:, None] == np.array(features)).astype(np.float64)


def task_in_words(task: Task | None, columns: Sequence[str], features: tuple[int, int]) -> str:
    """Describe a task.

    Parameters
    ----------
    task : Task or None
    columns : sequence of D str
    features : pair of int
        The columns that are shown.

    Returns
    -------
    words : str
    """
    D = len(columns)
    if task is None:
        return "the start"
    if task.index is None:
        return "joint"
    size = len(task.index)
    if task.kind == "marginal":
        return (
            f"marginal of {columns[task.index[0]]}" if size == 1 else f"marginal of {size} of {D}"
        )
    if D == 2 and size == 1:
        (direction,) = directions_of(task, features)
        angle = np.degrees(np.arctan2(direction[1], direction[0])) % 180
        return f"transformed marginal at {angle:.0f}°"
    return f"transformed marginal of {size} of {D} coordinates"
