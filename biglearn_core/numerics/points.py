"""Data as one matching task sees them: centred, feature-major, handed out in chunks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from biglearn_core.numerics.threads import each
from biglearn_core.system.processes import ALONE, Processes

__all__ = [
    "Chunk",
    "FitPoints",
    "Points",
    "Sums",
    "is_near",
    "n_quadratic_features",
    "squared_norms",
    "with_products",
    "with_squares",
]

# What is added up over the points, by position.
Sums = tuple[Tensor, ...]


class FitPoints(Protocol):
    """What an EM step asks of its data, wherever these lie; as the fields of `Points`."""

    centre: Tensor
    radius: float
    total: float
    n_features: int
    dtype: torch.dtype

    def project(self, index: Tensor | None, A: Tensor | None) -> FitPoints:
        """Show the data as a matching task sees them; see `Points.project`."""

    def added(self, function: Callable[[Points], Sums]) -> Sums:
        """Add up what a function gives of some of the points at a time; see `Points.added`."""


# Working memory of one chunk: it should stay near the cache on a CPU, and fill a GPU.
_CPU_CHUNK_BYTES = 8 * 2**20
_CUDA_CHUNK_BYTES = 256 * 2**20

# Points that take less are not divided.
_LEAST_CHUNK_BYTES = 2 * 2**20

# Groups of chunks, at most: by their number, and by what is kept of all of them.
_MOST_GROUPS = 64
_GROUP_BYTES = 64 * 2**20

# Up to this much, what all chunks compute once is kept for the steps that follow.
_KEPT_BYTES = 64 * 2**20

# Rows whose median is compared with the mean of all, and how far that may be, in their spread.
_SAMPLED_ROWS = 1000
_FAR_MEAN = 100.0

# Points projected at once.
_PROJECTED = 8192

# Squares of so few rows are summed in the dtype of the data without visible rounding.
_NORM_ROWS = 32


class Chunk:
    """Some centred points, with the features that local steps on them share.

    Parameters
    ----------
    Z : Tensor of shape (d, n)
    weights : Tensor of shape (n,), optional
    """

    def __init__(self, Z: Tensor, weights: Tensor | None) -> None:
        self.Z = Z
        self.weights = weights
        self._made: tuple[str, torch.dtype, Tensor] | None = None

    def features(self, kind: str, dtype: torch.dtype) -> Tensor:
        """Features of every point.

        Parameters
        ----------
        kind : {"quadratic", "diagonal"}
            [1, z, upper triangle of z zᵀ], or [1, z, z²].
        dtype : torch.dtype

        Returns
        -------
        features : Tensor of shape (F, n)
            Made once, however many local steps ask for them.
        """
        return self._once(kind, dtype)

    def coordinates(self, dtype: torch.dtype) -> Tensor:
        """Coordinates alone, contiguous, for those that write the features themselves.

        Parameters
        ----------
        dtype : torch.dtype

        Returns
        -------
        Z : Tensor of shape (d, n)
            Made once.
        """
        return self._once("coordinates", dtype)

    def _once(self, kind: str, dtype: torch.dtype) -> Tensor:
        if self._made is None or self._made[:2] != (kind, dtype):
            self._made = kind, dtype, self._columns(kind, dtype)
        return self._made[2]

    def _columns(self, kind: str, dtype: torch.dtype) -> Tensor:
        if kind == "coordinates":
            return self.Z.to(dtype).contiguous()
        d, n = self.Z.shape
        n_features, complete = _FORMS[kind]
        features = self.Z.new_empty(n_features(d), n, dtype=dtype)
        features[1 : d + 1] = self.Z
        return complete(features, d)


def with_products(features: Tensor, d: int) -> Tensor:
    """Complete quadratic features from the coordinates among them, in place.

    Parameters
    ----------
    features : Tensor of shape (F, n)
        Its rows 1 to d are the coordinates.
    d : int

    Returns
    -------
    features : Tensor of shape (F, n)
    """
    Z = features[1 : d + 1]
    features[0] = 1
    row = d + 1
    for i in range(d):
        torch.mul(Z[i], Z[i:], out=features[row : row + d - i])
        row += d - i
    return features


def with_squares(features: Tensor, d: int) -> Tensor:
    """Complete the features of diagonal covariances from the coordinates among them, in place.

    Parameters
    ----------
    features : Tensor of shape (2 d + 1, n)
        Its rows 1 to d are the coordinates.
    d : int

    Returns
    -------
    features : Tensor of shape (2 d + 1, n)
    """
    features[0] = 1
    torch.square(features[1 : d + 1], out=features[d + 1 :])
    return features


class Points:
    """Data of one matching task.

    Parameters
    ----------
    Z : Tensor of shape (d, N)
        Data minus `centre`, contiguous.
    centre : Tensor of shape (d,)
    radius : float
        At least max_n ‖z_n‖.
    weights : Tensor of shape (N,), optional
        Sample weights; ones when not given.
    total : float
        Sum of the sample weights.
    chunk_size : int, optional
        Points per chunk; picked from a memory bound when not given.
    processes : Processes, optional
        Those that hold the data together, each some of the points; centre, radius and total are
        those of all. This process alone when not given.
    """

    def __init__(
        self,
        Z: Tensor,
        centre: Tensor,
        radius: float,
        weights: Tensor | None,
        total: float,
        chunk_size: int | None,
        processes: Processes = ALONE,
    ) -> None:
        self.Z = Z
        self.centre = centre
        self.radius = radius
        self.weights = weights
        self.total = total
        self.chunk_size = chunk_size
        self.processes = processes
        (self.n_features, self.n_points), self.dtype = Z.shape, Z.dtype
        self._kept: dict[tuple[int, int], list[list[Chunk]]] = {}

    @classmethod
    def of(
        cls,
        X: Tensor,
        *,
        sample_weight: Tensor | None = None,
        chunk_size: int | None = None,
        processes: Processes = ALONE,
    ) -> Points:
        """Centre the data.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        sample_weight : Tensor of shape (N,), optional
        chunk_size : int, optional
        processes : Processes, optional
            Each of which has rows of its own, or none.

        Returns
        -------
        points : Points
        """
        if processes.size > 1:
            return cls._of_all(X, sample_weight, chunk_size, processes)
        centre = _centre(X, sample_weight)
        Z = (X - centre).T.contiguous()
        radius = math.sqrt(Z.square().sum(dim=0).max().item())
        total = float(X.shape[0]) if sample_weight is None else sample_weight.sum().item()
        return cls(Z, centre, radius, sample_weight, total, chunk_size)

    @classmethod
    def _of_all(
        cls, X: Tensor, weights: Tensor | None, chunk_size: int | None, processes: Processes
    ) -> Points:
        ones = X.new_ones(len(X)) if weights is None else weights
        mass, first = ones.sum(dtype=torch.float64), ones.double() @ X.double()
        total, first = processes.sum([mass, first])
        mean = (first / total).to(X.dtype)
        (far,) = processes.sum([torch.tensor(float(len(X) > 0 and not is_near(mean, X)))])
        centre = torch.zeros_like(mean) if far > 0 else mean
        if len(X) == 0:  # a point without weight stands for none
            X, weights = centre[None], X.new_zeros(1)
        Z = (X - centre).T.contiguous()
        radii = processes.gather(squared_norms(Z).amax().reshape(1).cpu().numpy())
        radius = math.sqrt(max(float(r[0]) for r in radii))
        return cls(Z, centre, radius, weights, total.item(), chunk_size, processes)

    def project(self, index: Tensor | None, A: Tensor | None) -> Points:
        """Show the data as a matching task sees them: y_T with y = A x.

        Parameters
        ----------
        index : int64 Tensor, optional
            The set T; all coordinates when not given.
        A : Tensor of shape (D, D), optional
            Orthogonal, so that no point leaves the radius; the identity when not given.

        Returns
        -------
        points : Points
        """
        if A is not None:
            rows = A if index is None else A[index]
            Z, centre = _product(rows, self.Z), rows @ self.centre
        elif index is not None:
            Z, centre = self.Z[index], self.centre[index]
        else:
            return self
        return Points(
            Z, centre, self.radius, self.weights, self.total, self.chunk_size, self.processes
        )

    def added(self, function: Callable[[Points], Sums]) -> Sums:
        """Add up what a function gives of some of the points at a time.

        Parameters
        ----------
        function : callable
            Takes points with the centre, radius and total of all.

        Returns
        -------
        sums : tuple of Tensor
            Over the points of all processes.
        """
        return tuple(self.processes.sum(function(self)))

    @cached_property
    def squared_norms(self) -> Tensor:
        """‖z_n‖², accumulated in float64, shape (N,)."""
        return squared_norms(self.Z)

    def groups(self, bytes_per_point: int, *, bytes_per_group: int = 1) -> list[Iterable[Chunk]]:
        """Divide the points into groups of chunks, which may be worked on at the same time.

        Parameters
        ----------
        bytes_per_point : int
            Working memory of the caller for one point.
        bytes_per_group : int
            What the caller keeps of every group.

        Returns
        -------
        groups : list of iterable of Chunk
            The same division whatever the number of threads. The chunks fit the memory bound, and
            are the same objects at every call where few points let their features be kept.
        """
        key = bytes_per_point, bytes_per_group
        if key in self._kept:
            return self._kept[key]
        n = self.n_points
        groups = self._slices(n, bytes_per_point, bytes_per_group)
        kept = n * bytes_per_point <= _KEPT_BYTES
        chunks = [map(self._chunk, group) for group in groups]
        if not kept:
            return chunks
        if n * (bytes_per_point + sum(held for held, _ in self._kept)) > _KEPT_BYTES:
            self._kept.clear()
        self._kept[key] = [list(group) for group in chunks]
        return self._kept[key]

    def _slices(self, n: int, bytes_per_point: int, bytes_per_group: int) -> list[list[slice]]:
        bound = _CPU_CHUNK_BYTES
        if self.centre.device.type == "cuda":
            bound = _CUDA_CHUNK_BYTES
        elif n * bytes_per_point >= 2 * _LEAST_CHUNK_BYTES:
            bound = min(bound, bytes_per_point * -(-n // 2))
        size = self.chunk_size or max(1, bound // bytes_per_point)
        starts = range(0, n, size)
        n_groups = min(len(starts), _MOST_GROUPS, max(2, _GROUP_BYTES // bytes_per_group))
        bounds = [len(starts) * i // n_groups for i in range(n_groups + 1)]
        return [
            [slice(start, start + size) for start in starts[i:j]]
            for i, j in itertools.pairwise(bounds)
        ]

    def _chunk(self, part: slice) -> Chunk:
        weights = None if self.weights is None else self.weights[part]
        return Chunk(self.Z[:, part], weights)


def _centre(X: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of the data, or zero where rows far out have moved the mean away from the others."""
    if weights is None or (weights == weights[0]).all():
        mean = X.mean(dim=0)
    else:
        mean = weights.to(X.dtype) @ X / weights.sum()
    return mean if is_near(mean, X) else torch.zeros_like(mean)


