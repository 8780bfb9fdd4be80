"""Files that are either whole or absent: atomic writes, and arrays without pickle."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

__all__ = ["load_arrays", "save_arrays", "write_atomically"]

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
        Open for writing. If the block raises, or the process dies, `path` keeps its old content.

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
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
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
        When the file is damaged or holds pickled objects, which are never loaded.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            comment = archive.zip.comment
            if comment and comment != _fingerprint(archive.zip):
                raise ValueError("its list of arrays is not the one that was written")
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, RuntimeError) as error:
        # RuntimeError, NotImplementedError among them: a damaged header asks for what zip can't do.
        raise _unreadable(path, error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a damaged header sends the reader before the file's start
            raise
        raise _unreadable(path, error) from error


def _fingerprint(archive: zipfile.ZipFile) -> bytes:
    """Digest of the names, sizes and checksums of all members.

    Every member carries a checksum of its own; a damaged directory, however, can hide members.
    """
    members = sorted((i.filename, i.file_size, i.CRC) for i in archive.infolist())
    return b"sha256:" + hashlib.sha256(repr(members).encode()).hexdigest().encode()


def _unreadable(path: str | os.PathLike, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a readable .npz file ({error}); delete it")
