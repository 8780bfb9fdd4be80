"""What the covariances of a search must satisfy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biglearn_core.em import fit_covariances
from biglearn_core.gmm import GMM
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.structures import Structure, structure_of

__all__ = ["Constraint"]


@dataclass(frozen=True)
class Constraint:
    """Floor, type and prior of covariances.

    Parameters
    ----------
    floor : float
        ε > 0, the least eigenvalue.
    covariance_type : str, default "full"
    prior : CovariancePrior, optional
    """

    floor: float
    covariance_type: str = "full"
    prior: CovariancePrior | None = None

    @property
    def structure(self) -> Structure:
        """What the covariances have in common."""
        return structure_of(self.covariance_type)

    def of_type(self, model: GMM) -> GMM:
        """Give a mixture covariances of the type.

        Parameters
        ----------
        model : GMM
            With full covariances, which are above the floor.

        Returns
        -------
        model : GMM
        """
        if self.covariance_type == "full":
            return model
        typed = GMM.unchecked(
            model.weights, model.means, model.covariances, covariance_type=self.covariance_type
        )
        covariances, _ = fit_covariances(typed, model.weights, model.covariances, floor=self.floor)
        return typed.with_parameters(model.weights, model.means, covariances)

    def alone(self, covariances: Tensor, *, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give single components the form that they may have.

        Parameters
        ----------
        covariances : Tensor of shape (C, D, D)
        like : Tensor of shape (C, D, D) or (1, D, D), optional
            A covariance of the mixture that they are candidates for.

        Returns
        -------
        covariances : Tensor of shape (C, D, D)
        floored : bool Tensor of shape (C,)
        """
        return self.structure.alone(covariances, self.floor, like=like)
