"""An array in an .npy file or in a member of an .npz archive, read a few rows at a time."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy

from biglearn_core.rows.stamps import FileStamp, naming

__all__ = ["StoredArray", "check_numbers", "check_table"]

_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

# Of a zip member's own header: its length without name and extra field, whose lengths end it.
_LOCAL_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True)
class StoredArray:
    """Where an array lies, and how.

    Parameters
    ----------
    stamp : FileStamp
    member : str or None
        Of an archive that is read as a stream; None where the numbers lie in the file as they are.
    offset : int
        Bytes before the first number, in the member or in the file.
    shape : tuple of int
    dtype : numpy.dtype
        As stored.
    by_columns : bool
        Whether the numbers of a column lie one behind the other (Fortran order).
    """

    stamp: FileStamp
    member: str | None
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> StoredArray:
        """Find the array of a file; nothing of it is read but what describes it.

        Parameters
        ----------
        path : path-like
            .npy, or .npz that holds one array, or one that is named X.

        Returns
        -------
        array : StoredArray
            Of any shape, of real numbers.

        Raises
        ------
        OSError
            When the file is not there or cannot be read.
        ValueError
            When it is damaged, holds anything but numbers, or several arrays.
        """
        stamp = FileStamp.of(path)
        if stamp.path.lower().endswith(".npz"):
            return cls._of_archive(stamp)
        with _reading(stamp), open(stamp.path, "rb") as file:
            shape, by_columns, dtype = _read_header(file)
            found = cls(stamp, None, file.tell(), shape, dtype, by_columns and len(shape) > 1)
        return found._checked(stamp.path, stamp.size)

    @classmethod
    def _of_archive(cls, stamp: FileStamp) -> StoredArray:
        with _reading(stamp), zipfile.ZipFile(stamp.path) as archive:
            members = archive.infolist()
        chosen = _only_array(stamp.path, members)
        with _reading(stamp), zipfile.ZipFile(stamp.path) as archive:
            with archive.open(chosen) as file:
                shape, by_columns, dtype = _read_header(file)
                offset = file.tell()
            found = cls(stamp, chosen.filename, offset, shape, dtype, by_columns and len(shape) > 1)
        found = found._checked(f"{stamp.path}, {found.member},", chosen.file_size)
        if not found.by_columns:
            return found
        if chosen.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f"{stamp.path} holds {found.member} compressed and column by column (Fortran "
                "order), where no row can be read without the whole; save "
                "np.ascontiguousarray(X), or an .npy file"
            )
        with _reading(stamp), open(stamp.path, "rb") as raw:
            raw.seek(chosen.header_offset)
            magic, name, extra = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
            if magic != b"PK\x03\x04":
                raise ValueError(f"{found.member} is not where its directory says")
            offset += raw.tell() + name + extra
        return cls(stamp, None, offset, shape, dtype, by_columns)

    @property
    def n_rows(self) -> int:
        """Length of the first axis."""
        return self.shape[0]

    @property
    def dtype_read(self) -> np.dtype:
        """What the numbers are read as: float32 where they are stored so, float64 otherwise."""
        single = self.dtype.newbyteorder("=") == np.float32
        return np.dtype(np.float32 if single else np.float64)

    def chunks(self, size: int, start: int, stop: int) -> Iterator[np.ndarray]:
        """Read rows, in order.

        Parameters
        ----------
        size : int
            Most rows at once.
        start, stop : int
            The first row, and the one behind the last.

        Yields
        ------
        rows : ndarray of shape (n, D), or (n,) of an array of one axis
            float32 or float64, C-contiguous.

        Raises
        ------
        OSError, ValueError
            When the file has gone, was changed or is damaged.
        """
        self.stamp.check()
        with contextlib.ExitStack() as stack:
            with _reading(self.stamp):
                file = self._open(stack)
                if not self.by_columns:
                    row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
                    file.seek(self.offset + start * row_bytes)
            for first in range(start, stop, size):
                n = min(size, stop - first)
                with _reading(self.stamp):
                    rows = self._columns(file, first, n) if self.by_columns else self._next(file, n)
                yield rows
        self.stamp.check()

    def _open(self, stack: contextlib.ExitStack) -> IO[bytes]:
        if self.member is None:
            return stack.enter_context(open(self.stamp.path, "rb", buffering=0))
        archive = stack.enter_context(zipfile.ZipFile(self.stamp.path))
        return stack.enter_context(archive.open(self.member))

    def _next(self, file: IO[bytes], n: int) -> np.ndarray:
        rows = _numbers(file, (n, *self.shape[1:]), self.dtype)
        return rows.astype(self.dtype_read, copy=False)

    def _columns(self, file: IO[bytes], first: int, n: int) -> np.ndarray:
        rows = np.empty((n, self.shape[1]), dtype=self.dtype_read)
        for column in range(self.shape[1]):
            before = column * self.n_rows + first
            file.seek(self.offset + before * self.dtype.itemsize)
            rows[:, column] = _numbers(file, (n,), self.dtype)
        return rows

    def _checked(self, name: str, n_bytes: int) -> StoredArray:
        """Refuse what holds no numbers, or not as many as it says."""
        check_numbers(name, self.dtype)
        size = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if min(self.shape, default=0) < 0 or n_bytes < size:
            raise ValueError(
                f"{name} is truncated: {n_bytes} bytes, where {self.dtype} {self.shape} takes "
                f"{size}; write or copy it again"
            )
        if n_bytes > size:
            raise ValueError(
                f"{name} has {n_bytes - size} bytes behind its array of {self.dtype} "
                f"{self.shape}, as of a second one; save every array in a file of its own"
            )
        return self


def check_numbers(name: str, dtype: np.dtype) -> None:
    """Refuse what is no array of real numbers.

    Parameters
    ----------
    name : str
        Of the array, for the error.
    dtype : numpy.dtype

    Raises
    ------
    ValueError
    """
    if dtype.names is not None:
        raise ValueError(
            f"{name} holds records with the fields {', '.join(dtype.names)}; "
            "numpy.lib.recfunctions.structured_to_unstructured makes columns of them"
        )
    if dtype.hasobject:
        raise ValueError(
            f"{name} holds Python objects (no pickle is ever loaded); convert it to float64, with "
            "NaN where a value is missing"
        )
    if dtype.kind == "c":
        raise ValueError(
            f"{name} holds complex numbers ({dtype}); make two columns of real and imaginary parts"
        )
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise ValueError(f"{name} holds {dtype}, which are no numbers; encode them as numbers")


def check_table(name: str, shape: tuple[int, ...]) -> None:
    """Refuse what is no table.

    Parameters
    ----------
    name : str
        Of the array, for the error.
    shape : tuple of int

    Raises
    ------
    ValueError
    """
    if len(shape) != 2:
        remedy = (
            "reshape(-1, 1) makes one feature of it, reshape(1, -1) one row"
            if len(shape) == 1
            else "reshape(len(X), -1) makes a row of every entry"
            if len(shape) > 2
            else "save rows"
        )
        raise ValueError(f"{name} has the shape {shape}, expected (N, D): {remedy}")
    if shape[1] == 0:
        raise ValueError(f"{name} has the shape {shape}, without a feature; give it columns")


def _numbers(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    numbers = np.empty(shape, dtype=dtype)
    wanted = memoryview(numbers.reshape(-1).view(np.uint8))
    while len(wanted):
        count = file.readinto(wanted)  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"it ends {len(wanted)} bytes too early")
        wanted = wanted[count:]
    return numbers


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version not in _READ_HEADER:
        raise ValueError(f"its header is of version {version}, known are 1.0 and 2.0")
    return _READ_HEADER[version](file)


def _only_array(path: str, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    names = [member.filename.removesuffix(".npy") for member in members]
    if len(members) == 1:
        return members[0]
    if names.count("X") == 1:
        return members[names.index("X")]
    held = f"{len(names)} arrays: {', '.join(names[:10])}{', ...' * (len(names) > 10)}"
    raise ValueError(
        f"{path} holds {held if names else 'no array'}; rows are read from an archive of one "
        "array, or from the one that is named X: save it so"
    )


@contextlib.contextmanager
def _reading(stamp: FileStamp) -> Iterator[None]:
    """Make all errors name the file; zip, zlib and NumPy raise many kinds on damaged bytes."""
    try:
        with naming(stamp.path):
            yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        stamp.check()
        raise ValueError(
            f"{stamp.path} is no readable .npy or .npz file ({error}); write or copy it again"
        ) from error
