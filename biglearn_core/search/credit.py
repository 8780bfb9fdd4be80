"""What a likelihood is worth: less where components of few rows fit just these rows.

The likelihood of a Gaussian mixture has no maximum. A component that shrinks onto a few rows, or
onto a value that many of them share, gains without end, and the covariance floor alone decides how
much; in many dimensions two components gain on the rows of one cluster what they would lose on
others. A search for the highest likelihood finds such components where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import cholesky, has_eigenvalue_below
from biglearn_core.numerics.structures import structure_of
from biglearn_core.search.constraint import Constraint

__all__ = ["TOUCHING", "Credit", "n_degenerate"]

# Rows to a coordinate from which on a component on the floor is taken for what the data say.
_ROWS = 10

# Share of the rows in components on the floor below which these are exceptional, and where a
# component touches the floor.
_EXCEPTIONAL = 0.5
TOUCHING = 1.001


@dataclass(frozen=True)
class Credit:
    """What is taken from the mean log-likelihood where models are compared.

    Optimism. A Gaussian with D (D + 3) / 2 parameters that is fitted to n rows is by as many nats
    more likely on them than on others of the same law, and by more where n is small: times
    n / (n − D − 2), the correction of Akaike's criterion for small samples (C. Hurvich and C.-L.
    Tsai, Biometrika 76(2), 1989; E. Bedrick and C.-L. Tsai, Biometrics 50(1), 1994). What exceeds
    the limit of many rows is taken from the likelihood, for every component. With a hundred rows to
    a component and a few features it is nothing.

    Thinness. A component is thin where it has an eigenvalue on the covariance floor and fewer than
    ten rows to a coordinate. Its rows are credited with a volume no smaller than that of the other
    components: what a smaller one adds, ½ log|C̄| − ½ log|C_k| a row with log|C̄| the mean of the
    others, is taken from the likelihood. A small cluster away from all others still gains by where
    it lies. Where components on the floor hold half of the rows or more, the floor is what the data
    are like, as with constant or rounded features, and none counts as thin.

    Parameters
    ----------
    n_rows : int
        N, the number of distinct rows.
    covariance_floor : float
    plain : bool
        Whether nothing is taken.
    covariance_type : str, default "full"
        Optimism is that of covariances of its own for every component; of variances of its own,
        feature by feature; or, where components have both in common, none.
    counts_optimism : bool, default True
        Whether optimism is taken at all.
    n_degenerate : int, default 0
        Directions in which all rows lie on the floor, as of a constant feature (`n_degenerate`).
        They do not count as features, and a component is on the floor where it has more.
    """

    n_rows: int
    covariance_floor: float
    plain: bool
    covariance_type: str = "full"
    counts_optimism: bool = True
    n_degenerate: int = 0

    def withheld(self, mixtures: GMM, n_mixtures: int, floored: Tensor) -> Tensor:
        """Tell what is taken from the log-likelihoods of mixtures.

        Parameters
        ----------
        mixtures : GMM
            The components of B mixtures of K, one mixture after the other.
        n_mixtures : int
            B.
        floored : bool Tensor of shape (B, K)
            Components with an eigenvalue on the floor.

        Returns
        -------
        withheld : float64 Tensor of shape (B,)
            In nats a row.
        """
        weights = mixtures.weights.view(n_mixtures, -1).double()
        optimism = self.optimism(weights, mixtures.n_features).sum(dim=1)
        return optimism + self.gain_of_thinness(mixtures, n_mixtures, floored)

    def gain_of_thinness(self, mixtures: GMM, n_mixtures: int, floored: Tensor) -> Tensor:
        """Tell what thin components add to the log-likelihoods of mixtures.

        Parameters
        ----------
        mixtures, n_mixtures, floored
            As in `withheld`.

        Returns
        -------
        gain : float64 Tensor of shape (B,)
            In nats a row.
        """
        weights = mixtures.weights.view(n_mixtures, -1).double()
        floored = self._beyond_degenerate(mixtures.covariances, floored)
        exceptional = (weights * floored).sum(dim=1, keepdim=True) < _EXCEPTIONAL
        thin = floored & exceptional & self._few(weights, mixtures.n_features)
        if self.plain or not thin.any():
            return weights.new_zeros(n_mixtures)
        log_roots = _log_roots(mixtures.covariances).view(n_mixtures, -1)
        others = torch.where(thin.all(dim=1, keepdim=True), weights, weights * ~thin)
        typical = (others * log_roots).sum(dim=1, keepdim=True) / others.sum(dim=1, keepdim=True)
        return (thin * weights * (typical - log_roots).clamp_min(0)).sum(dim=1)

    def withheld_from_new(
        self, model: GMM, weights: Tensor, covariances: Tensor, floored: Tensor
    ) -> Tensor:
        """Tell what would be taken for components added to a mixture, for each alone.

        Parameters
        ----------
        model : GMM
        weights : Tensor of shape (C,)
        covariances : Tensor of shape (C, D, D)
        floored : bool Tensor of shape (C,)

        Returns
        -------
        withheld : Tensor of shape (C,)
        """
        optimism = self.optimism(weights, model.n_features)
        floored = self._beyond_degenerate(covariances, floored)
        thin = floored & self._few(weights, model.n_features)
        if self.plain or not thin.any():
            return optimism
        touching = has_eigenvalue_below(model.covariances, TOUCHING * self.covariance_floor)
        touching = self._beyond_degenerate(model.covariances, touching)
        if model.weights[touching].sum() >= _EXCEPTIONAL:
            return optimism
        typical = model.weights.double() @ _log_roots(model.covariances)
        excess = (typical - _log_roots(covariances)).clamp_min(0)
        return optimism + (thin * weights * excess).to(weights.dtype)

    def optimism(self, weights: Tensor, n_features: int) -> Tensor:
        """Tell what is taken for the number of rows of components.

        Parameters
        ----------
        weights : Tensor
            Shares of the rows.
        n_features : int
            D.

        Returns
        -------
        optimism : Tensor
            Of the same shape, in nats a row.
        """
        if self.plain or not self.counts_optimism:
            return torch.zeros_like(weights)
        structure = structure_of(self.covariance_type)
        n_features = max(1, n_features - self.n_degenerate)
        D = structure.n_coordinates(n_features)
        if D == 1 and (structure.is_shared or structure.shape != "V"):
            return torch.zeros_like(weights)
        excess = (D + 2) / (weights * self.n_rows - D - 2).clamp_min(1)
        return 0.5 * n_features * (D + 3) * excess / self.n_rows

    def _few(self, weights: Tensor, n_features: int) -> Tensor:
        return weights * self.n_rows < _ROWS * (n_features - self.n_degenerate)

    def _beyond_degenerate(self, covariances: Tensor, floored: Tensor) -> Tensor:
        """Keep those components that are on the floor in more directions than all rows are."""
        if self.n_degenerate == 0 or not floored.any():
            return floored
        on_floor = torch.linalg.eigvalsh(covariances) <= TOUCHING * self.covariance_floor
        return floored & (on_floor.sum(dim=1) > self.n_degenerate).view_as(floored)


def n_degenerate(covariance: Tensor, constraint: Constraint) -> int:
    """Count the directions in which one Gaussian for all rows is on the floor.

    Parameters
    ----------
    covariance : Tensor of shape (D, D)
        Of all rows.
    constraint : Constraint

    Returns
    -------
    n_degenerate : int
        None where every direction is, as with equal rows.
    """
    (of_type,), _ = constraint.alone(covariance[None])
    count = int((torch.linalg.eigvalsh(of_type) <= TOUCHING * constraint.floor).sum())
    return count if count < len(covariance) else 0


def _log_roots(covariances: Tensor) -> Tensor:
    """½ log|C_k|, shape (K,)."""
    return cholesky(covariances).diagonal(dim1=1, dim2=2).log().sum(dim=1)