def is_near(mean: Tensor, X: Tensor) -> bool:
    """Whether the mean of data lies near most of them, as seen by a thousand.

    Parameters
    ----------
    mean : Tensor of shape (D,)
    X : Tensor of shape (N, D)

    Returns
    -------
    near : bool
        Less a mean far from them, as rows far out make it, all others would lose their digits. As
        they are, none loses any, and the forms that need a centre near the data reach too short a
        way to be taken.
    """
    sample = X[:: -(-len(X) // _SAMPLED_ROWS)]
    median = sample.median(dim=0).values
    spread = (sample - median).norm(dim=1).median()
    return bool((mean - median).norm() <= _FAR_MEAN * spread)


def _product(rows: Tensor, Z: Tensor) -> Tensor:
    if Z.device.type == "cuda":
        return rows @ Z
    product = Z.new_empty(len(rows), Z.shape[1])
    each(
        lambda part: torch.mm(rows, Z[:, part], out=product[:, part]),
        [slice(i, i + _PROJECTED) for i in range(0, Z.shape[1], _PROJECTED)],
    )
    return product


def squared_norms(Z: Tensor) -> Tensor:
    """‖z_n‖² of points along the last axis, accumulated in float64.

    Parameters
    ----------
    Z : Tensor of shape (d, N)

    Returns
    -------
    norms : float64 Tensor of shape (N,)
    """
    norms = torch.zeros(Z.shape[1], dtype=torch.float64, device=Z.device)
    for rows in Z.split(_NORM_ROWS):
        norms += rows.square().sum(dim=0)
    return norms


def n_quadratic_features(d: int) -> int:
    """Length of [1, z, upper triangle of z zᵀ] for d coordinates.

    Parameters
    ----------
    d : int

    Returns
    -------
    n : int
    """
    return 1 + d + d * (d + 1) // 2


_FORMS = {
    "quadratic": (n_quadratic_features, with_products),
    "diagonal": (lambda d: 2 * d + 1, with_squares),
}
