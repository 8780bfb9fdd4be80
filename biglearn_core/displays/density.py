"""The density of a mixture over a feature or a plane, where it has something to show."""

from __future__ import annotations

import numpy as np
import torch

from biglearn_core.gmm import GMM

__all__ = ["grid_along", "levels_holding", "log_density_on"]

_N_EVEN = 201

# Where the grid gets further points for a component that falls between even ones, in its standard
# deviations about its mean.
_ABOUT_A_MEAN = np.linspace(-3.5, 3.5, 29)

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
    narrow = deviations < 3 * (high - low) / _N_EVEN
    about = means[narrow, None] + deviations[narrow, None] * _ABOUT_A_MEAN
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
