"""Rows of a table as points: as large as their number leaves room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from biglearn_core.displays.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

__all__ = ["MOST_UNCERTAIN", "draw_rows", "draw_uncertain_rows"]

# Above it no component has the majority of a row; colours and sizes end here.
MOST_UNCERTAIN = 0.5

_CERTAIN_COLOUR = "#C4C4C4"

# Share of the axes that the points would cover side by side, and bounds of their area in points².
_COVERED = 0.12
_SMALLEST, _LARGEST = 1.5, 26.0

# How many times the area of a certain row the most uncertain has.
_GROWTH = 4.0

# Rows from which on vector graphics hold them as a bitmap.
_MANY = 2000


def draw_rows(axes: Axes, points: np.ndarray, *, n_rows: int, **options: Any) -> PathCollection:
    """Scatter rows.

    Parameters
    ----------
    axes : Axes
    points : ndarray of shape (n, 2)
    n_rows : int
        All that are drawn on the axes, which decides on their size.
    **options
        For `Axes.scatter`.

    Returns
    -------
    rows : PathCollection
    """
    size = _size(axes, n_rows)
    return axes.scatter(
        *points.T, **{"s": size, "linewidths": 0, "rasterized": n_rows > _MANY} | options
    )


def draw_uncertain_rows(axes: Axes, points: np.ndarray, uncertainty: np.ndarray) -> PathCollection:
    """Scatter rows, the uncertain ones darker, larger and on top.

    Parameters
    ----------
    axes : Axes
    points : ndarray of shape (n, 2)
    uncertainty : ndarray of shape (n,)
        One less the largest responsibility.

    Returns
    -------
    rows : PathCollection
        From the most certain to the least.
    """
    from matplotlib.colors import LinearSegmentedColormap

    order = uncertainty.argsort(kind="stable")
    colours = [_CERTAIN_COLOUR, COLOURS[1], COLOURS[6]]  # ever darker
    relative = np.minimum(uncertainty[order] / MOST_UNCERTAIN, 1.0)
    return draw_rows(
        axes,
        points[order],
        n_rows=len(points),
        s=_size(axes, len(points)) * (1 + (_GROWTH - 1) * relative),
        c=uncertainty[order],
        cmap=LinearSegmentedColormap.from_list("uncertainty", colours),
        vmin=0.0,
        vmax=MOST_UNCERTAIN,
    )


def _size(axes: Axes, n_rows: int) -> float:
    box = axes.get_window_extent()
    area = box.width * box.height * (72 / axes.figure.dpi) ** 2
    return float(np.clip(_COVERED * area / max(n_rows, 1), _SMALLEST, _LARGEST))
