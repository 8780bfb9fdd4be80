"""Figures of the 25-GMM simulation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

from biglearn_core.displays.ellipses import draw_ellipses
from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.experiments.gmm25.run import KL_COLUMNS, METHODS, Data, SeedRun
from biglearn_core.experiments.mixture_figures import (
    draw_contours,
    draw_points,
    draw_weights,
)
from biglearn_core.experiments.style import METHOD_COLOURS, new_figure
from biglearn_core.system.persistence import write_atomically

__all__ = [
    "animate",
    "plot_boxes",
    "plot_contours",
    "plot_data",
    "plot_divergences",
    "plot_kl_curves",
    "plot_peers",
]

_HALF_WIDTH = 5.6


def plot_data(data: Data) -> Figure:
    """Show the training points, the truth and the start.

    Parameters
    ----------
    data : Data

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(1, 2, width=4.4, height=4.2, sharex=True, sharey=True)
    for panel in axes[0]:
        draw_points(panel, data.X_train)
    draw_contours(axes[0, 0], data.truth, colour=COLOURS[2], half_width=_HALF_WIDTH)
    draw_ellipses(axes[0, 1], data.start, colours=COLOURS[1], n_deviations=1)
    axes[0, 0].set_title("training points and true density", fontsize=10)
    axes[0, 1].set_title("the start: blind to the data", fontsize=10)
    for panel in axes[0]:
        panel.set(xlim=(-_HALF_WIDTH, _HALF_WIDTH), ylim=(-_HALF_WIDTH, _HALF_WIDTH))
        panel.set_xlabel("$x_1$")
    axes[0, 0].set_ylabel("$x_2$")
    return figure


def plot_kl_curves(runs: Sequence[SeedRun], method: str) -> Figure:
    """Show the test KL of every seed over the iterations.

    Parameters
    ----------
    runs : sequence of SeedRun
    method : str
        One of `METHODS`.

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(width=7, height=3.6)
    panel = tidy(axes[0, 0])
    curves = np.array([run.methods[method].kl[:, 0] for run in runs])
    iterations = runs[0].methods[method].iterations + 1
    panel.plot(iterations, curves.T, color=METHOD_COLOURS[method], alpha=0.3, linewidth=0.7)
    panel.plot(
        iterations,
        np.median(curves, axis=0),
        color=METHOD_COLOURS[method],
        linewidth=2,
        label=f"{method}, median of {len(runs)} seeds",
    )
    best = np.mean([run.optimum_kl for run in runs])
    panel.axhline(best, color=COLOURS[2], linestyle="--", label="optimum from the true parameters")
    panel.set(xscale="log", yscale="log", xlabel="iteration", ylabel="test KL (nats)")
    panel.legend(frameon=False, fontsize=8)
    return figure


def plot_divergences(run: SeedRun, method: str) -> Figure:
    """Show joint, marginal and conditional KLs of one seed.

    Parameters
    ----------
    run : SeedRun
    method : str
        One of `METHODS`.

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(width=7, height=3.6)
    panel = tidy(axes[0, 0])
    curves = run.methods[method].kl
    styles = ("-", "--", ":", "--", ":")
    colours = (COLOURS[6], COLOURS[2], COLOURS[2], COLOURS[3], COLOURS[3])
    for column, name in enumerate(KL_COLUMNS):
        panel.plot(
            run.methods[method].iterations + 1,
            curves[:, column],
            styles[column],
            color=colours[column],
            linewidth=1.2,
            label=name,
        )
    panel.set(xscale="log", xlabel="iteration", ylabel="test KL (nats)")
    panel.set_yscale("symlog", linthresh=1e-2)
    panel.set_ylim(bottom=min(0.0, 1.1 * curves.min()))
    panel.set_title(f"{method}, seed {run.seed}", fontsize=10)
    panel.legend(frameon=False, fontsize=8, ncols=3)
    return figure


