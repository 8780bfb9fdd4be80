"""Component log-densities and second moments of many points, as matrix products.

Two forms of the same law, both feature-major (points along the last axis):

- `QuadraticDensity` writes log π_k N(y | m_k, C_k) as a linear function of the features
  [1, y, upper triangle of y yᵀ], so one matrix product serves all components, and its transpose
  gives all moments. It is the fastest in few dimensions, and cancels when the data spread over
  many standard deviations.
- `WhitenedDensity` subtracts each mean first and whitens by the inverse Cholesky factor. It is
  accurate for every input and the fastest in many dimensions.

`choose_density` takes the first where it is both accurate and cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from biglearn_core.linalg import cholesky, inverse_triangular, largest_eigenvalue_bound
from biglearn_core.points import Chunk, Points, n_quadratic_features

__all__ = [
    "Density",
    "Moments",
    "choose_density",
    "component_log_prob",
    "exponentiate",
    "mean_log_prob",
]

# Accepted rounding error of a quadratic log-density, in nats.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}

# From this many features per component on, writing the features out costs more than the product
# that they save (benchmarks/em_step.py).
_FEATURES_PER_COMPONENT = 30

# Smaller shares count as this: far below rounding, and far enough above the subnormal numbers,
# whose arithmetic is many times slower.
_LEAST_LOG_SHARE = {torch.float32: -60.0, torch.float64: -500.0}

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Moments:
    """Sums over points from which the M-step is computed; those of two batches add up.

    Parameters
    ----------
    counts : Tensor of shape (K,)
        Σ_n w_n r_nk.
    first : Tensor of shape (K, d)
        Σ_n w_n r_nk (y_n − o_k), about the origins o of the density.
    second : Tensor of shape (K, d, d)
        Σ_n w_n r_nk (y_n − o_k)(y_n − o_k)ᵀ.
    """

    counts: Tensor
    first: Tensor
    second: Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.counts + other.counts, self.first + other.first, self.second + other.second
        )


@dataclass(frozen=True)
class _Law:
    """What every form of the density is made of, in float64.

    Parameters
    ----------
    log_constants : Tensor of shape (K,)
        log π_k − log √det(2π C_k).
    means : Tensor of shape (K, d)
        About the centre of the points.
    factors : Tensor of shape (K, d, d)
        Lower Cholesky factors of the covariances.
    """

    log_constants: Tensor
    means: Tensor
    factors: Tensor


class QuadraticDensity:
    """All component log-densities as one linear map of the quadratic features.

    Parameters
    ----------
    coefficients : Tensor of shape (K, F)
        In the dtype of the matrix products.
    origins : Tensor of shape (d,)
        Centre of the points, about which moments are taken.
    """

    def __init__(self, coefficients: Tensor, origins: Tensor) -> None:
        self._coefficients = coefficients
        self._unpacked = _triangle(origins.shape[0], origins.device).unpacked
        self.origins = origins
        K, F = coefficients.shape
        self.bytes_per_point = (2 * K + F) * coefficients.dtype.itemsize

    @classmethod
    def of(cls, law: _Law, points: Points) -> QuadraticDensity | None:
        """Expand the quadratic forms, unless that would lose accuracy.

        Parameters
        ----------
        law : _Law
        points : Points

        Returns
        -------
        density : QuadraticDensity or None
            None where even float64 products would be off by more than a millionth of a nat.

        Notes
        -----
        The form subtracts terms of size ‖z‖² λ_max(C⁻¹) from each other and is off by about that
        size times eps. float32 data for which this exceeds a thousandth of a nat are taken through
        float64 features.
        """
        triangle = _triangle(law.means.shape[1], law.means.device)
        inverse = inverse_triangular(law.factors)
        precisions = torch.bmm(inverse.mT, inverse)
        linear = torch.bmm(precisions, law.means.unsqueeze(2)).squeeze(2)
        offsets = (linear * law.means).sum(dim=1)
        spread = largest_eigenvalue_bound(precisions).mul_(points.radius**2)
        magnitude = spread.add_(offsets).max().item()
        for dtype in (points.Z.dtype, torch.float64):
            if magnitude * torch.finfo(dtype).eps <= _TOLERANCE[dtype]:
                break
        else:
            return None
        constants = torch.sub(law.log_constants, offsets, alpha=0.5)
        quadratic = (
            precisions.flatten(1).index_select(1, triangle.packed).mul_(triangle.coefficients)
        )
        coefficients = torch.cat([constants[:, None], linear, quadratic], dim=1)
        return cls(coefficients.to(dtype), points.centre)

    def features(self, chunk: Chunk) -> Tensor:
        """Features of the chunk, shape (F, n)."""
        return chunk.quadratic(self._coefficients.dtype)

    def log_prob(self, features: Tensor) -> Tensor:
        """Log π_k N(y_n | m_k, C_k), shape (K, n)."""
        return self._coefficients @ features

    def moments(self, features: Tensor, responsibilities: Tensor) -> Moments:
        """Moments about the centre."""
        sums = responsibilities @ features.mT
        d = self.origins.shape[0]
        second = sums.index_select(1, self._unpacked).view(-1, d, d)
        return Moments(sums[:, 0], sums[:, 1 : d + 1], second)


class WhitenedDensity:
    """Component log-densities from residuals about each mean.

    Parameters
    ----------
    law : _Law
    points : Points
    """

    def __init__(self, law: _Law, points: Points) -> None:
        dtype = points.Z.dtype
        K, d = law.means.shape
        self._whitening = inverse_triangular(law.factors).to(dtype)
        self._log_constants = law.log_constants.to(dtype)[:, None]
        self._means = law.means.to(dtype)
        self.origins = self._means + points.centre
        # Twice what is held: passes over the residuals gain from a chunk that fits a smaller cache.
        self.bytes_per_point = 2 * (3 * K * d + 2 * K) * dtype.itemsize

    def features(self, chunk: Chunk) -> Tensor:
        """Residuals about each mean, shape (K, d, n)."""
        return chunk.Z - self._means[:, :, None]

    def log_prob(self, features: Tensor) -> Tensor:
        """Log π_k N(y_n | m_k, C_k), shape (K, n)."""
        whitened = self._whitening @ features
        return self._log_constants - 0.5 * whitened.square_().sum(dim=1)

    def moments(self, features: Tensor, responsibilities: Tensor) -> Moments:
        """Moments about the means."""
        weighted = responsibilities[:, None, :] * features
        return Moments(responsibilities.sum(dim=1), weighted.sum(dim=2), weighted @ features.mT)


Density = QuadraticDensity | WhitenedDensity


def choose_density(points: Points, weights: Tensor, means: Tensor, covariances: Tensor) -> Density:
    """Prepare the cheapest form that is accurate on these points.

    Parameters
    ----------
    points : Points
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, d)
        In the coordinates of the data, not centred.
    covariances : Tensor of shape (K, d, d)

    Returns
    -------
    density : QuadraticDensity or WhitenedDensity

    Raises
    ------
    ValueError
        When a covariance is not positive definite.
    """
    K, d = means.shape
    factors = cholesky(covariances)
    log_determinants = factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    log_constants = weights.double().log().sub_(log_determinants).sub_(0.5 * d * _LOG_2PI)
    law = _Law(log_constants, means.double() - points.centre, factors)
    if n_quadratic_features(d) <= _FEATURES_PER_COMPONENT * K:
        density = QuadraticDensity.of(law, points)
        if density is not None:
            return density
    return WhitenedDensity(law, points)


def component_log_prob(
    X: Tensor,
    weights: Tensor,
    means: Tensor,
    covariances: Tensor,
    *,
    chunk_size: int | None = None,
) -> Tensor:
    """Log π_k N(x_n | μ_k, Σ_k) of every point and component.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
    chunk_size : int, optional
        Points evaluated at once; picked from a memory bound when not given.

    Returns
    -------
    log_prob : Tensor of shape (K, N)
        In nats, in the dtype of `X`.
    """
    if X.shape[0] == 0:
        return X.new_empty(weights.shape[0], 0)
    points = Points.of(X, chunk_size=chunk_size)
    density = choose_density(points, weights, means, covariances)
    parts = [
        density.log_prob(density.features(chunk))
        for chunk in points.chunks(density.bytes_per_point)
    ]
    return torch.cat(parts, dim=1).to(X.dtype)


def mean_log_prob(points: Points, weights: Tensor, means: Tensor, covariances: Tensor) -> float:
    """Weighted mean of log p(y), without keeping anything per point.

    Parameters
    ----------
    points : Points
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, d)
    covariances : Tensor of shape (K, d, d)

    Returns
    -------
    mean : float
        In nats.
    """
    density = choose_density(points, weights, means, covariances)
    total = 0.0
    for chunk in points.chunks(density.bytes_per_point):
        log_prob = density.log_prob(density.features(chunk))
        total += exponentiate(log_prob, chunk.weights).log_likelihood
    return total / points.total


class Shares(NamedTuple):
    """Unnormalised responsibilities of a chunk.

    Parameters
    ----------
    shares : Tensor of shape (K, n)
        Densities of the components relative to the largest.
    scale : Tensor of shape (n,)
        Factor that makes the shares of a point sum to its weight.
    log_likelihood : float
        Σ_n w_n log p(y_n), in nats.
    """

    shares: Tensor
    scale: Tensor
    log_likelihood: float


def exponentiate(log_prob: Tensor, weights: Tensor | None) -> Shares:
    """Turn component log-densities into shares, in place.

    Parameters
    ----------
    log_prob : Tensor of shape (K, n)
        Overwritten.
    weights : Tensor of shape (n,), optional

    Returns
    -------
    shares : Shares
    """
    largest = log_prob.amax(dim=0)
    shares = log_prob.sub_(largest).clamp_min_(_LEAST_LOG_SHARE[log_prob.dtype]).exp_()
    scale = shares.sum(dim=0)
    point_log_prob = scale.log().add_(largest)
    scale.reciprocal_()
    if weights is not None:
        weights = weights.to(scale.dtype)
        scale *= weights
        point_log_prob *= weights
    return Shares(shares, scale, point_log_prob.sum(dtype=torch.float64).item())


@dataclass(frozen=True)
class _Triangle:
    """Where the upper triangle of a d×d matrix stands among the features."""

    packed: Tensor  # position in the flattened matrix of every triangle entry
    unpacked: Tensor  # feature that holds every entry of the flattened matrix
    coefficients: Tensor  # −1/2 on the diagonal, −1 off it, where an entry stands for two


@lru_cache(maxsize=64)
def _triangle(d: int, device: torch.device) -> _Triangle:
    rows, columns = torch.triu_indices(d, d)
    unpacked = torch.empty(d, d, dtype=torch.long)
    unpacked[rows, columns] = unpacked[columns, rows] = 1 + d + torch.arange(len(rows))
    coefficients = torch.where(rows == columns, -0.5, -1.0).double()
    tensors = (rows * d + columns, unpacked.flatten(), coefficients)
    return _Triangle(*(tensor.to(device) for tensor in tensors))
