"""How components are told apart: by colour and marker, and by numbers where they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from biglearn_core.displays.style import COLOURS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = ["MOST_IN_A_LEGEND", "ComponentStyle", "component_styles", "share", "write_numbers"]

# Beyond, colours repeat, and components carry their numbers in the picture.
MOST_IN_A_LEGEND = len(COLOURS)

# Numbers nearer than this, in points, are written as one text.
_LEAST_GAP = 11.0


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
        Different for up to 64 components. Up to 8 have the colours of the palette in its order;
        each further one that whose nearest component is farthest.
    """
    colours: list[int] = []
    styles = []
    for place in places:
        gaps = np.full(len(COLOURS), np.inf)
        for colour, other in zip(colours, places, strict=False):
            gaps[colour] = min(gaps[colour], np.linalg.norm(place - other))
        chosen = int(gaps.argmax())
        # With the colour alone a marker would tell nothing to whoever prints in grey.
        marker = MARKERS[(chosen + colours.count(chosen)) % len(MARKERS)]
        styles.append(ComponentStyle(COLOURS[chosen], marker))
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


def write_numbers(axes: Axes, places: np.ndarray) -> list[Text]:
    """Write the number of every component where it stands.

    Parameters
    ----------
    axes : Axes
        With the limits that it is to keep.
    places : float64 ndarray of shape (K, 2)
        In units of the data.

    Returns
    -------
    numbers : list of Text
        Fewer than K where components stand so near to each other that one text has to name them.
    """
    from matplotlib.patheffects import withStroke

    seen = axes.transData.transform(places) * 72 / axes.figure.dpi
    groups: list[list[int]] = []
    for k, place in enumerate(seen):
        near = (g for g in groups if np.linalg.norm(seen[g].mean(axis=0) - place) < _LEAST_GAP)
        if (group := next(near, None)) is None:
            groups.append([k])
        else:
            group.append(k)
    return [
        axes.text(
            *places[group].mean(axis=0),
            ", ".join(map(str, group)),
            ha="center",
            va="center",
            fontsize=8,
            clip_on=True,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )
        for group in groups
    ]
