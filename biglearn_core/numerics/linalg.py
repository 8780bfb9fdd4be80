"""Symmetric matrices in batches: the eigenvalue floor, Cholesky factors, random rotations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from biglearn_core.numerics.kernels import contiguous, kernels
from biglearn_core.numerics.lapack import eigenpairs_in
from biglearn_core.numerics.threads import each, one_thread_a_call

__all__ = [
    "block_of",
    "cholesky",
    "eigenpairs_above",
    "floor_eigenvalues",
    "haar_orthogonal",
    "has_eigenvalue_below",
    "inverse_triangular",
    "largest_eigenvalue_bound",
    "require_finite",
    "resolved_floors",
    "symmetrize",
    "with_block",
]


# Least eigenvalue that rounding spares, in units of eps, √D and the largest entry (not the largest
# variance: where all digits cancel, an entry outside the diagonal may be the larger).
_ROUNDING = 8

# Numbers in a batch of matrices from which on each matrix is worth a thread.
_LARGE = 1_000_000


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


def block_of(matrices: Tensor, index: Tensor) -> Tensor:
    """Rows and columns of a batch of square matrices.

    Parameters
    ----------
    matrices : Tensor of shape (K, D, D)
    index : int64 Tensor of shape (d,)

    Returns
    -------
    blocks : Tensor of shape (K, d, d)
    """
    flat = matrices.flatten(1).index_select(1, _flat_block(index, matrices.shape[-1]))
    return flat.unflatten(1, (len(index), -1))


def with_block(matrices: Tensor, index: Tensor, blocks: Tensor) -> Tensor:
    """Copy a batch of square matrices with other values in some rows and columns.

    Parameters
    ----------
    matrices : Tensor of shape (K, D, D)
    index : int64 Tensor of shape (d,)
    blocks : Tensor of shape (K, d, d)

    Returns
    -------
    matrices : Tensor of shape (K, D, D)
    """
    positions = _flat_block(index, matrices.shape[-1])
    return matrices.flatten(1).index_copy(1, positions, blocks.flatten(1)).view_as(matrices)


def _flat_block(index: Tensor, D: int) -> Tensor:
    """Positions of the block index × index in a flattened matrix."""
    return torch.add(index, index.unsqueeze(1), alpha=D).view(-1)


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
        least = _eigh(covariances[failed].double())[0].min().item()
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
    identity = _identity(factors.shape[-1], factors.dtype, factors.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False)


def largest_eigenvalue_bound(matrices: Tensor) -> Tensor:
    """Bound the largest eigenvalues of positive semidefinite matrices from above.

    Parameters
    ----------
    matrices : Tensor of shape (K, D, D)
        Not zero.

    Returns
    -------
    bounds : Tensor of shape (K,)
        The trace of small matrices. Of larger ones ‖M⁴‖_F^(1/4), which exceeds λ_max by at most a
        factor D^(1/8) and takes two matrix products where the eigenvalues take a decomposition.
    """
    if matrices.shape[-1] <= 4:
        return matrices.diagonal(dim1=1, dim2=2).sum(dim=1)
    scale = matrices.flatten(1).norm(dim=1)
    power = matrices / scale[:, None, None]
    for _ in range(2):
        power = torch.bmm(power, power)
    return power.flatten(1).norm(dim=1).pow_(0.25).mul_(scale)


def resolved_floors(covariances: Tensor, floor: float) -> Tensor:
    """Raise a floor to what rounding spares beside the largest eigenvalue of each matrix.

    With less a component that holds rows far out would not be positive definite.

    Parameters
    ----------
    covariances : Tensor of shape (K, D, D)
    floor : float

    Returns
    -------
    floors : Tensor of shape (K,)
        `floor` itself where the spread of a component is ordinary.
    """
    largest = covariances.abs().amax(dim=(1, 2))
    return largest.mul_(_rounding(covariances)).clamp_min_(floor)


def _rounding(matrices: Tensor) -> float:
    return _ROUNDING * torch.finfo(matrices.dtype).eps * matrices.shape[-1] ** 0.5


def floor_eigenvalues(covariances: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Raise every eigenvalue below `floor` to it: V max(Λ, ε) Vᵀ of the symmetric part.

    The floor of a matrix is that of `resolved_floors`. Only matrices for which Σ − εI has no
    Cholesky factor are decomposed: the others are unchanged by the floor.

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
    below : bool Tensor of shape (K,)
        Which matrices had an eigenvalue at or below the floor.
    """
    if (loops := kernels(covariances)) is None:
        covariances = symmetrize(covariances)
        floors = resolved_floors(covariances, floor)
        failed = has_eigenvalue_below(covariances, floors[:, None, None])
    else:
        matrices, flags = contiguous(covariances), np.empty(len(covariances), bool)
        symmetric = np.empty(matrices.shape, matrices.dtype)
        loops.below_floor(matrices, float(floor), _rounding(covariances), symmetric, flags)
        covariances, failed = torch.from_numpy(symmetric), torch.from_numpy(flags)
    below = failed.nonzero().squeeze(1)
    if len(below):
        values, vectors = _eigh(covariances[below])
        values = values.maximum(resolved_floors(covariances[below], floor)[:, None])
        lifted = torch.bmm(vectors * values[:, None, :], vectors.mT)
        covariances[below] = symmetrize(lifted)
    return covariances, failed


