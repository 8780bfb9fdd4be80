"""Data as one matching task sees them: centred, feature-major, handed out in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Chunk", "Points", "n_quadratic_features", "squared_norms"]

# Working memory of one chunk: it should stay near the cache on a CPU, and fill a GPU.
_CPU_CHUNK_BYTES = 8 * 2**20
_CUDA_CHUNK_BYTES = 256 * 2**20

# Up to this much, what all chunks compute once is kept for the steps that follow.
_KEPT_BYTES = 64 * 2**20

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
        self._quadratic: Tensor | None = None

    def quadratic(self, dtype: torch.dtype) -> Tensor:
        """Features [1, z, upper triangle of z zᵀ] of every point.

        Parameters
        ----------
        dtype : torch.dtype

        Returns
        -------
        features : Tensor of shape (F, n)
            Made once, however many local steps ask for them.
        """
        if self._quadratic is None or self._quadratic.dtype != dtype:
            Z = self.Z.to(dtype)
            d, n = Z.shape
            features = Z.new_empty(n_quadratic_features(d), n)
            features[0] = 1
            features[1 : d + 1] = Z
            row = d + 1
            for i in range(d):
                torch.mul(Z[i], Z[i:], out=features[row : row + d - i])
                row += d - i
            self._quadratic = features
        return self._quadratic


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
    """

    def __init__(
        self,
        Z: Tensor,
        centre: Tensor,
        radius: float,
        weights: Tensor | None,
        total: float,
        chunk_size: int | None,
    ) -> None:
        self.Z = Z
        self.centre = centre
        self.radius = radius
        self.weights = weights
        self.total = total
        self.chunk_size = chunk_size
        self._kept: dict[int, list[Chunk]] = {}

    @classmethod
    def of(
        cls,
        X: Tensor,
        *,
        sample_weight: Tensor | None = None,
        chunk_size: int | None = None,
        centre: Tensor | None = None,
    ) -> Points:
        """Centre the data.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        sample_weight : Tensor of shape (N,), optional
        chunk_size : int, optional
        centre : Tensor of shape (D,), optional
            Where the bulk of the data is known to lie; their mean when not given, which one row far
            out can move so far that the others lose digits.

        Returns
        -------
        points : Points
        """
        centre = X.mean(dim=0) if centre is None else centre
        Z = (X - centre).T.contiguous()
        radius = math.sqrt(Z.square().sum(dim=0).max().item())
        total = float(X.shape[0]) if sample_weight is None else sample_weight.sum().item()
        return cls(Z, centre, radius, sample_weight, total, chunk_size)

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
            Z, centre = rows @ self.Z, rows @ self.centre
        elif index is not None:
            Z, centre = self.Z[index], self.centre[index]
        else:
            return self
        return Points(Z, centre, self.radius, self.weights, self.total, self.chunk_size)

    @cached_property
    def squared_norms(self) -> Tensor:
        """‖z_n‖², accumulated in float64, shape (N,)."""
        return squared_norms(self.Z)

    def chunks(self, bytes_per_point: int) -> Iterator[Chunk]:
        """Hand out the points in pieces that fit the memory bound.

        Parameters
        ----------
        bytes_per_point : int
            Working memory of the caller for one point.

        Returns
        -------
        chunks : iterator of Chunk
            The same objects at every call where few points let their features be kept.
        """
        n = self.Z.shape[1]
        bound = _CUDA_CHUNK_BYTES if self.Z.device.type == "cuda" else _CPU_CHUNK_BYTES
        size = self.chunk_size or max(1, bound // bytes_per_point)
        if n * bytes_per_point > max(bound, _KEPT_BYTES):
            return self._split(size)
        if size not in self._kept:
            self._kept = {size: list(self._split(size))}
        return iter(self._kept[size])

    def _split(self, size: int) -> Iterator[Chunk]:
        for part in (slice(start, start + size) for start in range(0, self.Z.shape[1], size)):
            yield Chunk(self.Z[:, part], None if self.weights is None else self.weights[part])


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
