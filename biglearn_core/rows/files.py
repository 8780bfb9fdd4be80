"""Rows of .npy and .npz files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from biglearn_core.rows.division import divided, spans
from biglearn_core.rows.npy import StoredArray, check_table
from biglearn_core.rows.source import Block, RowSource

__all__ = ["NpyRows", "label_of"]


class NpyRows(RowSource):
    """Rows of .npy and .npz files, one file behind the other.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Arrays of shape (N, D), with the same D, of real numbers: all float32, or none; everything
        else is read as float64. A file may hold no rows. An .npz archive holds one array, or one
        that is named X.

    Raises
    ------
    OSError
        When a file is not there or cannot be read.
    ValueError
        When a file is damaged, holds no table of numbers, or does not go with the first one.

    Notes
    -----
    .npy files are read where the wanted rows lie, in either order and of either endianness; a
    member of an archive is read from its beginning, and what is not wanted is passed over. Neither
    needs more memory than a few blocks; nothing is unpickled.
    """

    def __init__(self, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        if not names:
            raise ValueError("no file is named; give at least one .npy or .npz file")
        self._arrays = [StoredArray.of(name) for name in names]
        first = self._arrays[0]
        for array in self._arrays:
            check_table(array.stamp.path, array.shape)
            _check_alike(first, array)
        self.n_rows = sum(array.n_rows for array in self._arrays)
        self.n_features, self.dtype = first.shape[1], first.dtype_read
        self.label = label_of([array.stamp.path for array in self._arrays])

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows; see `RowSource.blocks`."""
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        lengths = [array.n_rows for array in self._arrays]
        chunks = (
            Block(rows)
            for index, first, end in spans(lengths, start, stop)
            for rows in self._arrays[index].chunks(size, first, end)
        )
        return divided(chunks, size)


def label_of(paths: Sequence[str]) -> str:
    """Name files in a message.

    Parameters
    ----------
    paths : sequence of str

    Returns
    -------
    label : str
    """
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _check_alike(first: StoredArray, other: StoredArray) -> None:
    one, two = first.stamp.path, other.stamp.path
    if first.shape[1] != other.shape[1]:
        raise ValueError(
            f"{one} has {first.shape[1]} columns, {two} has {other.shape[1]}; files that are read "
            "one behind the other need the same"
        )
    if first.dtype_read != other.dtype_read:
        raise ValueError(
            f"{one} holds {first.dtype}, {two} holds {other.dtype}: the former is read as "
            f"{first.dtype_read}, the latter as {other.dtype_read}; convert one of them"
        )
