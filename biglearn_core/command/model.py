"""The file of a mixture, as a command is given it."""

from __future__ import annotations

from pathlib import Path

from biglearn_core.command.errors import CommandError
from biglearn_core.gmm import GMM
from biglearn_core.system.persistence import load_arrays

__all__ = ["open_model"]

# What arrays of a checkpoint are called, beside those of its mixture.
_OF_CHECKPOINTS = "condition/"


def open_model(path: Path) -> GMM:
    """Read a mixture.

    Parameters
    ----------
    path : Path

    Returns
    -------
    model : GMM
        On the CPU, in the dtype that was saved.

    Raises
    ------
    CommandError
        When the file is something else, or damaged.
    OSError
        When it is not there or cannot be read.
    """
    remedy = "name a file that `biglearn fit` or GMM.save has written"
    try:
        arrays = load_arrays(path)
    except ValueError as error:
        raise CommandError(f"{path} is not the file of a mixture: {remedy}") from error
    if any(name.startswith(_OF_CHECKPOINTS) for name in arrays):
        raise CommandError(
            f"{path} is the checkpoint of a fit that has not ended, and not its mixture: finish it "
            "by the same `biglearn fit`, and name what that writes"
        )
    try:
        return GMM.from_arrays(arrays, source=str(path))
    except ValueError as error:
        raise CommandError(f"{error}; {remedy}") from error
