"""The Gaussian mixture as a frozen law: densities, marginals, conditionals, images, samples."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.density import Density
from biglearn_core.numerics.evaluation import Evaluation, evaluate, evaluate_differentiably
from biglearn_core.numerics.forms import choose_density
from biglearn_core.numerics.linalg import cholesky, symmetrize
from biglearn_core.numerics.lowrank import LowRankCovariances
from biglearn_core.numerics.points import Points
from biglearn_core.system.persistence import load_arrays, save_arrays

__all__ = ["GMM"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

# How far weights may be from summing to one and covariances from symmetry, in units of eps.
_ROUNDING = 1e3


@dataclass(frozen=True, eq=False)
class GMM:
    """A Gaussian mixture p(x) = Σ_k π_k N(x | μ_k, Σ_k) with full covariances.

    Parameters
    ----------
    weights : float32 or float64 Tensor of shape (K,)
        Mixing proportions π; non-negative, summing to one.
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
        Symmetric positive definite.

    Raises
    ------
    TypeError
        When an argument is no float32 or float64 tensor, or dtypes or devices differ.
    ValueError
        When shapes disagree, a value is not finite, the weights are no distribution, or a
        covariance is not symmetric positive definite.

    Notes
    -----
    Instances never change; the tensors must not be written to. Log densities are in nats.
    `low_rank` holds the covariances once more where an EM step left them as a multiple of I plus
    few directions, else None; log densities in many dimensions are then many times cheaper.

    What is computed for a row does not depend on the other rows of its batch. Densities can be
    differentiated by points and parameters that require it.
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

    def checked(self) -> GMM:
        """Validate parameters that `unchecked` has taken as they are.

        Returns
        -------
        model : GMM
            The same parameters.

        Raises
        ------
        ValueError
            As the constructor.
        """
        return _derived("the mixture", self.weights, self.means, self.covariances, self.low_rank)

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

    def evaluate(self, X: Tensor, *, chunk_size: int | None = None) -> Evaluation:
        """Everything that one pass over points tells, for several answers at once.

        Parameters
        ----------
        X : Tensor of shape (N, D)
        chunk_size : int, optional
            Points evaluated at once; picked from a memory bound when not given.

        Returns
        -------
        evaluation : Evaluation
            Log densities, responsibilities and labels.

        Raises
        ------
        ValueError
            When `X` is not of shape (N, D), or not finite.
        TypeError
            When dtype or device of `X` are not the model's.
        """
        self._check_points(X)
        if chunk_size is not None:
            _check_count("chunk_size", chunk_size)
        parameters = self.weights, self.means, self.covariances
        if torch.is_grad_enabled() and any(t.requires_grad for t in (X, *parameters)):
            return evaluate_differentiably(X, *parameters)
        return evaluate(X, *parameters, self.low_rank, chunk_size=chunk_size)

    def density(self, points: Points, index: Tensor | None = None) -> Density:
        """Prepare log-densities and moments of the points of a fit.

        Parameters
        ----------
        points : Points
            Restricted to `index`.
        index : int64 Tensor, optional
            Coordinates that the points show; all when not given.

        Returns
        -------
        density : Density
            In the cheapest form that is accurate on all of them.

        Raises
        ------
        ValueError
            When a covariance is not positive definite.
        """
        return choose_density(
            points, self.weights, self.means, self.covariances, self.low_rank, index=index
        )

    def mean_log_prob(self, points: Points) -> float:
        """Weighted mean of log p(x) over the points of a fit.

        Parameters
        ----------
        points : Points

        Returns
        -------
        mean : float
            In nats. Models are compared by it: it does not depend on whether a step has left the
            covariances in their low-rank form.
        """
        return self.dense().density(points).mean_log_prob(points)

    def dense(self) -> GMM:
        """Give the same law without the low-rank form of its covariances.

        Returns
        -------
        model : GMM
        """
        return GMM.unchecked(self.weights, self.means, self.covariances)

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
            log π_k + log N(x_n | μ_k, Σ_k), in nats; −inf for a component of weight zero, and where
            it is below the least number of the dtype.

        Raises
        ------
        ValueError
            When `X` is not of shape (N, D), or not finite.
        TypeError
            When dtype or device of `X` are not the model's.
        """
        return self.evaluate(X, chunk_size=chunk_size).component_log_prob().T

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
            In nats; −inf where it is below the least number of the dtype.
        """
        return self.evaluate(X, chunk_size=chunk_size).log_prob()

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
            Rows sum to one, however far a point lies from all components.
        """
        return self.evaluate(X, chunk_size=chunk_size).responsibilities().T

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
        return self.evaluate(X, chunk_size=chunk_size).labels()

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
        _check_count("n", n)
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

    def marginal(self, index: Tensor | Sequence[int] | Sequence[bool]) -> GMM:
        """Law of some coordinates.

        Parameters
        ----------
        index : sequence of int, or of D bool
            Distinct coordinates, in the order wanted; or a mask.

        Returns
        -------
        marginal : GMM
            Over len(index) coordinates.

        Raises
        ------
        ValueError
            When `index` is empty, repeats a coordinate, leaves 0..D−1, or is a mask of another
            length.
        """
        index = self._check_index(index)
        return GMM.unchecked(
            self.weights,
            self.means[:, index],
            self.covariances[:, index[:, None], index],
        )

    def condition(
        self, index: Tensor | Sequence[int] | Sequence[bool], values: Tensor | Sequence[float]
    ) -> GMM:
        """Law of the other coordinates, given some.

        Parameters
        ----------
        index : sequence of int of length d < D, or of D bool
            The coordinates that are known.
        values : sequence of float of length d
            What they are; finite.

        Returns
        -------
        conditional : GMM
            Over the D − d remaining coordinates, in increasing order.

        Raises
        ------
        ValueError
            When `index` is no proper subset of the coordinates, `values` has another length or is
            not finite, or the law asked for cannot be held in the model's dtype.
        """
        known = self._check_index(index)
        if len(known) == self.n_features:
            raise ValueError("all coordinates are given; leave at least one out of index")
        try:
            values = torch.as_tensor(values, dtype=self.dtype, device=self.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"values must be a list of numbers, got {values!r}") from error
        if values.shape != (len(known),):
            raise ValueError(
                f"values must have shape ({len(known)},), one per index, got {tuple(values.shape)}"
            )
        if not torch.isfinite(values).all():
            raise ValueError(
                f"values must be finite, got {values.tolist()}; leave out of index what is "
                "not known"
            )
        open_ = torch.ones(self.n_features, dtype=torch.bool, device=self.device)
        open_[known] = False
        rest = open_.nonzero().squeeze(1)

        evidence = self.marginal(known)
        cross = self.covariances[:, rest[:, None], known].double()
        gain = torch.cholesky_solve(cross.mT, evidence._cholesky).mT
        residual = values.double() - self.means[:, known].double()
        shift = (gain @ residual[:, :, None]).squeeze(2)
        covariances = self.covariances[:, rest[:, None], rest].double() - gain @ cross.mT
        return _derived(
            "the conditional law",
            evidence.responsibilities(values[None])[0],
            (self.means[:, rest].double() + shift).to(self.dtype),
            symmetrize(covariances).to(self.dtype),
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
            When `A` is not of shape (d, D), not finite or not of full row rank, or the image cannot
            be held in the model's dtype.
        """
        A = torch.as_tensor(A, dtype=self.dtype, device=self.device)
        if A.ndim != 2 or A.shape[1] != self.n_features:
            raise ValueError(f"A must have shape (d, {self.n_features}), got {tuple(A.shape)}")
        if not torch.isfinite(A).all():
            raise ValueError("A must be finite; found NaN or infinity")
        # Units of the rows do not matter, but squares of them must be numbers.
        sizes = A.abs().amax(dim=1, keepdim=True).double()
        rank = int(torch.linalg.matrix_rank(A.double() / sizes.where(sizes > 0, 1.0)))
        if rank < len(A):
            raise ValueError(
                f"A must be of full row rank, got {len(A)} rows of rank {rank}: their image has no "
                "density; leave out rows that are combinations of others"
            )
        image = self._image(A)
        return _derived("the image", image.weights, image.means, image.covariances)

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
            return self._image(A)
        low_rank = self.low_rank.rotate(A)
        return GMM.unchecked(self.weights, self.means @ A.mT, low_rank.dense(), low_rank)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GMM:
        """Copy the model to another device or floating-point type.

        Parameters
        ----------
        device : torch.device or str, optional
        dtype : torch.float32 or torch.float64, optional

        Returns
        -------
        model : GMM
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
        if dtype is None or dtype == self.dtype:
            parameters = (p.to(device=device) for p in (self.weights, self.means, self.covariances))
            low_rank = None if self.low_rank is None else self.low_rank.to(device)
            return GMM.unchecked(*parameters, low_rank)
        _check_dtype("dtype", dtype)
        weights, means = (p.to(device=device) for p in (self.weights.double(), self.means))
        low_rank = None if self.low_rank is None else self.low_rank.to(device, dtype)
        covariances = self.covariances.to(device) if low_rank is None else low_rank.dense()
        return _derived(
            "the mixture",
            (weights / weights.sum()).to(dtype),
            means.to(dtype),
            symmetrize(covariances.to(dtype)),
            low_rank,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Write everything into named arrays, for a file.

        Returns
        -------
        arrays : dict of str to ndarray
            weights, means and covariances, and the low-rank form where there is one.
        """
        names = ("weights", "means", "covariances")
        arrays = {name: getattr(self, name).detach().cpu().numpy() for name in names}
        return arrays if self.low_rank is None else arrays | self.low_rank.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, source: str = "the mapping") -> GMM:
        """Build and validate a model from what `arrays` wrote.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The covariances may be absent where the low-rank form is there.
        source : str
            What an error calls them, for example the path of their file.

        Returns
        -------
        model : GMM
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
            model = cls(weights, means, covariances)
            return model if low_rank is None else model._with_low_rank(low_rank)
        except KeyError as error:
            raise ValueError(f"{source} holds no mixture: it lacks {error}") from error
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{source} holds no valid mixture: {error}") from error

    def save(self, path: str | os.PathLike) -> None:
        """Write the parameters to an .npz file, atomically.

        Parameters
        ----------
        path : path-like
        """
        save_arrays(path, self.arrays())

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
        return cls.from_arrays(load_arrays(path), source=str(path))

    @cached_property
    def _cholesky(self) -> Tensor:
        """Lower factors of the covariances in float64, shape (K, D, D)."""
        return cholesky(self.covariances)

    def _image(self, A: Tensor) -> GMM:
        """Law of A x, unchecked."""
        return GMM.unchecked(
            self.weights, self.means @ A.mT, symmetrize(A @ self.covariances @ A.mT)
        )

    def _with_low_rank(self, low_rank: LowRankCovariances) -> GMM:
        """Take up another form of the covariances, once it is seen to be the same."""
        difference = (low_rank.dense() - self.covariances).abs().max().item()
        allowed = _ROUNDING * torch.finfo(self.dtype).eps * self.covariances.abs().max().item()
        if not difference <= allowed:
            raise ValueError(
                f"the covariances and their low-rank form differ by up to {difference:g}"
            )
        return GMM.unchecked(self.weights, self.means, self.covariances, low_rank)

    def _check(self) -> None:
        for name in ("weights", "means", "covariances"):
            value = getattr(self, name)
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"{name} must be a torch.Tensor, got {type(value).__name__}; "
                    "torch.as_tensor(...) makes one"
                )
            _check_dtype(name, value.dtype)
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
        least = self.covariances.diagonal(dim1=1, dim2=2).min().item()
        if 0 < least < torch.finfo(self.dtype).tiny:
            raise ValueError(
                f"covariances have a variance of {least:g}, below the least that {self.dtype} "
                f"holds with all digits ({torch.finfo(self.dtype).tiny:g}): rescale the data"
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
        bad = (~torch.isfinite(X)).any(dim=1).sum().item()
        if bad:
            raise ValueError(
                f"X holds NaN or infinity in {bad} of {len(X)} rows: drop them, or take the "
                "marginal of the coordinates that are known"
            )

    def _check_index(self, index: Tensor | Sequence[int] | Sequence[bool]) -> Tensor:
        if isinstance(index, list | tuple) and 0 < sum(map(_is_bool, index)) < len(index):
            raise ValueError(f"index must be coordinates or a mask, got some of each: {index}")
        try:
            index = torch.as_tensor(index, device=self.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"index must be a list of coordinates, got {index!r}") from error
        if index.dtype == torch.bool:
            if index.shape != (self.n_features,):
                raise ValueError(
                    f"index as a mask must have shape ({self.n_features},), one entry per "
                    f"coordinate, got {tuple(index.shape)}"
                )
            index = index.nonzero().squeeze(1)
        if index.ndim != 1 or index.numel() == 0 or index.dtype not in _INTEGERS:
            raise ValueError(f"index must be a non-empty list of coordinates, got {index}")
        if index.min() < 0 or index.max() >= self.n_features:
            raise ValueError(f"index must lie in 0..{self.n_features - 1}, got {index.tolist()}")
        if index.unique().numel() != index.numel():
            raise ValueError(f"index must not repeat a coordinate, got {index.tolist()}")
        return index.long()


def _is_bool(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an int of at least 1, got {value!r}")


def _check_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be torch.float32 or torch.float64, got {dtype}")


def _derived(
    what: str,
    weights: Tensor,
    means: Tensor,
    covariances: Tensor,
    low_rank: LowRankCovariances | None = None,
) -> GMM:
    """Build what follows from a valid mixture, unless rounding has made it invalid."""
    try:
        model = GMM(weights, means, covariances)
        return model if low_rank is None else model._with_low_rank(low_rank)
    except ValueError as error:
        raise ValueError(f"{what} cannot be held in {means.dtype}: {error}") from error
