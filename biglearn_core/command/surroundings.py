"""What a command changes in its process while it runs: progress, warnings, signals."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

from sklearn.exceptions import ConvergenceWarning

__all__ = ["Terminated", "surroundings"]

_QUIET = "BIGLEARN_QUIET"


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as by Slurm or torchrun."""


@contextlib.contextmanager
def surroundings(name: str, *, quiet: bool, rank: int) -> Iterator[None]:
    """Set up what is printed, and by whom.

    Parameters
    ----------
    name : str
        Of the command, before each of its warnings.
    quiet : bool
        Whether to show no progress.
    rank : int
        The first process alone warns and shows progress.
    """
    with warnings.catch_warnings(), _environment(quiet or rank > 0), _ending_on_request():
        warnings.filterwarnings("always", category=ConvergenceWarning)

        def show(message: Warning | str, *_: object, **__: object) -> None:
            if rank == 0:
                print(f"{name}: warning: {message}", file=sys.stderr)

        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _environment(quiet: bool) -> Iterator[None]:
    before = os.environ.get(_QUIET)
    if quiet:
        os.environ[_QUIET] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_QUIET, None)
        else:
            os.environ[_QUIET] = before


@contextlib.contextmanager
def _ending_on_request() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, so that no temporary file is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
