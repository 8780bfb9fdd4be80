"""Rows whose weights lie in another place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from biglearn_core.rows.source import Block, RowSource

__all__ = ["WeightedRows"]


class WeightedRows(RowSource):
    """Rows with weights that are given beside them.

    Parameters
    ----------
    source : RowSource
        Without weights of its own.
    weights : ndarray of shape (N,)
        Finite and non-negative; may be a memory map.
    """

    def __init__(self, source: RowSource, weights: np.ndarray) -> None:
        self._source, self._weights = source, weights
        self.n_rows, self.n_features = source.n_rows, source.n_features
        self.dtype, self.feature_names = source.dtype, source.feature_names
        self.label = source.label

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows and weights; see `RowSource.blocks`."""
        first = start
        for block in self._source.blocks(size, start, stop):
            if block.weights is not None:
                raise ValueError(
                    f"{self.label} has weights of its own; leave sample_weight out, or open the "
                    "rows without them"
                )
            weights = np.asarray(self._weights[first : first + len(block)], dtype=np.float64)
            yield Block(block.rows, weights)
            first += len(block)
