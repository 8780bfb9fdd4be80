"""Mixtures in the plane around the origin: data, density contours, weights."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from biglearn_core.displays.density import log_density_on
from biglearn_core.displays.style import COLOURS, GREY
from biglearn_core.gmm import GMM

__all__ = ["draw_contours", "draw_points", "draw_weights"]


def draw_points(axes: Axes, X: Tensor, *, label: str | None = None) -> Axes:
    """Scatter points of the plane, small and grey.

    Parameters
    ----------
    axes : Axes
    X : Tensor of shape (N, 2)
    label : str, optional

    Returns
    -------
    axes : Axes
    """
    axes.scatter(*X.T.cpu().numpy(), s=3, color=GREY, alpha=0.35, linewidths=0, label=label)
    axes.set_aspect("equal")
    return axes


def draw_contours(
    axes: Axes, model: GMM, *, colour: str, half_width: float, linestyle: str = "-"
) -> Axes:
    """Draw lines of equal density at fixed log-levels below the peak.

    Parameters
    ----------
    axes : Axes
    model : GMM
        Over two coordinates.
    colour : str
    half_width : float
        The density is drawn on [−half_width, half_width]².
    linestyle : str, default "-"

    Returns
    -------
    axes : Axes
    """
    grid = np.linspace(-half_width, half_width, 181)
    log_prob = log_density_on(model, grid, grid)
    levels = log_prob.max() + np.array([-4.5, -2.0, -0.5])
    axes.contour(
        grid, grid, log_prob, levels=levels, colors=colour, linewidths=0.9, linestyles=linestyle
    )
    return axes


def draw_weights(axes: Axes, model: GMM, *, half_width: float) -> Axes:
    """Write every weight, in hundredths, at the mean of its component.

    Parameters
    ----------
    axes : Axes
    model : GMM
        Over two coordinates.
    half_width : float
        Means outside [−half_width, half_width]² are left out.

    Returns
    -------
    axes : Axes
    """
    for weight, mean in zip(model.weights.tolist(), model.means.tolist(), strict=True):
        if max(map(abs, mean)) < half_width:
            axes.text(
                *mean, f"{100 * weight:.1f}", ha="center", va="center", fontsize=6, color=COLOURS[6]
            )
    return axes
