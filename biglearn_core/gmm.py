"""The Gaussian mixture as a frozen law: densities, marginals, conditionals, images, samples."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from biglearn_core.density import component_log_prob
from biglearn_core.linalg import cholesky, symmetrize
from biglearn_core.lowrank import LowRankCovariances, low_rank_log_prob
from biglearn_core.persistence import load_arrays, save_arrays

__all__ = ["GMM"]

# How far weights may be from summing to one and covariances from symmetry, in units of eps.
_ROUNDING = 1e3


@dataclass(frozen=True, eq=False)
class GMM:
    """A Gaussian mixture p(x) = Σ_k π_k N(x | μ_k, Σ_k) with full covariances.

    Parameters
    ----------
    weights : Tensor of shape (K,)
        Mixing proportions π; non-negative, summing to one.
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
        Symmetric positive definite.

    Raises
    ------
    TypeError
        When an argument is no floating-point tensor, or dtypes or devices differ.
    ValueError
        When shapes disagree, a value is not finite, the weights are no distribution, or a
        covariance is not symmetric positive definite.

    Notes
    -----
    Instances never change; the tensors must not be written to. Log densities are in nats.
    `low_rank` holds the covariances once more where an EM step left them as a multiple of I plus
    few directions, else None; log densities in many dimensions are then many times cheaper.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "low_rank", None)
        self._check()
        self._cholesky  # noqa: B018 (refuses a covariance that is not positive definite)

    @classmethod
    def unchecked(
        cls,
        weights: Tensor,
        means: Tensor,
        covariances: Tensor,
        low_rank: LowRankCovariances | None = None,
    ) -> GMM:
        """Wrap parameters that are valid by construction, skipping the checks.

        Parameters
        ----------
        weights, means, covariances : Tensor
            As in the class; the training loops make thousands of mixtures a second.
        low_rank : LowRankCovariances, optional
            The covariances once more, where they are a multiple of I plus few directions.

        Returns
        -------
        model : GMM
        """
        model = object.__new__(cls)
        object.__setattr__(model, "weights", weights)
        object.__setattr__(model, "means", means)
        object.__setattr__(model, "covariances", covariances)
        object.__setattr__(model, "low_rank", low_rank)
        return model

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
        """Free parameters of weights, means and full covariances."""
        K, D = self.means.shape
        return K - 1 + K * D + K * D * (D + 1) // 2

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return self.means.dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.means.device

    def component_log_prob(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Log of each component's share of the density.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        chunk_size : int, optional
            Points evaluated at once; picked from a memory bound when not given.

        Returns
        -------
        log_prob : Tensor of shape (N, K)
            log π_k + log N(x_n | μ_k, Σ_k), in nats; −inf for a component of weight zero.

        Raises
        ------
        ValueError
            When `X` is not of shape (N, D).
        TypeError
            When dtype or device of `X` are not the model's.
        """
        return self._component_log_prob(X, chunk_size).T

    def log_prob(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Log density of every point.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        chunk_size : int, optional
            As in `component_log_prob`.

        Returns
        -------
        log_prob : Tensor of shape (N,)
            In nats.
        """
        return self._component_log_prob(X, chunk_size).logsumexp(dim=0)

    def responsibilities(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Posterior probability of every component.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        chunk_size : int, optional
            As in `component_log_prob`.

        Returns
        -------
        responsibilities : Tensor of shape (N, K)
            Rows sum to one.
        """
        return self._component_log_prob(X, chunk_size).softmax(dim=0).T

    def predict(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Most probable component of every point.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        chunk_size : int, optional
            As in `component_log_prob`.

        Returns
        -------
        labels : int64 Tensor of shape (N,)
        """
        return self._component_log_prob(X, chunk_size).argmax(dim=0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw points and the components that they came from.

        Parameters
        ----------
        n : int
            Number of points, at least one.
        generator : torch.Generator, optional
            Source of randomness, on the model's device. A fresh one, seeded by the operating
            system, when not given: the global generator is never used.

        Returns
        -------
        X : Tensor of shape (n, D)
        z : int64 Tensor of shape (n,)
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if generator is None:
            generator = torch.Generator(device=self.device)
            generator.seed()
        z = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(
            n, self.n_features, generator=generator, dtype=self.dtype, device=self.device
        )
        X = torch.empty_like(noise)
        for k in range(self.n_components):
            chosen = z == k
            X[chosen] = noise[chosen] @ self._cholesky[k].T.to(self.dtype) + self.means[k]
        return X, z

    def marginal(self, index: Tensor | list[int]) -> GMM:
        """Law of some coordinates.

        Parameters
        ----------
        index : sequence of int
            Distinct coordinates, in the order wanted.

        Returns
        -------
        marginal : GMM
            Over len(index) coordinates.

        Raises
        ------
        ValueError
            When `index` is empty, repeats a coordinate, or leaves 0..D−1.
        """
        index = self._check_index(index)
        return GMM.unchecked(
            self.weights,
            self.means[:, index],
            self.covariances[:, index[:, None], index],
        )

    def condition(self, index: Tensor | list[int], values: Tensor) -> GMM:
        """Law of the other coordinates, given some.

        Parameters
        ----------
        index : sequence of int of length d < D
            The coordinates that are known.
        values : Tensor of shape (d,)
            What they are.

        Returns
        -------
        conditional : GMM
            Over the D − d remaining coordinates, in increasing order.

        Raises
        ------
        ValueError
            When `index` is no proper subset of the coordinates or `values` has another length.
        """
        known = self._check_index(index)
        if len(known) == self.n_features:
            raise ValueError("all coordinates are given; leave at least one out of index")
        values = torch.as_tensor(values, dtype=self.dtype, device=self.device)
        if values.shape != (len(known),):
            raise ValueError(
                f"values must have shape ({len(known)},), one per index, got {tuple(values.shape)}"
            )
        open_ = torch.ones(self.n_features, dtype=torch.bool, device=self.device)
        open_[known] = False
        rest = open_.nonzero().squeeze(1)

        evidence = self.marginal(known)
        log_weights = evidence.component_log_prob(values[None])[0]
        cross = self.covariances[:, rest[:, None], known]
        gain = torch.cholesky_solve(cross.mT.to(torch.float64), evidence._cholesky).mT.to(
            self.dtype
        )
        residual = values - self.means[:, known]
        return GMM.unchecked(
            log_weights.softmax(dim=0),
            self.means[:, rest] + (gain @ residual[:, :, None]).squeeze(2),
            symmetrize(self.covariances[:, rest[:, None], rest] - gain @ cross.mT),
        )

    def transform(self, A: Tensor) -> GMM:
        """Law of A x.

        Parameters
        ----------
        A : Tensor of shape (d, D)
            Of full row rank; orthogonal in the matching tasks of BigLearn-EM.

        Returns
        -------
        image : GMM
            Means A μ_k and covariances A Σ_k Aᵀ, over d coordinates.

        Raises
        ------
        ValueError
            When `A` is not of shape (d, D).
        """
        A = torch.as_tensor(A, dtype=self.dtype, device=self.device)
        if A.ndim != 2 or A.shape[1] != self.n_features:
            raise ValueError(f"A must have shape (d, {self.n_features}), got {tuple(A.shape)}")
        return GMM.unchecked(
            self.weights, self.means @ A.mT, symmetrize(A @ self.covariances @ A.mT)
        )

    def rotate(self, A: Tensor) -> GMM:
        """Law of A x for an orthogonal A, which keeps the low-rank form of the covariances.

        Parameters
        ----------
        A : Tensor of shape (D, D)
            Orthogonal, of the model's dtype and on its device.

        Returns
        -------
        image : GMM
        """
        if self.low_rank is None:
            return self.transform(A)
        low_rank = self.low_rank.rotate(A)
        return GMM.unchecked(self.weights, self.means @ A.mT, low_rank.dense(), low_rank)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GMM:
        """Copy the model to another device or floating-point type.

        Parameters
        ----------
        device : torch.device or str, optional
        dtype : torch.dtype, optional

        Returns
        -------
        model : GMM
        """
        return GMM.unchecked(
            *(
                parameter.to(device=device, dtype=dtype)
                for parameter in (self.weights, self.means, self.covariances)
            ),
            low_rank=None if self.low_rank is None else self.low_rank.to(device, dtype),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the parameters to an .npz file, atomically.

        Parameters
        ----------
        path : path-like
        """
        arrays = {
            "weights": self.weights.cpu().numpy(),
            "means": self.means.cpu().numpy(),
            "covariances": self.covariances.cpu().numpy(),
        }
        if self.low_rank is not None:
            arrays |= self.low_rank.arrays()
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> GMM:
        """Read and validate what `save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        model : GMM
            On the CPU, in the dtype that was saved.

        Raises
        ------
        ValueError
            When the file is damaged or lacks a parameter.
        """
        arrays = load_arrays(path)
        missing = {"weights", "means", "covariances"} - arrays.keys()
        if missing:
            raise ValueError(f"{path} holds no mixture: it lacks {sorted(missing)}")
        model = cls(
            *(torch.from_numpy(arrays[name]) for name in ("weights", "means", "covariances"))
        )
        low_rank = LowRankCovariances.from_arrays(arrays)
        if low_rank is None:
            return model
        difference = (low_rank.dense() - model.covariances).abs().max().item()
        if not difference <= _ROUNDING * torch.finfo(model.dtype).eps * model.covariances.max():
            raise ValueError(
                f"{path} is damaged: its covariances and their low-rank form differ by "
                f"{difference:g}; delete it"
            )
        return cls.unchecked(model.weights, model.means, model.covariances, low_rank)

    @cached_property
    def _cholesky(self) -> Tensor:
        """Lower factors of the covariances in float64, shape (K, D, D)."""
        return cholesky(self.covariances)

    def _component_log_prob(self, X: Tensor, chunk_size: int | None) -> Tensor:
        """As `component_log_prob`, shape (K, N)."""
        self._check_points(X)
        parameters = X, self.weights, self.means
        if self.low_rank is not None and X.shape[0] > 0:
            log_prob = low_rank_log_prob(*parameters, self.low_rank, chunk_size=chunk_size)
            if log_prob is not None:
                return log_prob
        return component_log_prob(*parameters, self.covariances, chunk_size=chunk_size)

    def _check(self) -> None:
        for name in ("weights", "means", "covariances"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) or not value.is_floating_point():
                kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise TypeError(f"{name} must be a floating-point torch.Tensor, got {kind}")
            if value.dtype != self.means.dtype or value.device != self.means.device:
                raise TypeError(
                    f"weights, means and covariances must share dtype and device; {name} is "
                    f"{value.dtype} on {value.device}, means are {self.means.dtype} on "
                    f"{self.means.device}"
                )
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(f"means must have shape (K, D), got {tuple(self.means.shape)}")
        K, D = self.means.shape
        for name, shape in (("weights", (K,)), ("covariances", (K, D, D))):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} to go with means of shape {(K, D)}, "
                    f"got {tuple(getattr(self, name).shape)}"
                )
        for name in ("weights", "means", "covariances"):
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite; found NaN or infinity")
        tolerance = _ROUNDING * torch.finfo(self.dtype).eps
        total = self.weights.sum().item()
        if self.weights.min().item() < 0 or abs(total - 1) > tolerance:
            raise ValueError(
                "weights must be non-negative and sum to 1, got least weight "
                f"{self.weights.min().item():g} and sum {total:g}"
            )
        asymmetry = (self.covariances - self.covariances.mT).abs().max().item()
        if asymmetry > tolerance * self.covariances.abs().max().item():
            raise ValueError(
                f"covariances must be symmetric; entries differ by up to {asymmetry:g}"
            )

    def _check_points(self, X: Tensor) -> None:
        if not isinstance(X, Tensor):
            raise TypeError(f"X must be a torch.Tensor, got {type(X).__name__}")
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X must have shape (N, {self.n_features}), got {tuple(X.shape)}")
        if X.dtype != self.dtype or X.device != self.device:
            raise TypeError(
                f"X is {X.dtype} on {X.device}, the model {self.dtype} on {self.device}; "
                "convert one of them with .to(...)"
            )

    def _check_index(self, index: Tensor | list[int]) -> Tensor:
        index = torch.as_tensor(index, device=self.device)
        if index.ndim != 1 or index.numel() == 0 or index.is_floating_point():
            raise ValueError(f"index must be a non-empty list of coordinates, got {index}")
        if index.min() < 0 or index.max() >= self.n_features:
            raise ValueError(f"index must lie in 0..{self.n_features - 1}, got {index.tolist()}")
        if index.unique().numel() != index.numel():
            raise ValueError(f"index must not repeat a coordinate, got {index.tolist()}")
        return index.long()
