"""The explorer as an object: what is looked at, its picture, and its widget."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from biglearn_core.displays.arguments import Features, chosen_features
from biglearn_core.displays.ellipses import deviations_of
from biglearn_core.explorer.fitted import FittedOnRows
from biglearn_core.explorer.panels import Panel
from biglearn_core.explorer.side_by_side import SideBySide
from biglearn_core.explorer.tables import Table, redrawn
from biglearn_core.system.numbers import check_integer, check_real
from biglearn_core.system.progress import is_watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from biglearn_core.explorer.workbench import Workbench

__all__ = ["COLOURINGS", "Explorer"]

COLOURINGS = ("component", "uncertainty")


class Explorer:
    """What `explore` gives: in Jupyter it is a picture that one can work with.

    Parameters
    ----------
    subject : SideBySide or FittedOnRows
    features : int or str, two of them, optional
        Columns of the picture, by position or name; the first two when not given.
    coverage : float, default 0.9
        Share of a component that its ellipse holds.
    colour_by : {"component", "uncertainty"}, default "component"
    max_points : int, default 5000
        Of more rows only so many are drawn, the same every time.

    Attributes
    ----------
    subject : SideBySide or FittedOnRows
        The fits with their models, or the fitted model.

    Notes
    -----
    The state is kept here, in Python; the browser draws what `panels` says. Where nobody watches
    (the environment variable BIGLEARN_QUIET), it is displayed as a figure alone.
    """

    def __init__(
        self,
        subject: SideBySide | FittedOnRows,
        *,
        features: Features | None = None,
        coverage: float = 0.9,
        colour_by: Literal["component", "uncertainty"] = "component",
        max_points: int = 5000,
    ) -> None:
        self._max_points = check_integer("max_points", max_points, least=1)
        self._widget: Workbench | None = None
        self.subject = subject
        self.coverage: float
        self.colour_by: Literal["component", "uncertainty"]
        first_two = (0, 1)
        self.look(
            features=first_two if features is None else features,
            coverage=coverage,
            colour_by=colour_by,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        of = self.subject.table if isinstance(self.subject, SideBySide) else self.subject
        return of.columns

    @property
    def values(self) -> np.ndarray:
        """All rows in units of the data, float64 of shape (N, D)."""
        of = self.subject.table if isinstance(self.subject, SideBySide) else self.subject
        return of.values

    @property
    def name(self) -> str:
        """What the rows, or the model, are called."""
        of = self.subject.table if isinstance(self.subject, SideBySide) else self.subject
        return of.name

    def look(
        self,
        *,
        features: Features | None = None,
        coverage: float | None = None,
        colour_by: Literal["component", "uncertainty"] | None = None,
    ) -> Explorer:
        """Choose how it is shown; what is not given stays.

        Parameters
        ----------
        features, coverage, colour_by
            As of the class.

        Returns
        -------
        self : Explorer

        Raises
        ------
        TypeError, ValueError
            When one is out of range, or no row has values in both columns.
        """
        if coverage is not None:
            coverage = check_real("coverage", coverage, positive=True)
            if coverage >= 1:
                raise ValueError(
                    f"coverage must be below 1, got {coverage}: an ellipse that holds all is "
                    "infinite"
                )
        if colour_by is not None and colour_by not in COLOURINGS:
            raise ValueError(f"colour_by must be one of {', '.join(COLOURINGS)}, got {colour_by!r}")
        if features is not None:
            self._choose(features)
        if coverage is not None:
            self.coverage = coverage
        if colour_by is not None:
            self.colour_by = colour_by
        self._tell()
        return self

    def _choose(self, features: Features) -> None:
        index = chosen_features(features, len(self.columns), self.columns)
        if len(index) != 2:
            raise ValueError(
                f"features must be two, for both axes of the picture, got {features!r}"
            )
        shown = np.flatnonzero(~np.isnan(self.values[:, index]).any(axis=1))
        if len(shown) == 0:
            names = " and ".join(self.columns[j] for j in index)
            raise ValueError(f"no row has values in {names}: show other features")
        self.n_left_out = len(self.values) - len(shown)
        if len(shown) > self._max_points:
            rng = np.random.default_rng(0)
            shown = np.sort(rng.choice(shown, self._max_points, replace=False))
        self.features, self.shown = (index[0], index[1]), shown

    def step(self, n_tasks: int = 1) -> Explorer:
        """Let both fits go on, by a task of BigLearn-EM and as many EM steps of Joint-EM.

        Parameters
        ----------
        n_tasks : int, default 1

        Returns
        -------
        self : Explorer

        Raises
        ------
        TypeError
            When a fitted model is shown, or `n_tasks` is no integer.
        ValueError
            When it is negative, or a fit has failed in numbers.
        """
        self._fits().step(check_integer("n_tasks", n_tasks, least=0))
        self._tell()
        return self

    def restart(self, **changes: Any) -> Explorer:
        """Begin anew, with some settings changed.

        Parameters
        ----------
        **changes
            Fields of `Settings`. Another seed draws other data, too, where they are drawn.

        Returns
        -------
        self : Explorer

        Raises
        ------
        TypeError, ValueError
            When a fitted model is shown, or a setting is out of range; all is then as it was.
        """
        fits = self._fits()
        settings = replace(fits.settings, **changes)
        same = settings.seed == fits.settings.seed
        table = fits.table if same else redrawn(fits.table, settings.seed)
        self.subject = SideBySide(table, settings)
        self._tell()
        return self

    def load(self, table: Table) -> Explorer:
        """Begin anew on another table, with its number of components.

        Parameters
        ----------
        table : Table

        Returns
        -------
        self : Explorer

        Raises
        ------
        TypeError, ValueError
            As `restart`.
        """
        settings = replace(self._fits().settings, n_components=table.n_components)
        self.subject = SideBySide(table, settings)
        return self.look(features=(0, 1))

    def panels(self) -> list[Panel]:
        """Say what is seen now.

        Returns
        -------
        panels : list of Panel
            Joint-EM and BigLearn-EM, or the fitted model.
        """
        return self.subject.panels(self.features, self.shown)

    @property
    def points(self) -> np.ndarray:
        """Both columns of the rows that are drawn, float64 of shape (n, 2)."""
        return np.ascontiguousarray(self.values[self.shown][:, list(self.features)])

    @property
    def deviations(self) -> float:
        """Radius of the ellipses, in standard deviations."""
        return deviations_of(self.coverage)

    @property
    def widget(self) -> Workbench:
        """The controls and the picture, made when first asked for.

        Raises
        ------
        ImportError
            Without anywidget or ipywidgets.
        """
        if self._widget is None:
            from biglearn_core.explorer.workbench import Workbench

            self._widget = Workbench(self)
        return self._widget

    def figure(self) -> Figure:
        """Draw what is seen now with matplotlib.

        Returns
        -------
        figure : Figure

        Raises
        ------
        ImportError
            When matplotlib is not installed.
        """
        from biglearn_core.explorer.figure import draw

        return draw(self)

    def close(self) -> None:
        """Take the widget away; the state stays, and a new display makes a new one."""
        if self._widget is not None:
            self._widget.close()
            self._widget = None

    def __repr__(self) -> str:
        rows = f"{len(self.values)} rows of {len(self.columns)} columns"
        if isinstance(self.subject, SideBySide):
            return f"<Explorer: {self.name}, {rows}, {self.subject.n_steps} EM steps of each fit>"
        return f"<Explorer: {self.name} on {rows}>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Give Jupyter the widget, and a figure for wherever there is no kernel."""
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        with contextlib.suppress(ImportError):  # without matplotlib there is the widget alone
            bundle["image/png"] = _png(self.figure())
        if is_watched():
            bundle |= self.widget._repr_mimebundle_() or {}
            bundle["text/plain"] = repr(self)
        return bundle

    def _fits(self) -> SideBySide:
        if not isinstance(self.subject, SideBySide):
            raise TypeError(
                f"a fitted {self.name} is shown, which takes no steps: give the name of a data set "
                "or rows alone to see fits go on"
            )
        return self.subject

    def _tell(self) -> None:
        if self._widget is not None:
            self._widget.refresh()


def _png(figure: Figure) -> bytes:
    """Write a figure in 128 colours, a third of the bytes: executed notebooks are kept."""
    import PIL.Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    PIL.Image.open(drawn).convert("RGB").quantize(128).save(small, format="PNG", optimize=True)
    return small.getvalue()
