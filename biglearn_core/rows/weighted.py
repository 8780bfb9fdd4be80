"""Sample weights that lie beside the rows of a source."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from biglearn_core.rows.arrays import let_go, map_of
from biglearn_core.rows.npy import StoredArray
from biglearn_core.rows.source import Block, RowSource

__all__ = ["WeightedRows"]

# Weights that are checked at once.
_CHECKED = 2**20


class WeightedRows(RowSource):
    """Rows of a source, each with a weight.

    Parameters
    ----------
    source : RowSource
        N rows without weights.
    sample_weight : array-like of shape (N,), or path-like
        Finite and non-negative: in memory, a memory map, or an .npy file (or .npz of one array),
        which is read in step with the rows.

    Raises
    ------
    OSError
        When a file is not there or cannot be read.
    TypeError, ValueError
        When the weights are of another length, not finite or negative; when the source has weights
        already.
    """

    def __init__(
        self, source: RowSource, sample_weight: ArrayLike | str | os.PathLike[str]
    ) -> None:
        self._source = source
        self._weights = _held(sample_weight)
        self.n_rows, self.n_features = source.n_rows, source.n_features
        self.dtype, self.feature_names = source.dtype, source.feature_names
        self.label = source.label
        if self._weights.shape != (self.n_rows,):
            raise ValueError(
                "sample_weight must hold one finite number a row: its shape is "
                f"{self._weights.shape}, expected {(self.n_rows,)}"
            )
        first = next(source.blocks(1, 0, 1), None)
        if first is not None and first.weights is not None:
            raise ValueError(
                f"{source.label} has weights already; give them in one place, as a column or as "
                "sample_weight"
            )
        self._check()

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows and weights; see `RowSource.blocks`."""
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        weights = self._read(size, start, stop)
        for block, part in zip(self._source.blocks(size, start, stop), weights, strict=True):
            yield Block(block.rows, part)

    def _read(self, size: int, start: int, stop: int) -> Iterator[np.ndarray]:
        if isinstance(self._weights, StoredArray):
            for part in self._weights.chunks(size, start, stop):
                yield part.astype(np.float64, copy=False)
            return
        pages = map_of(self._weights)
        for first in range(start, stop, size):
            yield np.array(self._weights[first : min(first + size, stop)], dtype=np.float64)
            if pages is not None:
                let_go(pages)

    def _check(self) -> None:
        n_bad = n_negative = 0
        for part in self._read(_CHECKED, 0, self.n_rows):
            n_bad += int((~np.isfinite(part)).sum())
            n_negative += int((part < 0).sum())
        if n_bad:
            raise ValueError(
                f"sample_weight must hold one finite number a row: {n_bad} of {self.n_rows} are "
                "NaN or infinite; write zero to leave a row out"
            )
        if n_negative:
            raise ValueError(
                f"Negative values in data passed to sample_weight: {n_negative} of {self.n_rows}; "
                "weights count copies of a row and must be non-negative"
            )


def _held(sample_weight: ArrayLike | str | os.PathLike[str]) -> np.ndarray | StoredArray:
    """Take weights as they are kept: an array of numbers, or where they lie."""
    if isinstance(sample_weight, str | os.PathLike):
        return StoredArray.of(sample_weight)
    if np.ma.is_masked(sample_weight):
        raise ValueError(
            f"sample_weight has {np.ma.count_masked(sample_weight)} masked entries; give every row "
            "a weight, zero to leave it out"
        )
    try:
        weights = np.asarray(sample_weight)
        if weights.dtype.kind not in "biuf":
            if weights.dtype.kind == "c":
                raise ValueError(f"they are complex ({weights.dtype})")
            weights = weights.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"sample_weight must hold one finite number a row: {error}") from error
    return weights