def has_eigenvalue_below(matrices: Tensor, threshold: float | Tensor) -> Tensor:
    """Whether M − tI has no Cholesky factor: an eigenvalue of M is at or below t.

    Parameters
    ----------
    matrices : Tensor of shape (K, D, D)
        Symmetric; the lower triangle is read.
    threshold : float or Tensor of shape (K, 1, 1)
        t.

    Returns
    -------
    below : bool Tensor of shape (K,)
    """
    shifted = matrices - threshold * _identity(matrices.shape[-1], matrices.dtype, matrices.device)
    if shifted.numel() < _LARGE:
        return torch.linalg.cholesky_ex(shifted).info != 0
    return torch.stack(each(lambda matrix: torch.linalg.cholesky_ex(matrix).info != 0, shifted))


@lru_cache(maxsize=64)
def _identity(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # for whatever mode it is used in later
        return torch.eye(n, dtype=dtype, device=device)


def eigenpairs_above(matrix: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues above a threshold, and their eigenvectors.

    Parameters
    ----------
    matrix : Tensor of shape (D, D)
        Symmetric.
    threshold : float

    Returns
    -------
    values : Tensor of shape (r,)
        Increasing.
    vectors : Tensor of shape (r, D)
        Orthonormal rows.
    """
    if matrix.device.type == "cpu":
        try:
            return _cpu_eigenpairs_above(matrix, threshold)
        except scipy.linalg.LinAlgError:
            pass  # no convergence: the full decomposition below has other means
    values, vectors = _eigh(matrix)
    above = values > threshold
    return values[above], vectors[:, above].T


def _cpu_eigenpairs_above(matrix: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """As `eigenpairs_above`, by bisection and inverse iteration.

    It is twice as fast as a full decomposition, fastest on one thread, and copes with hundreds of
    equal eigenvalues, on which the other drivers have been seen to fail in float32.
    """
    with one_thread_a_call():
        values, vectors = eigenpairs_in(matrix.numpy(), threshold)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Full decomposition; in float64 where float32 does not converge.

    In float32 the library under torch can also report success and return NaN, seen on matrices with
    hundreds of eigenvalues near zero.
    """
    try:
        values, vectors = torch.linalg.eigh(matrices)
        if values.isfinite().all():
            return values, vectors
    except torch.linalg.LinAlgError:
        pass
    require_finite(matrices)
    values, vectors = torch.linalg.eigh(matrices.double())
    return values.to(matrices.dtype), vectors.to(matrices.dtype)


def require_finite(covariances: Tensor) -> None:
    """Refuse covariances that have left their dtype.

    Parameters
    ----------
    covariances : Tensor

    Raises
    ------
    ValueError
    """
    if not covariances.isfinite().all():
        raise ValueError(
            "a covariance is not finite: the data spread too far for their dtype; scale them or "
            "fit in float64"
        )


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
