"""The time that a fit takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """The `seconds` of a fit, from now on.

    Parameters
    ----------
    seconds : float, default 0
        Spent before, by a fit that goes on.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._started = time.perf_counter() - seconds

    def read(self) -> float:
        """Give the seconds up to now."""
        return time.perf_counter() - self._started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens in the block."""
        before = self.read()
        try:
            yield
        finally:
            self._started = time.perf_counter() - before
