"""Component log-densities and second moments of many points, as matrix products.

Two forms of the same law, both feature-major (points along the last axis):

- `QuadraticDensity` writes log π_k N(y | m_k, C_k) as a linear function of the features
  [1, y, upper triangle of y yᵀ], so one matrix product serves all components, and its transpose
  gives all moments. It is the fastest in few dimensions, and cancels when the data spread over
  many standard deviations.
- `WhitenedDensity` subtracts each mean first and whitens by the inverse Cholesky factor. It is
  accurate for every input and the fastest in many dimensions.

`forms.py` chooses among them, the low-rank form of `lowrank.py` and that of diagonal covariances of
`diagonal.py`; what all of them offer to a fit is `Density`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.kernels import contiguous, kernels
from biglearn_core.numerics.linalg import cholesky, inverse_triangular, largest_eigenvalue_bound
from biglearn_core.numerics.points import (
    Chunk,
    FitPoints,
    Points,
    Sums,
    n_quadratic_features,
)
from biglearn_core.numerics.products import expected_features, exponential_, product, sums
from biglearn_core.numerics.threads import each, one_thread_an_operation

__all__ = [
    "LEAST_PROPORTION",
    "LOG_2PI",
    "TOLERANCE",
    "Density",
    "Form",
    "Law",
    "LinearDensity",
    "Moments",
    "QuadraticDensity",
    "WhitenedDensity",
    "expanded_reaches",
    "exponentiate",
    "reach",
]

# Least share of the data by which an M-step divides (the reference's behaviour): a component with
# less counts as empty.
LEAST_PROPORTION = 1e-5

# Accepted rounding error of an expanded quadratic form, in nats.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}

# Smaller shares count as this: far below rounding, and far enough above the subnormal numbers,
# whose arithmetic is many times slower.
_LEAST_LOG_SHARE = {torch.float32: -60.0, torch.float64: -500.0}

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Moments:
    """Sums over points from which the M-step is computed; those of two batches add up.

    Parameters
    ----------
    counts : Tensor of shape (K,)
        Σ_n w_n r_nk.
    first : Tensor of shape (K, d)
        Σ_n w_n r_nk (y_n − o_k), about the origins o of the density.
    second : Tensor of shape (K, d, d) or (K, d)
        Σ_n w_n r_nk (y_n − o_k)(y_n − o_k)ᵀ, or its diagonal alone where covariances are diagonal.
    """

    counts: Tensor
    first: Tensor
    second: Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.counts + other.counts, self.first + other.first, self.second + other.second
        )


@dataclass(frozen=True)
class Law:
    """What every form of the density is made of, in float64.

    Parameters
    ----------
    log_constants : Tensor of shape (K,)
        log π_k − log √det(2π C_k).
    means : Tensor of shape (K, d)
        About `centre`.
    factors : Tensor of shape (K, d, d)
        Lower Cholesky factors of the covariances.
    centre : Tensor of shape (d,)
        Origin of the points, in their dtype.
    """

    log_constants: Tensor
    means: Tensor
    factors: Tensor
    centre: Tensor

    @classmethod
    def of(cls, weights: Tensor, means: Tensor, covariances: Tensor, centre: Tensor) -> Law:
        """Factor the covariances.

        Parameters
        ----------
        weights : Tensor of shape (K,)
        means : Tensor of shape (K, d)
            In the coordinates of the data, not centred.
        covariances : Tensor of shape (K, d, d)
        centre : Tensor of shape (d,)

        Returns
        -------
        law : Law

        Raises
        ------
        ValueError
            When a covariance is not positive definite.
        """
        d = means.shape[1]
        factors = cholesky(covariances)
        log_determinants = factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        log_constants = weights.double().log().sub_(log_determinants).sub_(0.5 * d * LOG_2PI)
        return cls(log_constants, means.double() - centre, factors, centre)

    def about(self, centre: Tensor) -> Law:
        """Give the same law for points about another centre.

        Parameters
        ----------
        centre : Tensor of shape (d,)
            Digits are lost where this law's own is not zero.

        Returns
        -------
        law : Law
        """
        means = self.means - (centre - self.centre)
        return Law(self.log_constants, means, self.factors, centre)

    @cached_property
    def whitening(self) -> Tensor:
        """Inverse Cholesky factors, shape (K, d, d)."""
        return inverse_triangular(self.factors)

    @cached_property
    def precisions(self) -> Tensor:
        """Inverse covariances, shape (K, d, d)."""
        return torch.bmm(self.whitening.mT, self.whitening)

    @cached_property
    def linear(self) -> Tensor:
        """Precisions times means, shape (K, d)."""
        return torch.bmm(self.precisions, self.means.unsqueeze(2)).squeeze(2)

    @cached_property
    def offsets(self) -> Tensor:
        """Quadratic forms of the means, shape (K,)."""
        return (self.linear * self.means).sum(dim=1)


class Density(ABC):
    """What a fit asks of the law of its points, in whatever form it is computed.

    Attributes
    ----------
    n_components : int
        K.
    origins : Tensor of shape (d,) or (K, d)
        About which the moments are taken, in the coordinates of the data.
    bytes_per_point : int
        Working memory that a point takes.
    """

    n_components: int
    origins: Tensor
    bytes_per_point: int

    @abstractmethod
    def features(self, chunk: Chunk) -> Any:
        """Compute what log-densities and moments of a chunk need."""

    @abstractmethod
    def log_prob(self, features: Any) -> Tensor:
        """Log π_k N(y_n | m_k, C_k), shape (K, n), in nats."""

    @abstractmethod
    def moments(self, features: Any, responsibilities: Tensor) -> Moments:
        """Add up over the chunk; responsibilities of shape (K, n), sample weights multiplied in."""

    def expectation(self, points: FitPoints, n_mixtures: int = 1) -> tuple[Moments, Tensor]:
        """E-step over all points.

        Parameters
        ----------
        points : FitPoints
        n_mixtures : int, default 1
            B: the components are those of so many mixtures, one after the other.

        Returns
        -------
        moments : Moments
        log_likelihood : float64 Tensor of shape (B,)
            Σ_n w_n log p(y_n) of every mixture, in nats.
        """
        *moments, log_likelihood = points.added(partial(self.sums, n_mixtures=n_mixtures))
        return Moments(*moments), log_likelihood

    def sums(self, points: Points, n_mixtures: int) -> Sums:
        """E-step over points that are held in memory.

        Parameters
        ----------
        points : Points
        n_mixtures : int

        Returns
        -------
        sums : tuple of Tensor
            The fields of the moments, and the log-likelihoods.
        """

        def of_group(group: Iterable[Chunk]) -> tuple[Moments, Tensor]:
            return reduce(_add, (self.sums_of(chunk, n_mixtures) for chunk in group))

        kept = self.n_components * points.n_features**2 * points.dtype.itemsize
        groups = points.groups(self.bytes_per_point, bytes_per_group=kept)
        moments, log_likelihood = reduce(_add, each(of_group, groups))
        return moments.counts, moments.first, moments.second, log_likelihood

    def sums_of(self, chunk: Chunk, n_mixtures: int) -> tuple[Moments, Tensor]:
        """E-step over a chunk.

        Parameters
        ----------
        chunk : Chunk
        n_mixtures : int

        Returns
        -------
        moments : Moments
        log_likelihood : float64 Tensor of shape (B,)
        """
        features = self.features(chunk)
        shares = exponentiate(self.log_prob(features), chunk.weights, n_mixtures)
        return self.moments(features, shares.responsibilities), shares.log_likelihood

    def log_likelihood_of(self, chunk: Chunk, n_mixtures: int) -> Tensor:
        """Σ_n w_n log p(y_n) over a chunk, of every mixture; float64, shape (B,), in nats."""
        log_prob = self.log_prob(self.features(chunk))
        return exponentiate(log_prob, chunk.weights, n_mixtures, wanted=False).log_likelihood

    def mean_log_prob(self, points: FitPoints) -> float:
        """Weighted mean of log p(y), without keeping anything per point.

        Parameters
        ----------
        points : FitPoints

        Returns
        -------
        mean : float
            In nats.
        """
        return self.mean_log_probs(points, 1)[0]

    @one_thread_an_operation()
    def mean_log_probs(self, points: FitPoints, n_mixtures: int) -> list[float]:
        """Weighted means of log p(y) under several mixtures.

        Parameters
        ----------
        points : FitPoints
        n_mixtures : int
            As in `expectation`.

        Returns
        -------
        means : list of float
            In nats.
        """
        (log_likelihood,) = points.added(partial(self._log_likelihood, n_mixtures=n_mixtures))
        return (log_likelihood / points.total).tolist()

    def _log_likelihood(self, points: Points, n_mixtures: int) -> Sums:
        def of_group(group: Iterable[Chunk]) -> Tensor:
            return sum(self.log_likelihood_of(chunk, n_mixtures) for chunk in group)

        return (sum(each(of_group, points.groups(self.bytes_per_point))),)


def _add(one: tuple[Moments, Tensor], other: tuple[Moments, Tensor]) -> tuple[Moments, Tensor]:
    return one[0] + other[0], one[1] + other[1]


class LinearDensity(Density):
    """All component log-densities as one linear map of features of the points.

    Parameters
    ----------
    coefficients : Tensor of shape (K, F)
        In the dtype of the features and of the matrix products.
    centre : Tensor of shape (d,)
        Origin of the points.

    Attributes
    ----------
    kind : str
        Of the features, as of `Chunk.features`.
    """

    kind: str

    def __init__(self, coefficients: Tensor, centre: Tensor) -> None:
        dtype = coefficients.dtype
        self._coefficients = coefficients
        self.origins = centre
        self.n_components, F = coefficients.shape
        self.bytes_per_point = (2 * self.n_components + F) * dtype.itemsize

    @abstractmethod
    def moments_of(self, sums: Tensor) -> Moments:
        """Read the moments about the centre off the sums of the features, shape (K, F)."""

    def features(self, chunk: Chunk) -> Tensor:
        """Features of the chunk, shape (F, n)."""
        return chunk.features(self.kind, self._coefficients.dtype)

    def log_prob(self, features: Tensor) -> Tensor:
        """Log π_k N(y_n | m_k, C_k), shape (K, n)."""
        return product(self._coefficients, features)

    def moments(self, features: Tensor, responsibilities: Tensor) -> Moments:
        """Moments about the centre."""
        return self.moments_of(sums(responsibilities, features))

    def sums_of(self, chunk: Chunk, n_mixtures: int) -> tuple[Moments, Tensor]:
        """As of every density; of few components and features in one go."""
        outcome = self._expected(chunk, n_mixtures, wanted=True)
        if outcome is None:
            return super().sums_of(chunk, n_mixtures)
        return self.moments_of(outcome[0]), outcome[1]

    def log_likelihood_of(self, chunk: Chunk, n_mixtures: int) -> Tensor:
        """As of every density; of few components and features in one go."""
        outcome = self._expected(chunk, n_mixtures, wanted=False)
        return super().log_likelihood_of(chunk, n_mixtures) if outcome is None else outcome[1]

    def _expected(
        self, chunk: Chunk, n_mixtures: int, *, wanted: bool
    ) -> tuple[Tensor, Tensor] | None:
        least = _LEAST_LOG_SHARE[self._coefficients.dtype]
        return expected_features(
            chunk, self.kind, self._coefficients, n_mixtures, least=least, wanted=wanted
        )


class QuadraticDensity(LinearDensity):
    """The form of full covariances, linear in the quadratic features."""

    kind = "quadratic"

    @classmethod
    def of_law(cls, law: Law, dtype: torch.dtype) -> QuadraticDensity:
        """Expand the quadratic forms of a law.

        Parameters
        ----------
        law : Law
        dtype : torch.dtype
            Of the features and of the matrix products.

        Returns
        -------
        density : QuadraticDensity
        """
        triangle = _triangle(law.means.shape[1], law.means.device)
        constants = torch.sub(law.log_constants, law.offsets, alpha=0.5)
        quadratic = law.precisions.flatten(1).index_select(1, triangle.packed)
        quadratic = quadratic.mul_(triangle.coefficients)
        coefficients = torch.cat([constants[:, None], law.linear, quadratic], dim=1)
        return cls(coefficients.to(dtype), law.centre)

    @classmethod
    def compiled(
        cls, points: FitPoints, weights: Tensor, means: Tensor, covariances: Tensor
    ) -> QuadraticDensity | None:
        """Expand the quadratic forms of a small mixture, in compiled code.

        Parameters
        ----------
        points : FitPoints
        weights : Tensor of shape (K,)
        means : Tensor of shape (K, d)
            In the coordinates of the data, not centred.
        covariances : Tensor of shape (K, d, d)

        Returns
        -------
        density : QuadraticDensity or None
            None without compiled code, where a covariance is not positive definite, or where `of`
            may find that the form loses accuracy.
        """
        loops = kernels(covariances)
        if loops is None:
            return None
        coefficients = np.empty((len(means), n_quadratic_features(means.shape[1])))
        arrays = map(contiguous, (weights, means, covariances, points.centre))
        squared = loops.expand(*arrays, _room(points.dtype), coefficients)
        if not points.radius <= reach(squared, points.dtype):
            return None
        return cls(torch.from_numpy(coefficients).to(points.dtype), points.centre)

    @staticmethod
    def reaches(law: Law, dtype: torch.dtype) -> list[tuple[float, torch.dtype]]:
        """How far from the centre the form is accurate.

        Parameters
        ----------
        law : Law
        dtype : torch.dtype
            Of the points.

        Returns
        -------
        reaches : list of (float, torch.dtype)
            Those of `expanded_reaches`.
        """
        return expanded_reaches(largest_eigenvalue_bound(law.precisions), law.offsets, dtype)

    @classmethod
    def of(cls, law: Law, points: FitPoints) -> QuadraticDensity | None:
        """Expand the quadratic forms, unless that would lose accuracy.

        Parameters
        ----------
        law : Law
        points : FitPoints

        Returns
        -------
        density : QuadraticDensity or None
            None where even float64 products would be off by more than a millionth of a nat.
        """
        for radius, dtype in cls.reaches(law, points.dtype):
            if points.radius <= radius:
                return cls.of_law(law, dtype)
        return None

    def moments_of(self, sums: Tensor) -> Moments:
        """Read the moments about the centre off the sums of the features."""
        d = self.origins.shape[0]
        unpacked = _triangle(d, self.origins.device).unpacked
        second = sums.index_select(1, unpacked).view(-1, d, d)
        return Moments(sums[:, 0], sums[:, 1 : d + 1], second)


class WhitenedDensity(Density):
    """Component log-densities from residuals about each mean.

    Parameters
    ----------
    law : Law
    dtype : torch.dtype
        Of the points.
    """

    def __init__(self, law: Law, dtype: torch.dtype) -> None:
        K, d = law.means.shape
        self.n_components = K
        self._whitening = law.whitening.to(dtype)
        self._log_constants = law.log_constants.to(dtype)[:, None]
        self._means = law.means.to(dtype)
        self.origins = self._means + law.centre
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


class Form(NamedTuple):
    """A form of the density, and how far from the centre it may be used.

    Parameters
    ----------
    reach : float
        Radius about the centre within which the form is accurate.
    density : Density
    centred : bool, default True
        Whether it takes points less the centre, or as they are.
    """

    reach: float
    density: Density
    centred: bool = True


def expanded_reaches(
    largest: Tensor, offsets: Tensor, dtype: torch.dtype
) -> list[tuple[float, torch.dtype]]:
    """How far from the centre expanded quadratic forms are accurate.

    Parameters
    ----------
    largest : float64 Tensor of shape (K,)
        Bounds on the largest eigenvalues of the precisions.
    offsets : float64 Tensor of shape (K,)
        Quadratic forms of the means.
    dtype : torch.dtype
        Of the points.

    Returns
    -------
    reaches : list of (float, torch.dtype)
        Radius within which products in that dtype are; in the dtype of the points, and in float64.

    Notes
    -----
    The expansion subtracts terms of size ‖z‖² λ_max(C⁻¹) from each other and is off by about that
    size times eps. float32 data for which this exceeds a thousandth of a nat are taken through
    float64 features.
    """
    found = []
    for products in dict.fromkeys((dtype, torch.float64)):
        room = _room(products) - offsets
        found.append((reach(room.div_(largest).min().item(), products), products))
    return found


def _room(products: torch.dtype) -> float:
    """Size of terms that may cancel in a dtype."""
    return TOLERANCE[products] / torch.finfo(products).eps


def reach(squared: float, dtype: torch.dtype) -> float:
    """Take the root of a squared radius within which a form is accurate.

    Parameters
    ----------
    squared : float
    dtype : torch.dtype
        Of the products.

    Returns
    -------
    reach : float
        −1, no radius at all, where `squared` is negative or no number; at most so much that sums of
        squares are numbers of the dtype.
    """
    if not squared >= 0:
        return -1.0
    return min(math.sqrt(squared), 1e-3 * math.sqrt(torch.finfo(dtype).max))


class Shares(NamedTuple):
    """Responsibilities of a chunk, under each of B mixtures of K components.

    Parameters
    ----------
    responsibilities : Tensor of shape (B K, n)
        Sample weights multiplied in.
    log_likelihood : float64 Tensor of shape (B,)
        Σ_n w_n log p(y_n), in nats.
    """

    responsibilities: Tensor
    log_likelihood: Tensor


def exponentiate(
    log_prob: Tensor, weights: Tensor | None, n_mixtures: int = 1, *, wanted: bool = True
) -> Shares:
    """Turn component log-densities into responsibilities, in place.

    Parameters
    ----------
    log_prob : Tensor of shape (B K, n)
        Overwritten.
    weights : Tensor of shape (n,), optional
    n_mixtures : int, default 1
        B.
    wanted : bool, default True
        Whether the responsibilities are; else they are not finished.

    Returns
    -------
    shares : Shares
    """
    if weights is not None:
        weights = weights.to(log_prob.dtype)
    least = _LEAST_LOG_SHARE[log_prob.dtype]
    mixtures = log_prob.unflatten(0, (n_mixtures, -1))
    if (loops := kernels(log_prob, small=False)) is not None:
        dtype = mixtures.numpy().dtype
        multipliers = np.empty(0, dtype) if weights is None else weights.numpy()
        log_likelihood = np.empty(n_mixtures)
        loops.normalise(mixtures.numpy(), multipliers, dtype.type(least), log_likelihood, wanted)
        return Shares(log_prob, torch.from_numpy(log_likelihood))
    largest = mixtures.amax(dim=1)
    shares = exponential_(mixtures.sub_(largest.unsqueeze(1)).clamp_min_(least))
    scale = shares.sum(dim=1)
    point_log_prob = scale.log().add_(largest)
    if weights is not None:
        point_log_prob *= weights
    if wanted:
        scale.reciprocal_()
        shares.mul_((scale if weights is None else scale.mul_(weights)).unsqueeze(1))
    return Shares(log_prob, point_log_prob.sum(dim=1, dtype=torch.float64))


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
