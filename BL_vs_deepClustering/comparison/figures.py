"""Figures of the comparison with deep clustering."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.experiments.published import FASHION_PEERS, SCORES
from biglearn_core.experiments.statistics import Sample
from biglearn_core.experiments.style import METHOD_COLOURS, new_figure
from BL_vs_deepClustering.comparison.methods import METHODS
from BL_vs_deepClustering.comparison.run import PeerRun
from BL_vs_deepClustering.comparison.tables import Entry, entries, pretrainings
from BL_vs_deepClustering.pixels.run import SeedRun

__all__ = ["plot_comparison", "plot_training"]


def plot_comparison(runs: Sequence[PeerRun], pixels: Sequence[SeedRun] = ()) -> Figure:
    """Show ACC, NMI and ARI of every method.

    Parameters
    ----------
    runs : sequence of PeerRun
    pixels : sequence of SeedRun
        Of BigLearn-EM on raw pixels.

    Returns
    -------
    figure : Figure
        A filled dot is the mean of the final models over the seeds, with a bar of one standard
        deviation; a ring the best on the way, chosen with labels; a cross a quoted figure.
    """
    collected = entries(runs, pixels)
    height = 1.1 + 0.32 * len(collected)
    figure, axes = new_figure(1, len(SCORES), width=3.3, height=height, sharey=True)
    for axis, label in zip(axes[0], SCORES.values(), strict=True):
        tidy(axis).set_xlabel(label)
    for row, entry in enumerate(collected):
        for axis, score in zip(axes[0], SCORES, strict=True):
            _draw_entry(axis, row, entry, score)
            quoted = getattr(FASHION_PEERS.get(entry.label), score, None)
            if quoted is not None:
                axis.plot(quoted, row, "x", color=COLOURS[6], markersize=7)
    axes[0, 0].set_yticks(range(len(collected)), [entry.label for entry in collected])
    axes[0, 0].invert_yaxis()
    axis = axes[0, 0]
    axis.plot([], [], "o", color=GREY, label="final model, mean ± deviation (fair)")
    axis.plot([], [], "o", color=GREY, markersize=9, markerfacecolor="none",
              label="best on the way, chosen with labels")  # fmt: skip
    axis.plot([], [], "x", color=COLOURS[6], markersize=7, label="quoted from others")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def plot_training(runs: Sequence[PeerRun]) -> Figure:
    """Show the pretraining, the share of labels that still change, and ACC on the way.

    Parameters
    ----------
    runs : sequence of PeerRun

    Returns
    -------
    figure : Figure
        Panels: reconstruction error by epoch; share of labels changed between renewals of the
        target, with the 0.1% that stops DEC and IDEC; ACC at every renewal (DEC, IDEC) or step
        (EDESC). A line per seed.
    """
    figure, axes = new_figure(1, 3, width=3.5, height=3.0)
    losses, changes, scores = axes[0]
    trained = [name for name, method in METHODS.items() if method.trains_network]
    colours = dict(zip(("shared", *trained), cycle(COLOURS), strict=False))
    for (widths, _), run in pretrainings(runs).items():
        curve = run.curves["reconstruction"]
        label = "shared" if widths == "shared" else f"{METHODS[widths].label}'s"
        style = {"color": colours.get(widths, GREY), "linewidth": 1.4, "label": label}
        losses.plot(np.arange(1, len(curve) + 1), curve, **style)
    for run in (run for run in runs if run.method in trained):
        label = METHODS[run.method].label
        style = {"color": colours[run.method], "linewidth": 1.4, "label": label}
        scores.plot(np.linspace(0, 1, len(run.acc)), run.acc, **style)
        if "changed_labels" in run.curves:
            share = run.curves["changed_labels"]
            changes.plot(np.arange(1, len(share) + 1), np.maximum(share, 1e-5), **style)
    changes.axhline(1e-3, color=GREY, linewidth=1, linestyle="--")
    losses.set(xlabel="epoch of the pretraining", ylabel="mean squared error of a pixel")
    losses.set_yscale("log")
    changes.set(xlabel="renewal of the target", ylabel="share of labels changed", yscale="log")
    scores.set(xlabel="share of the training", ylabel="ACC (chooses nothing)")
    for axis in axes[0]:
        tidy(axis)
        _unique_legend(axis)
    return figure


def _draw_entry(axis: Axes, row: int, entry: Entry, score: str) -> None:
    colour = METHOD_COLOURS["BigLearn-EM"] if entry.is_ours else COLOURS[1]
    final = Sample.of(entry.final[score])
    axis.errorbar(final.mean, row, xerr=final.std or None, fmt="o", color=colour, capsize=3)
    ring = {"markersize": 9, "markerfacecolor": "none", "color": colour}
    axis.plot(entry.best[score].mean(), row, "o", **ring)


def _unique_legend(axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if unique := dict(zip(labels, handles, strict=True)):
        axis.legend(unique.values(), unique.keys(), frameon=False, fontsize=8)
