"""Controls of the explorer: each changes one thing, and shows what it has come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from biglearn_core.explorer.explorer import COLOURINGS, Explorer
from biglearn_core.explorer.settings import STARTS
from biglearn_core.explorer.side_by_side import SideBySide
from biglearn_core.explorer.tables import TABLE_NAMES, named_table

__all__ = ["FitControls", "ViewControls"]

Attempt = Callable[[Callable[[], object]], None]

# Ends of the sliders, unless more is asked for.
_COMPONENTS, _LOCAL_STEPS = 40, 20

_LARGEST_SEED = 2**32 - 1


class _Controls:
    """Widgets that change an explorer when a user moves them, and not when it moves them.

    Parameters
    ----------
    explorer : Explorer
    attempt : callable
        Does what is handed to it, and tells of a refusal.
    """

    def __init__(self, explorer: Explorer, attempt: Attempt) -> None:
        self._explorer, self._attempt = explorer, attempt
        self._is_refreshing = False

    def refresh(self) -> None:
        """Take the values that the explorer has."""
        self._is_refreshing = True
        try:
            self._show()
        finally:
            self._is_refreshing = False

    def _show(self) -> None:
        raise NotImplementedError

    def _on_change(self, widget: ipywidgets.Widget, action: Callable[[Any], object]) -> None:
        def changed(change: dict[str, Any]) -> None:
            if not self._is_refreshing:
                self._attempt(lambda: action(change["new"]))
                self.refresh()

        widget.observe(changed, names="value")


class ViewControls(_Controls):
    """Which columns are shown, and how.

    Attributes
    ----------
    across, up, coverage, colour_by : Widget
    row : HBox
    """

    def __init__(self, explorer: Explorer, attempt: Attempt) -> None:
        super().__init__(explorer, attempt)
        self.across = _dropdown("across", ())
        self.up = _dropdown("up", ())
        self.coverage = ipywidgets.FloatSlider(
            min=0.5, max=0.99, step=0.01, description="ellipses hold", readout_format=".0%",
            style=_labels("6.5em"), layout=_wide("20em"),
        )  # fmt: skip
        self.colour_by = _dropdown("colour", COLOURINGS)
        self.row = _row(self.across, self.up, self.colour_by, self.coverage)
        self._on_change(self.across, lambda j: self._show_columns(j, explorer.features[1]))
        self._on_change(self.up, lambda j: self._show_columns(explorer.features[0], j))
        self._on_change(self.coverage, lambda share: explorer.look(coverage=share))
        self._on_change(self.colour_by, lambda by: explorer.look(colour_by=by))

    def _show_columns(self, across: int, up: int) -> None:
        """Show two columns; where one is chosen twice, they change places."""
        self._explorer.look(
            features=(across, up) if across != up else self._explorer.features[::-1]
        )

    def _show(self) -> None:
        explorer = self._explorer
        columns = tuple((name, j) for j, name in enumerate(explorer.columns))
        for widget, feature in zip((self.across, self.up), explorer.features, strict=True):
            if widget.options != columns:
                widget.options = columns
            widget.value = feature
        self.coverage.value = explorer.coverage
        self.colour_by.value = explorer.colour_by


class FitControls(_Controls):
    """What is fitted, from where, and by which tasks. Every change begins anew.

    Attributes
    ----------
    data, n_components, start, seed, n_local_steps, probabilities, transform : Widget
    rows : list of HBox
    """

    def __init__(self, explorer: Explorer, attempt: Attempt) -> None:
        super().__init__(explorer, attempt)
        table = self._fits.table
        own = {} if table.name in TABLE_NAMES else {table.name: table}
        self.data = _dropdown("data", (*own, *TABLE_NAMES))
        self.n_components = _integers("K, components", _COMPONENTS)
        self.start = _dropdown("start", STARTS)
        self.seed = ipywidgets.BoundedIntText(
            min=0, max=_LARGEST_SEED, description="seed",
            style=_labels("4.5em"), layout=_wide("12em"),
        )  # fmt: skip
        self.n_local_steps = _integers("W, local steps", _LOCAL_STEPS)
        self.probabilities = ipywidgets.FloatRangeSlider(
            min=0, max=1, step=0.05, description="P1, P2", readout_format=".2f",
            continuous_update=False, style=_labels("4.5em"), layout=_wide("20em"),
            tooltip="joint up to P1, marginal up to P2, transformed marginal above",
        )  # fmt: skip
        self.transform = _dropdown("transform", ("orthogonal", "rotation"), "5.5em")
        self.rows = [
            _row(self.data, self.start, self.seed, self.n_components),
            _row(self.transform, self.probabilities, self.n_local_steps),
        ]

        def load(name: str) -> None:
            explorer.load(own.get(name) or named_table(name, seed=self._fits.settings.seed))

        def change_probabilities(both: tuple[float, float]) -> None:
            marginal = round(both[1] - both[0], 10)  # 0.1, where 0.5 − 0.4 is a little less
            explorer.restart(p_joint=both[0], p_marginal=marginal)

        self._on_change(self.data, load)
        self._on_change(self.probabilities, change_probabilities)
        self._on_change(self.n_components, lambda K: explorer.restart(n_components=K))
        self._on_change(self.start, lambda start: explorer.restart(start=start))
        self._on_change(self.seed, lambda seed: explorer.restart(seed=seed))
        self._on_change(self.n_local_steps, lambda W: explorer.restart(n_local_steps=W))
        self._on_change(self.transform, lambda law: explorer.restart(transform=law))

    @property
    def _fits(self) -> SideBySide:
        assert isinstance(self._explorer.subject, SideBySide)
        return self._explorer.subject

    def _show(self) -> None:
        settings = self._fits.settings
        self.data.value = self._fits.table.name
        for slider, value in (
            (self.n_components, settings.n_components),
            (self.n_local_steps, settings.n_local_steps),
        ):
            slider.max = max(slider.max, value)
            slider.value = value
        self.start.value, self.seed.value = settings.start, settings.seed
        self.probabilities.value = settings.p_joint, settings.p_joint + settings.p_marginal
        self.transform.value = settings.transform


def _dropdown(description: str, options: tuple, label: str = "4.5em") -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=options, description=description, style=_labels(label), layout=_wide("16em")
    )


def _integers(description: str, largest: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(
        min=1, max=largest, description=description, continuous_update=False,
        style=_labels("8em"), layout=_wide("22em"),
    )  # fmt: skip


def _labels(width: str) -> dict[str, str]:
    return {"description_width": width}


def _wide(width: str) -> ipywidgets.Layout:
    return ipywidgets.Layout(width=width, max_width="100%")


def _row(*widgets: ipywidgets.Widget) -> ipywidgets.HBox:
    return ipywidgets.HBox(widgets, layout=ipywidgets.Layout(flex_flow="row wrap"))
