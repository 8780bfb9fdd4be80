"""Measures by nearest neighbours: precision and recall, the two-sample test, copies."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_distances", "precision_and_recall", "two_sample_accuracy"]

_CHUNK = 500


def precision_and_recall(real: Tensor, generated: Tensor, *, k: int = 5) -> tuple[float, float]:
    """Measure how much of either sample lies in the support of the other.

    Parameters
    ----------
    real, generated : Tensor of shape (N, D)
        Features, of one size.
    k : int, default 5
        The support of a sample is the union of the balls about its points that reach to the k-th
        nearest other point of it.

    Returns
    -------
    precision : float
        Share of what was generated in the support of the real.
    recall : float
        Share of the real in the support of what was generated.

    References
    ----------
    T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen and T. Aila, "Improved precision and recall
    metric for assessing generative models", NeurIPS 2019.
    """
    _check_sizes(real, generated, least=k + 1)
    return _share_in_support(generated, real, k), _share_in_support(real, generated, k)


def two_sample_accuracy(A: Tensor, B: Tensor) -> float:
    """Tell two samples apart by the nearest neighbour, leaving out the point itself.

    Parameters
    ----------
    A, B : Tensor of shape (N, D)
        Of one size.

    Returns
    -------
    accuracy : float
        One half where both are of one law, on average; one where each keeps to itself
        (Lopez-Paz and Oquab, 2017).
    """
    _check_sizes(A, B, least=2)
    pooled = torch.cat([A, B]).double()
    distances = torch.cdist(pooled, pooled).fill_diagonal_(torch.inf)
    of_b = torch.arange(len(pooled), device=A.device) >= len(A)
    return (of_b[distances.argmin(1)] == of_b).double().mean().item()


def nearest_distances(X: Tensor, among: Tensor) -> Tensor:
    """Give the distance of every row from the nearest of others.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    among : Tensor of shape (M, D)

    Returns
    -------
    distances : float64 Tensor of shape (N,)
        Euclidean; zero to the last bit for a copy.
    """
    nearest = torch.cat([torch.cdist(part, among).argmin(1) for part in X.split(_CHUNK)])
    # From the difference itself: products of large numbers would hide a copy in their rounding.
    return (X.double() - among[nearest].double()).norm(dim=1)


def _share_in_support(X: Tensor, sample: Tensor, k: int) -> float:
    sample = sample.double()
    # The nearest of all is the point itself.
    radii = torch.cdist(sample, sample).kthvalue(k + 1, dim=1).values
    return (torch.cdist(X.double(), sample) <= radii).any(1).double().mean().item()


def _check_sizes(A: Tensor, B: Tensor, *, least: int) -> None:
    if A.shape != B.shape or len(A) < least:
        raise ValueError(
            f"both samples must be of one shape, of at least {least} rows, got {tuple(A.shape)} "
            f"and {tuple(B.shape)}"
        )
