"""Figures of the Fashion-MNIST experiment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.experiments.style import new_figure
from biglearn_core.gmm import GMM
from biglearn_core.matching import TASK_KINDS
from BL_vs_deepClustering.pixels.run import CLASS_NAMES, SeedRun

__all__ = ["plot_components", "plot_confusion", "plot_scores", "plot_seconds"]

_SIDE = 28
_N_DIRECTIONS = 3
_N_SAMPLES = 4


def plot_components(run: SeedRun, *, seed: int = 0) -> Figure:
    """Show every component: its mean, its leading directions, and images drawn from it.

    Parameters
    ----------
    run : SeedRun
        Of a model on the floor, which has the low-rank form.
    seed : int, default 0
        Draws the images.

    Returns
    -------
    figure : Figure
        A row per component, heaviest first. Directions are blue where they darken and red where
        they brighten, relative to their largest pixel.
    """
    model = run.model
    order = model.weights.argsort(descending=True).tolist()
    n_columns = 1 + _N_DIRECTIONS + _N_SAMPLES
    figure, axes = new_figure(len(order), n_columns, width=0.66, height=0.62)
    generator = torch.Generator().manual_seed(seed)
    for row, k in zip(axes, order, strict=True):
        _draw_image(row[0], model.means[k])
        values, directions = model.low_rank.component(k)
        for axis, direction in zip(row[1:], directions[:_N_DIRECTIONS], strict=False):
            _draw_image(axis, direction, signed=True)
        for axis, image in zip(row[1 + _N_DIRECTIONS :], _draw(model, k, generator), strict=True):
            _draw_image(axis, image)
        row[0].set_ylabel(
            f"{model.weights[k]:.2f}\n{len(values)}", rotation=0, ha="right", va="center", size=8
        )
    axes[0, 0].set_title("mean", size=9)
    axes[0, 2].set_title("leading directions", size=9)
    axes[0, 1 + _N_DIRECTIONS + _N_SAMPLES // 2].set_title("samples", size=9)
    figure.supylabel("weight, and number of eigenvalues above the floor", size=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure


def plot_confusion(run: SeedRun) -> Figure:
    """Show how the classes spread over the clusters of the final model.

    Parameters
    ----------
    run : SeedRun

    Returns
    -------
    figure : Figure
        Rows are clusters, in the order of the classes that the best one-to-one matching gives
        them; the matched cells, whose sum is ACC, are framed.
    """
    table = contingency_matrix(run.clusters, run.classes)
    rows, columns = linear_sum_assignment(table, maximize=True)
    matched = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    order = sorted(range(len(table)), key=lambda row: matched.get(row, table.shape[1]))
    share = table[order] / table.sum(axis=0)
    figure, axes = new_figure(width=6.4, height=5.2)
    axis = axes[0, 0]
    image = axis.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, j in zip(*np.nonzero(share >= 0.005), strict=True):
        colour = "black" if share[i, j] > 0.55 else "white"
        axis.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", size=8, color=colour)
    for i, row in enumerate(order):
        if row in matched:
            frame = {"fill": False, "edgecolor": COLOURS[1], "linewidth": 1.8}
            axis.add_patch(_cell(matched[row], i, frame))
    names = [CLASS_NAMES[c] for c in np.unique(run.classes)]
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axis.set_yticks(range(len(order)), [str(np.unique(run.clusters)[row]) for row in order])
    axis.set(ylabel="cluster", title=f"Percent of each class, final model: ACC {run.final.acc:.3f}")
    figure.colorbar(image, ax=axis, label="share of the class")
    return figure


def plot_scores(runs: Sequence[SeedRun]) -> Figure:
    """Show accuracy, NMI, ARI and training log-likelihood over the iterations.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    figure : Figure
        A filled dot marks the final model, the fair score; a ring the best over iterations, the
        paper's, chosen with labels.
    """
    panels = (
        ("acc", "ACC"),
        ("nmi", "NMI"),
        ("ari", "ARI"),
        ("log_likelihood", "log-likelihood (nats)"),
    )
    figure, axes = new_figure(2, 2, width=4.4, height=2.9, sharex=True)
    for axis, (name, label) in zip(axes.flat, panels, strict=True):
        for run, colour in zip(runs, _cycle(len(runs)), strict=True):
            curve = getattr(run.trace, name)
            iterations = np.arange(1, len(curve) + 1)
            (line,) = axis.plot(iterations, curve, color=colour, linewidth=1.4)
            if axis is axes[0, 0]:
                line.set_label(f"seed {run.seed}")
            axis.plot(len(curve), curve[-1], "o", color=colour, markersize=5)
            if name != "log_likelihood":
                best = int(curve.argmax())
                ring = {"markerfacecolor": "none", "markersize": 9, "color": colour}
                axis.plot(best + 1, curve[best], "o", **ring)
        axis.set_ylabel(label)
        tidy(axis)
    for axis in axes[1]:
        axis.set_xlabel("iteration")
    axes[0, 0].plot([], [], "o", color=GREY, markersize=5, label="final (fair)")
    axes[0, 0].plot(
        [], [], "o", color=GREY, markersize=9, markerfacecolor="none",
        label="best, chosen with labels (paper)",
    )  # fmt: skip
    figure.legend(loc="outside upper center", ncols=len(runs) + 2, fontsize=8, frameon=False)
    return figure


def plot_seconds(run: SeedRun) -> Figure:
    """Show how long every iteration took, by its task and its number of coordinates.

    Parameters
    ----------
    run : SeedRun

    Returns
    -------
    figure : Figure
    """
    trace = run.trace
    figure, axes = new_figure(width=6.4, height=3.0)
    axis = axes[0, 0]
    for kind, name in enumerate(TASK_KINDS):
        chosen = trace.task == kind
        if chosen.any():
            axis.scatter(
                trace.n_coordinates[chosen], trace.fit_seconds[chosen],
                s=22, color=COLOURS[kind], marker="os^"[kind], label=f"{name} ({chosen.sum()})",
            )  # fmt: skip
    axis.set(
        xlabel="coordinates of the task, |T|",
        ylabel="seconds an iteration",
        ylim=(0, 1.1 * trace.fit_seconds.max()),
    )
    figure.legend(loc="outside right upper", frameon=False, title="task (iterations)")
    tidy(axis)
    return figure


def _draw(model: GMM, k: int, generator: torch.Generator) -> torch.Tensor:
    """Images from component `k`."""
    component = GMM.unchecked(
        model.weights.new_ones(1), model.means[k : k + 1], model.covariances[k : k + 1]
    )
    return component.sample(_N_SAMPLES, generator)[0]


def _draw_image(axis: Axes, pixels: torch.Tensor, *, signed: bool = False) -> None:
    image = pixels.reshape(_SIDE, _SIDE).numpy()
    if signed:
        largest = np.abs(image).max()
        axis.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)
    else:
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)


def _cell(column: int, row: int, style: dict) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, **style)


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]
