"""How a command ends that cannot do its work."""

from __future__ import annotations

import sys

from biglearn_core.system.messages import text_of

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
    print(f"error: {text_of(error)}", file=sys.stderr)
    return 1
