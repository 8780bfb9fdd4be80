"""The common orientation of several covariances, by rotations of two coordinates at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["common_orientation"]


def common_orientation(scatters: Tensor, precisions: Tensor) -> Tensor:
    """Turn coordinates so that given variances along them suit all scatter matrices best.

    Parameters
    ----------
    scatters : Tensor of shape (B, K, D, D)
    precisions : Tensor of shape (B, K, D)
        Inverse variances along the coordinates, times the weights of the components.

    Returns
    -------
    rotation : Tensor of shape (B, D, D)
        R, for which Σ_k Σ_i p_ki (Rᵀ S_k R)_ii is no larger than for the identity.

    Notes
    -----
    Turning the coordinates i and j by an angle θ changes the sum by P cos 2θ + Q sin 2θ with
    P = ½ Σ_k (p_ki − p_kj)(S_ii − S_jj) and Q = Σ_k (p_ki − p_kj) S_ij, so that the best angle is
    known (B. Flury and W. Gautschi, "An algorithm for simultaneous orthogonal transformation of
    several positive definite symmetric matrices to nearly diagonal form", SIAM Journal on
    Scientific and Statistical Computing 7(1), 1986, minimise another criterion in the same way).
    Pairs without a coordinate in common are turned at once, every pair once. O(K D⁴), in NumPy,
    whose calls on small arrays cost a quarter of torch's.
    """
    S, p = scatters.cpu().numpy(), precisions.cpu().numpy()
    B, _, _, D = S.shape
    identity = np.broadcast_to(np.eye(D, dtype=S.dtype), (B, D, D))
    rotation = identity
    for i, j in _rounds(D):
        gap = p[..., i] - p[..., j]
        variances = np.diagonal(S, axis1=2, axis2=3)
        P = 0.5 * (gap * (variances[..., i] - variances[..., j])).sum(axis=1)
        Q = (gap * S[..., i, j]).sum(axis=1)
        # The least of P cos 2θ + Q sin 2θ; the identity where it does not matter.
        angle = np.where((P != 0) | (Q != 0), 0.5 * np.arctan2(-Q, -P), 0.0)
        turn = identity.copy()
        turn[:, i, i] = turn[:, j, j] = np.cos(angle)
        turn[:, j, i] = np.sin(angle)
        turn[:, i, j] = -turn[:, j, i]
        S = turn.transpose(0, 2, 1)[:, None] @ S @ turn[:, None]
        rotation = rotation @ turn
    return torch.tensor(rotation, dtype=scatters.dtype, device=scatters.device)


@lru_cache(maxsize=64)
def _rounds(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All pairs of n coordinates, in rounds in which no coordinate stands twice."""
    circle = list(range(n)) + [-1] * (n % 2)
    rounds = []
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        pairs = zip(circle[:half], reversed(circle[half:]), strict=True)
        known = [pair for pair in pairs if -1 not in pair]
        if known:
            first, second = np.array(known).T
            rounds.append((first, second))
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return rounds
