"""Figures of the real-world experiment."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from biglearn_core.displays.ellipses import draw_ellipses
from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.experiments.published import PENDIGITS
from biglearn_core.experiments.realworld.run import CURVE_COLUMNS, Data, MethodRun
from biglearn_core.experiments.style import METHOD_COLOURS, new_figure

__all__ = ["plot_clusters", "plot_curves", "plot_differences", "plot_published"]

_OURS = ("Joint-EM", "BigLearn-EM")
_LABELS = MappingProxyType(
    {
        "nmi": "NMI (test)",
        "log_likelihood": "log-likelihood (test, nats)",
        "ari": "ARI (test)",
        "train_log_likelihood": "log-likelihood (training, nats)",
    }
)
_MARKERS = MappingProxyType(
    {
        "BigLearn-EM": ("o", METHOD_COLOURS["BigLearn-EM"]),
        "K-means": ("s", COLOURS[2]),
        "GaussianMixture": ("^", COLOURS[3]),
        "BayesianGaussianMixture": ("D", COLOURS[4]),
    }
)
_N_SHOWN = 2000


def plot_curves(runs: Sequence[MethodRun]) -> Figure:
    """Show NMI, log-likelihood and ARI over the iterations, both methods on one axis.

    Parameters
    ----------
    runs : sequence of MethodRun
        Of one set. A seed of Joint-EM that converged before the others keeps its last value.

    Returns
    -------
    figure : Figure
        Lines are means over the seeds, bands one standard deviation; the marker at the right is
        the final model, after the joint steps that end BigLearn-EM in the fair protocol.
    """
    figure, axes = new_figure(2, 2, width=4.6, height=2.9, sharex=True)
    right = max(run.iterations[-1] for run in runs if len(run.iterations))
    for panel, (column, label) in zip(axes.flat, _LABELS.items(), strict=True):
        tidy(panel)
        for method in _OURS:
            group = [run for run in runs if run.method == method]
            iterations, values = _aligned(group, CURVE_COLUMNS.index(column), right)
            mean, spread = values.mean(axis=0), _spread(values)
            colour = METHOD_COLOURS[method]
            panel.plot(iterations, mean, color=colour, linewidth=1.6, label=method)
            panel.fill_between(
                iterations, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0
            )
            part = "train" if column.startswith("train") else "test"
            final = [getattr(getattr(run, part), column.removeprefix("train_")) for run in group]
            panel.errorbar(
                1.12 * right,
                np.mean(final),
                yerr=_spread(np.array(final)),
                fmt="o",
                color=colour,
                markersize=4,
                capsize=2,
            )
        panel.set(xscale="log", ylabel=label)
    for panel in axes[1]:
        panel.set_xlabel("iteration")
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def plot_differences(table: pd.DataFrame) -> Figure:
    """Show every method's difference to Joint-EM on every set.

    Parameters
    ----------
    table : DataFrame
        As from `tables.differences`.

    Returns
    -------
    figure : Figure
        One panel per score; bars are 95% intervals of the mean over seeds.
    """
    scores = table["score"].unique()
    sets = table["set"].unique()[::-1]
    height = 1.2 + 0.55 * len(sets)
    figure, axes = new_figure(1, len(scores), width=2.9, height=height, sharey=True)
    for panel, score in zip(axes[0], scores, strict=True):
        tidy(panel).axvline(0, color=GREY, linewidth=1)
        methods = table["method"].unique()
        for shift, method in zip(np.linspace(0.27, -0.27, len(methods)), methods, strict=True):
            rows = table[(table["score"] == score) & (table["method"] == method)]
            rows = rows.set_index("set").loc[sets]
            marker, colour = _MARKERS[method]
            spread = np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
            panel.errorbar(
                rows["mean"],
                np.arange(len(sets)) + shift,
                xerr=np.nan_to_num(spread),
                fmt=marker,
                color=colour,
                markersize=4,
                linewidth=1.2,
                label=method,
            )
        unit = " (nats)" if score == "log-likelihood" else ""
        panel.set_xlabel(f"{score}{unit}", fontsize=9)
        if unit:
            panel.set_xscale("symlog", linthresh=0.1)
            panel.tick_params(axis="x", labelsize=7)
        panel.set_yticks(np.arange(len(sets)), sets)
        panel.set_ylim(-0.5, len(sets) - 0.5)
    figure.suptitle("test scores, difference to Joint-EM", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def plot_clusters(runs: Sequence[MethodRun], data: Data, *, seed: int) -> Figure:
    """Show the training points of one seed in the plane of their first two principal components.

    Parameters
    ----------
    runs : sequence of MethodRun
        Of one set.
    data : Data
        Of that seed.
    seed : int

    Returns
    -------
    figure : Figure
        The classes, and the clusters of both methods with the projected components as ellipses of
        two standard deviations.
    """
    centre = data.X_train.mean(dim=0)
    _, _, axes_of_data = torch.linalg.svd(data.X_train - centre, full_matrices=False)
    plane = axes_of_data[:2]
    X, y = data.X_train[:_N_SHOWN], data.y_train[:_N_SHOWN]
    Z = (X @ plane.T).numpy()
    chosen = {run.method: run.model for run in runs if run.seed == seed}
    _, classes = np.unique(y, return_inverse=True)
    groups = {"classes": classes} | {method: chosen[method].predict(X).numpy() for method in _OURS}
    figure, axes = new_figure(1, 3, width=3.5, height=3.4, sharex=True, sharey=True)
    for panel, (title, labels) in zip(axes[0], groups.items(), strict=True):
        _, colours = np.unique(labels, return_inverse=True)
        palette = np.array(COLOURS)[colours % len(COLOURS)]
        panel.scatter(*Z.T, s=6, c=palette, alpha=0.6, linewidths=0)
        panel.set_title(title if title == "classes" else f"clusters of {title}", fontsize=10)
        panel.set_xlabel("first principal component", fontsize=9)
    axes[0, 0].set_ylabel("second principal component", fontsize=9)
    low, high = Z.min(axis=0), Z.max(axis=0)
    for panel, method in zip(axes[0, 1:], _OURS, strict=True):
        draw_ellipses(panel, chosen[method].transform(plane), colours=COLOURS[6])
    margin = 0.12 * (high - low)
    axes[0, 0].set(
        xlim=(low[0] - margin[0], high[0] + margin[0]),
        ylim=(low[1] - margin[1], high[1] + margin[1]),
    )
    return figure


def plot_published(paper: Sequence[MethodRun], fair: Sequence[MethodRun]) -> Figure:
    """Show where the published single seed of Pendigits lies among ours.

    Parameters
    ----------
    paper, fair : sequence of MethodRun
        Of Pendigits, in the protocols of these names.

    Returns
    -------
    figure : Figure
        One panel per score, one dot per seed; the line is the published value.
    """
    scores = (
        ("nmi", "nmi", "NMI"),
        ("ari", "ari", "ARI"),
        ("test_log_likelihood", "log_likelihood", "log-likelihood (nats)"),
    )
    figure, axes = new_figure(1, len(scores), width=3.3, height=2.8, sharey=True)
    rows = [(m, p, g) for m in _OURS for p, g in (("paper", paper), ("fair", fair))][::-1]
    for panel, (published, score, label) in zip(axes[0], scores, strict=True):
        tidy(panel)
        for height, (method, protocol, runs) in enumerate(rows):
            values = [getattr(run.test, score) for run in runs if run.method == method]
            colour = METHOD_COLOURS[method]
            panel.scatter(
                values,
                np.full(len(values), height),
                s=26,
                facecolors=colour if protocol == "paper" else "none",
                edgecolors=colour,
                alpha=0.8,
            )
            panel.plot(
                [PENDIGITS[method][published]] * 2,
                [height - 0.35, height + 0.35],
                color=COLOURS[6],
                linewidth=1.6,
                label="published, one seed" if height == 0 else None,
            )
        panel.set_xlabel(f"{label}, test")
        panel.set_yticks(range(len(rows)), [f"{m}, {p}" for m, p, _ in rows], fontsize=9)
    axes[0, -1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 1.16))
    return figure


def _spread(values: np.ndarray) -> np.ndarray:
    """Take the standard deviation over seeds, the first axis; zero for a single one."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])


def _aligned(runs: Sequence[MethodRun], column: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Put curves of different length on the longest axis, each kept at its last value."""
    iterations = max((run.iterations for run in runs), key=len)
    rows = []
    for run in runs:
        values = run.curve[:, column]
        rows.append(np.pad(values, (0, len(iterations) - len(values)), mode="edge"))
    if iterations[-1] < right:
        iterations = np.append(iterations, right)
        rows = [np.append(row, row[-1]) for row in rows]
    return iterations, np.array(rows)
