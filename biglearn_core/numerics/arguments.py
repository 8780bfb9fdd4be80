"""What a mixture is made of and asked, counted and checked: parameters, points, indices, maps."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from biglearn_core.rows.tables import native, with_nan

__all__ = [
    "ROUNDING",
    "check_count",
    "check_dtype",
    "check_index",
    "check_map",
    "check_parameters",
    "check_points",
    "check_values",
]

# How far weights may be from summing to one and covariances from symmetry, in units of eps.
ROUNDING = 1e3

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_parameters(weights: Tensor, means: Tensor, covariances: Tensor) -> None:
    """Check the parameters of a mixture, but for covariances that are not positive definite.

    Parameters
    ----------
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)

    Raises
    ------
    TypeError
        When one is no float32 or float64 tensor, or dtypes or devices differ.
    ValueError
        When shapes disagree, a value is not finite, the weights are no distribution, or a
        covariance is not symmetric or has a variance among the subnormal numbers.
    """
    parameters = {"weights": weights, "means": means, "covariances": covariances}
    for name, value in parameters.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} must be a torch.Tensor, got {type(value).__name__}; "
                "torch.as_tensor(...) makes one"
            )
        check_dtype(name, value.dtype)
    for name, value in parameters.items():
        if value.dtype != means.dtype or value.device != means.device:
            raise TypeError(
                f"weights, means and covariances must share dtype and device; {name} is "
                f"{value.dtype} on {value.device}, means are {means.dtype} on {means.device}"
            )
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(f"means must have shape (K, D), got {tuple(means.shape)}")
    K, D = means.shape
    for name, shape in (("weights", (K,)), ("covariances", (K, D, D))):
        if parameters[name].shape != shape:
            raise ValueError(
                f"{name} must have shape {shape} to go with means of shape {(K, D)}, "
                f"got {tuple(parameters[name].shape)}"
            )
    for name, value in parameters.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} must be finite; found NaN or infinity")
    tolerance = ROUNDING * torch.finfo(means.dtype).eps
    total = weights.sum().item()
    if weights.min().item() < 0 or abs(total - 1) > tolerance:
        raise ValueError(
            "weights must be non-negative and sum to 1, got least weight "
            f"{weights.min().item():g} and sum {total:g}"
        )
    least = covariances.diagonal(dim1=1, dim2=2).min().item()
    if 0 < least < torch.finfo(means.dtype).tiny:
        raise ValueError(
            f"covariances have a variance of {least:g}, below the least that {means.dtype} "
            f"holds with all digits ({torch.finfo(means.dtype).tiny:g}): rescale the data"
        )
    asymmetry = (covariances - covariances.mT).abs().max().item()
    if asymmetry > tolerance * covariances.abs().max().item():
        raise ValueError(f"covariances must be symmetric; entries differ by up to {asymmetry:g}")


def check_points(X: Tensor, means: Tensor) -> None:
    """Check points against the mixture that is asked about them.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    means : Tensor of shape (K, D)

    Raises
    ------
    TypeError
        When it is not of the dtype and on the device of the means.
    ValueError
        When it is of another shape, or not finite.
    """
    if X.ndim != 2 or X.shape[1] != means.shape[1]:
        raise ValueError(f"X must have shape (N, {means.shape[1]}), got {tuple(X.shape)}")
    if X.dtype != means.dtype or X.device != means.device:
        raise TypeError(
            f"X is {X.dtype} on {X.device}, the model {means.dtype} on {means.device}; "
            "convert one of them with .to(...)"
        )
    bad = (~torch.isfinite(X)).any(dim=1).sum().item()
    if bad:
        raise ValueError(
            f"X holds NaN or infinity in {bad} of {len(X)} rows: drop them, or take the "
            "marginal of the coordinates that are known"
        )


def check_index(
    index: Tensor | Sequence[int] | Sequence[bool], n_features: int, device: torch.device
) -> Tensor:
    """Check a choice of coordinates.

    Parameters
    ----------
    index : sequence of int, or of D bool
        Distinct coordinates, or a mask.
    n_features : int
        D.
    device : torch.device

    Returns
    -------
    index : int64 Tensor of shape (d,)
        On the device.

    Raises
    ------
    ValueError
        When it is empty, repeats a coordinate, leaves 0..D−1, or is a mask of another length.
    """
    if isinstance(index, list | tuple) and 0 < sum(map(_is_bool, index)) < len(index):
        raise ValueError(f"index must be coordinates or a mask, got some of each: {index}")
    try:
        index = torch.as_tensor(native(index), device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"index must be a list of coordinates, got {index!r}") from error
    if index.dtype == torch.bool:
        if index.shape != (n_features,):
            raise ValueError(
                f"index as a mask must have shape ({n_features},), one entry per coordinate, got "
                f"{tuple(index.shape)}"
            )
        index = index.nonzero().squeeze(1)
    if index.ndim != 1 or index.numel() == 0 or index.dtype not in _INTEGERS:
        raise ValueError(f"index must be a non-empty list of coordinates, got {index}")
    if index.min() < 0 or index.max() >= n_features:
        raise ValueError(f"index must lie in 0..{n_features - 1}, got {index.tolist()}")
    if index.unique().numel() != index.numel():
        raise ValueError(f"index must not repeat a coordinate, got {index.tolist()}")
    return index.long()


def check_values(values: Tensor | ArrayLike, n: int, like: Tensor) -> Tensor:
    """Check what some coordinates are known to be.

    Parameters
    ----------
    values : sequence of float, or a number where n is one
    n : int
        How many there must be.
    like : Tensor
        Gives dtype and device.

    Returns
    -------
    values : Tensor of shape (n,)

    Raises
    ------
    ValueError
        When it is no list of as many finite numbers.
    """
    try:
        if not isinstance(values, Tensor):
            values = native(with_nan(values))
        values = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"values must be a list of numbers, got {values!r}") from error
    if n == 1 and values.ndim == 0:
        values = values[None]
    if values.shape != (n,):
        raise ValueError(f"values must have shape ({n},), one per index, got {tuple(values.shape)}")
    if not torch.isfinite(values).all():
        raise ValueError(
            f"values must be finite, got {values.tolist()}; leave out of index what is not known"
        )
    return values


def check_map(A: Tensor, like: Tensor) -> Tensor:
    """Check a linear map under which a mixture keeps a density.

    Parameters
    ----------
    A : Tensor of shape (d, D)
    like : Tensor of shape (K, D)
        Gives D, dtype and device.

    Returns
    -------
    A : Tensor of shape (d, D)

    Raises
    ------
    ValueError
        When it is of another shape, not finite or not of full row rank.
    """
    A = torch.as_tensor(native(A), dtype=like.dtype, device=like.device)
    if A.ndim != 2 or A.shape[1] != like.shape[1]:
        raise ValueError(f"A must have shape (d, {like.shape[1]}), got {tuple(A.shape)}")
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
    return A


def check_count(name: str, value: int) -> None:
    """Check a number of things.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : int

    Raises
    ------
    ValueError
        When it is no integer of at least one.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an int of at least 1, got {value!r}")


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """Check a floating-point type.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    dtype : torch.dtype

    Raises
    ------
    TypeError
        When it is neither float32 nor float64.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be torch.float32 or torch.float64, got {dtype}")


def _is_bool(value: object) -> bool:
    return isinstance(value, bool | np.bool_)
