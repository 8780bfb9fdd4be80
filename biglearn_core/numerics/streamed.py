"""Data that are read anew for every EM step: block by block, each as `Points` that are in memory.

The sums of an E-step over blocks add up, and so do those of several processes; nothing else is
asked of the data. A pass costs reading, centring and transposing what a step in memory finds ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.points import Points, Sums
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.system.processes import ALONE, Processes

__all__ = ["BlockView", "StreamedPoints", "StreamedRows", "Whole"]


@dataclass(frozen=True, eq=False)
class BlockView:
    """How rows of a source are seen by a fit: z = (x − shift) / scale, less a centre.

    Parameters
    ----------
    shift, scale : float64 ndarray of shape (D,) or None
        None where rows are taken as they are.
    order : int64 ndarray of shape (D,) or None
        Feature that stands in each column of z; None where they stay in their places.
    weight_unit : float
        Factor of the sample weights.
    dtype : torch.dtype
        Of z.
    device : torch.device
    """

    shift: np.ndarray | None
    scale: np.ndarray | None
    order: np.ndarray | None
    weight_unit: float
    dtype: torch.dtype
    device: torch.device

    def columns(self, block: Block) -> tuple[Tensor, Tensor | None] | None:
        """Give the rows of a block that have weight, features along the first axis.

        Parameters
        ----------
        block : Block

        Returns
        -------
        Z : Tensor of shape (D, n)
            NaN where missing.
        weights : Tensor of shape (n,) or None
        None where no row has weight.
        """
        rows, weights = block.rows, block.weights
        if weights is not None and not (some := weights > 0).all():
            rows, weights = rows[some], weights[some]
        if len(rows) == 0:
            return None
        columns = torch.from_numpy(rows).to(self.device).T
        if self.order is not None:
            columns = columns.index_select(0, self._tensor(self.order))
        if self.scale is not None and self.shift is not None:
            order = slice(None) if self.order is None else self.order
            columns = columns.double().sub_(self._tensor(self.shift[order])[:, None])
            columns = columns.div_(self._tensor(self.scale[order])[:, None])
        if weights is None:
            return columns.to(self.dtype), None
        scaled = torch.from_numpy(weights * self.weight_unit)
        return columns.to(self.dtype), scaled.to(self.device, self.dtype)

    def nothing(self, n_features: int) -> tuple[Tensor, Tensor]:
        """Give one row without weight, in the place of none."""
        Z = torch.zeros(n_features, 1, dtype=self.dtype, device=self.device)
        return Z, Z.new_zeros(1)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


class StreamedRows:
    """Rows of a source, in blocks, over which sums are taken.

    Parameters
    ----------
    source : RowSource
        The rows of this process.
    view : BlockView
    processes : Processes
    """

    def __init__(self, source: RowSource, view: BlockView, processes: Processes = ALONE) -> None:
        self.source, self.view, self.processes = source, view, processes
        self.n_features, self.dtype = source.n_features, view.dtype

    def total_of(self, function: Callable[[Tensor, Tensor | None], Sums]) -> Sums:
        """Add up what a function gives of every block.

        Parameters
        ----------
        function : callable
            Takes the points of a block, of shape (D, n), and their weights.

        Returns
        -------
        sums : tuple of Tensor
            Over the rows of all processes.
        """
        sums = self.source.fold(partial(_of_block, self.view, function), _add)
        if sums is None:
            sums = function(*self.view.nothing(self.source.n_features))
        return tuple(self.processes.sum(sums))


@dataclass(frozen=True, eq=False)
class Whole:
    """What the points of all blocks have in common; as in `Points`.

    Parameters
    ----------
    centre : Tensor of shape (D,)
    radius : float
    total : float
    chunk_size : int, optional
    """

    centre: Tensor
    radius: float
    total: float
    chunk_size: int | None = None


class StreamedPoints(StreamedRows):
    """Points of a fit that are read anew for every step; as `Points`, but not held.

    Parameters
    ----------
    source : RowSource
        The rows of this process, without missing values.
    view : BlockView
    whole : Whole
        Of the rows of all processes.
    processes : Processes, optional
    """

    def __init__(
        self,
        source: RowSource,
        view: BlockView,
        whole: Whole,
        processes: Processes = ALONE,
        task: _Task | None = None,
    ) -> None:
        super().__init__(source, view, processes)
        self.centre = whole.centre if task is None else task.apply(whole.centre)
        self.n_features = len(self.centre)
        self.radius, self.total = whole.radius, whole.total
        self._whole, self._task = whole, task

    def project(self, index: Tensor | None, A: Tensor | None) -> StreamedPoints:
        """Show the data as a matching task sees them; see `Points.project`."""
        if index is None and A is None:
            return self
        task = _Task(index, A)
        return StreamedPoints(self.source, self.view, self._whole, self.processes, task)

    def added(self, function: Callable[[Points], Sums]) -> Sums:
        """Add up what a function gives of every block; see `Points.added`."""
        return self.total_of(partial(_of_points, self._whole, self._task, function))


@dataclass(frozen=True, eq=False)
class _Task:
    """Which coordinates of which basis."""

    index: Tensor | None
    A: Tensor | None

    def apply(self, centre: Tensor) -> Tensor:
        if self.A is None:
            return centre[self.index]
        return (self.A if self.index is None else self.A[self.index]) @ centre


def _of_block(
    view: BlockView, function: Callable[[Tensor, Tensor | None], Sums], block: Block
) -> Sums | None:
    seen = view.columns(block)
    return None if seen is None else function(*seen)


def _of_points(
    whole: Whole,
    task: _Task | None,
    function: Callable[[Points], Sums],
    columns: Tensor,
    weights: Tensor | None,
) -> Sums:
    Z = columns.sub(whole.centre[:, None]).contiguous()
    points = Points(Z, whole.centre, whole.radius, weights, whole.total, whole.chunk_size)
    return function(points if task is None else points.project(task.index, task.A))


def _add(one: Sums | None, other: Sums | None) -> Sums | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(a + b for a, b in zip(one, other, strict=True))
