"""Data that are read anew for every EM step: block by block, each as `Points` that are in memory.

The sums of an E-step over blocks add up, and so do those of several processes; nothing else is
asked of the data. A pass costs reading, centring and transposing what a step in memory finds ready.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.points import (
    Chunk,
    Points,
    Sums,
    n_quadratic_features,
    squared_norms,
    with_products,
)
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.system.processes import ALONE, Processes

__all__ = ["BlockView", "StreamedPoints", "StreamedRows", "Whole"]


@dataclass(frozen=True, eq=False)
class BlockView:
    """How rows of a source are seen by a fit: z = (x − shift) / scale.

    Parameters
    ----------
    shift : float64 ndarray of shape (D,)
    scale : float64 ndarray of shape (D,) or None
        None for ones.
    order : int64 ndarray of shape (D,) or None
        Feature that stands in each column of z; None where they stay in their places.
    weight_unit : float
        Factor of the sample weights.
    dtype : torch.dtype
        Of z.
    device : torch.device
    """

    shift: np.ndarray
    scale: np.ndarray | None
    order: np.ndarray | None
    weight_unit: float
    dtype: torch.dtype
    device: torch.device

    def about(self, centre: Tensor) -> BlockView:
        """Show rows less a centre.

        Parameters
        ----------
        centre : Tensor of shape (D,)
            As this view shows it.

        Returns
        -------
        view : BlockView
        """
        shift = centre.double().cpu().numpy()
        if self.order is not None:
            shift = shift[np.argsort(self.order)]
        if self.scale is not None:
            shift = shift * self.scale
        return replace(self, shift=self.shift + shift)

    def rows(self, block: Block) -> tuple[Tensor, Tensor | None] | None:
        """Give the rows of a block that have weight, as they are.

        Parameters
        ----------
        block : Block

        Returns
        -------
        rows : Tensor of shape (n, D)
        weights : Tensor of shape (n,) or None
        None where no row has weight.
        """
        rows, weights = block.rows, block.weights
        if weights is not None and not (some := weights > 0).all():
            rows, weights = rows[some], weights[some]
        if len(rows) == 0:
            return None
        if not rows.flags.writeable:  # torch warns of these, though nothing is written here
            rows = rows.copy()
        seen = torch.from_numpy(rows).to(self.device)
        if weights is None:
            return seen, None if self.weight_unit == 1 else self._weights(np.ones(len(rows)))
        return seen, self._weights(weights)

    def points(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Show rows as the fit sees them.

        Parameters
        ----------
        rows : Tensor of shape (n, D)
        out : Tensor of shape (D, n), optional
            Where to write.

        Returns
        -------
        Z : Tensor of shape (D, n)
            Never the memory of the rows; NaN where missing.
        """
        order = slice(None) if self.order is None else self.order
        columns = rows.T if self.order is None else rows.T.index_select(0, self._tensor(self.order))
        # Scaled in float64, as data in memory are.
        dtype = self.dtype if self.scale is None else torch.float64
        fits = out is not None and out.dtype == dtype
        Z = out if fits else columns.new_empty(columns.shape, dtype=dtype)
        Z.copy_(columns).sub_(self._tensor(self.shift[order]).to(dtype)[:, None])
        if self.scale is not None:
            Z.div_(self._tensor(self.scale[order])[:, None])
        if out is None:
            return Z.to(self.dtype)
        return out if fits else out.copy_(Z)

    def _weights(self, weights: np.ndarray) -> Tensor:
        return torch.from_numpy(weights * self.weight_unit).to(self.device, self.dtype)

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

    Attributes
    ----------
    progress : callable or None
        Called with the number of rows that have been worked on since the last call.
    """

    def __init__(self, source: RowSource, view: BlockView, processes: Processes = ALONE) -> None:
        self.source, self.view, self.processes = source, view, processes
        self.progress: Callable[[int], None] | None = None
        self.n_features, self.dtype = source.n_features, view.dtype

    def total_of(self, function: Callable[[Tensor, Tensor | None], Sums]) -> Sums:
        """Add up what a function gives of every block.

        Parameters
        ----------
        function : callable
            Takes the rows of a block, of shape (n, D), as they are, and their weights. A process
            without rows gives it one without weight.

        Returns
        -------
        sums : tuple of Tensor
            Over the rows of all processes.
        """
        function_of_block = partial(_of_block, self.view, function)
        sums = self.processes.together(
            lambda: self.source.fold(function_of_block, _add, progress=self.progress)
        )
        if sums is None:
            shift = self.view.shift[None].astype(self.source.dtype)
            row = torch.from_numpy(shift).to(self.view.device)
            sums = function(row, row.new_zeros(1, dtype=self.view.dtype))
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

    @classmethod
    def of(
        cls,
        source: RowSource,
        view: BlockView,
        *,
        centre: Tensor,
        total: float,
        chunk_size: int | None = None,
        processes: Processes = ALONE,
        progress: Callable[[int], None] | None = None,
    ) -> StreamedPoints:
        """Measure the radius, in a pass.

        Parameters
        ----------
        source : RowSource
        view : BlockView
        centre : Tensor of shape (D,)
            As by `Points`, and so are the others.
        total : float
        chunk_size : int, optional
        processes : Processes, optional
        progress : callable, optional
            As the attribute, of this pass and those to come.

        Returns
        -------
        points : StreamedPoints
        """
        function = partial(_radius, view.about(centre))
        own = processes.together(lambda: source.fold(function, max, progress=progress)) or 0.0
        radius = max(float(one[0]) for one in processes.gather(np.array([own])))
        points = cls(source, view, Whole(centre, radius, total, chunk_size), processes)
        points.progress = progress
        return points

    def project(self, index: Tensor | None, A: Tensor | None) -> StreamedPoints:
        """Show the data as a matching task sees them; see `Points.project`."""
        if index is None and A is None:
            return self
        shown = StreamedPoints(self.source, self.view, self._whole, self.processes, _Task(index, A))
        shown.progress = self.progress
        return shown

    def added(self, function: Callable[[Points], Sums]) -> Sums:
        """Add up what a function gives of every block; see `Points.added`."""
        view = self.view.about(self._whole.centre)
        return self.total_of(partial(_of_rows, view, self._whole, self._task, function))


@dataclass(frozen=True, eq=False)
class _Task:
    """Which coordinates of which basis."""

    index: Tensor | None
    A: Tensor | None

    def apply(self, centre: Tensor) -> Tensor:
        if self.A is None:
            return centre[self.index]
        return (self.A if self.index is None else self.A[self.index]) @ centre


class _BlockPoints(Points):
    """Points of a block, of which every chunk is centred and transposed when its turn comes.

    So they stay in the cache; done for the whole block at once, this takes three times as long.
    """

    def __init__(self, view: BlockView, whole: Whole, rows: Tensor, weights: Tensor | None) -> None:
        self._view, self._rows = view, rows
        nothing = rows.new_empty(rows.shape[1], 0, dtype=view.dtype)
        super().__init__(
            nothing, whole.centre, whole.radius, weights, whole.total, whole.chunk_size
        )
        del self.Z
        self.n_points = len(rows)

    @cached_property
    def Z(self) -> Tensor:  # type: ignore[override]
        """All points at once, for forms that need them."""
        return self._view.points(self._rows)

    def _chunk(self, part: slice) -> Chunk:
        weights = None if self.weights is None else self.weights[part]
        return _RowChunk(self._view, self._rows[part], weights)


class _RowChunk(Chunk):
    """Some rows, which are written to where they are wanted: among features, or by themselves."""

    def __init__(self, view: BlockView, rows: Tensor, weights: Tensor | None) -> None:
        self._view, self._rows = view, rows
        self.weights = weights
        self._made = None

    @cached_property
    def Z(self) -> Tensor:  # type: ignore[override]
        return self._view.points(self._rows)

    def _columns(self, kind: str, dtype: torch.dtype) -> Tensor:
        if kind != "quadratic" or dtype != self._view.dtype:
            return super()._columns(kind, dtype)
        n, d = self._rows.shape
        features = self._rows.new_empty(n_quadratic_features(d), n, dtype=dtype)
        self._view.points(self._rows, features[1 : d + 1])
        return with_products(features, d)


def _radius(view: BlockView, block: Block) -> float:
    seen = view.rows(block)
    return 0.0 if seen is None else math.sqrt(squared_norms(view.points(seen[0])).max().item())


def _of_block(
    view: BlockView, function: Callable[[Tensor, Tensor | None], Sums], block: Block
) -> Sums | None:
    seen = view.rows(block)
    return None if seen is None else function(*seen)


def _of_rows(
    view: BlockView,
    whole: Whole,
    task: _Task | None,
    function: Callable[[Points], Sums],
    rows: Tensor,
    weights: Tensor | None,
) -> Sums:
    points = _BlockPoints(view, whole, rows, weights)
    return function(points if task is None else points.project(task.index, task.A))


def _add(one: Sums | None, other: Sums | None) -> Sums | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(a + b for a, b in zip(one, other, strict=True))
