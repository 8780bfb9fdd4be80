"""A conjugate prior on covariances, for components of few rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.numerics.linalg import cholesky
from biglearn_core.numerics.structures import structure_of

__all__ = ["CovariancePrior"]


@dataclass(frozen=True)
class CovariancePrior:
    """Inverse Wishart law of every covariance, p(Σ) ∝ |Σ|^{−(ν+D+1)/2} exp(−½ tr Λ Σ⁻¹).

    Parameters
    ----------
    scale : Tensor of shape (D, D)
        Λ.
    degrees_of_freedom : float
        ν.
    n_rows : float
        Number of rows that the data stand for, with sample weights counting copies.

    Notes
    -----
    The M-step then gives (n_k S_k + Λ) / (n_k + ν + D + 1) where a component of n_k rows has a
    covariance of its own. Where components have one volume in common, the prior is that of the
    common covariance, and each bears a K-th of it.

    References
    ----------
    C. Fraley and A. Raftery, "Bayesian regularization for normal mixture estimation and model-based
    clustering", Journal of Classification 24(2), 2007: ν = D + 2 and Λ the covariance of the data
    over K^{2/D}; their prior on the means is left out.
    """

    scale: Tensor
    degrees_of_freedom: float
    n_rows: float

    @classmethod
    def of(
        cls, X: Tensor, n_components: int, *, sample_weight: Tensor | None, n_rows: float
    ) -> CovariancePrior:
        """Derive the prior from the data, so that their units do not matter.

        Parameters
        ----------
        X : Tensor of shape (N, D)
            NaN where missing: their variance then counts alone, of every feature by itself.
        n_components : int
            K.
        sample_weight : Tensor of shape (N,), optional
        n_rows : float

        Returns
        -------
        prior : CovariancePrior
        """
        D = X.shape[1]
        known = ~torch.isnan(X)
        weights = X.new_ones(len(X)) if sample_weight is None else sample_weight.to(X.dtype)
        shares = known * weights[:, None]
        shares = shares / shares.sum(dim=0)
        values = X.nan_to_num(0.0)
        gaps = torch.where(known, values - (shares * values).sum(dim=0), 0.0)
        covariance = gaps.T @ (shares * gaps)
        if not known.all():
            covariance = covariance.diagonal().diag()
        return cls(covariance * n_components ** (-2 / D), D + 2.0, n_rows)

    def add(self, covariance_type: str, weights: Tensor, scatters: Tensor) -> tuple[Tensor, Tensor]:
        """Add the rows that the prior is worth to those of the data.

        Parameters
        ----------
        covariance_type : str
        weights : Tensor of shape (B, K)
        scatters : Tensor of shape (B, K, D, D)

        Returns
        -------
        weights : Tensor of shape (B, K)
            In rows.
        scatters : Tensor of shape (B, K, D, D)
        """
        worth = self._worth(covariance_type, weights.shape[1])
        rows = weights * self.n_rows
        total = rows + worth * self._exponent
        added = rows[..., None, None] * scatters + worth * self.scale.to(scatters)
        return total, added / total[..., None, None]

    def log_density(self, covariance_type: str, covariances: Tensor, n_mixtures: int) -> Tensor:
        """Log density of the covariances of mixtures, less its constant.

        Parameters
        ----------
        covariance_type : str
        covariances : Tensor of shape (B K, D, D)
        n_mixtures : int
            B.

        Returns
        -------
        log_density : float64 Tensor of shape (B,)
            In nats a row of the data.
        """
        worth = self._worth(covariance_type, len(covariances) // n_mixtures)
        factors = cholesky(covariances)
        log_determinants = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        precisions = torch.cholesky_inverse(factors)
        traces = (precisions * self.scale.double()).sum(dim=(1, 2))
        each = -0.5 * worth * (self._exponent * log_determinants + traces) / self.n_rows
        return each.view(n_mixtures, -1).sum(dim=1)

    @property
    def _exponent(self) -> float:
        return self.degrees_of_freedom + len(self.scale) + 1

    def _worth(self, covariance_type: str, n_components: int) -> float:
        return 1.0 if structure_of(covariance_type).volume == "V" else 1 / n_components
