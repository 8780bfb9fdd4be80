"""The parameters of a mixture: three tensors that are checked once, converted and saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from biglearn_core.numerics.arguments import check_dtype, check_parameters
from biglearn_core.numerics.arrays import parameter_of
from biglearn_core.numerics.description import describe
from biglearn_core.numerics.linalg import cholesky, symmetrize
from biglearn_core.numerics.lowrank import LowRankCovariances
from biglearn_core.numerics.names import check_feature_names
from biglearn_core.numerics.structures import n_mixture_parameters, structure_of
from biglearn_core.system.persistence import load_arrays, save_arrays

__all__ = ["Parameters"]


@dataclass(frozen=True, eq=False, init=False)
class Parameters:
    """Weights, means and covariances, which never change.

    Parameters
    ----------
    weights : float32 or float64 Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
        Arrays become float64 tensors on the CPU.
    covariance_type : str, default "full"
        What they have in common (`numerics.structures`).
    feature_names : sequence of D str, optional

    Attributes
    ----------
    low_rank : LowRankCovariances or None
        The covariances once more, where they are a multiple of I plus few directions.

    Raises
    ------
    TypeError
        When an argument is no float32 or float64 tensor, or dtypes or devices differ.
    ValueError
        When shapes disagree, a value is not finite, the weights are no distribution, a covariance
        is not symmetric positive definite, or the covariances are not of their type.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    covariance_type: str = field(default="full", kw_only=True)
    low_rank: LowRankCovariances | None = field(default=None, init=False, repr=False)
    feature_names: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __init__(
        self,
        weights: Tensor | ArrayLike,
        means: Tensor | ArrayLike,
        covariances: Tensor | ArrayLike,
        *,
        covariance_type: str = "full",
        feature_names: Iterable[str] | None = None,
    ) -> None:
        parameters = {"weights": weights, "means": means, "covariances": covariances}
        for name, value in parameters.items():
            object.__setattr__(self, name, parameter_of(name, value))
        object.__setattr__(self, "covariance_type", covariance_type)
        object.__setattr__(self, "feature_names", feature_names)
        self._check()

    def __repr__(self) -> str:
        return describe(self)

    @classmethod
    def unchecked(
        cls,
        weights: Tensor,
        means: Tensor,
        covariances: Tensor,
        low_rank: LowRankCovariances | None = None,
        covariance_type: str = "full",
        feature_names: tuple[str, ...] | None = None,
    ) -> Self:
        """Wrap parameters that are valid by construction, skipping the checks.

        Parameters
        ----------
        weights, means, covariances : Tensor
            As in the class; the training loops make thousands of mixtures a second.
        low_rank : LowRankCovariances, optional
            The covariances once more, where they are a multiple of I plus few directions.
        covariance_type : str, default "full"
        feature_names : tuple of D str, optional

        Returns
        -------
        model
        """
        model = object.__new__(cls)
        object.__setattr__(model, "weights", weights)
        object.__setattr__(model, "means", means)
        object.__setattr__(model, "covariances", covariances)
        object.__setattr__(model, "low_rank", low_rank)
        object.__setattr__(model, "covariance_type", covariance_type)
        if feature_names is not None:
            object.__setattr__(model, "feature_names", feature_names)
        return model

    def with_feature_names(self, names: Iterable[str] | None) -> Self:
        """Give the same law with names of its features, or without.

        Parameters
        ----------
        names : iterable of D str, or None

        Returns
        -------
        model

        Raises
        ------
        TypeError, ValueError
            When they are not D different texts.
        """
        names = check_feature_names(names, self.n_features)
        if names == self.feature_names:
            return self
        return self.unchecked(
            self.weights, self.means, self.covariances, self.low_rank, self.covariance_type, names
        )

    def with_parameters(self, weights: Tensor, means: Tensor, covariances: Tensor) -> Self:
        """Give another law of the same type over the same features, skipping the checks.

        Parameters
        ----------
        weights, means, covariances : Tensor

        Returns
        -------
        model
        """
        return self.unchecked(
            weights, means, covariances, None, self.covariance_type, self.feature_names
        )

    def checked(self, what: str = "the mixture") -> Self:
        """Validate parameters that `unchecked` has taken as they are.

        Parameters
        ----------
        what : str
            What an error calls it.

        Returns
        -------
        model
            The same.

        Raises
        ------
        ValueError
            As the constructor.
        """
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"{what} cannot be held in {self.dtype}: {error}") from error
        return self

    def _check(self) -> None:
        check_parameters(self.weights, self.means, self.covariances)
        names = check_feature_names(self.feature_names, self.n_features)
        object.__setattr__(self, "feature_names", names)
        self._cholesky  # noqa: B018 (refuses a covariance that is not positive definite)
        structure = structure_of(self.covariance_type)
        object.__setattr__(self, "covariance_type", structure.name)
        if not structure.holds(self.covariances):
            raise ValueError(
                f"the covariances are not of the type {self.covariance_type!r}; give that which "
                "they are of, or leave covariance_type out"
            )
        if self.low_rank is not None:
            self.low_rank.require_same(self.covariances)

    @property
    def n_components(self) -> int:
        """Number of components K."""
        return self.means.shape[0]

    @property
    def n_features(self) -> int:
        """Number of coordinates D."""
        return self.means.shape[1]

    @property
    def n_parameters(self) -> int:
        """Free parameters of weights, means and covariances of their type."""
        return n_mixture_parameters(*self.means.shape, covariance_type=self.covariance_type)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return self.means.dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.means.device

    @cached_property
    def _cholesky(self) -> Tensor:
        """Lower factors of the covariances in float64, shape (K, D, D)."""
        return cholesky(self.covariances)

    def clone(self) -> Self:
        """Copy that shares no memory."""
        weights, means, covariances = (
            p.clone() for p in (self.weights, self.means, self.covariances)
        )
        low_rank = None if self.low_rank is None else self.low_rank.clone()
        return self.unchecked(
            weights, means, covariances, low_rank, self.covariance_type, self.feature_names
        )

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Copy the model to another device or floating-point type.

        Parameters
        ----------
        device : torch.device or str, optional
        dtype : torch.float32 or torch.float64, optional

        Returns
        -------
        model
            In another dtype with weights that sum to one there, and in the low-rank form where this
            model is, so that the constructor and `load` accept it as well.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            When the dtype cannot hold the mixture: a number overflows, or a covariance is no longer
            positive definite after rounding.
        """
        if dtype is not None:
            check_dtype("dtype", dtype)
        weights, means, covariances = (
            p.to(device=device) for p in (self.weights, self.means, self.covariances)
        )
        low_rank = None if self.low_rank is None else self.low_rank.to(device, dtype)
        if dtype is None or dtype == self.dtype:
            return self.unchecked(
                weights, means, covariances, low_rank, self.covariance_type, self.feature_names
            )
        weights = weights.double()
        covariances = covariances if low_rank is None else low_rank.dense()
        return self.unchecked(
            (weights / weights.sum()).to(dtype),
            means.to(dtype),
            symmetrize(covariances.to(dtype)),
            low_rank,
            self.covariance_type,
            self.feature_names,
        ).checked()

    def dense(self) -> Self:
        """Give the same parameters without the low-rank form of the covariances."""
        return self.with_parameters(self.weights, self.means, self.covariances)

    def arrays(self) -> dict[str, np.ndarray]:
        """Write everything into named arrays, for a file.

        Returns
        -------
        arrays : dict of str to ndarray
            weights, means and covariances, their type where it is not "full", the names of the
            features and the low-rank form where there are any.
        """
        names = ("weights", "means", "covariances")
        arrays = {name: getattr(self, name).detach().cpu().numpy() for name in names}
        if self.covariance_type != "full":
            arrays["covariance_type"] = np.array(self.covariance_type)
        if self.feature_names is not None:
            arrays["feature_names"] = np.array(self.feature_names)
        return arrays if self.low_rank is None else arrays | self.low_rank.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, source: str = "the mapping") -> Self:
        """Build and validate a model from what `arrays` wrote.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The covariances may be absent where the low-rank form is there.
        source : str
            What an error calls them, for example the path of their file.

        Returns
        -------
        model
            On the CPU, in the dtype of the arrays.

        Raises
        ------
        ValueError
            When a parameter is absent, or the constructor would refuse them.
        """
        try:
            low_rank = LowRankCovariances.from_arrays(arrays)
            weights, means = (torch.from_numpy(arrays[name]) for name in ("weights", "means"))
            if low_rank is None or "covariances" in arrays:
                covariances = torch.from_numpy(arrays["covariances"])
            else:
                covariances = low_rank.dense()
            covariance_type = str(arrays.get("covariance_type", "full"))
            names = arrays.get("feature_names")
            model = cls.unchecked(
                weights,
                means,
                covariances,
                low_rank,
                covariance_type,
                None if names is None else tuple(np.atleast_1d(names).tolist()),
            )
            model._check()
        except KeyError as error:
            raise ValueError(f"{source} holds no mixture: it lacks {error}") from error
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{source} holds no valid mixture: {error}") from error
        return model

    def save(self, path: str | os.PathLike) -> None:
        """Write the parameters to an .npz file, atomically.

        Parameters
        ----------
        path : path-like
        """
        save_arrays(path, self.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read and validate what `save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        model
            On the CPU, in the dtype that was saved.

        Raises
        ------
        ValueError
            When the file is damaged or lacks a parameter.
        """
        return cls.from_arrays(load_arrays(path), source=str(path))
