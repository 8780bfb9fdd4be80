"""Figures of the quickstart: clusters, low densities, starts, pen strokes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from biglearn_core.displays.ellipses import draw_ellipses
from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.experiments.style import new_figure

__all__ = ["plot_clusters", "plot_outliers", "plot_starts", "plot_strokes"]

_MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_clusters(
    model: MixtureEstimator, frame: pd.DataFrame, classes: ArrayLike, columns: tuple[str, str]
) -> Figure:
    """Show clusters by colour, known classes by marker, components as ellipses of 2 sd.

    Parameters
    ----------
    model : MixtureEstimator
        Fitted on the frame.
    frame : DataFrame of shape (N, D)
    classes : array-like of shape (N,)
    columns : pair of str
        Features to draw.

    Returns
    -------
    figure : Figure
    """
    figure, grid = new_figure(width=5.5, height=3.8)
    axes = grid[0, 0]
    labels = model.predict(frame)
    classes = np.asarray(classes)
    colours = np.array(COLOURS)[labels % len(COLOURS)]
    for marker, name in zip(_MARKERS, np.unique(classes), strict=False):
        rows = classes == name
        axes.scatter(
            *frame.loc[rows, list(columns)].to_numpy().T,
            c=colours[rows],
            marker=marker,
            s=22,
            linewidths=0,
            alpha=0.8,
        )
        axes.scatter([], [], marker=marker, color=GREY, label=name)
    index = [frame.columns.get_loc(column) for column in columns]
    draw_ellipses(axes, model.mixture_.marginal(index), colours="black")
    axes.set(xlabel=columns[0], ylabel=columns[1], title="Colour: cluster, marker: class")
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def plot_outliers(
    frame: pd.DataFrame, log_density: np.ndarray, columns: tuple[str, str], n: int = 5
) -> Figure:
    """Colour rows by density and ring the least likely.

    Parameters
    ----------
    frame : DataFrame of shape (N, D)
    log_density : ndarray of shape (N,)
    columns : pair of str
    n : int, default 5
        Rows to ring.

    Returns
    -------
    figure : Figure
    """
    figure, grid = new_figure(width=5.5, height=3.8)
    axes = grid[0, 0]
    points = frame[list(columns)].to_numpy()
    image = axes.scatter(*points.T, c=log_density, cmap="viridis", s=22, linewidths=0)
    least = np.argsort(log_density)[:n]
    axes.scatter(
        *points[least].T, s=110, facecolors="none", edgecolors=COLOURS[1], label=f"{n} least likely"
    )
    figure.colorbar(image, label="log density (nats)")
    axes.set(xlabel=columns[0], ylabel=columns[1], title="Density in all four dimensions")
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def plot_starts(starts: pd.DataFrame) -> Figure:
    """Show the likelihood that every start reaches, method by method.

    Parameters
    ----------
    starts : DataFrame
        A row per start, a column per method; mean log-likelihood in nats.

    Returns
    -------
    figure : Figure
    """
    figure, grid = new_figure(width=5.5, height=2.2)
    axes = grid[0, 0]
    for height, (method, colour) in enumerate(
        zip(starts.columns, (COLOURS[1], COLOURS[0]), strict=True)
    ):
        axes.scatter(starts[method], np.full(len(starts), height), color=colour, s=45, alpha=0.8)
    axes.set(
        xlabel="mean log-likelihood of the training data (nats)",
        yticks=range(starts.shape[1]),
        yticklabels=starts.columns,
        ylim=(-0.5, starts.shape[1] - 0.5),
        title=f"{len(starts)} starts each",
    )
    tidy(axes)
    return figure


def plot_strokes(X: np.ndarray, known: int, draws: list[np.ndarray]) -> Figure:
    """Draw pen strokes: what is known, the true rest, and drawn rests.

    Parameters
    ----------
    X : ndarray of shape (n, 16)
        Whole strokes, one a panel.
    known : int
        Pen points that the draws were given.
    draws : list of ndarray of shape (n, 16)

    Returns
    -------
    figure : Figure
    """
    figure, grid = new_figure(1, len(X), width=1.9, height=2.2)
    for column, axes in enumerate(grid[0]):
        for number, draw in enumerate(draws):
            rest = draw[column].reshape(-1, 2)[known - 1 :]
            label = "drawn rest" if number == 0 else None
            axes.plot(*rest.T, color=COLOURS[5], linewidth=1.2, alpha=0.7, label=label)
        stroke = X[column].reshape(-1, 2)
        axes.plot(*stroke[known - 1 :].T, color=COLOURS[1], linestyle="--", label="true rest")
        axes.plot(*stroke[:known].T, color="black", linewidth=2, label="given")
        axes.set(xlim=(-0.25, 1.25), ylim=(-0.25, 1.25), xticks=[], yticks=[], aspect="equal")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure
