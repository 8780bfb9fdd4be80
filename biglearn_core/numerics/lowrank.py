"""Floored covariances as what they are in many dimensions: a multiple of I plus a low-rank part.

The eigenvalue floor leaves Σ_k = ε I + V_k diag(λ_k − ε) V_kᵀ, with one column of V_k for every
eigenvalue above ε. Where those are few (34 to 98 of 784 on Fashion-MNIST), the E-step needs
products with those directions alone, and so does a change of basis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.arguments import ROUNDING
from biglearn_core.numerics.density import (
    LOG_2PI,
    TOLERANCE,
    Density,
    Form,
    Moments,
    exponentiate,
    reach,
)
from biglearn_core.numerics.linalg import (
    eigenpairs_above,
    require_finite,
    resolved_floors,
    symmetrize,
)
from biglearn_core.numerics.points import Chunk, FitPoints, Points, Sums, squared_norms
from biglearn_core.numerics.threads import each
from biglearn_core.numerics.truncation import truncated_moments

__all__ = [
    "LowRankCovariances",
    "LowRankDensity",
    "floor_to_low_rank",
    "low_rank_forms",
    "low_rank_pays",
]

# In fewer dimensions a dense step is as fast (benchmarks/fashion_step.py).
_LEAST_DIMENSION = 128

# Error of an eigenvalue, in units of eps times the largest.
_ROUNDING = 4

# Strips of coordinates over which the products are summed: a third of the rounding, in no more time
# (benchmarks/fashion_step.py).
_STRIPS = 8

# Points whose products with all directions are held at once.
_CHUNK = 4096

# Parts that points are divided into where they are that many times this.
_LEAST_PARTS = 4
_LEAST_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class LowRankCovariances:
    """Covariances b_k I + Σ_j s_j v_j v_jᵀ over the directions j of component k.

    Parameters
    ----------
    backgrounds : Tensor of shape (K,)
        b_k > 0, the variance in every direction outside the low-rank part.
    directions : Tensor of shape (R, D)
        Unit vectors v_j of all components, one component after the other; orthogonal within a
        component.
    excesses : Tensor of shape (R,)
        s_j > 0, by how much the variance along v_j exceeds the background.
    ranks : tuple of int, length K
        Number of directions of every component; their sum is R.
    """

    backgrounds: Tensor
    directions: Tensor
    excesses: Tensor
    ranks: tuple[int, ...]

    def arrays(self) -> dict[str, np.ndarray]:
        """Write everything into named arrays, for a file."""
        return {
            "backgrounds": self.backgrounds.cpu().numpy(),
            "directions": self.directions.cpu().numpy(),
            "excesses": self.excesses.cpu().numpy(),
            "ranks": np.array(self.ranks, dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> LowRankCovariances | None:
        """Read what `arrays` wrote, on the CPU.

        Parameters
        ----------
        arrays : mapping of str to ndarray

        Returns
        -------
        covariances : LowRankCovariances or None
            None where the arrays hold none.
        """
        if "ranks" not in arrays:
            return None
        return cls(
            *(torch.from_numpy(arrays[name]) for name in ("backgrounds", "directions", "excesses")),
            ranks=tuple(arrays["ranks"].tolist()),
        )

    @classmethod
    def spherical(cls, means: Tensor, variance: float) -> LowRankCovariances:
        """Covariances σ² I: no direction at all.

        Parameters
        ----------
        means : Tensor of shape (K, D)
            Give number, dimension, dtype and device.
        variance : float
            σ² > 0.

        Returns
        -------
        covariances : LowRankCovariances
        """
        K, D = means.shape
        return cls(
            means.new_full((K,), variance), means.new_empty(0, D), means.new_empty(0), (0,) * K
        )

    def component(self, k: int) -> tuple[Tensor, Tensor]:
        """Variances above the background and their directions, largest first.

        Parameters
        ----------
        k : int

        Returns
        -------
        variances : Tensor of shape (r_k,)
            Eigenvalues b_k + s_j.
        directions : Tensor of shape (r_k, D)
        """
        excesses = self.excesses.split(self.ranks)[k]
        order = excesses.argsort(descending=True)
        directions = self.directions.split(self.ranks)[k]
        return self.backgrounds[k] + excesses[order], directions[order]

    def dense(self) -> Tensor:
        """Write the matrices out, shape (K, D, D)."""
        D = self.directions.shape[1]
        matrices = self.directions.new_zeros(len(self.ranks), D, D)
        scaled = self.directions * self.excesses.sqrt()[:, None]
        pairs = zip(matrices, scaled.split(self.ranks), strict=True)
        each(lambda pair: torch.mm(pair[1].T, pair[1], out=pair[0]), pairs)
        matrices.diagonal(dim1=1, dim2=2).add_(self.backgrounds[:, None])
        return matrices

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LowRankCovariances:
        """Copy to another device or floating-point type."""
        return LowRankCovariances(
            self.backgrounds.to(device=device, dtype=dtype),
            self.directions.to(device=device, dtype=dtype),
            self.excesses.to(device=device, dtype=dtype),
            self.ranks,
        )

    def clone(self) -> LowRankCovariances:
        """Copy that shares no memory."""
        return LowRankCovariances(
            self.backgrounds.clone(), self.directions.clone(), self.excesses.clone(), self.ranks
        )

    def require_same(self, covariances: Tensor) -> None:
        """Refuse other covariances than these.

        Parameters
        ----------
        covariances : Tensor of shape (K, D, D)

        Raises
        ------
        ValueError
            When they differ by more than rounding.
        """
        difference = (self.dense() - covariances).abs().max().item()
        allowed = ROUNDING * torch.finfo(covariances.dtype).eps * covariances.abs().max().item()
        if not difference <= allowed:
            raise ValueError(
                f"the covariances and their low-rank form differ by up to {difference:g}"
            )

    def rotate(self, A: Tensor) -> LowRankCovariances:
        """Covariances A Σ_k Aᵀ in another orthonormal basis.

        Parameters
        ----------
        A : Tensor of shape (D, D)
            Orthogonal.

        Returns
        -------
        covariances : LowRankCovariances
        """
        return LowRankCovariances(
            self.backgrounds, self.directions @ A.T, self.excesses, self.ranks
        )


def low_rank_pays(d: int) -> bool:
    """Whether a step in d coordinates can be faster in the low-rank form than with dense matrices.

    Parameters
    ----------
    d : int

    Returns
    -------
    pays : bool
    """
    return d >= _LEAST_DIMENSION


def floor_to_low_rank(covariances: Tensor, floor: float) -> tuple[Tensor, LowRankCovariances]:
    """Raise every eigenvalue below `floor` to it, and keep the directions above it.

    Parameters
    ----------
    covariances : Tensor of shape (K, D, D)
        Of which the symmetric part is taken; may be indefinite.
    floor : float
        ε > 0, of a matrix that of `resolved_floors`.

    Returns
    -------
    floored : Tensor of shape (K, D, D)
    low_rank : LowRankCovariances
        The same matrices.
    """
    require_finite(covariances)
    floors = resolved_floors(covariances, floor)
    matrices = zip(covariances, floors.tolist(), strict=True)
    pairs = each(lambda pair: _directions_above(symmetrize(pair[0]), pair[1]), matrices)
    excesses = [values - least for (values, _), least in zip(pairs, floors, strict=True)]
    low_rank = LowRankCovariances(
        backgrounds=floors,
        directions=torch.cat([vectors for _, vectors in pairs]),
        excesses=torch.cat(excesses),
        ranks=tuple(len(values) for values, _ in pairs),
    )
    return low_rank.dense(), low_rank


def _directions_above(matrix: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Eigenpairs above the floor by more than rounding.

    A block update leaves eigenvalues on the floor outside T×T, which come back a rounding error
    above it by the hundred.
    """
    values, vectors = eigenpairs_above(matrix, floor)
    if len(values) == 0:
        return values, vectors
    above = values - floor > _ROUNDING * torch.finfo(values.dtype).eps * values[-1]
    return values[above], vectors[above]


@dataclass(frozen=True)
class _Factors:
    """What the density is made of, in float64.

    Parameters
    ----------
    constants : Tensor of shape (K,)
        log π_k − log √det(2π C_k) − ‖m_k‖²/(2b_k).
    means : Tensor of shape (K, d)
        About the centre of the points.
    backgrounds : Tensor of shape (K,)
        b_k.
    whitening : list of Tensor of shape (r_k, d)
        W_k/√b_k, where C_k⁻¹ = (I − W_kᵀW_k)/b_k.
    """

    constants: Tensor
    means: Tensor
    backgrounds: Tensor
    whitening: list[Tensor]

    @classmethod
    def of(
        cls, weights: Tensor, means: Tensor, covariances: LowRankCovariances, index: Tensor | None
    ) -> _Factors:
        d = means.shape[1]
        directions = covariances.directions
        if index is not None:
            directions = directions[:, index]
        backgrounds = covariances.backgrounds.double()
        scaled = directions.double() * covariances.excesses.double().sqrt()[:, None]
        whitening, log_determinants = [], []
        for L, b in zip(scaled.split(covariances.ranks), backgrounds, strict=True):
            gram = L @ L.T
            gram.diagonal().add_(b)
            R = torch.linalg.cholesky(gram)
            whitening.append(torch.linalg.solve_triangular(R, L, upper=False) / b.sqrt())
            log_determinants.append((d - len(L)) * b.log() + 2 * R.diagonal().log().sum())
        constants = weights.double().log() - 0.5 * (
            torch.stack(log_determinants) + d * LOG_2PI + means.square().sum(dim=1) / backgrounds
        )
        return cls(constants, means, backgrounds, whitening)


