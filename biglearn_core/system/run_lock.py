"""One run at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["LockedError", "run_lock"]

# What a file system without locks answers.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


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
    holder = path.with_name(f"{path.name}.holder")  # Windows lets nobody read a locked file
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
            held.enter_context(lock)
            if not wait:
                held.callback(holder.unlink, missing_ok=True)
                started = time.strftime("%Y-%m-%d %H:%M:%S")
                holder.write_text(f"process {os.getpid()}, started {started}", encoding="utf-8")
        except Timeout:
            name = "a process that has just started"
            with contextlib.suppress(FileNotFoundError):
                name = holder.read_text(encoding="utf-8") or name
            raise LockedError(
                f"another run is under way here ({name}); wait until it has ended, or end it"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise OSError(
                    error.errno,
                    f"cannot write in {path.parent}: {error.strerror or error}. Results go there: "
                    "make the folder writable, free some space, choose another output folder, or "
                    "work in a copy of the repository elsewhere",
                ) from error
            print(f"no lock on {path} ({error}): start no second run here", file=sys.stderr)
        yield
