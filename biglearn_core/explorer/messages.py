"""What the browser is told: numbers as bytes, so that a frame is as cheap as its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from biglearn_core.displays.style import COLOURS
from biglearn_core.explorer.explorer import Explorer
from biglearn_core.explorer.panels import Panel
from biglearn_core.explorer.side_by_side import METHODS, SideBySide

__all__ = ["METHOD_COLOURS", "frame_of", "scene_of"]

METHOD_COLOURS: Mapping[str, str] = {METHODS[0]: COLOURS[1], METHODS[1]: COLOURS[0]}

# Without yellow, in which small points on white are hardly seen.
_COLOURS = COLOURS[:7]

# A responsibility is sent as a whole number of so many parts, with two bytes.
_PARTS = 65535


def scene_of(explorer: Explorer) -> dict[str, Any]:
    """Tell what stays while fits go on.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    scene : dict
        `points` (float64, n × 2) and `rows` (uint32) as bytes; the rest is plain.
    """
    return {
        "name": explorer.name,
        "axes": [explorer.columns[j] for j in explorer.features],
        "points": explorer.points.tobytes(),
        "rows": explorer.shown.astype(np.uint32).tobytes(),
        "n_rows": len(explorer.values),
        "n_left_out": explorer.n_left_out,
        "coverage": explorer.coverage,
        "deviations": explorer.deviations,
        "colour_by": explorer.colour_by,
        "colours": list(_COLOURS),
        "method_colours": list(METHOD_COLOURS.values()),
        "takes_steps": isinstance(explorer.subject, SideBySide),
    }


def frame_of(explorer: Explorer) -> dict[str, Any]:
    """Tell what a step changes.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    frame : dict
        Panels with float64, and with labels and responsibilities of two bytes a row; the
        log-likelihoods of each fit, float64.
    """
    frame: dict[str, Any] = {"panels": [_panel(panel) for panel in explorer.panels()]}
    subject = explorer.subject
    if isinstance(subject, SideBySide):
        frame["n_steps"] = subject.n_steps
        frame["n_local_steps"] = subject.settings.n_local_steps
        frame["curves"] = [np.array(fit.log_likelihood).tobytes() for fit in subject.fits]
    return frame


def _panel(panel: Panel) -> dict[str, Any]:
    parts = np.rint(panel.responsibilities * _PARTS)
    return {
        "title": panel.title,
        "task": panel.task,
        "log_likelihood": panel.log_likelihood,
        "weights": panel.weights.tobytes(),
        "means": panel.means.tobytes(),
        "covariances": panel.covariances[:, [0, 0, 1], [0, 1, 1]].tobytes(),
        "labels": panel.labels.astype(np.uint16).tobytes(),
        "responsibilities": parts.astype(np.uint16).tobytes(),
        "directions": panel.directions.tolist(),
    }
