"""How components are told apart: by colour and marker, and by numbers where they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from biglearn_core.displays.style import COLOURS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = ["MOST_IN_A_LEGEND", "ComponentStyle", "component_styles", "share", "write_numbers"]

# Without yellow, in which small points on white are hardly seen.
_COLOURS = COLOURS[:7]

# Beyond, colours repeat, and components carry their numbers in the picture.
MOST_IN_A_LEGEND = len(_COLOURS)

# Numbers nearer than this, in points, are written as one text, so many on a line.
_LEAST_GAP = 11.0
_ON_A_LINE = 3


class ComponentStyle(NamedTuple):
    """What the rows of a component look like.

    Parameters
    ----------
    colour : str
        As "#RRGGBB".
    marker : str
    """

    colour: str
    marker: str


def component_styles(places: np.ndarray) -> list[ComponentStyle]:
    """Give every component a colour and a marker, neighbours different colours.

    Parameters
    ----------
    places : float64 ndarray of shape (K, d)
        Means, in units in which distances are seen.

    Returns
    -------
    styles : list of ComponentStyle
        Different for up to 56 components. Up to seven have the colours of the palette in its
        order; each further one that whose nearest component is farthest. Markers differ as well,
        for whoever prints in grey.
    """
    colours: list[int] = []
    styles = []
    for place in places:
        gaps = np.full(len(_COLOURS), np.inf)
        for colour, other in zip(colours, places, strict=False):
            gaps[colour] = min(gaps[colour], np.linalg.norm(place - other))
        chosen = int(gaps.argmax())
        marker = MARKERS[(chosen + colours.count(chosen)) % len(MARKERS)]
        styles.append(ComponentStyle(_COLOURS[chosen], marker))
        colours.append(chosen)
    return styles


def share(weight: float) -> str:
    """Write a share in hundredths.

    Parameters
    ----------
    weight : float

    Returns
    -------
    text : str
    """
    return f"{100 * weight:.0f} %" if weight >= 0.005 or weight == 0 else "<1 %"


def write_numbers(axes: Axes, places: np.ndarray, *, stacked: bool = False) -> list[Text]:
    """Write the number of every component where it stands.

    Parameters
    ----------
    axes : Axes
        With the limits that it is to keep.
    places : float64 ndarray of shape (K, 2)
        In units of the data.
    stacked : bool, default False
        Whether they stand above their places, numbers of about the same abscissa one above the
        other.

    Returns
    -------
    numbers : list of Text
        Fewer than K where components stand so near to each other that one text has to name them.
    """
    from matplotlib.patheffects import withStroke

    seen = axes.transData.transform(places) * 72 / axes.figure.dpi
    if stacked:
        seen[:, 1] = 0
    groups: list[list[int]] = []
    for k, place in enumerate(seen):
        near = (g for g in groups if np.linalg.norm(seen[g].mean(axis=0) - place) < _LEAST_GAP)
        if (group := next(near, None)) is None:
            groups.append([k])
        else:
            group.append(k)
    per_line = 1 if stacked else _ON_A_LINE
    height = np.max if stacked else np.mean
    return [
        axes.text(
            places[group, 0].mean(),
            height(places[group, 1]),
            "\n".join(
                ", ".join(map(str, group[i : i + per_line])) for i in range(0, len(group), per_line)
            ),
            ha="center",
            va="bottom" if stacked else "center",
            fontsize=7.5,
            linespacing=0.95,
            clip_on=True,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )
        for group in groups
    ]
