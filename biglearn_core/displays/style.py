"""One look for all figures: colours that colour-blind readers can tell apart, few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "GREY", "MARKERS", "darker", "tidy"]

# The Okabe-Ito palette (M. Okabe and K. Ito, Color Universal Design, 2008).
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
GREY = "#8C8C8C"

# Filled, so that all carry their colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def darker(colour: str) -> str:
    """Take the colour at six tenths of its light: a line on points of that colour, or on white.

    Parameters
    ----------
    colour : str
        As "#RRGGBB".

    Returns
    -------
    colour : str
    """
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(0.6 * part):02X}" for part in parts)


def tidy(axes: Axes) -> Axes:
    """Take away the frame lines that carry nothing.

    Parameters
    ----------
    axes : Axes

    Returns
    -------
    axes : Axes
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes
