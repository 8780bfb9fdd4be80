"""The explorer's widget: controls of ipywidgets above a picture that the browser draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from biglearn_core.explorer.controls import FitControls, ViewControls
from biglearn_core.explorer.explorer import Explorer
from biglearn_core.explorer.messages import frame_of, scene_of
from biglearn_core.explorer.side_by_side import SideBySide

__all__ = ["Picture", "Workbench"]

_HERE = Path(__file__).parent


class Picture(anywidget.AnyWidget):
    """The panels, drawn in the browser by picture.js.

    Attributes
    ----------
    scene, frame : dict
        As from `scene_of` and `frame_of`; the frame with the seconds that it took, and with an
        error where what was asked for failed.

    Notes
    -----
    While the fits play, the browser asks for a step once the one before is drawn. So the kernel is
    never busy for longer than a step, one at most waits, and nothing is left running when the
    picture is closed.
    """

    _esm = _HERE / "picture.js"
    _css = _HERE / "picture.css"
    scene = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)


class Workbench(ipywidgets.VBox):
    """Controls and picture of an explorer.

    Parameters
    ----------
    explorer : Explorer
    """

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self.picture = Picture()
        self.picture.on_msg(self._answer)
        self.view = ViewControls(explorer, self._attempt)
        self.fits: FitControls | None = None
        if isinstance(explorer.subject, SideBySide):
            self.fits = FitControls(explorer, self._attempt)
        above = [] if self.fits is None else self.fits.rows
        super().__init__([*above, self.view.row, self.picture])
        self.refresh()

    def refresh(self) -> None:
        """Show what the explorer has come to."""
        self.view.refresh()
        if self.fits is not None:
            self.fits.refresh()
        self.picture.scene = scene_of(self._explorer)
        self._send(time.perf_counter())

    def close(self) -> None:
        """Close all parts in the browser as well."""
        for part in self.children:
            for control in getattr(part, "children", ()):
                control.close()
            part.close()
        super().close()

    def _send(self, started: float, error: str = "") -> None:
        frame = frame_of(self._explorer)
        self.picture.frame = frame | {"seconds": time.perf_counter() - started, "error": error}

    def _answer(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        """Do what a button of the picture asks for."""
        if content["ask"] == "restart":
            self._attempt(self._explorer.restart)
            return
        subject, started, error = self._explorer.subject, time.perf_counter(), ""
        try:
            if isinstance(subject, SideBySide):
                subject.step()
        except ValueError as failure:
            error = str(failure)
        self._send(started, error)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do what a control asks for, and tell of a refusal where it is seen."""
        try:
            action()
        except (TypeError, ValueError) as failure:
            self._send(time.perf_counter(), str(failure))
