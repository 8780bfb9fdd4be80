"""Which modes of a mixture a sample visits, how often, and how closely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import cholesky

__all__ = ["ModeScores", "score_modes"]

_RADIUS = 3.0
_LEAST_SHARE = 0.2


@dataclass(frozen=True)
class ModeScores:
    """Modes of a true mixture in a sample; a draw belongs to the nearest by Mahalanobis distance.

    Parameters
    ----------
    modes : int
        Components with at least a fifth of their due share of draws within three standard
        deviations.
    within : float
        Share of draws within three standard deviations of a mode; 0.989 for the truth in two
        dimensions.
    weight_kl : float
        Kullback-Leibler divergence from the shares of draws to the true weights, in nats.
    """

    modes: int
    within: float
    weight_kl: float


def score_modes(truth: GMM, X: Tensor) -> ModeScores:
    """Compare a sample with the modes of the true law.

    Parameters
    ----------
    truth : GMM
        float64.
    X : float64 Tensor of shape (N, D)

    Returns
    -------
    scores : ModeScores
    """
    gaps = (X - truth.means[:, None]).mT
    whitened = torch.linalg.solve_triangular(cholesky(truth.covariances), gaps, upper=False)
    distance, nearest = whitened.norm(dim=1).min(dim=0)
    close = distance <= _RADIUS
    K, weights = truth.n_components, truth.weights.numpy()
    found = torch.bincount(nearest[close], minlength=K).numpy() / len(X)
    shares = torch.bincount(nearest, minlength=K).numpy() / len(X)
    visited = shares > 0
    log_ratio = np.log(shares[visited] / weights[visited])
    return ModeScores(
        modes=int((found >= _LEAST_SHARE * weights).sum()),
        within=close.double().mean().item(),
        weight_kl=float((shares[visited] * log_ratio).sum()),
    )
