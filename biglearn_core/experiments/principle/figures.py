"""Figures of the principle simulations."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from biglearn_core.displays.ellipses import draw_ellipses
from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.experiments.mixture_figures import draw_points
from biglearn_core.experiments.principle.corner import Exploration, target
from biglearn_core.experiments.principle.dwelling import JOINT_ONLY, DwellRun
from biglearn_core.experiments.principle.landscapes import Landscape, MonteCarlo
from biglearn_core.experiments.principle.tables import dwell_name
from biglearn_core.experiments.principle.tasks import OPTIMA
from biglearn_core.experiments.style import new_figure
from biglearn_core.system.persistence import write_atomically

__all__ = [
    "animate",
    "plot_coverage",
    "plot_landscapes",
    "plot_monte_carlo",
    "plot_paths",
    "plot_strips",
    "plot_success",
]

_EXTENT = (-2, 2, -2, 2)
_HALF_WIDTH = 6.6


def plot_landscapes(landscapes: Mapping[str, Landscape], *, n_columns: int = 4) -> Figure:
    """Show surfaces as heat maps, optima as stars, spurious minima as crosses.

    Parameters
    ----------
    landscapes : mapping of str to Landscape
    n_columns : int, default 4

    Returns
    -------
    figure : Figure
        Colours go with the square root of the KL, as published, up to each surface's maximum.
    """
    n_rows = -(-len(landscapes) // n_columns)
    figure, axes = new_figure(n_rows, n_columns, width=2.7, height=2.75, sharex=True, sharey=True)
    for panel in axes.flat[len(landscapes) :]:
        panel.set_visible(False)
    for panel, own in zip(axes.flat, landscapes.values(), strict=False):
        _draw_surface(panel, own.surface)
        _mark_spurious(panel, own)
        panel.set_title(f"{own.name}\nup to {abs(own.surface.max()):.2f} nats", fontsize=8.5)
    _label_means(axes)
    figure.suptitle("KL[p‖q]: stars are optima, crosses spurious minima", fontsize=10)
    return figure


def plot_monte_carlo(monte_carlo: MonteCarlo) -> Figure:
    """Show the published estimate of the joint landscape, and how far it is off.

    Parameters
    ----------
    monte_carlo : MonteCarlo

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(1, 3, width=3.2, height=3.1, sharex=True, sharey=True)
    difference = monte_carlo.estimate - monte_carlo.exact
    bound = np.abs(difference).max()
    _draw_surface(axes[0, 0], monte_carlo.exact)
    _draw_surface(axes[0, 1], np.maximum(monte_carlo.estimate, 0))
    image = axes[0, 2].imshow(
        difference.T, origin="lower", extent=_EXTENT, cmap="PuOr", vmin=-bound, vmax=bound
    )
    figure.colorbar(image, ax=axes[0, 2], shrink=0.8, label="nats")
    titles = ("exact", "from samples", f"difference, RMS {monte_carlo.error:.3f} nats")
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=9)
    _label_means(axes)
    return figure


def plot_success(runs: Sequence[DwellRun]) -> Figure:
    """Show the share of starts that reach an optimum against the dwell.

    Parameters
    ----------
    runs : sequence of DwellRun

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(width=6.4, height=3.6)
    panel = tidy(axes[0, 0])
    own = [run for run in runs if run.dwell != JOINT_ONLY]
    dwells = [run.dwell for run in own]
    for run in own:
        label = "one sequence of angles" if run is own[0] else None
        at = np.full(len(run.success), run.dwell)
        panel.scatter(at, run.success, s=14, color=COLOURS[5], alpha=0.7, label=label, zorder=3)
    means = [run.success.mean() for run in own]
    panel.plot(dwells, means, "o-", color=COLOURS[0], label="mean", zorder=4)
    for run in runs:
        if run.dwell == JOINT_ONLY:
            style = {"color": COLOURS[1], "linestyle": "--"}
            panel.axhline(run.success[0], label="joint task alone", **style)
    panel.set(xscale="log", ylim=(0.45, 1.03))
    panel.set_xticks(dwells, [str(dwell) for dwell in dwells])
    panel.minorticks_off()
    panel.set(xlabel="steps on one marginal task (dwell)", ylabel="starts that reach an optimum")
    panel.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def plot_paths(landscape: Landscape, runs: Sequence[DwellRun]) -> Figure:
    """Show where the same starts are led, over the joint landscape.

    Parameters
    ----------
    landscape : Landscape
        Of the joint task.
    runs : sequence of DwellRun

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(1, len(runs), width=3.0, height=3.1, sharex=True, sharey=True)
    for panel, run in zip(axes[0], runs, strict=True):
        _draw_surface(panel, landscape.surface)
        _mark_spurious(panel, landscape)
        for path in run.paths.transpose(1, 0, 2):
            panel.plot(*path.T, color="white", linewidth=1.3)
            panel.plot(*path[0], "o", color="white", markersize=4)
            panel.plot(*path[-1], "s", color=COLOURS[4], markersize=6, zorder=5)
        kind = "" if run.dwell == JOINT_ONLY else "marginals, "
        panel.set_title(f"{kind}{dwell_name(run.dwell)}", fontsize=9)
        panel.set(xlim=_EXTENT[:2], ylim=_EXTENT[2:])
    _label_means(axes)
    figure.suptitle("from the dots to the squares", fontsize=9)
    return figure


