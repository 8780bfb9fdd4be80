"""The density of a mixture over a feature or a plane, where it has something to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from biglearn_core.gmm import GMM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

__all__ = ["SHARES", "draw_regions", "grid_along", "levels_holding", "log_density_on"]

# Of the mass, that the regions of a picture hold; and their colours, of one hue.
SHARES = (0.99, 0.9, 0.75, 0.5, 0.25)
_COLOURS = ("#EAF1F8", "#C9DDEE", "#9DC3E0", "#64A0CB", "#2F78AF")

_N_EVEN = 201

# Components of a deviation of less than a step of the even grid get points of their own, so many
# each and in all.
_MOST_ABOUT_A_MEAN, _LEAST_ABOUT_A_MEAN, _MOST_ABOUT_MEANS = 33, 7, 400

# Draws from which the levels are read.
_N_DRAWS = 20_000


def grid_along(mixture: GMM, feature: int, low: float, high: float) -> np.ndarray:
    """Choose where to evaluate a density: evenly, and closely about narrow components.

    Parameters
    ----------
    mixture : GMM
    feature : int
    low, high : float

    Returns
    -------
    grid : float64 ndarray of shape (n,)
        Increasing, from `low` to `high`.
    """
    even = np.linspace(low, high, _N_EVEN)
    means = mixture.means[:, feature].double().numpy()
    deviations = mixture.covariances[:, feature, feature].double().sqrt().numpy()
    narrow = deviations < (high - low) / _N_EVEN
    each = _MOST_ABOUT_MEANS // max(1, int(narrow.sum()))
    each = int(np.clip(each, _LEAST_ABOUT_A_MEAN, _MOST_ABOUT_A_MEAN))
    # Eight deviations out, where nothing is left of a Gaussian, and denser at its mean.
    offsets = np.linspace(-1, 1, each)
    about = means[narrow, None] + deviations[narrow, None] * (4 * offsets + 4 * offsets**3)
    return np.unique(np.concatenate([even, about[(about > low) & (about < high)]]))


def log_density_on(mixture: GMM, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Evaluate a density on a grid of the plane.

    Parameters
    ----------
    mixture : GMM
        Over two coordinates.
    x : ndarray of shape (n,)
    y : ndarray of shape (m,)

    Returns
    -------
    log_density : ndarray of shape (m, n)
        In nats.
    """
    axes = (torch.as_tensor(values, dtype=mixture.dtype) for values in (x, y))
    log_density = mixture.log_prob(torch.cartesian_prod(*axes))
    return log_density.reshape(len(x), len(y)).T.numpy()


def levels_holding(mixture: GMM, shares: tuple[float, ...]) -> np.ndarray:
    """Find the densities above which given shares of the mass lie.

    Parameters
    ----------
    mixture : GMM
    shares : tuple of float
        Between 0 and 1.

    Returns
    -------
    levels : float64 ndarray of shape (len(shares),)
        Log densities, in nats: quantiles at draws from the mixture, the same every time (R.
        Hyndman, "Computing and graphing highest density regions", American Statistician 50, 1996).
    """
    draws, _ = mixture.sample(_N_DRAWS, torch.Generator().manual_seed(0))
    return np.quantile(mixture.log_prob(draws).double().numpy(), 1 - np.array(shares))


def draw_regions(axes: Axes, mixture: GMM) -> QuadContourSet:
    """Fill the regions of highest density that hold given shares of the mass.

    Parameters
    ----------
    axes : Axes
        With the limits that it is to keep.
    mixture : GMM
        Over two coordinates.

    Returns
    -------
    regions : QuadContourSet
        Of the log density; its levels are those of `SHARES`, and one above all.
    """
    x = grid_along(mixture, 0, *axes.get_xlim())
    y = grid_along(mixture, 1, *axes.get_ylim())
    log_density = log_density_on(mixture, x, y)
    levels = levels_holding(mixture, SHARES)
    top = max(log_density.max(), levels[-1]) + 1
    return axes.contourf(
        x, y, log_density, levels=[*levels, top], colors=list(_COLOURS), zorder=0.5
    )
