"""How long a run of several notebooks will still take, and a line on the terminal that says so."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from biglearn_core.reproduce.documents import each, number, read_document

__all__ = ["format_seconds", "seconds_left", "ticking", "typical_seconds"]

# A notebook that took less than this share of its typical time has read its results from disk,
# which says nothing of the machine's speed.
_READ_SHARE = 0.25


def typical_seconds(path: Path, profile: str) -> dict[str, float]:
    """Read what the notebooks of a profile typically take.

    Parameters
    ----------
    path : Path
        YAML: by profile, by notebook, seconds on two cores.
    profile : str

    Returns
    -------
    seconds : dict of str to float
        Empty for a profile of one's own.

    Raises
    ------
    ValueError
        When the file is damaged or has another shape.
    OSError
        When it cannot be read.
    """
    remedy = f"restore it by `git checkout -- {path}`"
    return read_document(path, each(each(number)), remedy=remedy).get(profile, {})


def seconds_left(typical: Mapping[str, float | None], measured: Mapping[str, float]) -> float:
    """Estimate what a run will still take: typical times, rescaled by those measured so far.

    Parameters
    ----------
    typical : mapping of str to float or None
        Of all notebooks of the run, None where unknown.
    measured : mapping of str to float
        Of the finished ones.

    Returns
    -------
    seconds : float
        NaN where the time of a notebook that is left is unknown.
    """
    told = [
        name
        for name, seconds in measured.items()
        if typical[name] and seconds > _READ_SHARE * typical[name]
    ]
    ratio = sum(measured[n] for n in told) / sum(typical[n] for n in told) if told else 1.0
    left = [seconds for name, seconds in typical.items() if name not in measured]
    return float("nan") if None in left else ratio * sum(left)


def format_seconds(seconds: float) -> str:
    """Write a duration as 40 s, 12 min or 1 h 05 min.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    text : str
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextlib.contextmanager
def ticking(line: Callable[[], str], *, interval: float = 1.0) -> Iterator[None]:
    """Keep one line on the terminal up to date while the block runs; elsewhere, do nothing.

    Parameters
    ----------
    line : callable
        Gives the text of the moment.
    interval : float, default 1
        Seconds between two updates.
    """
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(interval):
            print(f"\r\033[K{line()}", end="", file=sys.stderr, flush=True)
        print("\r\033[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
