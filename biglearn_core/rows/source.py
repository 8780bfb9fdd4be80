"""What a pass over data asks of them: blocks of rows, in order, as often as it is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

__all__ = ["Block", "RowSource", "block_size"]

Part = TypeVar("Part")

# Numbers in a block: enough for several threads to share its work, and few beside the chunks that
# these hold.
_BLOCK_NUMBERS = 2**21


@dataclass(frozen=True)
class Block:
    """Consecutive rows.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        float32 or float64, C-contiguous; NaN where a value is missing. Not to be written to.
    weights : float64 ndarray of shape (n,) or None
        Sample weights as they were given; None where all are one.
    """

    rows: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)


class RowSource(ABC):
    """Rows in blocks.

    Attributes
    ----------
    n_rows : int
        N, may be zero.
    n_features : int
        D.
    dtype : numpy.dtype
        float32 or float64, of every block.
    feature_names : tuple of str or None
        Where the columns have names.
    label : str
        For messages: what the rows are, and where they lie.

    Notes
    -----
    Passes over the same source give the same rows. Where it can be told that they have changed in
    between, as a file that was written to, the pass raises an error.
    """

    n_rows: int
    n_features: int
    dtype: np.dtype
    feature_names: tuple[str, ...] | None = None
    label: str = "the rows"

    @abstractmethod
    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows, in order.

        Parameters
        ----------
        size : int
            Rows of every block but the last, which may have fewer: the division does not depend on
            how the source holds its rows.
        start, stop : int
            First row, and the row behind the last one; all when not given.

        Yields
        ------
        block : Block
            Never empty.

        Raises
        ------
        ValueError, OSError
            When a file is damaged, has gone or was changed since it was opened.
        """

    def fold(
        self,
        function: Callable[[Block], Part],
        combine: Callable[[Part, Part], Part],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Part | None:
        """Apply a function to every block, and combine what it gives.

        Parameters
        ----------
        function : callable
        combine : callable
            Associative.
        progress : callable, optional
            Called with the number of rows that have been worked on since the last call.

        Returns
        -------
        result : object
            None where there are no rows.

        Notes
        -----
        The next block is read while the function works on the last one. A source whose rows lie in
        other processes may take the function there: both must be picklable.
        """
        result: Any = None
        for block in _ahead(self.blocks(block_size(self.n_features))):
            part = function(block)
            result = part if result is None else combine(result, part)
            if progress is not None:
                progress(len(block))
        return result

    def part(self, index: int, count: int) -> RowSource:
        """Give one of several parts of nearly equal length.

        Parameters
        ----------
        index : int
            From 0 to count − 1.
        count : int

        Returns
        -------
        part : RowSource
            Consecutive rows; those of all parts, in order, are all rows.
        """
        return _Part(self, self.n_rows * index // count, self.n_rows * (index + 1) // count)


class _Part(RowSource):
    """Consecutive rows of a source."""

    def __init__(self, source: RowSource, start: int, stop: int) -> None:
        self._source, self._start = source, start
        self.n_rows, self.n_features = stop - start, source.n_features
        self.dtype, self.feature_names = source.dtype, source.feature_names
        self.label = source.label

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        if start < stop:
            yield from self._source.blocks(size, self._start + start, self._start + stop)


def block_size(n_features: int) -> int:
    """Rows of the blocks in which passes are made.

    Parameters
    ----------
    n_features : int

    Returns
    -------
    size : int
    """
    return max(1, _BLOCK_NUMBERS // n_features)


def _ahead(blocks: Iterable[Block]) -> Iterator[Block]:
    """Read one block ahead."""
    blocks = iter(blocks)
    with ThreadPoolExecutor(1, thread_name_prefix="biglearn-rows") as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block
