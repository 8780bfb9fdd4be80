"""The Gaussian mixture as a frozen law: densities, marginals, conditionals, images, samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from biglearn_core.numerics.arguments import (
    check_count,
    check_index,
    check_map,
    check_points,
    check_values,
)
from biglearn_core.numerics.arrays import in_kind
from biglearn_core.numerics.density import Density
from biglearn_core.numerics.evaluation import Evaluation, evaluate, evaluate_differentiably
from biglearn_core.numerics.forms import choose_density
from biglearn_core.numerics.linalg import symmetrize
from biglearn_core.numerics.names import positions
from biglearn_core.numerics.parameters import Parameters
from biglearn_core.numerics.points import FitPoints
from biglearn_core.numerics.structures import structure_of

__all__ = ["GMM"]

Index = Tensor | np.ndarray | Sequence[int] | Sequence[bool] | Sequence[str]


class GMM(Parameters):
    """A Gaussian mixture p(x) = Σ_k π_k N(x | μ_k, Σ_k).

    Parameters
    ----------
    weights : float32 or float64 Tensor of shape (K,)
        Mixing proportions π; non-negative, summing to one.
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
        Symmetric positive definite. Arrays are taken as well as tensors, and become float64 tensors
        on the CPU.
    covariance_type : str, default "full"
        What they have in common: "tied" (all are the same), "diag", "spherical", or another type of
        mclust by its letters (`numerics.structures`). Parameters are counted by it, EM steps keep
        it, and so do marginals, conditionals and images of a type that these cannot break.

    feature_names : sequence of D str, optional
        Names of the coordinates: marginals, conditionals and copies keep them, images do not.

    Raises
    ------
    TypeError
        When an argument is no array, nor float32 or float64 tensor, or dtypes or devices differ.
    ValueError
        When shapes disagree, a value is not finite, the weights are no distribution, a covariance
        is not symmetric positive definite, or the covariances are not of the type.

    Notes
    -----
    Instances never change; the tensors must not be written to. Points may be tensors, which are
    answered by tensors, or arrays, lists and data frames, which are answered by ndarrays of the
    model's dtype. Log densities are in nats. How the
    parameters are checked, copied and saved is told by `Parameters`.

    `low_rank` holds the covariances once more where an EM step left them as a multiple of I plus
    few directions, else None; log densities in many dimensions are then many times cheaper.

    What is computed for a row does not depend on the other rows of its batch. Densities can be
    differentiated by points and parameters that require it.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import GMM
    >>> law = GMM([0.5, 0.5], [[0, 0], [4, 8]], [np.eye(2), np.eye(2)])
    >>> law.predict([[1, 1], [3, 7]])
    array([0, 1])
    >>> law.condition([0], [4.0]).means.numpy().round(2)
    array([[0.],
           [8.]])
    """

    @in_kind
    def evaluate(self, X: Tensor, *, chunk_size: int | None = None) -> Evaluation:
        """Everything that one pass over points tells, for several answers at once.

        Parameters
        ----------
        X : Tensor or array-like of shape (N, D)
            A tensor of the model's dtype and on its device; or anything else that holds numbers,
            which is converted to that dtype. Of a data frame the columns of `feature_names` are
            taken, where both have names.
        chunk_size : int, optional
            Points evaluated at once; picked from a memory bound when not given.

        Returns
        -------
        evaluation : Evaluation
            Log densities, responsibilities and labels, of every row as if it were the only one; in
            NumPy where `X` is no tensor.

        Raises
        ------
        ValueError
            When `X` is not of shape (N, D), or not finite, or lacks a column.
        TypeError
            When dtype or device of a tensor are not the model's.
        """
        check_points(X, self.means)
        if chunk_size is not None:
            check_count("chunk_size", chunk_size)
        parameters = self.weights, self.means, self.covariances
        if torch.is_grad_enabled() and any(t.requires_grad for t in (X, *parameters)):
            return evaluate_differentiably(X, *parameters)
        diagonal = structure_of(self.covariance_type).is_diagonal
        return evaluate(X, *parameters, self.low_rank, diagonal=diagonal, chunk_size=chunk_size)

    @in_kind
    def component_log_prob(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Log of each component's share of the density.

        Parameters
        ----------
        X : Tensor or array-like of shape (N, D)
        chunk_size : int, optional
            As in `evaluate`, and so are the errors.

        Returns
        -------
        log_prob : Tensor of shape (N, K)
            log π_k + log N(x_n | μ_k, Σ_k), in nats; −inf for a component of weight zero, and where
            it is below the least number of the dtype.
        """
        return self.evaluate(X, chunk_size=chunk_size).component_log_prob().T

    @in_kind
    def log_prob(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Log density of every point.

        Parameters
        ----------
        X : Tensor or array-like of shape (N, D)
        chunk_size : int, optional
            As in `evaluate`, and so are the errors.

        Returns
        -------
        log_prob : Tensor of shape (N,)
            In nats; −inf where it is below the least number of the dtype.
        """
        return self.evaluate(X, chunk_size=chunk_size).log_prob()

    @in_kind
    def responsibilities(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Posterior probability of every component.

        Parameters
        ----------
        X : Tensor or array-like of shape (N, D)
        chunk_size : int, optional
            As in `evaluate`, and so are the errors.

        Returns
        -------
        responsibilities : Tensor of shape (N, K)
            Rows sum to one, however far a point lies from all components.
        """
        return self.evaluate(X, chunk_size=chunk_size).responsibilities().T

    @in_kind
    def predict(self, X: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Most probable component of every point.

        Parameters
        ----------
        X : Tensor or array-like of shape (N, D)
        chunk_size : int, optional
            As in `evaluate`, and so are the errors.

        Returns
        -------
        labels : int64 Tensor of shape (N,)
        """
        return self.evaluate(X, chunk_size=chunk_size).labels()

    def density(self, points: FitPoints, index: Tensor | None = None) -> Density:
        """Prepare the E-step on the points of a fit.

        Parameters
        ----------
        points : FitPoints
            Restricted to `index`.
        index : int64 Tensor, optional
            Coordinates that the points show; all when not given.

        Returns
        -------
        density : Density
            In the cheapest form that is accurate on all of them. Its second moments are those that
            the type of the covariances needs.

        Raises
        ------
        ValueError
            When a covariance is not positive definite.
        """
        return choose_density(
            points,
            self.weights,
            self.means,
            self.covariances,
            self.low_rank,
            index=index,
            diagonal=structure_of(self.covariance_type).is_diagonal,
        )

    def mean_log_prob(self, points: FitPoints) -> float:
        """Weighted mean of log p(x) over the points of a fit.

        Parameters
        ----------
        points : FitPoints

        Returns
        -------
        mean : float
            In nats. Models are compared by it, so that it is computed from the same form of the
            covariances whatever a step has left.
        """
        return self.dense().density(points).mean_log_prob(points)

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
        check_count("n", n)
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

    def marginal(self, index: Index) -> GMM:
        """Law of some coordinates.

        Parameters
        ----------
        index : sequence of int, of str, or of D bool
            Distinct coordinates, by position or name, in the order wanted; or a mask.

        Returns
        -------
        marginal : GMM
            Over len(index) coordinates.

        Raises
        ------
        ValueError
            When `index` is empty, repeats a coordinate, leaves 0..D−1, names what is no feature, or
            is a mask of another length.
        """
        index = self._coordinates(index)
        covariances = self.covariances[:, index[:, None], index]
        kept = structure_of(self.covariance_type).of_marginals
        names = self._names_of(index)
        return GMM.unchecked(self.weights, self.means[:, index], covariances, None, kept, names)

    def condition(self, index: Index, values: Tensor | ArrayLike) -> GMM:
        """Law of the other coordinates, given some.

        Parameters
        ----------
        index : sequence of int or str of length d < D, or of D bool
            The coordinates that are known, by position or name.
        values : sequence of float of length d
            What they are; finite. A number where d is one.

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
        known = self._coordinates(index)
        if len(known) == self.n_features:
            raise ValueError("all coordinates are given; leave at least one out of index")
        values = check_values(values, len(known), like=self.means)
        open_ = torch.ones(self.n_features, dtype=torch.bool, device=self.device)
        open_[known] = False
        rest = open_.nonzero().squeeze(1)

        evidence = self.marginal(known)
        cross = self.covariances[:, rest[:, None], known].double()
        gain = torch.cholesky_solve(cross.mT, evidence._cholesky).mT
        residual = values.double() - self.means[:, known].double()
        shift = (gain @ residual[:, :, None]).squeeze(2)
        covariances = self.covariances[:, rest[:, None], rest].double() - gain @ cross.mT
        return GMM.unchecked(
            evidence.responsibilities(values[None])[0],
            (self.means[:, rest].double() + shift).to(self.dtype),
            symmetrize(covariances).to(self.dtype),
            covariance_type=evidence.covariance_type,
            feature_names=self._names_of(rest),
        ).checked("the conditional law")

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
        return self._image(check_map(A, like=self.means)).checked("the image")

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

    def _coordinates(self, index: Index) -> Tensor:
        return check_index(positions(index, self.feature_names), self.n_features, self.device)

    def _names_of(self, index: Tensor) -> tuple[str, ...] | None:
        names = self.feature_names
        return None if names is None else tuple(names[i] for i in index.tolist())

    def _image(self, A: Tensor) -> GMM:
        covariances = symmetrize(A @ self.covariances @ A.mT)
        kept = structure_of(self.covariance_type).of_images
        return GMM.unchecked(self.weights, self.means @ A.mT, covariances, covariance_type=kept)
