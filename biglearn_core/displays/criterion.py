"""A criterion over the number of components, for every type of covariances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from biglearn_core.displays.axes import draw_legend, open_canvas, write_note
from biglearn_core.displays.style import COLOURS, MARKERS, darker, tidy

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Chosen", "CriterionDisplay"]

# Curves that a legend inside the axes names.
_MOST_INSIDE = 7

# Of the view, in distances from the best to a typical fit.
_HEIGHT = 2.5

# Without yellow, which on white is hardly seen.
_COLOURS = COLOURS[:7]


class Chosen(NamedTuple):
    """The mixture that was chosen.

    Parameters
    ----------
    n_components : int
    covariance_type : str
    """

    n_components: int
    covariance_type: str


class CriterionDisplay:
    """Curves of a criterion, the chosen mixture marked.

    Made by `from_estimator` or `from_results`; `plot` draws the same once more elsewhere.

    Parameters
    ----------
    covariance_type : sequence of str of length M
        Of every fit.
    n_components : sequence of int of length M
    criterion : sequence of float of length M
        Smaller is better; NaN or infinite where a fit has none.
    chosen : Chosen
    criterion_name : str
        Label of the axis.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    lines_ : dict of str to Line2D
        By type of covariances.
    chosen_ : PathCollection
        The ring about the chosen mixture.
    legend_ : Legend
    note_ : Text
        Names the chosen mixture above the axes, and counts what lies outside them; in the legend an
        arrow marks types of which all fits do.

    Examples
    --------
    >>> from biglearn_core import CriterionDisplay
    >>> results = {
    ...     "covariance_type": ["full", "full", "full", "tied", "tied", "tied"],
    ...     "n_components": [1, 2, 3, 1, 2, 3],
    ...     "criterion": [830.0, 574.0, 581.0, 830.0, 688.0, 633.0],
    ... }
    >>> CriterionDisplay.from_results(results).chosen
    Chosen(n_components=2, covariance_type='full')
    """

    def __init__(
        self,
        *,
        covariance_type: Sequence[str],
        n_components: Sequence[int],
        criterion: Sequence[float],
        chosen: Chosen,
        criterion_name: str,
    ) -> None:
        self.covariance_type = covariance_type
        self.n_components = n_components
        self.criterion = criterion
        self.chosen = chosen
        self.criterion_name = criterion_name

    @classmethod
    def from_estimator(cls, selection: Any, *, ax: Axes | None = None) -> Self:
        """Draw what a selection has compared.

        Parameters
        ----------
        selection : MixtureSelection
            Fitted.
        ax : Axes, optional
            Those of a new figure when not given.

        Returns
        -------
        display : CriterionDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            When it is an estimator that has compared nothing.
        ImportError
            When matplotlib or pandas are not installed.
        """
        check_is_fitted(selection)
        if not hasattr(selection, "results_"):
            raise TypeError(
                f"{type(selection).__name__} compares no numbers of components: fit a "
                "MixtureSelection, or give a table of your own to from_results"
            )
        name = selection.criterion
        display = cls._of(selection.results_, "criterion", name if isinstance(name, str) else None)
        display.chosen = Chosen(int(selection.n_components_), str(selection.covariance_type_))
        return display.plot(ax)

    @classmethod
    def from_results(
        cls,
        results: pandas.DataFrame | Mapping[str, Sequence],
        *,
        criterion: str = "criterion",
        ax: Axes | None = None,
    ) -> Self:
        """Draw a table of fits.

        Parameters
        ----------
        results : DataFrame or mapping of str to sequence
            A row for every fit, with `covariance_type`, `n_components` and the criterion.
        criterion : str, default "criterion"
            The column to draw; smaller is better. Its least value is what is marked.
        ax : Axes, optional
            Those of a new figure when not given.

        Returns
        -------
        display : CriterionDisplay

        Raises
        ------
        ValueError
            When a column is absent, the table has no row, or no value is finite.
        ImportError
            When matplotlib is not installed.
        """
        return cls._of(results, criterion, None if criterion == "criterion" else criterion).plot(ax)

    @classmethod
    def _of(
        cls,
        results: pandas.DataFrame | Mapping[str, Sequence],
        column: str,
        name: str | None,
    ) -> Self:
        wanted = ("covariance_type", "n_components", column)
        if absent := [key for key in wanted if key not in results]:
            raise ValueError(f"results lack {absent}; there are {list(results)}")
        types, numbers, values = (np.asarray(results[key]) for key in wanted)
        values = values.astype(np.float64)
        if not np.isfinite(values).any():
            raise ValueError(f"no value of {column!r} is finite: there is nothing to draw")
        best = int(np.where(np.isfinite(values), values, np.inf).argmin())
        return cls(
            covariance_type=types.tolist(),
            n_components=numbers.tolist(),
            criterion=values.tolist(),
            chosen=Chosen(int(numbers[best]), str(types[best])),
            criterion_name="criterion" if name is None else f"{name.upper()} (nats)",
        )

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes, optional
            Those of a new figure when not given.

        Returns
        -------
        self : CriterionDisplay

        Raises
        ------
        ImportError
            When matplotlib is not installed.
        """
        canvas = open_canvas(ax)
        from matplotlib.ticker import MaxNLocator

        self.ax_, self.figure_ = canvas.axes, canvas.figure
        axes = tidy(self.ax_)
        curves = self._curves()
        low, top = self._view(curves)
        axes.set_ylim(low, top)
        self.lines_ = {}
        for position, (name, (numbers, values)) in enumerate(curves.items()):
            colour = _COLOURS[position % len(_COLOURS)]
            turn = position // len(_COLOURS)
            is_chosen = name == self.chosen.covariance_type
            (self.lines_[name],) = axes.plot(
                numbers,
                values,
                color=colour if turn % 2 == 0 else darker(colour),
                linestyle="-" if turn % 2 == 0 else "--",
                marker=MARKERS[position % len(MARKERS)],
                markersize=4,
                linewidth=2.0 if is_chosen else 1.0,
                zorder=3 if is_chosen else 2,
                label=name if values.min() <= top else f"{name} ↑",
            )
        seen = np.concatenate([numbers[values <= top] for numbers, values in curves.values()])
        margin = max(0.5, 0.04 * np.ptp(seen))
        axes.set_xlim(seen.min() - margin, seen.max() + margin)
        at = self._chosen_value(curves)
        self.chosen_ = axes.scatter(
            [self.chosen.n_components],
            [at],
            s=130,
            facecolors="none",
            edgecolors="black",
            linewidths=1.4,
            zorder=4,
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.set(xlabel="number of components", ylabel=f"{self.criterion_name}, smaller is better")
        long = len(curves) > _MOST_INSIDE
        tight = {"fontsize": "x-small", "labelspacing": 0.25, "handlelength": 1.6}
        self.legend_ = draw_legend(
            canvas, beside=long, title="covariances", **(tight if long else {})
        )
        self.note_ = write_note(axes, self._statements(at, curves, top))
        return self

    def _curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Numbers and finite values of every type, in the order of the numbers."""
        types, numbers = np.array(self.covariance_type), np.array(self.n_components)
        values = np.array(self.criterion, dtype=np.float64)
        curves = {}
        for name in dict.fromkeys(self.covariance_type):
            mine = np.flatnonzero((types == name) & np.isfinite(values))
            mine = mine[numbers[mine].argsort(kind="stable")]
            if len(mine):
                curves[str(name)] = numbers[mine], values[mine]
        return curves

    def _chosen_value(self, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> float:
        numbers, values = curves[self.chosen.covariance_type]
        return float(values[numbers == self.chosen.n_components].min())

    def _view(self, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
        """Limits that show the chosen one among its like, and not all that is far worse."""
        least = np.array([values.min() for _, values in curves.values()])
        low = least.min()
        own = np.median(curves[self.chosen.covariance_type][1])
        typical = max(np.quantile(least, 0.75), own) - low
        most = max(values.max() for _, values in curves.values())
        top = min(low + _HEIGHT * typical, most) if typical > 0 else most
        top = max(top, self._chosen_value(curves))
        margin = 0.05 * (top - low) or max(1e-3 * abs(low), 1e-6)
        return low - margin, top + margin

    def _statements(
        self, at: float, curves: dict[str, tuple[np.ndarray, np.ndarray]], top: float
    ) -> list[str]:
        number, name = self.chosen
        plural = "component" if number == 1 else "components"
        statements = [f"chosen: {number} {plural}, {name} ({at:.1f})"]
        outside = sum(int((values > top).sum()) for _, values in curves.values())
        if outside:
            alone = any(values.min() > top for _, values in curves.values())
            every = ", ↑ all of a type" if alone else ""
            statements.append(f"{outside} of {len(self.n_components)} fits lie above{every}")
        return statements
