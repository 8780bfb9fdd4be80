"""The density of mixtures whose covariances are diagonal, for types that are so by structure.

Without correlations log π_k N(y | m_k, C_k) is a linear function of the features [1, y, y²], which
are 2D + 1 where the products of all pairs of coordinates are (D + 1)(D + 2)/2. The law needs no
Cholesky factor, and the M-step of these types reads no other second moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from biglearn_core.numerics.density import LOG_2PI, Law, LinearDensity, Moments, expanded_reaches
from biglearn_core.numerics.linalg import cholesky
from biglearn_core.numerics.points import FitPoints, Points

__all__ = ["DiagonalDensity", "DiagonalLaw", "is_diagonal"]


def is_diagonal(covariances: Tensor) -> bool:
    """Tell whether covariances are diagonal, exactly.

    Parameters
    ----------
    covariances : Tensor of shape (K, D, D)
        Their variances are not zero.

    Returns
    -------
    is_diagonal : bool
        A start can have other covariances than the type that its first step leads to.
    """
    return int(torch.count_nonzero(covariances)) <= covariances.shape[0] * covariances.shape[1]


@dataclass(frozen=True)
class DiagonalLaw:
    """A mixture of diagonal covariances, in float64; as `Law`.

    Parameters
    ----------
    log_constants : Tensor of shape (K,)
        log π_k − log √det(2π C_k).
    means : Tensor of shape (K, d)
        About `centre`.
    precisions : Tensor of shape (K, d)
        Inverse variances.
    centre : Tensor of shape (d,)
        Origin of the points, in their dtype.
    """

    log_constants: Tensor
    means: Tensor
    precisions: Tensor
    centre: Tensor

    @classmethod
    def of(cls, weights: Tensor, means: Tensor, variances: Tensor, centre: Tensor) -> DiagonalLaw:
        """Take the law from its variances.

        Parameters
        ----------
        weights : Tensor of shape (K,)
        means : Tensor of shape (K, d)
            In the coordinates of the data, not centred.
        variances : Tensor of shape (K, d)
        centre : Tensor of shape (d,)

        Returns
        -------
        law : DiagonalLaw

        Raises
        ------
        ValueError
            When a variance is not positive.
        """
        variances = variances.double()
        if not variances.min().item() > 0:
            cholesky(torch.diag_embed(variances))  # tells which
        log_determinants = variances.log().sum(dim=1).add_(variances.shape[1] * LOG_2PI)
        log_constants = weights.double().log().sub_(log_determinants, alpha=0.5)
        return cls(log_constants, means.double() - centre, variances.reciprocal(), centre)

    @classmethod
    def of_law(cls, law: Law) -> DiagonalLaw:
        """Take a law whose covariances are diagonal.

        Parameters
        ----------
        law : Law

        Returns
        -------
        law : DiagonalLaw
        """
        precisions = law.factors.diagonal(dim1=1, dim2=2).square().reciprocal_()
        return cls(law.log_constants, law.means, precisions, law.centre)

    @cached_property
    def linear(self) -> Tensor:
        """Precisions times means, shape (K, d)."""
        return self.precisions * self.means

    @cached_property
    def offsets(self) -> Tensor:
        """Quadratic forms of the means, shape (K,)."""
        return (self.linear * self.means).sum(dim=1)


class DiagonalDensity(LinearDensity):
    """The form of diagonal covariances, linear in the coordinates and their squares."""

    kind = "diagonal"

    @classmethod
    def of_law(cls, law: DiagonalLaw, dtype: torch.dtype) -> DiagonalDensity:
        """Expand the quadratic forms of a law.

        Parameters
        ----------
        law : DiagonalLaw
        dtype : torch.dtype
            Of the features and of the matrix products.

        Returns
        -------
        density : DiagonalDensity
        """
        constants = torch.sub(law.log_constants, law.offsets, alpha=0.5)
        parts = [constants[:, None], law.linear, law.precisions * -0.5]
        return cls(torch.cat(parts, dim=1).to(dtype), law.centre)

    @classmethod
    def of_coordinates(
        cls, points: FitPoints, weights: Tensor, means: Tensor, covariances: Tensor
    ) -> DiagonalDensity | None:
        """Take the laws of all single coordinates, as D mixtures one after the other.

        Parameters
        ----------
        points : FitPoints
        weights : Tensor of shape (K,)
        means : Tensor of shape (K, D)
            In the coordinates of the data, not centred.
        covariances : Tensor of shape (K, D, D)

        Returns
        -------
        density : DiagonalDensity or None
            Of D K components, each of which depends on one coordinate; None where products in the
            dtype of the points would lose accuracy.
        """
        K, D = means.shape
        variances = covariances.diagonal(dim1=1, dim2=2).double()
        about = means.double() - points.centre
        precisions = variances.reciprocal()
        linear = precisions * about
        offsets = linear * about
        ((radius, dtype), *_) = expanded_reaches(precisions, offsets, points.dtype)
        if not points.radius <= radius:
            return None
        constants = weights.double().log()[:, None] - 0.5 * (variances.log() + LOG_2PI + offsets)
        coefficients = means.new_zeros(D, K, 2 * D + 1, dtype=dtype)
        coefficients[:, :, 0] = constants.T
        coefficients[:, :, 1 : D + 1].diagonal(dim1=0, dim2=2).copy_(linear)
        coefficients[:, :, D + 1 :].diagonal(dim1=0, dim2=2).copy_(precisions * -0.5)
        return cls(coefficients.flatten(0, 1), points.centre)

    @staticmethod
    def reaches(law: DiagonalLaw, dtype: torch.dtype) -> list[tuple[float, torch.dtype]]:
        """How far from the centre the form is accurate.

        Parameters
        ----------
        law : DiagonalLaw
        dtype : torch.dtype
            Of the points.

        Returns
        -------
        reaches : list of (float, torch.dtype)
            As of `QuadraticDensity`, of which this form has the terms that are not zero.
        """
        return expanded_reaches(law.precisions.amax(dim=1), law.offsets, dtype)

    @classmethod
    def of(cls, law: DiagonalLaw, points: Points) -> DiagonalDensity | None:
        """Expand the quadratic forms, unless that would lose accuracy.

        Parameters
        ----------
        law : DiagonalLaw
        points : Points

        Returns
        -------
        density : DiagonalDensity or None
            None where even float64 products would be off by more than a millionth of a nat.
        """
        for radius, dtype in cls.reaches(law, points.dtype):
            if points.radius <= radius:
                return cls.of_law(law, dtype)
        return None

    def moments_of(self, sums: Tensor) -> Moments:
        """Read the moments about the centre off the sums; of the second those of coordinates."""
        d = self.origins.shape[0]
        return Moments(sums[:, 0], sums[:, 1 : d + 1], sums[:, d + 1 :])
