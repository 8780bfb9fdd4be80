"""Figures of the experiments: the colours of the methods, and how figures are made and shown."""

from __future__ import annotations

import io
import os
from types import MappingProxyType

import PIL.Image
from matplotlib.figure import Figure

from biglearn_core.displays.style import COLOURS
from biglearn_core.system.persistence import write_atomically

__all__ = ["METHOD_COLOURS", "new_figure", "show"]

METHOD_COLOURS = MappingProxyType({"Joint-EM": COLOURS[1], "BigLearn-EM": COLOURS[0]})


def new_figure(n_rows: int = 1, n_columns: int = 1, *, width: float, height: float, **options):
    """Make a figure that no global state keeps alive.

    Parameters
    ----------
    n_rows, n_columns : int
        Panels.
    width, height : float
        Of one panel, in inches.
    **options
        For `Figure.subplots`.

    Returns
    -------
    figure : Figure
    axes : ndarray of Axes of shape (n_rows, n_columns)
    """
    figure = Figure(figsize=(width * n_columns, height * n_rows), layout="constrained", dpi=100)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


def show(figure: Figure, path: str | os.PathLike) -> None:
    """Save a figure as PNG and display it in the notebook.

    Parameters
    ----------
    figure : Figure
    path : path-like

    Notes
    -----
    The picture keeps 128 colours, a third of the bytes: executed notebooks are committed.
    """
    from IPython.display import Image, display

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with write_atomically(path) as file:
        PIL.Image.open(drawn).convert("RGB").quantize(128).save(file, format="PNG", optimize=True)
    display(Image(filename=path))
