"""What a fit has looked like: the log-likelihood over the steps of EM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from biglearn_core.displays.arguments import check_mixture_estimator
from biglearn_core.displays.axes import draw_legend, open_canvas, write_note
from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.history import History
from biglearn_core.matching import TASK_KINDS
from biglearn_core.search.search import MOVES, SearchHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HistoryDisplay"]

_NAMES = {
    "refused swap": "swap, refused",
    "start": "start of a basin",
    "swap": "swap, kept",
    "joint": "last joint steps",
}

# Log-likelihoods drawn span at least so much, in nats.
_LEAST_RANGE = 1e-3

_ENDINGS = {
    "returned": "other starts led to the same optimum",
    "budget": "its steps were spent",
    "known mixtures": "only known mixtures were tried",
}


class HistoryDisplay:
    """The log-likelihood of a fit, move by move or iteration by iteration.

    Made by `from_estimator`; `plot` draws the same once more elsewhere.

    Parameters
    ----------
    history : SearchHistory or History
        Moves of a search; or iterations of Joint-EM, or of the tasks of BigLearn-EM as published.
    at_unit_scale : bool, default False
        Whether the log-likelihoods are those of standardised features, as the note says then.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    lines_ : list of Line2D
        One a basin, through the moves that were kept; or one through the joint iterations.
    points_ : dict of str to PathCollection
        By what they are: "start", "swap", "refused swap", "joint" of a search; the tasks "joint",
        "marginal", "transformed" of BigLearn-EM as published; empty for Joint-EM.
    legend_ : Legend or None
    note_ : Text
        What the log-likelihood is of, and why a search ended.

    Notes
    -----
    Tasks on a few coordinates have other log-likelihoods than those on all: where there are both,
    they are drawn per coordinate.

    A swap may be likelier than what was kept and yet be refused: what components of few rows gain
    is not counted (`biglearn_core.search.credit`). Moves whose mixture could not be evaluated have
    no log-likelihood and are not drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from biglearn_core import BigLearnEM, HistoryDisplay
    >>> model = BigLearnEM(3, random_state=0).fit(load_iris().data)
    >>> display = HistoryDisplay.from_estimator(model)
    >>> display.ax_.get_xlabel()
    'EM steps'
    """

    def __init__(self, *, history: SearchHistory | History, at_unit_scale: bool = False) -> None:
        self.history = history
        self.at_unit_scale = at_unit_scale

    @classmethod
    def from_estimator(cls, estimator: MixtureEstimator, *, ax: Axes | None = None) -> Self:
        """Draw the fit of an estimator.

        Parameters
        ----------
        estimator : MixtureEstimator
            Fitted.
        ax : Axes, optional
            Those of a new figure when not given.

        Returns
        -------
        display : HistoryDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            When it is no estimator of a mixture.
        ImportError
            When matplotlib is not installed.
        """
        check_mixture_estimator(estimator)
        at_unit_scale = getattr(estimator, "preset", "default") == "default"
        return cls(history=estimator.history_, at_unit_scale=at_unit_scale).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes, optional
            Those of a new figure when not given.

        Returns
        -------
        self : HistoryDisplay

        Raises
        ------
        ImportError
            When matplotlib is not installed.
        """
        canvas = open_canvas(ax)
        self.ax_, self.figure_ = canvas.axes, canvas.figure
        self.lines_: list[Any] = []
        self.points_: dict[str, Any] = {}
        self.legend_ = None
        tidy(self.ax_)
        if isinstance(self.history, SearchHistory):
            self._plot_search(self.history)
            stopped = self.history.stopped
            statements = [f"search ended: {_ENDINGS.get(stopped, stopped)}"]
        else:
            self._plot_iterations(self.history)
            statements = []
        of_what = "mean over rows"
        if self.at_unit_scale:
            of_what += ", standardised features"
        if "transformed" in self.points_ or "marginal" in self.points_:
            of_what += ", per coordinate"
        statements.insert(0, of_what)
        self.ax_.set_ylabel("log-likelihood (nats)")
        self.ax_.ticklabel_format(axis="y", useOffset=False)
        if self.points_:
            self.legend_ = draw_legend(canvas)
        self.note_ = write_note(self.ax_, statements)
        return self

    def _plot_search(self, history: SearchHistory) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = self.ax_
        steps, values = history.n_steps.cumsum(), history.log_likelihood
        move = np.array(MOVES)[history.move]
        axes.set(xlabel="EM steps")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        drawn = np.isfinite(values)
        for basin in np.unique(history.start):
            kept = drawn & (history.start == basin) & history.accepted & (move != "joint")
            self.lines_ += axes.plot(
                steps[kept], values[kept], color=COLOURS[5], linewidth=1.0, zorder=1.5
            )
        kinds = {
            "refused swap": ((move == "swap") & ~history.accepted, "x", GREY, 18),
            "start": (move == "start", "^", COLOURS[1], 26),
            "swap": ((move == "swap") & history.accepted, "o", COLOURS[0], 20),
            "joint": (move == "joint", "*", "black", 80),
        }
        for name, (chosen, marker, colour, size) in kinds.items():
            chosen = chosen & drawn
            if chosen.any():
                self.points_[name] = axes.scatter(
                    steps[chosen], values[chosen], s=size, marker=marker, color=colour,
                    linewidths=1 if marker == "x" else 0, label=_NAMES[name],
                )  # fmt: skip
        axes.set_xlim(0, 1.05 * steps[-1])
        low, high = axes.get_ylim()
        if high - low < _LEAST_RANGE:  # rounding would fill the picture
            middle = (low + high) / 2
            axes.set_ylim(middle - _LEAST_RANGE / 2, middle + _LEAST_RANGE / 2)

    def _plot_iterations(self, history: History) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = self.ax_
        iterations = np.arange(1, len(history) + 1)
        if not history.task.any():
            self.lines_ = axes.plot(iterations, history.log_likelihood, color=COLOURS[1])
            axes.set(xlabel="EM steps")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            return
        values = history.log_likelihood / history.n_coordinates
        axes.set(xlabel="iteration", xscale="log")
        for kind in (2, 1, 0):  # the joint tasks on top
            chosen = history.task == kind
            if chosen.any():
                self.points_[TASK_KINDS[kind]] = axes.scatter(
                    iterations[chosen], values[chosen], s=9, marker="Dso"[kind],
                    color=COLOURS[(0, 1, 5)[kind]], alpha=0.8, linewidths=0,
                    label=TASK_KINDS[kind], rasterized=len(history) > 5000,
                )  # fmt: skip
        joint = history.task == 0
        self.lines_ = axes.plot(
            iterations[joint], values[joint], color=COLOURS[0], linewidth=0.8, zorder=1.5
        )
