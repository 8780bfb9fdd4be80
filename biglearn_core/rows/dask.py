"""Rows of a Dask array: passes are made where its chunks lie, and only their outcome comes back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.division import divided, spans
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.rows.weighted import WeightedRows
from biglearn_core.system.numbers import shown

if TYPE_CHECKING:
    import dask.array
    import dask.dataframe
    from dask.delayed import Delayed

__all__ = ["DaskRows", "is_dask"]

Part = TypeVar("Part")


class DaskRows(RowSource):
    """Rows of a Dask array or data frame.

    Parameters
    ----------
    data : dask.array.Array of shape (N, D), or dask.dataframe.DataFrame
        Real numbers; float32 is kept, everything else is read as float64. Divided along rows alone,
        into chunks of known length. Those of a data frame are counted, which takes a pass, and its
        columns give the features their names.
    weights : dask.array.Array or array-like of shape (N,), optional
        Sample weights: finite and non-negative, which is checked where they lie, in every pass.
        A NumPy array is sent to the workers with every pass; a Dask array need not be.

    Raises
    ------
    ImportError
        Without Dask.
    TypeError
        When this is no Dask array of NumPy arrays of real numbers, or the weights are none.
    ValueError
        When the shape is another, lengths of chunks are not known, columns are divided, or the
        source has weights already.

    Notes
    -----
    `fold` works under Dask's scheduler of the moment: the workers of a `distributed.Client`, else
    threads or processes of this machine. Every chunk is one task of one thread, which goes through
    it in blocks; what two tasks found is combined by a third, until one small result is left. All
    rows are reported as progress at the end of the pass.

    `blocks` brings the rows here, one chunk at a time. Predictions are made from it, in this
    process, and are NumPy arrays: for rows whose answers are too many, map a fitted estimator over
    the chunks (`array.map_blocks(model.predict, drop_axis=1, dtype=int)`).

    A pass computes the array anew; `array.persist()` keeps its chunks in the memory of the workers.

    `distributed` starts its workers with MALLOC_TRIM_THRESHOLD_=65536, with which the C library
    asks the system for every array anew: passes take twice the time. Start them with larger values
    of that and of MALLOC_MMAP_THRESHOLD_ (2**28 and 2**25), by `pre-spawn-environ` of the nanny.
    """

    def __init__(
        self,
        data: dask.array.Array | dask.dataframe.DataFrame,
        *,
        weights: dask.array.Array | ArrayLike | None = None,
    ) -> None:
        array, self.feature_names = _array_of(data)
        _check_rows(array)
        self.n_rows, self.n_features = map(int, array.shape)
        single = array.dtype.newbyteorder("=") == np.float32  # as `ArrayRows` reads its chunks
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.label = "the Dask array"
        self._lengths: Sequence[int] = array.chunks[0]
        # Values of the graph: they are sent once to a worker, not once with every chunk.
        self._kind = _delayed(_Kind(self.n_features, array.dtype))
        self._chunks: list[Delayed] = list(array.to_delayed().ravel())
        self._weights: list[Delayed] | None = None
        if weights is not None:
            self._weights = self._divided_weights(weights)

    def with_weights(self, weights: dask.array.Array | ArrayLike) -> DaskRows:
        """Give the rows a weight each.

        Parameters
        ----------
        weights : dask.array.Array or array-like of shape (N,)

        Returns
        -------
        rows : DaskRows

        Raises
        ------
        TypeError, ValueError
            As for the class.
        """
        if self._weights is not None:
            raise ValueError(
                f"{self.label} has weights already; give them in one place, to DaskRows or as "
                "sample_weight"
            )
        weighted = copy(self)
        weighted._weights = self._divided_weights(weights)
        return weighted

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Bring rows here; see `RowSource.blocks`."""
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        return divided(self._read(start, stop), size)

    def fold(
        self,
        function: Callable[[Block], Part],
        combine: Callable[[Part, Part], Part],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Part | None:
        """Work where the chunks lie; see `RowSource.fold`."""
        if self.n_rows == 0:
            return None
        task = _Pass(function, combine, torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        shared = _delayed(task)
        parts = [
            _delayed(_of_chunk)(shared, self._kind, *chunk)
            for chunk in self._whole()
            if chunk[-1] > 0
        ]
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [_delayed(_of_two)(shared, *two) if two[1:] else two[0] for two in pairs]
        result = parts[0].compute()
        if progress is not None:
            progress(self.n_rows)
        return result

    def _read(self, start: int, stop: int) -> Iterator[Block]:
        chunks = self._whole()
        for index, first, end in spans(self._lengths, start, stop):
            yield _delayed(_some_rows)(self._kind, *chunks[index], first, end).compute()

    def _whole(self) -> list[tuple[Delayed, Delayed | None, int]]:
        """Give every chunk with its weights and its length."""
        weights = [None] * len(self._chunks) if self._weights is None else self._weights
        return list(zip(self._chunks, weights, self._lengths, strict=True))

    def _divided_weights(self, weights: Any) -> list[Delayed]:
        """Divide weights as the rows are."""
        import dask.array

        if hasattr(weights, "to_dask_array"):  # a column of a data frame
            weights = weights.to_dask_array(lengths=True)
        chunks = (tuple(self._lengths),)
        if isinstance(weights, str | os.PathLike):
            raise TypeError(
                f"weights of a Dask array must be an array, got {shown(weights)}: read the file "
                "with Dask, or give np.load(..., mmap_mode='r')"
            )
        if not isinstance(weights, dask.array.Array):
            weights = np.asarray(weights)
        if weights.dtype.kind not in "biuf" or not _holds_numpy(weights):
            raise TypeError(f"weights must be real numbers, got {weights.dtype}")
        if weights.shape != (self.n_rows,):
            raise ValueError(
                f"weights must hold one number a row: their shape is {weights.shape}, expected "
                f"{(self.n_rows,)}; call compute_chunk_sizes() where lengths are NaN"
            )
        if isinstance(weights, np.ndarray):
            weights = dask.array.from_array(weights, chunks=chunks, name=False)
        return list(weights.rechunk(chunks).to_delayed())


def is_dask(data: Any) -> bool:
    """Tell a Dask array, data frame or column from anything else, without importing Dask.

    Parameters
    ----------
    data : object

    Returns
    -------
    is_dask : bool
    """
    kinds = (("dask.array", "Array"), ("dask.dataframe", "DataFrame"), ("dask.dataframe", "Series"))
    found = (getattr(sys.modules.get(module), name, None) for module, name in kinds)
    return any(kind is not None and isinstance(data, kind) for kind in found)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What a pass does, and the modes of torch in the thread that asks for it."""

    function: Callable[[Block], Any]
    combine: Callable[[Any, Any], Any]
    inference: bool
    gradients: bool

    @contextmanager
    def modes(self) -> Iterator[None]:
        """Work as the caller would, but on one thread: workers run as many tasks as they should."""
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode(self.inference), torch.set_grad_enabled(self.gradients):
                yield
        finally:
            torch.set_num_threads(n_threads)


@dataclass(frozen=True, eq=False)
class _Kind:
    """What the array says of its chunks, which is not always true."""

    n_features: int
    dtype: np.dtype

    def source(self, chunk: Any, weights: Any, n_rows: int) -> RowSource:
        """Take a chunk as what it should be."""
        found = type(chunk).__name__, getattr(chunk, "shape", None), getattr(chunk, "dtype", None)
        expected = "ndarray", (n_rows, self.n_features), self.dtype
        if found != expected:
            raise ValueError(
                f"a chunk of the Dask array is of another kind than the array says: {found}, "
                f"expected {expected}; give map_blocks, from_delayed or what else has made it the "
                "right shape and dtype"
            )
        rows = ArrayRows(chunk)
        return rows if weights is None else WeightedRows(rows, weights)


def _of_chunk(
    task: _Pass, kind: _Kind, chunk: np.ndarray, weights: np.ndarray | None, n_rows: int
) -> Any:
    """Fold a chunk, where it lies."""
    with task.modes():
        return kind.source(chunk, weights, n_rows).fold(task.function, task.combine)


def _of_two(task: _Pass, one: Any, other: Any) -> Any:
    with task.modes():
        return task.combine(one, other)


def _some_rows(
    kind: _Kind,
    chunk: np.ndarray,
    weights: np.ndarray | None,
    n_rows: int,
    start: int,
    stop: int,
) -> Block:
    (block,) = kind.source(chunk, weights, n_rows).blocks(stop - start, start, stop)
    return block


def _delayed(value: Any) -> Any:
    from dask import delayed

    return delayed(value, pure=False, traverse=False)


def _array_of(data: Any) -> tuple[dask.array.Array, tuple[str, ...] | None]:
    """Give an array, and names of its columns."""
    try:
        import dask.array
    except ImportError as error:
        raise ImportError(
            f"DaskRows needs Dask ({error}): pip install 'biglearn-em[dask]'"
        ) from error
    names = None
    if hasattr(data, "to_dask_array") and hasattr(data, "columns"):
        if all(isinstance(name, str) for name in data.columns):
            names = tuple(data.columns)
        data = data.to_dask_array(lengths=True)
    if not isinstance(data, dask.array.Array):
        raise TypeError(
            f"DaskRows takes a Dask array or data frame, got {shown(data)}: "
            "dask.array.from_array(X, chunks=(rows, -1)) makes one"
        )
    return data, names


def _check_rows(array: dask.array.Array) -> None:
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"rows must be of shape (N, D), got a Dask array of shape {array.shape}: reshape it"
        )
    if array.dtype.kind not in "biuf" or not _holds_numpy(array):
        kind = type(array._meta).__name__
        raise TypeError(
            f"rows must be NumPy arrays of real numbers, got {kind} of {array.dtype}: convert "
            "them, for example by astype(float) or map_blocks"
        )
    if np.isnan(array.shape).any():
        raise ValueError(
            f"the lengths of the chunks are not known (shape {array.shape}): call "
            "compute_chunk_sizes() on the array, which takes a pass"
        )
    if array.numblocks[1] > 1:
        # Done here it would be done again in every pass, and move all rows among the workers.
        raise ValueError(
            f"the columns are divided into {array.numblocks[1]} chunks: give the array as "
            "rechunk({1: -1}), best followed by persist()"
        )


def _holds_numpy(array: Any) -> bool:
    return type(getattr(array, "_meta", array)) is np.ndarray
