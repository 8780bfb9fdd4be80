"""One run at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["LockedError", "run_lock"]


class LockedError(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def run_lock(path: str | os.PathLike, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock on a file, which stays behind and means nothing by itself.

    The system frees the lock when the process ends, kill -9 included. Where there are no such locks
    the block runs without one, after a line on stderr.

    Parameters
    ----------
    path : path-like
        Missing parent folders are made.
    wait : bool, default False
        Whether to wait for another process that holds it.

    Raises
    ------
    LockedError
        When another process holds it and `wait` is false; names that process and when it started.
    OSError
        When the file cannot be written; names the remedy.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        _acquire(file, wait=wait)
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
        except OSError as error:
            raise _unwritable(path, error) from error
        yield


def _acquire(file: TextIO, *, wait: bool) -> None:
    try:
        if fcntl is None:
            raise OSError("this system has no flock")
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.seek(0)
        holder = file.read() or "a process that has just started"
        raise LockedError(
            f"another run is under way here ({holder}); wait until it has ended, or end it"
        ) from None
    except OSError as error:  # also file systems without locks
        print(f"no lock on {file.name} ({error}): start no second run here", file=sys.stderr)


def _unwritable(path: Path, error: OSError) -> OSError:
    return OSError(
        error.errno,
        f"cannot write in {path.parent}: {error.strerror or error}. Results go there: make the "
        "folder writable, free some space, or work in a copy of the repository elsewhere",
    )