def plot_contours(runs: Sequence[SeedRun], data: Mapping[int, Data], method: str) -> Figure:
    """Show truth and fitted density of some seeds, the weights written at the means.

    Parameters
    ----------
    runs : sequence of SeedRun
    data : mapping of int to Data
        By seed.
    method : str
        One of `METHODS`.

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(1, len(runs), width=3.7, height=4.0, sharex=True, sharey=True)
    for panel, run in zip(axes[0], runs, strict=True):
        fit = run.methods[method]
        draw_points(panel, data[run.seed].X_test[:2000])
        draw_contours(
            panel, data[run.seed].truth, colour=GREY, half_width=_HALF_WIDTH, linestyle=":"
        )
        draw_contours(panel, fit.final, colour=METHOD_COLOURS[method], half_width=_HALF_WIDTH)
        draw_weights(panel, fit.final, half_width=_HALF_WIDTH)
        panel.set_title(f"seed {run.seed}: final test KL {fit.final_kl:.5f}", fontsize=9)
        panel.set_xlabel("$x_1$")
    axes[0, 0].set_ylabel("$x_2$")
    figure.suptitle(f"{method} (solid) and truth (dotted); weights in hundredths", fontsize=10)
    return figure


def plot_boxes(runs: Sequence[SeedRun]) -> Figure:
    """Compare both methods by the paper's score and by the fair one.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    figure : Figure
    """
    scores = (
        ("paper: least test KL over the iterations", lambda fit: fit.min_kl),
        ("fair: converged, no test data used", lambda fit: fit.fair_kl),
    )
    figure, axes = new_figure(1, 2, width=4, height=3.6, sharey=True)
    for panel, (title, score) in zip(axes[0], scores, strict=True):
        values = [[score(run.methods[method]) for run in runs] for method in METHODS]
        boxes = tidy(panel).boxplot(values, tick_labels=METHODS, widths=0.5, patch_artist=True)
        for box, median, method in zip(boxes["boxes"], boxes["medians"], METHODS, strict=True):
            box.set(facecolor=METHOD_COLOURS[method], alpha=0.55)
            median.set(color=COLOURS[6])
        best = np.mean([run.optimum_kl for run in runs])
        panel.axhline(best, color=COLOURS[2], linestyle="--", linewidth=1, label="optimum")
        panel.set_title(title, fontsize=9)
        panel.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("test KL (nats)")
    axes[0, 0].legend(frameon=False, fontsize=8, loc="center right")
    return figure


def plot_peers(rows: Sequence[Mapping], runs: Sequence[SeedRun]) -> Figure:
    """Show excess over the optimum against seconds, estimators and both methods.

    Parameters
    ----------
    rows : sequence of mapping
        As from `run_peers`.
    runs : sequence of SeedRun

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(width=7, height=4.2)
    panel = tidy(axes[0, 0])
    points = [(row["method"], row["seconds"], row["test_kl"] - row["optimum_kl"]) for row in rows]
    for method in METHODS:
        fits = [(run.methods[method], run.optimum_kl) for run in runs]
        points += [(f"{method} (paper)", fit.seconds, fit.fair_kl - best) for fit, best in fits]
    for position, name in enumerate(dict.fromkeys(name for name, *_ in points)):
        seconds, excess = np.array([p[1:] for p in points if p[0] == name]).T
        style = {"color": COLOURS[position % 7], "marker": "*osD^vP<>"[position % 9]}
        panel.scatter(seconds, excess, s=28, alpha=0.8, label=name, **style)
    panel.set_xscale("log")
    panel.set_yscale("symlog", linthresh=1e-3)
    panel.set_ylim(-1e-2, 1)
    panel.set(xlabel="seconds per fit", ylabel="test KL above the optimum (nats)")
    panel.legend(
        frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2
    )
    return figure


def animate(
    run: SeedRun, data: Data, path: str | os.PathLike, *, method: str = "BigLearn-EM"
) -> None:
    """Write a GIF of one fit: components spreading from the centre over the grid.

    Parameters
    ----------
    run : SeedRun
    data : Data
    path : path-like
    method : str, default "BigLearn-EM"
    """
    fit = run.methods[method]
    figure, axes = new_figure(width=3.6, height=3.9)
    panel = axes[0, 0]
    draw_points(panel, data.X_train[:500])
    panel.set(xlim=(-_HALF_WIDTH, _HALF_WIDTH), ylim=(-_HALF_WIDTH, _HALF_WIDTH))

    def draw(frame: int) -> None:
        for patch in list(panel.patches):
            patch.remove()
        draw_ellipses(panel, fit.snapshots[frame], colours=METHOD_COLOURS[method])
        panel.set_title(f"{method}, iteration {fit.snapshot_iterations[frame] + 1}", fontsize=9)

    last = len(fit.snapshots) - 1
    frames = [*range(0, last, 2), *[last] * 8]
    animation = FuncAnimation(figure, draw, frames=frames, init_func=lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "animation.gif"
        animation.save(whole, writer=PillowWriter(fps=5), dpi=56)
        with write_atomically(path) as file:
            file.write(whole.read_bytes())
