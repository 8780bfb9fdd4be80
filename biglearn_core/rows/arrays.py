"""Rows of an array, which may be a memory map."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator

import numpy as np

from biglearn_core.rows.source import Block, RowSource

__all__ = ["ArrayRows", "let_go", "map_of"]


class ArrayRows(RowSource):
    """Rows of an array.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Real numbers; float32 is kept, everything else is read as float64.
    feature_names : tuple of str, optional
    label : str, default "X"

    Notes
    -----
    What has been read of a memory map is let go at once: it stays in the system's cache of files,
    and does not count as memory of the process.
    """

    def __init__(
        self, X: np.ndarray, *, feature_names: tuple[str, ...] | None = None, label: str = "X"
    ) -> None:
        self._X, self._map = X, map_of(X)
        self.n_rows, self.n_features = X.shape
        single = X.dtype.newbyteorder("=") == np.float32  # files may hold the other byte order
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.feature_names, self.label = feature_names, label

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows; see `RowSource.blocks`."""
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        for first in range(start, stop, size):
            part = self._X[first : min(first + size, stop)]
            if self._map is None:
                yield Block(np.ascontiguousarray(part, dtype=self.dtype))
            else:
                rows = np.array(part, dtype=self.dtype, order="C")
                let_go(self._map)
                yield Block(rows)


def map_of(X: np.ndarray) -> mmap.mmap | None:
    """Find the memory map that an array shows, if what was read of it can be let go.

    Parameters
    ----------
    X : ndarray

    Returns
    -------
    map : mmap.mmap or None
        None where the array lies in memory, or where what was written to it is in memory alone, as
        with mode="c".
    """
    base, mode = X, None
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            mode = base.mode
        base = base.base
    return base if isinstance(base, mmap.mmap) and mode in ("r", "r+", "w+") else None


def let_go(pages: mmap.mmap) -> None:
    """Take the pages of a map of a file that were read off the account of the process.

    Parameters
    ----------
    pages : mmap.mmap
        Shared, so that what was written to it is in the file.
    """
    with contextlib.suppress(AttributeError):  # not on every system
        pages.madvise(mmap.MADV_DONTNEED)
