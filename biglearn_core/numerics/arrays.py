"""Arrays in, arrays out: how a mixture of tensors is asked about anything that is no tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from torch import Tensor

from biglearn_core.numerics.evaluation import Evaluation
from biglearn_core.numerics.names import named_columns
from biglearn_core.rows.tables import native, with_nan

__all__ = ["ArrayEvaluation", "in_kind", "parameter_of", "points_of"]


@dataclass(frozen=True)
class ArrayEvaluation:
    """What an evaluation tells, in NumPy.

    Parameters
    ----------
    tensors : Evaluation
    """

    tensors: Evaluation

    def component_log_prob(self) -> np.ndarray:
        """Log π_k N(x_n | μ_k, Σ_k), shape (K, N), in nats."""
        return self.tensors.component_log_prob().numpy()

    def log_prob(self) -> np.ndarray:
        """Log p(x_n), shape (N,), in nats."""
        return self.tensors.log_prob().numpy()

    def responsibilities(self) -> np.ndarray:
        """Posterior probabilities of the components, shape (K, N)."""
        return self.tensors.responsibilities().numpy()

    def labels(self) -> np.ndarray:
        """Most probable component of every row, shape (N,)."""
        return self.tensors.labels().numpy()


T = TypeVar("T", covariant=True)
A = TypeVar("A", covariant=True)


class Answers(Protocol[T, A]):
    """A method that answers tensors by tensors, and arrays by arrays."""

    @overload
    def __call__(self, X: Tensor, *, chunk_size: int | None = None) -> T: ...

    @overload
    def __call__(self, X: ArrayLike, *, chunk_size: int | None = None) -> A: ...


class InKind(Protocol[T, A]):
    """The same, not yet bound to a model."""

    def __get__(self, model: object, owner: type | None = None) -> Answers[T, A]: ...


@overload
def in_kind(method: Callable[..., Tensor]) -> InKind[Tensor, np.ndarray]: ...


@overload
def in_kind(method: Callable[..., Evaluation]) -> InKind[Evaluation, ArrayEvaluation]: ...


def in_kind(method: Callable) -> Any:
    """Let a method that takes points as a tensor take arrays and frames, and answer in NumPy.

    Parameters
    ----------
    method : callable
        Called as method(model, X, **options) with a tensor of the model's dtype on its device; it
        gives a tensor or an evaluation.

    Returns
    -------
    method : callable
        The same on tensors. Everything else is brought to the model's dtype, and answered by
        ndarrays of that dtype, without gradients.
    """

    @wraps(method)
    def answer(model: Any, X: Any, **options: Any) -> Any:
        if isinstance(X, Tensor):
            return method(model, X, **options)
        with torch.no_grad():
            X = points_of(named_columns(X, model.feature_names), like=model.means)
            found = method(model, X, **options)
        if isinstance(found, Evaluation):
            shift = None if found.shift is None else found.shift.cpu()
            return ArrayEvaluation(Evaluation(found.relative.cpu(), shift))
        return found.cpu().numpy()

    return answer


def points_of(X: ArrayLike, *, like: Tensor) -> Tensor:
    """Copy a table into a tensor.

    Parameters
    ----------
    X : array-like or data frame
        What is missing becomes NaN, however it is written.
    like : Tensor
        Gives dtype and device.

    Returns
    -------
    points : Tensor

    Raises
    ------
    TypeError, ValueError
        When it holds anything but numbers.
    """
    array = check_array(
        with_nan(X),
        dtype=[np.float64, np.float32],
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name="X",
    )
    return torch.tensor(native(array), dtype=like.dtype, device=like.device)


def parameter_of(name: str, value: Any) -> Tensor:
    """Copy a parameter into a float64 tensor on the CPU, unless it is a tensor.

    Parameters
    ----------
    name : str
        Of the parameter, for the error.
    value : Tensor or array-like

    Returns
    -------
    parameter : Tensor

    Raises
    ------
    TypeError
        When it is no array of numbers.
    """
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or np.ma.is_masked(value):
        raise TypeError(
            f"{name} must be a tensor or an array of numbers, got {type(value).__name__}"
        )
    return torch.tensor(native(array), dtype=torch.float64)
