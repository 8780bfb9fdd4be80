"""The explorer's picture without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from biglearn_core.displays.ellipses import draw_ellipses
from biglearn_core.displays.rows import draw_rows, draw_uncertain_rows
from biglearn_core.displays.style import COLOURS, darker, tidy
from biglearn_core.explorer.explorer import Explorer
from biglearn_core.explorer.messages import METHOD_COLOURS
from biglearn_core.explorer.panels import Panel
from biglearn_core.explorer.side_by_side import SideBySide
from biglearn_core.gmm import GMM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_COLOURS = COLOURS[:7]


def draw(explorer: Explorer) -> Figure:
    """Draw what an explorer shows now.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    figure : Figure
        That no global state keeps alive.
    """
    panels, subject = explorer.panels(), explorer.subject
    n = len(panels)
    ratios = [4.0, 1.3] if isinstance(subject, SideBySide) else [4.0]
    figure = Figure(figsize=(4.6 * n, sum(ratios) + 0.3), layout="constrained", dpi=100)
    grid = figure.add_gridspec(len(ratios), n, height_ratios=ratios)
    first: Axes | None = None
    for i, panel in enumerate(panels):
        first = figure.add_subplot(grid[0, i], sharex=first, sharey=first)
        _draw_panel(first, panel, explorer)
        if i > 0:
            first.set_ylabel("")
    if isinstance(subject, SideBySide):
        _draw_curves(figure.add_subplot(grid[1, :]), subject)
    return figure


def _draw_panel(axes: Axes, panel: Panel, explorer: Explorer) -> None:
    points = explorer.points
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.06 * np.where(high > low, high - low, 1.0)
    tidy(axes).set(
        xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1])
    )
    axes.set_xlabel(explorer.columns[explorer.features[0]])
    axes.set_ylabel(explorer.columns[explorer.features[1]])
    colours: list[str] | str = "0.15"
    if explorer.colour_by == "component":
        chosen = [_COLOURS[k % len(_COLOURS)] for k in range(len(panel.weights))]
        of_rows: Any = np.array(chosen)[panel.labels]
        draw_rows(axes, points, n_rows=len(points), color=of_rows, alpha=0.7)
        colours = [darker(colour) for colour in chosen]
    else:
        draw_uncertain_rows(axes, points, np.maximum(0.0, 1 - panel.responsibilities))
    weights, means, covariances = map(
        torch.from_numpy, (panel.weights, panel.means, panel.covariances)
    )
    mixture = GMM.unchecked(weights, means, covariances)
    draw_ellipses(axes, mixture, colours=colours, n_deviations=explorer.deviations)
    if len(panel.directions) == 1 and panel.directions.any():
        axes.axline(
            (low + high) / 2, (low + high) / 2 + panel.directions[0],
            color="0.2", linewidth=1.3, linestyle="--",
        )  # fmt: skip
    value = f"{panel.log_likelihood:.3f}".replace("-", "−")
    head = f"{panel.title}: {value} nats a row"
    below = "" if panel.task == "fitted" else f"\ntask: {panel.task}"
    axes.set_title(head + below, fontsize="medium", loc="left")


def _draw_curves(axes: Axes, subject: SideBySide) -> None:
    tidy(axes).set(xlabel="EM steps of each fit", ylabel="log-likelihood\n(nats a row)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    n = subject.n_tasks + 1
    steps = subject.settings.n_local_steps * np.arange(n)
    for fit, style in zip(subject.fits, ("--", "-"), strict=True):
        axes.plot(
            steps, fit.log_likelihood, style, marker="." if n == 1 else None,
            color=METHOD_COLOURS[fit.name], label=fit.name,
        )  # fmt: skip
    skipped = min(-(-n // 20), n - 1)  # a blind start lies far below
    seen = np.concatenate([fit.log_likelihood[skipped:] for fit in subject.fits])
    pad = 0.08 * max(np.ptp(seen), 1e-3)
    axes.set_ylim(seen.min() - pad, seen.max() + pad)
    axes.legend(loc="lower right", fontsize="small", ncols=2)
