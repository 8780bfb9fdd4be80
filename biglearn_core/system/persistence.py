"""Files that are either whole or absent: atomic writes, and arrays without pickle."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

__all__ = ["load_arrays", "save_arrays", "take_columns", "write_atomically", "write_text"]

# What `save_arrays` writes is not compressed. Others' archives may be: by at most this factor, or
# up to so many bytes in all.
_LARGEST_RATIO = 10
_HARMLESS_BYTES = 64 * 2**20

_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

_UMASK = os.umask(0)
os.umask(_UMASK)


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` and rename it to `path` once it is whole.

    Parameters
    ----------
    path : path-like
        Final name. Missing parent folders are made.

    Yields
    ------
    file : binary file
        Open for reading and writing under the `name` of the temporary file. If the block raises, or
        the process dies, `path` keeps its old content.

    Raises
    ------
    OSError
        When the folder cannot be written or the disk is full; names the path and the remedy.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
        )
        with open(temporary, "w+b", opener=lambda *_: handle) as file:
            yield file
            file.flush()
            if hasattr(os, "fchmod"):  # not on Windows, where files inherit the folder's rights
                os.fchmod(file.fileno(), 0o666 & ~_UMASK)  # mkstemp keeps others from reading
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {path}: {error.strerror or error}. Nothing was changed there; free some "
            "space, make the folder writable, or choose another output folder, then run again",
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, atomically and in UTF-8.

    Parameters
    ----------
    path : path-like
    text : str

    Raises
    ------
    OSError
        As in `write_atomically`.
    """
    with write_atomically(path) as file:
        file.write(text.encode())


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to an .npz file, atomically and without pickle.

    Parameters
    ----------
    path : path-like
        Name of the file, used as it is.
    arrays : mapping of str to array-like
        Numeric, boolean or fixed-width string arrays.

    Raises
    ------
    TypeError
        When an array would need pickle.
    OSError
        As in `write_atomically`.
    """
    converted = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in converted.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; store numbers or strings")
    with write_atomically(path) as file:
        np.savez(file, **converted)
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = _fingerprint(archive)


def load_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the arrays that `save_arrays` wrote.

    Parameters
    ----------
    path : path-like
        An .npz file.

    Returns
    -------
    arrays : dict of str to ndarray

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged or none of ours: no archive, a member that is no array or whose
        size is not that of its header, pickled objects, which are never loaded, or members that
        inflate to far more than the file holds. Nothing of that size is allocated.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            comment = archive.comment
            if comment and comment != _fingerprint(archive):
                raise ValueError("its list of arrays is not the one that was written")
            members = archive.infolist()
            _check_sizes(members, os.fstat(file.fileno()).st_size)
            return {m.filename.removesuffix(".npy"): _read_member(archive, m) for m in members}
    except OSError as error:
        if error.errno != errno.EINVAL:  # a damaged header sends the reader before the file's start
            raise
        raise _unreadable(path, error) from error
    except MemoryError:
        raise
    except Exception as error:  # zip, zlib and NumPy raise many kinds on bytes that make no sense
        raise _unreadable(path, error) from error


def take_columns(
    arrays: Mapping[str, np.ndarray], names: Iterable[str], *, source: str
) -> list[np.ndarray]:
    """Take the columns of a table out of what a file holds.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    names : iterable of str
    source : str
        Path of the file, for the error.

    Returns
    -------
    columns : list of ndarray of shape (n,)
        In the order of the names.

    Raises
    ------
    ValueError
        When a column is absent, no vector of numbers, or of another length than the others.
    """
    names = list(names)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{source} lacks {', '.join(missing)}; delete it")
    columns = [arrays[name] for name in names]
    if any(c.ndim != 1 or c.dtype.kind not in "biuf" for c in columns) or (
        len({len(c) for c in columns}) > 1
    ):
        shapes = ", ".join(f"{n} {c.dtype} {c.shape}" for n, c in zip(names, columns, strict=True))
        raise ValueError(
            f"{source} is damaged: its columns do not make a table ({shapes}); delete it"
        )
    return columns


def _check_sizes(members: list[zipfile.ZipInfo], file_size: int) -> None:
    """Refuse an archive that would inflate to far more than it is."""
    if len({member.filename for member in members}) < len(members):
        raise ValueError("it holds two arrays of one name")
    total = sum(member.file_size for member in members)
    most = max(_HARMLESS_BYTES, _LARGEST_RATIO * file_size)
    if total > most:
        raise ValueError(f"its {file_size} bytes inflate to {total}, more than {most}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read an array whose header announces as many bytes as there are."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in _READ_HEADER:
            raise ValueError(f"{member.filename} has a header of unknown version {version}")
        shape, _, dtype = _READ_HEADER[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds pickled objects, which are not loaded")
        size = file.tell() + math.prod(shape) * dtype.itemsize
        if size != member.file_size or dtype.itemsize == 0 or min(shape, default=0) < 0:
            raise ValueError(
                f"{member.filename} has {member.file_size} bytes where {dtype} {shape} takes {size}"
            )
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def _fingerprint(archive: zipfile.ZipFile) -> bytes:
    """Digest of the names, sizes and checksums of all members.

    Every member carries a checksum of its own; a damaged directory, however, can hide members.
    """
    members = sorted((i.filename, i.file_size, i.CRC) for i in archive.infolist())
    return b"sha256:" + hashlib.sha256(repr(members).encode()).hexdigest().encode()


def _unreadable(path: str | os.PathLike, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a readable .npz file ({error}); delete it")
