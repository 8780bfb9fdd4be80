"""What the covariances of a mixture may have in common: the types of scikit-learn and of mclust.

Every covariance is λ_k D_k A_k D_kᵀ: a volume, an orientation, and a shape of determinant one (J.
Banfield and A. Raftery, "Model-based Gaussian and non-Gaussian clustering", Biometrics 49(3), 1993;
G. Celeux and G. Govaert, "Gaussian parsimonious clustering models", Pattern Recognition 28(5),
1995). Each of the three is equal for all components (E), different (V), or, for the last two, that
of the coordinates (I). Three letters name a type: volume, shape, orientation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from biglearn_core.numerics.linalg import floor_eigenvalues, resolved_floors, symmetrize
from biglearn_core.numerics.orientation import common_orientation

__all__ = ["COVARIANCE_TYPES", "Structure", "n_mixture_parameters", "structure_of"]

# scikit-learn's names, and mclust's for what scikit-learn has no name for.
_LETTERS = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}
_OTHERS = ("EII", "EEI", "VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV")
COVARIANCE_TYPES = (*_LETTERS, *_OTHERS)

# Rounds in which volumes and the common shape are fitted in turn. EM goes on from where they end,
# as it does from a common orientation that has been turned once.
_VOLUME_ROUNDS = 10

# Rounds in which variances are scaled to a volume while some are held up by the floor.
_FLOOR_ROUNDS = 8

# How far covariances may be from their type, in correlations and relative variances: rounding of
# float32 with some room.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Structure:
    """A type of covariances.

    Parameters
    ----------
    name : str
        One of `COVARIANCE_TYPES`.
    volume : {"E", "V"}
    shape : {"E", "V", "I"}
    orientation : {"E", "V", "I"}
    """

    name: str
    volume: str
    shape: str
    orientation: str

    @property
    def is_shared(self) -> bool:
        """Whether all components have the same covariance."""
        return "V" not in (self.volume, self.shape, self.orientation)

    @property
    def is_diagonal(self) -> bool:
        """Whether the axes are those of the coordinates, so that scatters matter by variances."""
        return self.orientation == "I"

    @property
    def is_scale_invariant(self) -> bool:
        """Whether covariances keep the type when single features are given other units."""
        own_axes = self.orientation == "V" and self.shape == "E"
        common_axes = self.orientation == "E" and self.shape == "V"
        return not (own_axes or common_axes or self.shape == "I")

    @property
    def of_marginals(self) -> str:
        """Type of the covariances of some coordinates, and of these given others."""
        kept = self.shape == "I" or (self.shape == "E" and self.orientation != "V")
        return self.name if kept or self.name == "diag" else self._of_any("diag")

    @property
    def of_images(self) -> str:
        """Type of the covariances of A x for a matrix A."""
        return self.name if self.shape == "E" and self.orientation == "E" else "full"

    def _of_any(self, diagonal: str) -> str:
        return diagonal if self.is_diagonal else "full"

    def n_coordinates(self, n_features: int) -> int:
        """Count the rows that a component needs for a covariance of its own, less one.

        Parameters
        ----------
        n_features : int

        Returns
        -------
        n : int
        """
        return n_features if self.orientation == "V" else 1

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Count the free numbers of the covariances.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        n : int
        """
        K, D = n_components, n_features
        copies = {"E": 1, "V": K, "I": 0}
        return (
            copies[self.volume]
            + copies[self.shape] * (D - 1)
            + copies[self.orientation] * (D * (D - 1) // 2)
        )

    def fit(
        self, weights: Tensor, scatters: Tensor, floor: float, *, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take the M-step: the covariances of this type under which the data are most likely.

        Parameters
        ----------
        weights : Tensor of shape (B, K)
            Of the components of B mixtures.
        scatters : Tensor of shape (B, K, D, D)
            Covariances of the points of every component about its mean; may be indefinite by
            rounding.
        floor : float
            ε ≥ 0, the least eigenvalue.
        before : Tensor of shape (B, K, D, D), optional
            Covariances of this type, from which a common orientation is sought.

        Returns
        -------
        covariances : Tensor of shape (B, K, D, D)
            They maximise Σ_k π_k (−½ log|Σ_k| − ½ tr Σ_k⁻¹ S_k); where that has no closed form
            (VEI, VEE, VEV, EVE, VVE) they raise it above that of `before`.
        floored : bool Tensor of shape (B, K)
            Components with an eigenvalue at or below the floor.
        """
        if self.name == "full":
            covariances, floored = floor_eigenvalues(scatters.flatten(0, 1), floor)
            return covariances.view_as(scatters), floored.view_as(weights)
        shares = (weights / weights.sum(dim=1, keepdim=True))[..., None]
        if self.name == "tied":
            pooled = (shares[..., None] * scatters).sum(dim=1)
            covariances, floored = floor_eigenvalues(pooled, floor)
            K = weights.shape[1]
            return covariances[:, None].repeat(1, K, 1, 1), floored[:, None].repeat(1, K)
        if self.is_diagonal:
            variances, floored = self._variances(
                shares, scatters.diagonal(dim1=2, dim2=3), scatters.new_tensor(floor)
            )
            return torch.diag_embed(variances), floored
        scatters = symmetrize(scatters)
        floors = resolved_floors(scatters.flatten(0, 1), floor).view(*weights.shape, 1)
        if self.orientation == "V":
            values, axes = torch.linalg.eigh(scatters)
            variances, floored = self._variances(shares, values, floors)
        else:
            pooled = (shares[..., None] * (scatters if before is None else before)).sum(dim=1)
            axes = torch.linalg.eigh(pooled).eigenvectors[:, None]
            along = axes.mT @ scatters @ axes
            variances, _ = self._variances(shares, along.diagonal(dim1=2, dim2=3), floors)
            axes = axes @ common_orientation(along, shares / variances)[:, None]
            values = (axes.mT @ scatters @ axes).diagonal(dim1=2, dim2=3)
            variances, floored = self._variances(shares, values, floors)
        return symmetrize(axes * variances[..., None, :] @ axes.mT), floored

    def alone(
        self, covariances: Tensor, floor: float, *, like: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Give single components the form that they may have in a mixture of this type.

        Parameters
        ----------
        covariances : Tensor of shape (C, D, D)
        floor : float
        like : Tensor of shape (C, D, D) or (1, D, D), optional
            A covariance of the mixture that they belong to.

        Returns
        -------
        covariances : Tensor of shape (C, D, D)
            Diagonal or spherical where those of the type are; and where all components have the
            same, that of the mixture.
        floored : bool Tensor of shape (C,)
        """
        if self.is_shared and like is not None:
            none = covariances.new_zeros(len(covariances), dtype=torch.bool)
            return like.expand_as(covariances).clone(), none
        free = structure_of(
            "full" if self.orientation != "I" else "spherical" if self.shape == "I" else "diag"
        )
        ones = covariances.new_ones(1, len(covariances))
        covariances, floored = free.fit(ones, covariances[None], floor)
        return covariances[0], floored[0]

    def holds(self, covariances: Tensor) -> bool:
        """Tell whether covariances are of this type, but for rounding.

        Parameters
        ----------
        covariances : Tensor of shape (K, D, D)

        Returns
        -------
        holds : bool
            What can be read off the entries is looked at: that the matrices are diagonal, spherical
            or all the same. Equal volumes and shapes along axes that are not those of the
            coordinates are taken as told, since rounding of the small eigenvalues hides them.
        """
        size = covariances.diagonal(dim1=1, dim2=2).sqrt()
        scaled = covariances / size[:, :, None] / size[:, None, :]
        if self.is_diagonal:
            off = scaled - torch.diag_embed(scaled.diagonal(dim1=1, dim2=2))
            if (off.abs() > _ROUNDING).any():
                return False
        if self.shape == "I" and (size / size[:, :1] - 1).abs().max() > _ROUNDING:
            return False
        if not self.is_shared:
            return True
        same = covariances / size[0, :, None] / size[0, None, :]
        return bool(((same - same[0]).abs() <= _ROUNDING).all())

    def compact(self, covariances: Tensor) -> Tensor:
        """Write covariances in the shape that scikit-learn gives to the type.

        Parameters
        ----------
        covariances : Tensor of shape (K, D, D)

        Returns
        -------
        covariances : Tensor
            "tied" of shape (D, D), "diag" (K, D), "spherical" (K,), others (K, D, D).
        """
        compact: dict[str, Callable[[Tensor], Tensor]] = {
            "tied": lambda full: full[0],
            "diag": lambda full: full.diagonal(dim1=1, dim2=2),
            "spherical": lambda full: full[:, 0, 0],
        }
        return compact[self.name](covariances) if self.name in compact else covariances

    def _variances(self, shares: Tensor, values: Tensor, floors: Tensor) -> tuple[Tensor, Tensor]:
        """Fit volumes and shapes along given axes, λ_k A_k, shape (B, K, D); and which were low."""
        floored = (values <= floors).any(dim=2)
        values = values.maximum(floors.clamp_min(torch.finfo(values.dtype).tiny))
        if self.shape == "I":
            values = values.mean(dim=2, keepdim=True).expand_as(values)
        if self.volume == "E" and self.shape != "V":
            values = (shares * values).sum(dim=1, keepdim=True).expand_as(values)
        elif self.volume == "E":
            values = _of_one_volume(shares, values, floors)
        elif self.shape == "E":
            values = _of_one_shape(shares, values, floors)
        return values.maximum(floors), floored


def _of_one_volume(shares: Tensor, values: Tensor, floors: Tensor) -> Tensor:
    """Scale variances to the mean volume; those that the floor holds up weigh on the others."""
    volumes = values.log().mean(dim=2, keepdim=True).exp()
    volume = (shares * volumes).sum(dim=1, keepdim=True)
    values = (values / volumes * volume).maximum(floors)
    for _ in range(_FLOOR_ROUNDS):
        free = values > floors
        excess = (values / volume).log().sum(dim=2, keepdim=True)
        excess = excess / free.sum(dim=2, keepdim=True).clamp_min(1)
        values = torch.where(free, values / excess.exp(), values).maximum(floors)
    return values


def _of_one_shape(shares: Tensor, values: Tensor, floors: Tensor) -> Tensor:
    """Fit volumes and the common shape in turn; volumes are so large that none is too low."""
    volumes = values.log().mean(dim=2, keepdim=True).exp()
    for _ in range(_VOLUME_ROUNDS):
        shape = (shares * values / volumes).sum(dim=1, keepdim=True)
        shape = shape / shape.log().mean(dim=2, keepdim=True).exp()
        volumes = (values / shape).mean(dim=2, keepdim=True)
    return volumes.maximum((floors / shape).amax(dim=2, keepdim=True)) * shape


@lru_cache(maxsize=len(COVARIANCE_TYPES))
def structure_of(covariance_type: str) -> Structure:
    """Look a type up.

    Parameters
    ----------
    covariance_type : str
        One of `COVARIANCE_TYPES`, or the letters of one that scikit-learn has a name for.

    Returns
    -------
    structure : Structure
        Under scikit-learn's name where there is one.

    Raises
    ------
    ValueError
        For any other name.
    """
    names = {letters: name for name, letters in _LETTERS.items()}
    name = names.get(covariance_type, covariance_type)
    if name not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type must be one of {', '.join(COVARIANCE_TYPES)}, got {covariance_type!r}"
        )
    volume, shape, orientation = _LETTERS.get(name, name)
    return Structure(name, volume, shape, orientation)


def n_mixture_parameters(
    n_components: int, n_features: int, *, covariance_type: str = "full"
) -> int:
    """Count the free numbers of a mixture.

    Parameters
    ----------
    n_components, n_features : int
    covariance_type : str, default "full"

    Returns
    -------
    n_parameters : int
    """
    K, D = n_components, n_features
    return K - 1 + K * D + structure_of(covariance_type).n_parameters(K, D)
