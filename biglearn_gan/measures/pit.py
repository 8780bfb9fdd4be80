"""The probability integral transform: draws of a true law, put into its own CDF, are uniform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import cholesky

__all__ = ["conditional_cdf", "distance_from_uniform"]


def conditional_cdf(truth: GMM, X: Tensor, given: Sequence[int], target: int) -> np.ndarray:
    """Put a coordinate of every row into its true CDF given others of that row.

    Parameters
    ----------
    truth : GMM
        float64.
    X : float64 Tensor of shape (N, D)
    given : sequence of int
        S; may be empty.
    target : int
        t, not in S.

    Returns
    -------
    u : float64 ndarray of shape (N,)
        F(x_t | x_S).
    """
    S = torch.tensor(given, dtype=torch.int64)
    mean = truth.means[:, target].expand(len(X), -1)
    variance = truth.covariances[:, target, target]
    weights = truth.weights.expand(len(X), -1)
    if given:
        cross = truth.covariances[:, S, target]
        factors = cholesky(truth.covariances[:, S[:, None], S])
        gain = torch.cholesky_solve(cross[:, :, None], factors).squeeze(2)
        mean = mean + ((X[:, None, S] - truth.means[:, S]) * gain).sum(2)
        variance = variance - (gain * cross).sum(1)
        weights = truth.marginal(S).responsibilities(X[:, S])
    z = (X[:, target, None] - mean) / variance.sqrt()
    return (weights.numpy() * ndtr(z.numpy())).sum(1)


def distance_from_uniform(u: np.ndarray) -> float:
    """Give the Kolmogorov-Smirnov distance of a sample from the uniform law on [0, 1].

    Parameters
    ----------
    u : ndarray of shape (N,)

    Returns
    -------
    distance : float
        Largest gap between the empirical CDF and the identity.
    """
    steps = np.arange(len(u) + 1) / len(u)
    u = np.sort(u)
    return float(max((steps[1:] - u).max(), (u - steps[:-1]).max()))
