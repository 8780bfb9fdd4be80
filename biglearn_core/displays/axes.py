"""Where a display draws: axes that are given, or those of a new figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

__all__ = ["Canvas", "draw_legend", "open_canvas", "write_note"]


class Canvas(NamedTuple):
    """Axes to draw on.

    Parameters
    ----------
    axes : Axes
    figure : Figure
    is_own : bool
        Whether the figure was made for the display, which so decides on its layout.
    """

    axes: Axes
    figure: Figure
    is_own: bool


def open_canvas(ax: Axes | None) -> Canvas:
    """Take axes that are given, or make a figure.

    Parameters
    ----------
    ax : Axes, optional

    Returns
    -------
    canvas : Canvas

    Raises
    ------
    ImportError
        When matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "displays need matplotlib: pip install 'biglearn-em[plots]', or matplotlib itself"
        ) from error
    if ax is None:
        figure, axes = pyplot.subplots(layout="constrained")
        return Canvas(axes, figure, True)
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes that were removed from their figure"
    return Canvas(ax, figure, False)


def draw_legend(canvas: Canvas, **options: Any) -> Legend:
    """Put the legend beside the axes of a figure of our own, and inside axes that are given.

    Parameters
    ----------
    canvas : Canvas
    **options
        For `Axes.legend`.

    Returns
    -------
    legend : Legend
    """
    options = {"fontsize": "small", "title_fontsize": "small", "borderaxespad": 0.3} | options
    if canvas.is_own:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "frameon": False}
        return canvas.axes.legend(**beside, **options)
    return canvas.axes.legend(**{"loc": "best", "framealpha": 0.85} | options)


def write_note(axes: Axes, statements: list[str]) -> Text:
    """State above the axes, on the left, what the picture does not show by itself.

    Parameters
    ----------
    axes : Axes
    statements : list of str
        One a line.

    Returns
    -------
    note : Text
        Empty where there is nothing to state. The title in the middle is left to the user.
    """
    return axes.set_title("\n".join(statements), loc="left", fontsize="small", color="0.3")
