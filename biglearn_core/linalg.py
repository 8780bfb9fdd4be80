"""Symmetric matrices in batches: the eigenvalue floor, Cholesky factors, random rotations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["cholesky", "floor_eigenvalues", "haar_orthogonal", "inverse_triangular", "symmetrize"]


def symmetrize(matrices: Tensor) -> Tensor:
    """Symmetric part of a batch of square matrices.

    Parameters
    ----------
    matrices : Tensor of shape (..., D, D)

    Returns
    -------
    symmetric : Tensor of shape (..., D, D)
    """
    return (matrices + matrices.mT).mul_(0.5)


def cholesky(covariances: Tensor) -> Tensor:
    """Lower Cholesky factors, always in float64.

    Factoring costs little beside an E-step, and in float64 it succeeds on every covariance whose
    eigenvalues survived rounding to float32.

    Parameters
    ----------
    covariances : Tensor of shape (K, D, D)

    Returns
    -------
    factors : float64 Tensor of shape (K, D, D)

    Raises
    ------
    ValueError
        When a covariance is not positive definite; names the components and the remedy.
    """
    factors, info = torch.linalg.cholesky_ex(covariances.double())
    if torch.count_nonzero(info).item():
        failed = info.nonzero().squeeze(1).tolist()
        least = torch.linalg.eigvalsh(covariances[failed].double()).min().item()
        raise ValueError(
            f"the covariances of components {failed} are not positive definite (least eigenvalue "
            f"{least:g}): use fewer components, raise covariance_floor, or fit in float64"
        )
    return factors


def inverse_triangular(factors: Tensor) -> Tensor:
    """Inverses of lower triangular matrices.

    Parameters
    ----------
    factors : Tensor of shape (K, D, D)

    Returns
    -------
    inverses : Tensor of shape (K, D, D)
        Lower triangular.
    """
    identity = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False)


def floor_eigenvalues(covariances: Tensor, floor: float) -> tuple[Tensor, int]:
    """Raise every eigenvalue below `floor` to it: V max(Λ, ε) Vᵀ of the symmetric part.

    Only matrices for which Σ − εI has no Cholesky factor are decomposed: the others are unchanged
    by the floor.

    Parameters
    ----------
    covariances : Tensor of shape (K, D, D)
        May be indefinite, as after an update of one block.
    floor : float
        ε ≥ 0.

    Returns
    -------
    floored : Tensor of shape (K, D, D)
        Exactly symmetric.
    n_floored : int
        Number of matrices that had an eigenvalue at or below the floor.
    """
    covariances = symmetrize(covariances)
    shift = floor * torch.eye(
        covariances.shape[-1], dtype=covariances.dtype, device=covariances.device
    )
    info = torch.linalg.cholesky_ex(covariances - shift).info
    n_floored = torch.count_nonzero(info).item()
    if n_floored:
        below = info.nonzero().squeeze(1)
        values, vectors = torch.linalg.eigh(covariances[below])
        lifted = torch.bmm(vectors * values.clamp_min_(floor)[:, None, :], vectors.mT)
        covariances[below] = symmetrize(lifted)
    return covariances, n_floored


def haar_orthogonal(n: int, rng: np.random.Generator, *, rotation: bool = False) -> np.ndarray:
    """Draw a Haar-distributed orthogonal matrix.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator
    rotation : bool, default False
        Draw from SO(n), the matrices of determinant one, instead of O(n).

    Returns
    -------
    A : float64 ndarray of shape (n, n)

    References
    ----------
    F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of
    the AMS 54(5), 2007: the Q of a Gaussian matrix is Haar-distributed once the signs of R's
    diagonal are moved into it.
    """
    Q, R = np.linalg.qr(rng.standard_normal((n, n)))
    A = Q * np.where(np.diagonal(R) < 0, -1.0, 1.0)
    if rotation and np.linalg.det(A) < 0:
        A[0] *= -1
    return A
