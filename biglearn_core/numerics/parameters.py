"""The parameters of a mixture: three tensors that are checked once, converted and saved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.arguments import check_dtype, check_parameters
from biglearn_core.numerics.linalg import cholesky, symmetrize
from biglearn_core.numerics.lowrank import LowRankCovariances
from biglearn_core.numerics.structures import n_mixture_parameters, structure_of
from biglearn_core.system.persistence import load_arrays, save_arrays

__all__ = ["Parameters"]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights, means and covariances, which never change.

    Parameters
    ----------
    weights : float32 or float64 Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
    covariance_type : str, default "full"
        What they have in common (`numerics.structures`).

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

    def __post_init__(self) -> None:
        self._check()

    @classmethod
    def unchecked(
        cls,
        weights: Tensor,
        means: Tensor,
        covariances: Tensor,
        low_rank: LowRankCovariances | None = None,
        covariance_type: str = "full",
    ) -> Self:
        """Wrap parameters that are valid by construction, skipping the checks.

        Parameters
        ----------
        weights, means, covariances : Tensor
            As in the class; the training loops make thousands of mixtures a second.
        low_rank : LowRankCovariances, optional
            The covariances once more, where they are a multiple of I plus few directions.
        covariance_type : str, default "full"

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
        return model

    def with_parameters(self, weights: Tensor, means: Tensor, covariances: Tensor) -> Self:
        """Give another law of the same type, skipping the checks.

        Parameters
        ----------
        weights, means, covariances : Tensor

        Returns
        -------
        model
        """
        return self.unchecked(weights, means, covariances, covariance_type=self.covariance_type)

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
        return self.unchecked(weights, means, covariances, low_rank, self.covariance_type)

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
            return self.unchecked(weights, means, covariances, low_rank, self.covariance_type)
        weights = weights.double()
        covariances = covariances if low_rank is None else low_rank.dense()
        return self.unchecked(
            (weights / weights.sum()).to(dtype),
            means.to(dtype),
            symmetrize(covariances.to(dtype)),
            low_rank,
            self.covariance_type,
        ).checked()

    def dense(self) -> Self:
        """Give the same parameters without the low-rank form of the covariances."""
        return self.with_parameters(self.weights, self.means, self.covariances)

    def arrays(self) -> dict[str, np.ndarray]:
        """Write everything into named arrays, for a file.

        Returns
        -------
        arrays : dict of str to ndarray
            weights, means and covariances, their type where it is not "full", and the low-rank
            form where there is one.
        """
        names = ("weights", "means", "covariances")
        arrays = {name: getattr(self, name).detach().cpu().numpy() for name in names}
        if self.covariance_type != "full":
            arrays["covariance_type"] = np.array(self.covariance_type)
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
            model = cls.unchecked(weights, means, covariances, low_rank, covariance_type)
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
