"""How a command ends that cannot do its work."""

from __future__ import annotations

import sys

__all__ = ["failed"]


def failed(error: Exception) -> int:
    """Say on stderr why a command failed.

    Parameters
    ----------
    error : Exception
        Its text names the cause and the remedy; one of the system's own is told with its file.

    Returns
    -------
    status : int
        1, for `sys.exit`.
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    print(f"error: {text}", file=sys.stderr)
    return 1
