"""Rows that an object hands out in chunks, as often as it is asked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from biglearn_core.rows.division import divided
from biglearn_core.rows.npy import check_numbers, check_table
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.rows.tables import holds_float32, is_frame, with_nan
from biglearn_core.system.numbers import shown

__all__ = ["ChunkRows"]


class ChunkRows(RowSource):
    """Rows that are handed out in chunks.

    Parameters
    ----------
    chunks : iterable, or object with a method chunks()
        Every iteration hands out the same arrays of shape (n, D), tensors or data frames of
        numbers, each for itself or alone in a tuple or list, as a DataLoader of a TensorDataset
        does; a method `chunks()` gives a fresh iterator. All chunks are float32, or none is;
        everything else is read as float64.

    Raises
    ------
    TypeError
        When it can be iterated only once, or not at all, and when a chunk is no array.
    ValueError
        When there is no chunk, when one holds no table of numbers, and when they do not go with one
        another.

    Notes
    -----
    One pass at the start counts rows. Every later pass compares each chunk with what it was then,
    so that a loader that shuffles is refused. A chunk is copied, and may be overwritten once the
    next one is asked for. The global random state is as it was, though a DataLoader draws from it.
    """

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks
        self.label = f"the chunks of {type(chunks).__name__}"
        first: np.ndarray | None = None
        self._lengths: list[int] = []
        self._checksums: list[int] = []
        for number, chunk in enumerate(self._iterator()):
            rows = _array(chunk, f"chunk {number}")
            if first is None:
                first, self.feature_names = rows[:0], _names(chunk)
            _check_alike(first, rows, number)
            if _names(chunk) != self.feature_names:
                raise ValueError(
                    f"chunk {number} has the columns {_names(chunk)}, chunk 0 has "
                    f"{self.feature_names}; give all chunks the same columns"
                )
            self._lengths.append(len(rows))
            self._checksums.append(zlib.crc32(rows))
        if first is None:
            raise ValueError(
                f"{self.label}: there are none; give at least one array of shape (n, D)"
            )
        self.n_rows, self.n_features = sum(self._lengths), first.shape[1]
        self.dtype = first.dtype

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows; see `RowSource.blocks`. Chunks before `start` are handed out, not read."""
        return divided(self._wanted(start, self.n_rows if stop is None else stop), size)

    def _wanted(self, start: int, stop: int) -> Iterator[Block]:
        stop = min(stop, self.n_rows)
        chunks, before = self._iterator(), 0
        for number, length in enumerate(self._lengths):
            if before >= stop and stop < self.n_rows:
                return
            try:
                chunk = next(chunks)
            except StopIteration:
                raise ValueError(
                    f"{self.label}: {number} in this pass, {len(self._lengths)} in the first one; "
                    "every pass must give the same rows"
                ) from None
            first, end = max(start - before, 0), min(stop - before, length)
            before += length
            if first < end:
                rows = _array(chunk, f"chunk {number}")
                self._check_same(rows, number)
                yield Block(rows[first:end])
        if next(chunks, None) is not None:
            raise ValueError(
                f"{self.label}: more than {len(self._lengths)} in this pass, which the first one "
                "had; every pass must give the same rows"
            )

    def _iterator(self) -> Iterator[Any]:
        give = getattr(self._chunks, "chunks", None)
        try:
            # A DataLoader draws a seed for its workers.
            with torch.random.fork_rng(devices=[], enabled=isinstance(self._chunks, DataLoader)):
                iterator = iter(give() if callable(give) else self._chunks)
        except TypeError as error:
            raise TypeError(
                f"chunks of rows must come from an object that can be iterated, got "
                f"{shown(self._chunks)} ({error}); give a list of arrays, a DataLoader, or an "
                "object whose method chunks() returns an iterator"
            ) from error
        if iterator is self._chunks:
            raise TypeError(
                f"{type(self._chunks).__name__} can be iterated only once, and a fit reads the "
                "rows many times; give a list, or an object whose method chunks() returns a fresh "
                "iterator"
            )
        return iterator

    def _check_same(self, rows: np.ndarray, number: int) -> None:
        if len(rows) != self._lengths[number] or zlib.crc32(rows) != self._checksums[number]:
            raise ValueError(
                f"{self.label}: chunk {number} has other rows ({len(rows)}) than in the first pass "
                f"({self._lengths[number]}); every pass must give the same, in the same order: "
                "switch shuffling and random changes off"
            )


def _array(chunk: Any, name: str) -> np.ndarray:
    """Copy a chunk, in the form of a block."""
    if isinstance(chunk, tuple | list):
        if len(chunk) != 1:
            raise TypeError(
                f"{name} is a {type(chunk).__name__} of {len(chunk)} things; hand out the rows "
                "alone, as one array of shape (n, D)"
            )
        (chunk,) = chunk
    if isinstance(chunk, torch.Tensor):
        chunk = chunk.detach().cpu()
        if chunk.is_floating_point() and chunk.dtype not in (torch.float32, torch.float64):
            chunk = chunk.double()  # bfloat16 is unknown to NumPy
        array = chunk.to_dense().numpy()
    elif np.ma.isMaskedArray(chunk):
        check_numbers(name, chunk.dtype)
        single = chunk.dtype == np.float32
        array = chunk.astype(np.float32 if single else np.float64).filled(np.nan)
    elif is_frame(chunk):
        # Columns of several kinds become objects, what is missing in nullable ones pandas.NA.
        array = with_nan(np.asarray(with_nan(chunk)))
        array = array.astype(np.float32) if holds_float32(chunk) else array
    elif hasattr(chunk, "__array__"):
        array = np.asarray(chunk)
    else:
        raise TypeError(
            f"{name} is {shown(chunk)}, which is no array; hand out arrays of shape (n, D)"
        )
    check_numbers(name, array.dtype)
    check_table(name, array.shape)
    single = array.dtype.newbyteorder("=") == np.float32
    return np.array(array, dtype=np.float32 if single else np.float64, order="C")


def _names(chunk: Any) -> tuple[str, ...] | None:
    """Names of the columns of a data frame."""
    names = getattr(chunk, "columns", None)
    return None if names is None else tuple(map(str, names))


def _check_alike(first: np.ndarray, rows: np.ndarray, number: int) -> None:
    if rows.shape[1] != first.shape[1]:
        raise ValueError(
            f"chunk {number} has {rows.shape[1]} columns, chunk 0 has {first.shape[1]}; give all "
            "chunks the same columns"
        )
    if rows.dtype != first.dtype:
        raise ValueError(
            f"chunk {number} is read as {rows.dtype}, chunk 0 as {first.dtype}; convert them to "
            "one of the two"
        )
