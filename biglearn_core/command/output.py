"""Arrays of one entry a row, written in blocks by one process or several."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from biglearn_core.command.errors import CommandError
from biglearn_core.command.rows import OWN
from biglearn_core.system.persistence import write_atomically
from biglearn_core.system.processes import Processes

__all__ = ["check_output", "write_rows"]


def check_output(
    path: Path,
    *,
    suffix: str,
    inputs: Iterable[Path],
    processes: Processes,
    of_each: bool = False,
) -> None:
    """Refuse, before anything is computed, a name that cannot be written in the end.

    Parameters
    ----------
    path : Path
    suffix : str
        Of the files that the command writes.
    inputs : iterable of Path
        Files that are read; gone through only where there is a file that would be overwritten.
    processes : Processes
        Of which the first writes.
    of_each : bool, default False
        Whether every one of them writes a file of its own.

    Raises
    ------
    CommandError
        When it is another kind of file, a folder, one of the inputs, or in a folder that cannot be
        written; when one process writes, and the name has a place for its number.
    OSError
        When the inputs cannot be listed.
    ProcessesError
        When another process has failed.
    """
    if of_each or processes.rank == 0:
        processes.together(lambda: _check(path, suffix, inputs))
    else:
        processes.together(lambda: None)


def write_rows(
    path: Path,
    blocks: Iterable[np.ndarray],
    *,
    n_rows: int,
    of_row: tuple[int, ...],
    dtype: np.dtype,
    processes: Processes,
) -> None:
    """Write an .npy file, whole or not at all.

    Parameters
    ----------
    path : Path
        In a folder that all processes see.
    blocks : iterable of ndarray of shape (n, *of_row)
        Of this process.
    n_rows : int
        In all of its blocks.
    of_row : tuple of int
        Shape of what is written for a row.
    dtype : numpy.dtype
    processes : Processes
        Their rows lie one behind the other, in the order of the ranks.

    Raises
    ------
    OSError
        When the file cannot be written.
    ProcessesError
        When another process has failed.
    """
    counts = [int(count[0]) for count in processes.gather(np.array([n_rows]))]
    row_bytes = int(np.prod(of_row, dtype=np.int64)) * dtype.itemsize
    shape = (sum(counts), *of_row)

    with contextlib.ExitStack() as stack:

        def made() -> BinaryIO | None:
            if processes.rank > 0:
                return None
            file = stack.enter_context(write_atomically(path))
            order = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(file, order)
            file.truncate(file.tell() + shape[0] * row_bytes)
            file.flush()
            return file

        first = processes.together(made)
        place = "" if first is None else f"{first.tell()} {first.name}"
        told = processes.gather(np.frombuffer(place.encode(), dtype=np.uint8))[0]
        head, _, temporary = told.tobytes().decode().partition(" ")
        start = int(head) + sum(counts[: processes.rank]) * row_bytes

        def written() -> None:
            with _positioned(path, temporary, first, start) as file:
                for block in blocks:
                    file.write(np.ascontiguousarray(block, dtype=dtype).data)

        processes.together(written)
        processes.together(stack.close)


def _check(path: Path, suffix: str, inputs: Iterable[Path]) -> None:
    if OWN in str(path):
        raise CommandError(f"{path} is one file, of process 0 alone: leave {OWN} out of its name")
    if path.suffix != suffix:
        raise CommandError(f"{path} is to be a {suffix} file: give it that suffix")
    if path.is_dir():
        raise CommandError(f"{path} is a folder: name a file to write")
    # Not by name: a link, a folder in between, or a hard link may lead to the same file.
    if path.exists() and any(file.exists() and path.samefile(file) for file in inputs):
        raise CommandError(f"{path} is one of the files that are read: name another one to write")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise CommandError(f"{path} cannot be written: {folder} is no folder that you may write in")


@contextlib.contextmanager
def _positioned(
    path: Path, temporary: str, first: BinaryIO | None, start: int
) -> Iterator[BinaryIO]:
    """Go to the place of this process in the file that the first one has made."""
    if first is not None:
        first.seek(start)
        yield first
        first.flush()
        return
    try:
        with open(temporary, "r+b") as file:
            file.seek(start)
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {path}: {error.strerror or error}. All processes write into one file: "
            "name one in a folder that every machine sees, or write {rank} into its name for a "
            "file of each process",
        ) from error