def plot_coverage(runs: Mapping[str, Exploration]) -> Figure:
    """Show the modes found over the iterations, a line a seed.

    Parameters
    ----------
    runs : mapping of str to Exploration

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(1, len(runs), width=2.9, height=3.1, sharey=True)
    for position, (panel, run) in enumerate(zip(axes[0], runs.values(), strict=True)):
        colour = COLOURS[(1, 0, 3, 2)[position % 4]]
        tidy(panel).plot(run.iterations, run.coverage, color=colour, alpha=0.45, linewidth=0.9)
        panel.axhline(25, color=GREY, linestyle=":")
        last = run.coverage[-1]
        panel.set_title(f"{run.name}\nat the end {last.min()} to {last.max()}", fontsize=9)
        panel.set(xlabel="iterations of 20 steps", ylim=(0, 26))
    axes[0, 0].set_ylabel("modes found, of 25")
    return figure


def plot_strips(runs: Mapping[str, Exploration], iterations: Sequence[int], *, seed: int) -> Figure:
    """Show the components of every plan after some iterations.

    Parameters
    ----------
    runs : mapping of str to Exploration
    iterations : sequence of int
        The nearest state that was kept is shown, the last one where a plan is shorter.
    seed : int

    Returns
    -------
    figure : Figure
    """
    figure, axes = new_figure(
        len(runs), len(iterations), width=1.85, height=2.0, sharex=True, sharey=True
    )
    for row, run in zip(axes, runs.values(), strict=True):
        for panel, iteration in zip(row, iterations, strict=True):
            frame = int(np.abs(run.iterations - iteration).argmin())
            _draw_state(panel, run, seed, frame)
            panel.set_title(f"{run.iterations[frame]:,.0f}", fontsize=8)
        row[0].set_ylabel(run.name, fontsize=8)
    figure.suptitle(
        f"components at one deviation after so many iterations of 20 steps, seed {seed}", fontsize=9
    )
    return figure


def animate(run: Exploration, path: str | os.PathLike, *, seed: int, n_frames: int = 40) -> None:
    """Write a GIF of one exploration: components leaving the corner.

    Parameters
    ----------
    run : Exploration
    path : path-like
    seed : int
    n_frames : int, default 40
        At most, denser at the beginning.
    """
    figure, axes = new_figure(width=3.4, height=3.7)
    panel = axes[0, 0]
    last = len(run.steps) - 1
    chosen = np.unique(np.linspace(0, last**0.5, n_frames).__pow__(2).round().astype(int))

    def draw(frame: int) -> None:
        panel.clear()
        _draw_state(panel, run, seed, frame)
        title = f"{run.name}, iteration {run.iterations[frame]:,.0f}"
        panel.set_title(title, fontsize=8)

    animation = FuncAnimation(
        figure, draw, frames=[*chosen.tolist(), *[last] * 6], init_func=lambda: None
    )
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "animation.gif"
        animation.save(whole, writer=PillowWriter(fps=5), dpi=60)
        with write_atomically(path) as file:
            file.write(whole.read_bytes())


def _draw_surface(panel: Axes, surface: np.ndarray) -> None:
    norm = PowerNorm(0.5, vmin=0, vmax=max(float(surface.max()), 1e-3))
    image = np.maximum(surface.T, 0)
    panel.imshow(image, origin="lower", extent=_EXTENT, cmap="cividis", norm=norm)
    style = {"marker": "*", "s": 90, "color": "white", "edgecolors": "black", "zorder": 4}
    panel.scatter(*np.array(OPTIMA).T, linewidths=0.6, **style)


def _mark_spurious(panel: Axes, landscape: Landscape) -> None:
    for colour, width in (("black", 3.4), ("white", 1.6)):
        style = {"color": colour, "linewidths": width, "zorder": 3}
        panel.scatter(*landscape.spurious.T, marker="x", s=34, **style)


def _label_means(axes: np.ndarray) -> None:
    for panel in axes[-1]:
        panel.set_xlabel("$\\mu_1$")
    for row in axes:
        row[0].set_ylabel("$\\mu_2$")


def _draw_state(panel: Axes, run: Exploration, seed: int, frame: int) -> None:
    law = target()
    points, _ = law.sample(600, generator=torch.Generator().manual_seed(0))
    draw_points(panel, points)
    model = run.model(seed, frame)
    draw_ellipses(panel, model, colours=COLOURS[0], n_deviations=1, linewidth=0.9)
    panel.set(xlim=(-_HALF_WIDTH, 5.2), ylim=(-_HALF_WIDTH, 5.2), xticks=(), yticks=())