class LowRankDensity(Density):
    """Component log-densities from one product with the directions of all components.

    Parameters
    ----------
    factors : _Factors
    products : torch.dtype
        Of the products with the points.
    dtype : torch.dtype
        Of the points.
    centre : Tensor of shape (d,)
        Origin of the points.

    Notes
    -----
    On coordinates T, with L the scaled directions restricted to T (r×d) and R Rᵀ = b I + L Lᵀ
    (r×r), the matrix inversion lemma gives C⁻¹ = (I − WᵀW)/b with W = R⁻¹L, so that
    the quadratic form is (‖z − m‖² − ‖W(z − m)‖²)/b.
    """

    def __init__(
        self, factors: _Factors, products: torch.dtype, dtype: torch.dtype, centre: Tensor
    ) -> None:
        self._constants = factors.constants[:, None]
        self._half_precisions = 0.5 / factors.backgrounds[:, None]
        self._ranks = [len(W) for W in factors.whitening]
        linear = factors.means / factors.backgrounds[:, None]
        self._rows = torch.cat([*factors.whitening, linear]).to(products)
        offsets = [W @ m for W, m in zip(factors.whitening, factors.means, strict=True)]
        self._offsets = torch.cat([*offsets, linear.new_zeros(len(linear))]).neg_().to(products)
        self._means = factors.means.to(dtype)
        self.origins = self._means + centre
        self.n_components = len(linear)
        self.bytes_per_point = (len(self._rows) + linear.shape[1]) * products.itemsize

    @classmethod
    def of(
        cls,
        points: FitPoints,
        weights: Tensor,
        means: Tensor,
        covariances: LowRankCovariances,
        index: Tensor | None = None,
    ) -> LowRankDensity | None:
        """Prepare the density, unless the dense form is cheaper or more accurate.

        Parameters
        ----------
        points : FitPoints
        weights : Tensor of shape (K,)
        means : Tensor of shape (K, d)
            In the coordinates of the data, not centred.
        covariances : LowRankCovariances
            Over all D coordinates.
        index : int64 Tensor of shape (d,), optional
            The coordinates that the points show; all when not given.

        Returns
        -------
        density : LowRankDensity or None
            None in few dimensions, where there are as many directions as coordinates, or where
            even float64 products would be off by more than a millionth of a nat.
        """
        if not _pays(*means.shape, covariances):
            return None
        means, dtype = means.double() - points.centre, points.dtype
        for radius, products in _reaches(means, covariances, dtype):
            if points.radius <= radius:
                factors = _Factors.of(weights, means, covariances, index)
                return cls(factors, products, dtype, points.centre)
        return None

    def features(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Points with their squared norms, shapes (d, n) and (n,)."""
        Z = chunk.Z.to(self._rows.dtype)
        return Z, squared_norms(Z)

    def log_prob(self, features: tuple[Tensor, Tensor]) -> Tensor:
        """Log π_k N(y_n | m_k, C_k), shape (K, n).

        Large terms cancel in it, so it is added up in float64, and rounded at the end.
        """
        Z, norms = features
        products = self._products(Z.to(self._rows.dtype))
        *whitened, linear = products.split([*self._ranks, self.n_components])
        log_prob = torch.addcmul(self._constants, self._half_precisions, norms, value=-1)
        log_prob += linear
        for k, y in enumerate(whitened):
            log_prob[k].add_(y.square_().sum(dim=0), alpha=0.5)
        return log_prob.to(self._means.dtype)

    def moments(self, features: tuple[Tensor, Tensor], responsibilities: Tensor) -> Moments:
        """Moments about the means, from the pairs that matter (`truncated_moments`)."""
        Z = features[0].to(self._means.dtype)
        return truncated_moments(Z, self._means, responsibilities)

    def sums(self, points: Points, n_mixtures: int) -> Sums:
        """As every density, but for the moments, which are taken of all points at once.

        A pair of point and component matters or not by its share in the mass of the component.
        """
        Z, norms, weights = points.Z, points.squared_norms, points.weights
        responsibilities = Z.new_empty(self.n_components, Z.shape[1])

        def of_part(part: slice) -> Tensor:
            log_prob = self.log_prob((Z[:, part], norms[part]))
            part_weights = None if weights is None else weights[part]
            shares = exponentiate(log_prob, part_weights, n_mixtures)
            responsibilities[:, part] = shares.responsibilities
            return shares.log_likelihood

        log_likelihood = sum(each(of_part, _parts(points)))
        moments = self.moments((Z, norms), responsibilities)
        return moments.counts, moments.first, moments.second, log_likelihood

    def _products(self, Z: Tensor) -> Tensor:
        """All rows times the points, shifted by the offsets.

        Summed over strips of coordinates: a library may run one accumulator through all of them,
        and shorter sums round less.
        """
        products = self._offsets[:, None].repeat(1, Z.shape[1])
        strips = zip(self._rows.chunk(_STRIPS, dim=1), Z.chunk(_STRIPS), strict=True)
        for rows, coordinates in strips:
            products.addmm_(rows, coordinates)
        return products


def _reaches(
    means: Tensor, covariances: LowRankCovariances, dtype: torch.dtype
) -> list[tuple[float, torch.dtype]]:
    """How far from the centre the form is accurate, in products of the points' dtype and float64.

    It subtracts terms of size (‖z‖² + ‖m‖²)/b from each other and is off by that size times eps.
    float32 data for which this exceeds a thousandth of a nat are taken through float64 products.
    """
    found = []
    for products in dict.fromkeys((dtype, torch.float64)):
        room = covariances.backgrounds.double() * (TOLERANCE[products] / torch.finfo(products).eps)
        squared = (room - means.square().sum(dim=1)).min().item()
        found.append((reach(squared, products), products))
    return found


def _pays(n_components: int, d: int, covariances: LowRankCovariances) -> bool:
    """Whether there are fewer directions than coordinates, and enough of these."""
    return low_rank_pays(d) and sum(covariances.ranks) < n_components * d


def _parts(points: Points) -> Iterator[slice]:
    N = points.Z.shape[1]
    size = points.chunk_size or min(_CHUNK, max(_LEAST_CHUNK, -(-N // _LEAST_PARTS)))
    return (slice(start, start + size) for start in range(0, N, size))


def low_rank_forms(
    weights: Tensor,
    means: Tensor,
    covariances: LowRankCovariances,
    centre: Tensor,
    dtype: torch.dtype,
) -> list[Form]:
    """List the low-rank forms in which points near the centre can be evaluated, cheapest first.

    Parameters
    ----------
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, d)
        In the coordinates of the data, not centred.
    covariances : LowRankCovariances
    centre : Tensor of shape (d,)
    dtype : torch.dtype
        Of the points.

    Returns
    -------
    forms : list of Form
        Empty where the dense forms are cheaper.
    """
    if not _pays(*means.shape, covariances):
        return []
    means = means.double() - centre
    factors = _Factors.of(weights, means, covariances, None)
    return [
        Form(radius, LowRankDensity(factors, products, dtype, centre))
        for radius, products in _reaches(means, covariances, dtype)
    ]
