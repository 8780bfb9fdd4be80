"""What is measured while a fit is under way: its time, and the model after some iterations.

`seconds` of any result are the wall clock of the fit alone: what evaluates it on the way is left
out, and what was done before an interruption counts. Other spans are named (`score_seconds`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from biglearn_core.gmm import GMM
from biglearn_core.system.stopwatch import Stopwatch

__all__ = ["Recorder"]


class Recorder:
    """Callback of a fit that evaluates the model after some iterations, off its clock.

    Parameters
    ----------
    **evaluations : tuple of (collection of int, callable)
        By name: iterations, from 0, and what is called with the model after each of them.

    Attributes
    ----------
    clock : Stopwatch
        Of the fit; it runs from now on.
    iterations, values : dict of str to list
        By name: those of the iterations that came, and what the evaluation gave after each.
    """

    def __init__(self, **evaluations: tuple[Collection[int], Callable[[GMM], Any]]) -> None:
        self._evaluations = evaluations
        self.iterations: dict[str, list[int]] = {name: [] for name in evaluations}
        self.values: dict[str, list[Any]] = {name: [] for name in evaluations}
        self.clock = Stopwatch()

    def __call__(self, iteration: int, model: GMM) -> None:
        """Evaluate the model where it is time to."""
        with self.clock.paused():
            for name, (at, evaluate) in self._evaluations.items():
                if iteration in at:
                    self.iterations[name].append(iteration)
                    self.values[name].append(evaluate(model))
