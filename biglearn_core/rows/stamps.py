"""Files that are read more than once: errors that name them, and whether they were changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["FileStamp", "naming"]


@dataclass(frozen=True)
class FileStamp:
    """What tells a file from what it was.

    Parameters
    ----------
    path : str
    size : int
        Bytes.
    modified : int
        Nanoseconds since 1970.
    """

    path: str
    size: int
    modified: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> FileStamp:
        """Look at a file.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        stamp : FileStamp

        Raises
        ------
        OSError
            When it is not there, or cannot be looked at.
        """
        name = os.fspath(path)
        with naming(name):
            try:
                status = os.stat(name)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    error.errno, f"there is no file {name}; look for a slip in its name"
                ) from error
        return cls(name, status.st_size, status.st_mtime_ns)

    def check(self) -> None:
        """Make sure that the file is what it was.

        Raises
        ------
        FileNotFoundError
            When it has gone.
        ValueError
            When it was written to.
        """
        with naming(self.path):
            try:
                status = os.stat(self.path)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    error.errno,
                    f"{self.path} has gone since it was opened; put it back, or open the rows that "
                    "are left",
                ) from error
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            raise ValueError(
                f"{self.path} was changed since it was opened (then {self.size} bytes, now "
                f"{status.st_size}; or another time of modification): passes would see different "
                "rows; open it again when nothing writes to it any more"
            )


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Make errors of the system name a file and the remedy.

    Parameters
    ----------
    path : str

    Raises
    ------
    OSError
        Of the same kind.
    """
    try:
        yield
    except OSError as error:
        if path in str(error.strerror or error):
            raise
        text = (
            f"cannot read {path}: {error.strerror or error}; make it a file that this user may "
            "read, or give another one"
        )
        raise (OSError(text) if error.errno is None else OSError(error.errno, text)) from error
