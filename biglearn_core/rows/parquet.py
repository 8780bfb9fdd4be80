"""Rows of Parquet files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biglearn_core.rows.division import divided, spans
from biglearn_core.rows.files import label_of
from biglearn_core.rows.source import Block, RowSource, block_size
from biglearn_core.rows.stamps import FileStamp, naming

if TYPE_CHECKING:
    import pyarrow

__all__ = ["PARQUET_SUFFIXES", "ParquetRows", "files_below"]

PARQUET_SUFFIXES = (".parquet", ".pq")

# Bytes that are read of a column at once. Without it, whole columns of a row group are.
_BUFFER = 2**16


class ParquetRows(RowSource):
    """Rows of Parquet files, one file behind the other.

    Parameters
    ----------
    path : path-like or sequence of path-like
        A file, several, or a folder: then all *.parquet and *.pq files below it, by name, those
        in linked folders among them. What begins with a dot or an underscore is passed over; names
        of folders are not read as columns.
    columns : sequence of str, optional
        Features, in this order. All columns when not given, without the weight and without the
        index of a pandas frame.
    weight : str, optional
        Column of sample weights, which is no feature.

    Raises
    ------
    ImportError
        Without pyarrow.
    OSError
        When a file is not there or cannot be read.
    TypeError
        When `columns` is no sequence of names.
    ValueError
        When a file is damaged, lacks a column, or has it of another type than the first file; when
        a column holds no numbers.

    Notes
    -----
    Integers, booleans and decimals are read as float64, float32 where all features are float32;
    nulls as NaN. Row groups before the wanted rows are not read, and of a large row group only as
    much is in memory as a block needs. Weights are checked as they are read: null, negative and
    infinite ones are errors.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        columns: Sequence[str] | None = None,
        weight: str | None = None,
    ) -> None:
        if isinstance(columns, str) or not all(isinstance(name, str) for name in columns or ()):
            raise TypeError(f"columns must be a list of names, got {columns!r}")
        names = [path] if isinstance(path, str | os.PathLike) else list(path)
        if len(names) == 1 and os.path.isdir(names[0]):
            names = list(files_below(names[0], PARQUET_SUFFIXES))
        if not names:
            raise ValueError(
                f"there is no {' or '.join(PARQUET_SUFFIXES)} file in {path!s}; name files, or "
                "another folder"
            )
        self._files = [_File.of(name) for name in names]
        first = self._files[0]
        features = _features(first, columns, weight)
        wanted = features if weight is None else (*features, weight)
        for file in self._files:
            _check_columns(first, file, wanted, exactly=columns is None)
        self._weight = weight
        self.n_rows = sum(file.n_rows for file in self._files)
        self.n_features, self.feature_names = len(features), features
        single = all(str(first.types[name]) == "float" for name in features)
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.label = label_of([file.stamp.path for file in self._files])

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Read rows; see `RowSource.blocks`."""
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        lengths = [file.n_rows for file in self._files]
        chunks = (
            chunk
            for index, first, end in spans(lengths, start, stop)
            for chunk in self._chunks(self._files[index], size, first, end)
        )
        return divided(chunks, size)

    def _chunks(self, file: _File, size: int, start: int, stop: int) -> Iterator[Block]:
        assert self.feature_names is not None
        names = list(self.feature_names)
        wanted = names if self._weight is None else [*names, self._weight]
        for batch in file.batches(wanted, min(size, block_size(len(wanted))), start, stop):
            rows = np.empty((len(batch), len(names)), dtype=self.dtype)
            for j, name in enumerate(names):
                rows[:, j] = _numbers(batch.column(name), self.dtype)
            weights = None
            if self._weight is not None:
                weights = _numbers(batch.column(self._weight), np.dtype(np.float64))
                _check_weights(file.stamp.path, self._weight, weights)
            yield Block(rows, weights)


@dataclass(frozen=True)
class _File:
    """A Parquet file: its columns by name with their Arrow types, and the rows of its groups."""

    stamp: FileStamp
    types: dict[str, pyarrow.DataType]
    index: tuple[str, ...]  # columns that a pandas frame had as its index
    groups: tuple[int, ...]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> _File:
        stamp = FileStamp.of(path)
        with _reading(stamp), _opened(stamp.path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            index = _index_of(schema)
        names = list(schema.names)
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"{stamp.path} has several columns named {min(repeated)!r}; give each a name of "
                "its own"
            )
        types = dict(zip(names, schema.types, strict=True))
        return cls(stamp, types, index, groups)

    @property
    def n_rows(self) -> int:
        return sum(self.groups)

    def batches(
        self, names: list[str], size: int, start: int, stop: int
    ) -> Iterator[pyarrow.RecordBatch]:
        """Read rows of some columns, at most `size` at once."""
        self.stamp.check()
        read = list(spans(self.groups, start, stop))
        skipped, left = read[0][1], stop - start
        with contextlib.ExitStack() as stack:
            with _reading(self.stamp):
                file = stack.enter_context(_opened(self.stamp.path))
                batches = file.iter_batches(
                    size, row_groups=[index for index, _, _ in read], columns=names
                )
            while left:
                with _reading(self.stamp):
                    batch = next(batches, None)
                    if batch is None:
                        raise ValueError(f"it ends {left} rows too early")
                passed = min(skipped, len(batch))
                batch = batch.slice(passed, left)
                skipped, left = skipped - passed, left - len(batch)
                if len(batch):
                    yield batch
        self.stamp.check()


def files_below(folder: str | os.PathLike[str], suffixes: tuple[str, ...]) -> Iterator[Path]:
    """List the files of a folder and of the folders in it, by name.

    Parameters
    ----------
    folder : path-like
    suffixes : tuple of str

    Yields
    ------
    path : Path
        Nothing hidden, and nothing that begins with an underscore, as notes about the data do.

    Raises
    ------
    OSError
        When a folder cannot be read, or a link leads nowhere.
    ValueError
        When links lead to a folder a second time.
    """
    return _below(Path(folder), suffixes, {})


def _below(folder: Path, suffixes: tuple[str, ...], seen: dict[Path, Path]) -> Iterator[Path]:
    """List files, given the folders that were seen before, by where they are in truth."""
    place = folder.resolve()
    if place in seen:
        raise ValueError(
            f"{folder} and {seen[place]} are the same folder, by a link, and its rows would count "
            "more than once: remove the link, or name the files"
        )
    seen[place] = folder
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            yield from _below(path, suffixes, seen)
        elif path.is_symlink() and not path.exists():
            raise FileNotFoundError(
                errno.ENOENT,
                f"{path} is a link to {path.readlink()}, which is not there: mend or remove it",
            )
        elif path.suffix.lower() in suffixes and path.is_file():
            yield path


def _features(file: _File, columns: Sequence[str] | None, weight: str | None) -> tuple[str, ...]:
    """Choose the columns that are features."""
    if weight is not None and weight not in file.types:
        raise _absent(file, weight, "weight=")
    if columns is None:
        features = tuple(name for name in file.types if name not in (weight, *file.index))
    else:
        features = tuple(columns)
        if weight in features:
            raise ValueError(
                f"column {weight!r} is named in columns= and as weight=; the weight is no feature: "
                "leave it out of one of them"
            )
        if repeated := {name for name in features if features.count(name) > 1}:
            raise ValueError(f"columns= names {min(repeated)!r} more than once; name it once")
    if not features:
        raise ValueError(
            f"no column of {file.stamp.path} is left as a feature; it has {_some(file.types)}"
        )
    return features


def _check_columns(first: _File, file: _File, wanted: Sequence[str], *, exactly: bool) -> None:
    """Refuse columns that are no numbers, or are others than those of the first file."""
    path = file.stamp.path
    if exactly and (more := file.types.keys() - first.types.keys()):
        raise ValueError(
            f"{path} has a column {min(more)!r} that {first.stamp.path} has not; name the columns "
            "that all files have (columns=)"
        )
    for name in wanted:
        if name not in file.types:
            raise _absent(file, name, "columns=")
        if file.types[name] != first.types[name]:
            raise ValueError(
                f"column {name!r} of {path} is of type {file.types[name]}, and of type "
                f"{first.types[name]} in {first.stamp.path}; convert one of them, or leave the "
                "column out (columns=)"
            )
        if not _is_number(file.types[name]):
            raise ValueError(
                f"column {name!r} of {path} is of type {file.types[name]}, which is no number; "
                "name the other columns (columns=) to leave it out, or encode it as numbers"
            )


def _absent(file: _File, name: str, option: str) -> ValueError:
    return ValueError(
        f"{file.stamp.path} has no column {name!r}; it has {_some(file.types)}: name those that "
        f"all files have ({option})"
    )


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return f"{', '.join(map(repr, shown[:10]))}{', ...' * (len(shown) > 10)}" or "no columns"


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    return any(test(kind) for test in tests)


def _index_of(schema: pyarrow.Schema) -> tuple[str, ...]:
    """Find the columns that pandas wrote for the index of a frame."""
    notes = (schema.metadata or {}).get(b"pandas")
    entries = json.loads(notes).get("index_columns", ()) if notes else ()
    return tuple(entry for entry in entries if isinstance(entry, str))


def _numbers(column: pyarrow.Array, dtype: np.dtype) -> np.ndarray:
    import pyarrow

    # Not safe: integers beyond 2⁵³ are rounded, as they are in arrays.
    numbers = column.cast(pyarrow.from_numpy_dtype(dtype), safe=False)
    array: np.ndarray = numbers.to_numpy(zero_copy_only=False)
    return array


def _check_weights(path: str, name: str, weights: np.ndarray) -> None:
    if n_bad := int((~np.isfinite(weights)).sum()):
        raise ValueError(
            f"weight column {name!r} of {path} must hold one finite number a row: {n_bad} or more "
            "are null, NaN or infinite; write zero to leave a row out"
        )
    if n_bad := int((weights < 0).sum()):
        raise ValueError(
            f"Negative values in weight column {name!r} of {path}: {n_bad} or more; weights count "
            "copies of a row and must be non-negative"
        )


def _opened(path: str) -> Any:
    """Open a file such that no whole row group comes into memory."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            f"{path} is read with pyarrow, which is not here: pip install 'biglearn-em[parquet]'"
        ) from error
    return ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)


@contextlib.contextmanager
def _reading(stamp: FileStamp) -> Iterator[None]:
    """Make errors name the file; pyarrow tells damage as OSError, too, without errno."""
    try:
        with naming(stamp.path):
            yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        stamp.check()
        cause = (error.__cause__ or error) if isinstance(error, OSError) else error
        raise ValueError(
            f"{stamp.path} is no readable Parquet file ({cause}); write or copy it again"
        ) from error
