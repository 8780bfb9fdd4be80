"""The common orientation of several covariances, by rotations of two coordinates at a time."""

from __future__ import annotations

from functools import lru_cache

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
    Pairs without a coordinate in common are turned at once, every pair once. O(K D⁴).
    """
    B, _, _, D = scatters.shape
    rotation = torch.eye(D, dtype=scatters.dtype, device=scatters.device).repeat(B, 1, 1)
    for first, second in _rounds(D):
        i, j = first.to(scatters.device), second.to(scatters.device)
        gap = precisions[..., i] - precisions[..., j]
        diagonal = scatters.diagonal(dim1=2, dim2=3)
        P = 0.5 * (gap * (diagonal[..., i] - diagonal[..., j])).sum(dim=1)
        Q = (gap * scatters[..., i, j]).sum(dim=1)
        # The least of P cos 2θ + Q sin 2θ; the identity where it does not matter.
        angle = torch.where((P != 0) | (Q != 0), 0.5 * torch.atan2(-Q, -P), 0.0)
        turn = torch.zeros_like(rotation)
        turn.diagonal(dim1=1, dim2=2).fill_(1)
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, j, i] = angle.sin()
        turn[:, i, j] = -angle.sin()
        scatters = turn.mT[:, None] @ scatters @ turn[:, None]
        rotation = rotation @ turn
    return rotation


@lru_cache(maxsize=64)
def _rounds(n: int) -> list[tuple[Tensor, Tensor]]:
    """All pairs of n coordinates, in rounds in which no coordinate stands twice."""
    circle = list(range(n)) + [-1] * (n % 2)
    rounds = []
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        pairs = zip(circle[:half], reversed(circle[half:]), strict=True)
        known = [pair for pair in pairs if -1 not in pair]
        if known:
            rounds.append(tuple(torch.tensor(side) for side in zip(*known, strict=True)))
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return rounds
