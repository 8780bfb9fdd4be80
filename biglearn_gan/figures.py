"""Figures of the comparison, from saved results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biglearn_core.displays.style import COLOURS, GREY, MARKERS, tidy
from biglearn_core.experiments.statistics import Sample
from biglearn_core.experiments.style import new_figure
from biglearn_gan.data import Data
from biglearn_gan.measures.questions import SHARES
from biglearn_gan.methods import METHODS
from biglearn_gan.run import Run

__all__ = [
    "plot_completions",
    "plot_conditionals",
    "plot_diversity",
    "plot_images",
    "plot_losses",
    "plot_plane",
]

_TRAINED = ("joint", "big", "communication", "energy", "energy-alone", "vaeac")


def plot_plane(runs: Sequence[Run], data: Data) -> Figure:
    """Show joint draws in the plane beside the data, a panel a trained method.

    Parameters
    ----------
    runs : sequence of Run
        The first seed of every method is shown.
    data : Data
        In two dimensions.

    Returns
    -------
    figure : Figure
    """
    firsts = [run for run in _firsts(runs, data.name) if run.method in _TRAINED]
    panels = [("data", data.test[:2000].numpy())]
    panels += [(METHODS[run.method].label, run.draws["joint"]) for run in firsts]
    n_columns = min(4, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure, axes = new_figure(n_rows, n_columns, width=2.9, height=3.0, sharex=True, sharey=True)
    for panel, (label, points) in zip(axes.flat, panels, strict=False):
        panel.plot(*points.T, ".", markersize=1.5, alpha=0.4, rasterized=True,
                   color=GREY if label == "data" else COLOURS[0])  # fmt: skip
        panel.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
        panel.set_title(label, fontsize=9)
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    for panel in axes[-1]:
        panel.set_xlabel("$x_1$")
    for panel in axes[:, 0]:
        panel.set_ylabel("$x_2$")
    return figure


def plot_conditionals(
    runs: Sequence[Run],
    data: Sequence[str],
    *,
    measure: str = "conditional_ks_mean",
    label: str = "KS distance of a conditional from the exact one, mean",
) -> Figure:
    """Show how far every method's conditionals are from the exact ones, between the two ends.

    Parameters
    ----------
    runs : sequence of Run
    data : sequence of str
        Sets whose law is known.
    measure, label : str
        A name in `tables.MEASURES`, and what the axis says.

    Returns
    -------
    figure : Figure
        A point a seed, a bar at the mean.
    """
    figure, axes = new_figure(1, len(data), width=2.2 + 5.0 / len(data), height=3.4, sharey=True)
    methods = [m for m in METHODS if any(run.method == m and measure in run.scores for run in runs)]
    for panel, name in zip(axes[0], data, strict=True):
        for i, method in enumerate(methods):
            own = [run.scores[measure] for run in runs if (run.data, run.method) == (name, method)]
            if own:
                colour = COLOURS[0] if method in _TRAINED[:-1] else GREY
                panel.plot(own, np.full(len(own), i), "o", markersize=4, alpha=0.6, color=colour)
                panel.plot([np.mean(own)], [i], "|", markersize=16, markeredgewidth=2, color=colour)
        panel.set_title(name, fontsize=10)
        panel.set(xlim=(0, None))
        tidy(panel)
    figure.supxlabel(label, fontsize=10)
    axes[0, 0].set_yticks(range(len(methods)), [METHODS[m].label for m in methods])
    axes[0, 0].invert_yaxis()
    return figure


def plot_images(runs: Sequence[Run], data: Data, *, methods: Sequence[str]) -> Figure:
    """Show images that were drawn with nothing observed, beside test images.

    Parameters
    ----------
    runs : sequence of Run
        The first seed of every method is shown; none is chosen.
    data : Data
        Of images.
    methods : sequence of str

    Returns
    -------
    figure : Figure
    """
    by_method = {run.method: run for run in _firsts(runs, data.name)}
    shown = [method for method in methods if method in by_method]
    panels = [("test images", data.test.numpy())]
    panels += [(METHODS[m].label, by_method[m].draws["joint"]) for m in shown]
    figure, axes = new_figure(1, len(panels), width=2.6, height=4.4)
    for panel, (label, images) in zip(axes[0], panels, strict=True):
        _draw(panel, _tiled(images[:60].reshape(10, 6, -1), data.side))
        panel.set_title(label, fontsize=9)
    return figure


def plot_completions(
    runs: Sequence[Run], data: Data, *, question: str, methods: Sequence[str]
) -> Figure:
    """Show completions of test images, four draws a method.

    Parameters
    ----------
    runs : sequence of Run
        The first seed of every method is shown.
    data : Data
        Of images.
    question : str
        Of `scoring.SHOWN_QUESTIONS`.
    methods : sequence of str

    Returns
    -------
    figure : Figure
        On top the images, and what is observed of them; below, the draws.
    """
    by_method = {run.method: run for run in _firsts(runs, data.name)}
    shown = [method for method in methods if method in by_method]
    first = by_method[shown[0]].draws
    n_rows = first[f"completed/{question}"].shape[1]
    images = data.test[:n_rows].numpy()
    given = np.where(first[f"given/{question}"], images, 0.0)  # grey where nothing is seen
    figure, axes = new_figure(1, 1 + len(shown), width=2.6, height=1.8)
    _draw(axes[0, 0], _tiled(np.stack([images, given]), data.side))
    axes[0, 0].set_title("image; what is observed", fontsize=9)
    for panel, method in zip(axes[0, 1:], shown, strict=True):
        draws = by_method[method].draws[f"completed/{question}"]
        _draw(panel, _tiled(draws, data.side))
        panel.set_title(METHODS[method].label, fontsize=9)
    return figure


def plot_diversity(runs: Sequence[Run], data: str, *, methods: Sequence[str]) -> Figure:
    """Show how completions fare and differ as less is observed.

    Parameters
    ----------
    runs : sequence of Run
    data : str
        Of images.
    methods : sequence of str

    Returns
    -------
    figure : Figure
        Accuracy of the vote, error of the mean of 20 draws, and deviation between draws, against
        the share of the patches that is observed; means over the seeds, with their deviations.
    """
    figure, axes = new_figure(1, 3, width=3.6, height=3.2)
    told = (
        ("vote", "accuracy of the vote of 20"),
        ("rmse_of_mean", "RMSE of the mean of 20 draws"),
        ("spread", "deviation between draws"),
    )
    for panel, (measure, label) in zip(axes[0], told, strict=True):
        for i, method in enumerate(methods):
            own = [run.scores for run in runs if (run.data, run.method) == (data, method)]
            if not own:
                continue
            samples = [Sample.of([s[f"{measure}_{name}"] for s in own]) for name in SHARES]
            panel.errorbar(
                list(SHARES.values()),
                [sample.mean for sample in samples],
                [sample.std or 0.0 for sample in samples],
                marker=MARKERS[i % len(MARKERS)],
                color=COLOURS[i % len(COLOURS)],
                markersize=5,
                linewidth=1.2,
                label=METHODS[method].label,
            )
        panel.set(xlabel="share of patches observed", ylabel=label, ylim=(0, None))
        tidy(panel)
    _legend(figure)
    return figure


def plot_losses(runs: Sequence[Run], data: str) -> Figure:
    """Show the losses of the trainings of the first seed.

    Parameters
    ----------
    runs : sequence of Run
    data : str

    Returns
    -------
    figure : Figure
    """
    firsts = [run for run in _firsts(runs, data) if run.method in _TRAINED[:-1]]
    figure, axes = new_figure(1, len(firsts), width=2.9, height=2.6, sharey=True)
    for panel, run in zip(axes[0], firsts, strict=True):
        for i, name in enumerate(("discriminator", "generator", "communication", "energy")):
            curve = run.curves[name]
            if np.isfinite(curve).any():
                panel.plot(
                    run.curves["iterations"], curve, color=COLOURS[i], linewidth=1, label=name
                )
        panel.axhline(np.log(2), color=GREY, linestyle=":", linewidth=1)
        panel.set_title(METHODS[run.method].label, fontsize=9)
        panel.set_xlabel("iteration")
        tidy(panel)
    axes[0, 0].set_ylabel("loss")
    _legend(figure)
    return figure


def _firsts(runs: Sequence[Run], data: str) -> list[Run]:
    """Take the first seed of every method, in the order of `METHODS`."""
    firsts: dict[str, Run] = {}
    for run in runs:
        if run.data == data:
            firsts.setdefault(run.method, run)
    return [firsts[method] for method in METHODS if method in firsts]


def _legend(figure: Figure) -> None:
    """Name all lines once, below the panels."""
    named = {}
    for panel in figure.axes:
        named |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    options = {"loc": "outside lower center", "ncols": 4, "fontsize": 8, "frameon": False}
    figure.legend(named.values(), named.keys(), **options)


def _tiled(images: np.ndarray, side: int) -> np.ndarray:
    """Lay images of shape (R, C, D) out as rows and columns, with a gap of a pixel."""
    R, C, _ = images.shape
    page = np.ones((R, side + 1, C, side + 1))
    page[:, :side, :, :side] = images.reshape(R, C, side, side).transpose(0, 2, 1, 3)
    return page.reshape(R * (side + 1), C * (side + 1))[:-1, :-1]


def _draw(panel: Axes, page: np.ndarray) -> None:
    panel.imshow(page, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_axis_off()
