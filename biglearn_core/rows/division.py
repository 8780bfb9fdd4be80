"""Rows that come in chunks of any length, divided into blocks of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from biglearn_core.rows.source import Block

__all__ = ["divided", "spans"]


def divided(chunks: Iterable[Block], size: int) -> Iterator[Block]:
    """Divide rows into blocks.

    Parameters
    ----------
    chunks : iterable of Block
        Of any length, in order; all with weights, or none.
    size : int
        Rows of every block but the last.

    Yields
    ------
    block : Block
        Never empty. What lies in one chunk is not copied.
    """
    held: list[Block] = []
    n_held = 0
    for chunk in chunks:
        first = 0
        while n_held + len(chunk) - first >= size:
            end = first + size - n_held
            yield _joined([*held, _part(chunk, first, end)])
            held, n_held, first = [], 0, end
        if first < len(chunk):
            held.append(_part(chunk, first, len(chunk)))
            n_held += len(chunk) - first
    if held:
        yield _joined(held)


def spans(lengths: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Find the rows of several pieces, one behind the other.

    Parameters
    ----------
    lengths : sequence of int
        Rows of every piece.
    start, stop : int
        Of all rows: the first, and the one behind the last.

    Yields
    ------
    index, start, stop : int
        A piece that has some of the rows, and which they are among its own.
    """
    before = 0
    for index, length in enumerate(lengths):
        first, end = max(start - before, 0), min(stop - before, length)
        if first < end:
            yield index, first, end
        before += length


def _part(block: Block, first: int, end: int) -> Block:
    weights = None if block.weights is None else block.weights[first:end]
    return Block(block.rows[first:end], weights)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    weights = [block.weights for block in blocks if block.weights is not None]
    return Block(
        np.concatenate([block.rows for block in blocks]),
        np.concatenate(weights) if weights else None,
    )
