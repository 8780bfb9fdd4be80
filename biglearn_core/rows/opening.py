"""Whatever holds rows, opened as a source."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from torch.utils.data import DataLoader

from biglearn_core.rows.chunks import ChunkRows
from biglearn_core.rows.dask import DaskRows, is_dask
from biglearn_core.rows.files import NpyRows
from biglearn_core.rows.parquet import PARQUET_SUFFIXES, ParquetRows, files_below
from biglearn_core.rows.source import RowSource
from biglearn_core.rows.weighted import WeightedRows
from biglearn_core.system.numbers import shown

__all__ = ["is_source", "open_rows", "with_weights"]

_NPY_SUFFIXES = (".npy", ".npz")
_READABLE = (
    "readable are .npy and .npz files, Parquet files (.parquet, .pq), lists of either, and folders "
    "that hold them"
)


def is_source(data: Any) -> bool:
    """Tell what `open_rows` opens from what lies in memory.

    Parameters
    ----------
    data : object

    Returns
    -------
    is_source : bool
        True for a path, a list or tuple of paths, a RowSource, a DataLoader, a Dask array or data
        frame, and an object with a method `chunks()`. False for other arrays and data frames, for
        tensors and lists of numbers.
    """
    if isinstance(data, list | tuple):
        return bool(data) and all(isinstance(part, str | os.PathLike) for part in data)
    if isinstance(data, str | os.PathLike | RowSource | DataLoader) or is_dask(data):
        return True
    return not isinstance(data, type) and callable(getattr(data, "chunks", None))


def open_rows(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
    sample_weight: ArrayLike | str | os.PathLike[str] | None = None,
) -> RowSource:
    """Open rows that need not fit into memory.

    Parameters
    ----------
    data : path-like, list of path-like, DataLoader, Dask array or data frame, object with a method
        chunks(), or RowSource
        .npy, .npz or Parquet files, or a folder of Parquet files, or else of .npy and .npz files;
        see `NpyRows`, `ParquetRows`, `DaskRows` and `ChunkRows`.
    columns : sequence of str, optional
        Features of Parquet files.
    weight : str, optional
        Column of Parquet files that holds sample weights.
    sample_weight : array-like of shape (N,), or path-like, optional
        See `WeightedRows`.

    Returns
    -------
    source : RowSource

    Raises
    ------
    ImportError
        When Parquet files are to be read without pyarrow.
    OSError
        When a file is not there or cannot be read.
    TypeError, ValueError
        When this is none of these, or damaged, or does not fit together.
    """
    if weight is not None and sample_weight is not None:
        raise ValueError(
            f"weight={weight!r} and sample_weight are both given; give the weights in one place"
        )
    source = _opened(data, columns, weight)
    return source if sample_weight is None else with_weights(source, sample_weight)


def with_weights(source: RowSource, sample_weight: ArrayLike | str | os.PathLike[str]) -> RowSource:
    """Give every row of a source a weight.

    Parameters
    ----------
    source : RowSource
        Without weights.
    sample_weight : array-like of shape (N,), or path-like
        See `WeightedRows`; for the rows of a Dask array an array, see `DaskRows`.

    Returns
    -------
    source : RowSource
        A pass over it is made where the rows lie.

    Raises
    ------
    OSError, TypeError, ValueError
        As by these.
    """
    if isinstance(source, DaskRows):
        return source.with_weights(sample_weight)
    return WeightedRows(source, sample_weight)


def _opened(data: Any, columns: Sequence[str] | None, weight: str | None) -> RowSource:
    if not is_source(data):
        raise TypeError(
            f"rows cannot be opened from {shown(data)}: {_READABLE}, a DataLoader, "
            "a Dask array, and an object with a method chunks()"
        )
    if isinstance(data, str | os.PathLike | list | tuple):
        paths = _files([data] if isinstance(data, str | os.PathLike) else data)
        if _kind(paths[0]) == "parquet":
            return ParquetRows(paths, columns=columns, weight=weight)
    for name, value in (("columns", columns), ("weight", weight)):
        if value is not None:
            raise ValueError(
                f"{name}={value!r} names columns of Parquet files, and this is "
                f"{shown(data)}; leave it out"
            )
    if isinstance(data, RowSource):
        return data
    if is_dask(data):
        return DaskRows(data)
    if isinstance(data, str | os.PathLike | list | tuple):
        return NpyRows(paths)
    return ChunkRows(data)


def _files(data: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Find the files that are meant, all of one kind."""
    paths = [Path(path) for path in data]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                errno.ENOENT, f"there is no file {path}; look for a slip in its name"
            )
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        for suffixes in (PARQUET_SUFFIXES, _NPY_SUFFIXES):
            if found := list(files_below(folder, suffixes)):
                return found
        raise ValueError(f"the folder {folder} holds nothing to read: {_READABLE}")
    kinds = [_kind(path) for path in paths]
    for path, kind in zip(paths, kinds, strict=True):
        if kind != kinds[0]:
            raise ValueError(
                f"{paths[0]} and {path} are of two kinds; give files of one kind, and convert the "
                "others"
            )
    return paths


def _kind(path: Path) -> str:
    if path.is_dir():
        raise ValueError(f"{path} is one folder among several names; give it alone, or name files")
    suffix = path.suffix.lower()
    if suffix in PARQUET_SUFFIXES:
        return "parquet"
    if suffix in _NPY_SUFFIXES:
        return "npy"
    raise ValueError(f"{path} has the suffix {suffix!r}: {_READABLE}")
