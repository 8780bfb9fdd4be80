"""Errors in words, for whoever has typed a command."""

from __future__ import annotations

__all__ = ["text_of"]


def text_of(error: BaseException) -> str:
    """Give the text of an error, without what only a programmer needs.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    text : str
        One of the system's own is told with its file.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
