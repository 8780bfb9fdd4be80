"""What a caller hands to a fit, checked at the edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.system.devices import check_memory
from biglearn_core.system.numbers import check_integer, check_real, shown

__all__ = [
    "check_covariance_floor",
    "check_data",
    "check_finite_model",
    "check_fit",
    "check_log_likelihood",
    "check_sample_weight",
    "check_start",
]

_REMEDY = (
    "rescale X by a power of ten (the start's means with it, its covariances and covariance_floor "
    "by the square), or fit with BigLearnEM or JointEM, which rescale by themselves"
)


def check_fit(
    X: Tensor,
    init: GMM,
    *,
    n_iter: int,
    covariance_floor: float,
    weight_smoothing: float,
    sample_weight: Tensor | None,
    callback: Callable | None,
    chunk_size: int | None,
) -> tuple[Tensor | None, int, dict[str, float]]:
    """Check what both training loops take.

    Parameters
    ----------
    X, init, n_iter, covariance_floor, weight_smoothing, sample_weight, callback, chunk_size
        As in `fit_joint_em`.

    Returns
    -------
    sample_weight : Tensor or None
        As `check_sample_weight` scales it.
    n_iter : int
    options : dict of str to float
        Of every step: covariance_floor and weight_smoothing.

    Raises
    ------
    TypeError, ValueError
        As `fit_joint_em`.
    """
    check_data(X)
    check_start(X, init)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {type(callback).__name__}")
    if chunk_size is not None:
        check_integer("chunk_size", chunk_size, least=1)
    sample_weight = check_sample_weight(sample_weight, X)
    n_iter = check_integer("n_iter", n_iter, least=0)
    most = math.sqrt(torch.finfo(X.dtype).max)  # a sum over the components is finite
    return (
        sample_weight,
        n_iter,
        {
            "covariance_floor": check_covariance_floor(covariance_floor, X),
            "weight_smoothing": check_real(
                "weight_smoothing", weight_smoothing, least=0, most=most
            ),
        },
    )


def check_data(X: Tensor) -> None:
    """Check the data of a fit.

    Parameters
    ----------
    X : Tensor of shape (N, D)

    Raises
    ------
    TypeError
        When it is no float32 or float64 tensor.
    ValueError
        When it has another shape, holds NaN or infinity, or spreads so far that sums of its squares
        leave the dtype.
    """
    if not isinstance(X, Tensor) or X.dtype not in (torch.float32, torch.float64):
        kind = X.dtype if isinstance(X, Tensor) else type(X).__name__
        hint = "; torch.from_numpy(X) makes one" if isinstance(X, np.ndarray) else ""
        raise TypeError(f"X must be a float32 or float64 torch.Tensor, got {kind}{hint}")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X must have shape (N, D) with N >= 1, got {tuple(X.shape)}")
    low, high = X.aminmax(dim=0)
    if not (low.isfinite() & high.isfinite()).all():
        bad = (~torch.isfinite(X)).sum().item()
        raise ValueError(f"X holds {bad} values that are NaN or infinite; drop or impute them")
    spread, most = _spread(X, low, high), _largest_spread(X)
    if not spread <= most:
        if not math.isfinite(spread):
            spread = torch.maximum(low.abs(), high.abs()).max().item()
        raise ValueError(
            f"X reaches {spread:.3g} from its mean, but squares of more than {most:.3g} cannot be "
            f"summed in {X.dtype} (shape {tuple(X.shape)}): {_REMEDY}"
        )


def check_start(X: Tensor, init: GMM) -> None:
    """Check the start of a fit against its data.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        Checked.
    init : GMM

    Raises
    ------
    TypeError
        When it is no mixture, or of another dtype or device than the data.
    ValueError
        When it has another D, values that are not finite or whose squares leave the dtype, weights
        that are no proportions, or when memory lacks for its covariances.
    """
    if not isinstance(init, GMM):
        raise TypeError(
            f"init must be a GMM, got {shown(init)}; biglearn_core.init draws one, for example "
            "kmeans_plusplus_start(X, n_components, seed=0)"
        )
    if X.shape[1] != init.n_features:
        raise ValueError(f"X has {X.shape[1]} columns, the start {init.n_features}")
    if X.dtype != init.dtype or X.device != init.device:
        raise TypeError(
            f"X is {X.dtype} on {X.device}, the start {init.dtype} on {init.device}; convert one "
            "of them with .to(...)"
        )
    most = _largest_spread(X)
    distance = (init.means.double() - X.mean(dim=0)).abs().max().item()
    if not distance <= most:
        raise ValueError(
            f"init has means as far as {distance:.3g} from the mean of X, but squares of more than "
            f"{most:.3g} cannot be summed in {X.dtype}: draw the start from the data, or {_REMEDY}"
        )
    variance = max(bound.abs().item() for bound in init.covariances.aminmax())
    if not variance <= most**2:
        raise ValueError(
            f"init has covariances of up to {variance:.3g}, but more than {most**2:.3g} cannot be "
            f"summed in {X.dtype}: draw the start from the data, or {_REMEDY}"
        )
    least = init.weights.min().item()
    if not (least >= 0 and 0 < init.weights.sum().item() < math.inf):
        raise ValueError(
            f"init must have finite, non-negative weights, got {init.weights.tolist()}"
        )
    check_memory(
        # Moments and covariances of a step beside those of the start; the data about their mean.
        X.element_size() * (2 * init.covariances.numel() + X.numel()),
        X.device,
        purpose=f"a fit of {init.n_components} components to data of shape {tuple(X.shape)}",
    )


def check_covariance_floor(value: Any, X: Tensor) -> float:
    """Check the least eigenvalue that a fit leaves to its covariances.

    Parameters
    ----------
    value : object
    X : Tensor of shape (N, D)
        Checked.

    Returns
    -------
    covariance_floor : float

    Raises
    ------
    TypeError
        When it is no number.
    ValueError
        When it is negative, not finite, or outside what the dtype of the data can hold; or zero
        where the squares of the data vanish in their dtype.
    """
    floor = check_real("covariance_floor", value, least=0)
    tiny, most = torch.finfo(X.dtype).tiny, _largest_spread(X) ** 2
    if not (floor == 0 or tiny <= floor <= most):
        raise ValueError(
            f"covariance_floor must be 0, or from {tiny:.3g} to {most:.3g} for {X.dtype} of shape "
            f"{tuple(X.shape)}, got {floor}"
        )
    if floor > 0:
        return floor
    spread, least = _spread(X, *X.aminmax(dim=0)), _least_spread(X)
    if 0 < spread < least:
        raise ValueError(
            f"X stays within {spread:.3g} of its mean, but squares of less than {least:.3g} vanish "
            f"in {X.dtype}: {_REMEDY}, or give a covariance_floor above 0"
        )
    return floor


def check_sample_weight(sample_weight: Tensor | None, X: Tensor) -> Tensor | None:
    """Check sample weights, and scale them by a power of two.

    Parameters
    ----------
    sample_weight : Tensor of shape (N,) or None
        Real numbers; booleans count as 0 and 1.
    X : Tensor of shape (N, D)
        Checked.

    Returns
    -------
    sample_weight : Tensor of shape (N,) or None
        In the dtype of the data, the largest in [1, 2), so that no sum leaves it. Nothing that a
        fit finds depends on the scale, and a power of two rounds nothing.

    Raises
    ------
    TypeError
        When they are no tensor of real numbers.
    ValueError
        When they have another shape or device, are negative, not finite, or zero everywhere.
    """
    if sample_weight is None:
        return None
    if not isinstance(sample_weight, Tensor) or sample_weight.is_complex():
        kind = sample_weight.dtype if isinstance(sample_weight, Tensor) else shown(sample_weight)
        hint = "; torch.from_numpy makes one" if isinstance(sample_weight, np.ndarray) else ""
        raise TypeError(f"sample_weight must be a torch.Tensor of real numbers, got {kind}{hint}")
    if sample_weight.shape != (X.shape[0],) or sample_weight.device != X.device:
        raise ValueError(
            f"sample_weight must have shape ({X.shape[0]},) on {X.device}, got "
            f"{tuple(sample_weight.shape)} on {sample_weight.device}"
        )
    weights = sample_weight.double()
    least, largest = (bound.item() for bound in weights.aminmax())
    if not (least >= 0 and largest < math.inf):
        raise ValueError(
            f"sample_weight must be finite and non-negative, got values from {least} to {largest}"
        )
    if largest == 0:
        raise ValueError("sample_weight must not be zero everywhere")
    exponent = 1 - math.frexp(largest)[1]
    half = exponent // 2  # a subnormal weight takes more than the largest power of two at once
    return (weights * 2.0**half * 2.0 ** (exponent - half)).to(X.dtype)


def check_log_likelihood(value: float, iteration: int, dtype: torch.dtype) -> None:
    """Check that a step has stayed inside the dtype.

    Parameters
    ----------
    value : float
        Mean log-likelihood before the step.
    iteration : int
    dtype : torch.dtype

    Raises
    ------
    ValueError
        When it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(
            f"the log-likelihood of iteration {iteration} is {value}: numbers have left {dtype}. "
            "The start may lie far from the data, or covariance_floor be tiny beside their "
            "variance: draw the start from the data, raise covariance_floor, or fit in float64"
        )


def check_finite_model(model: GMM) -> None:
    """Check that the outcome of a fit has stayed inside the dtype.

    Parameters
    ----------
    model : GMM

    Raises
    ------
    ValueError
        When a parameter is not finite.
    """
    for name in ("weights", "means", "covariances"):
        if not all(bound.isfinite() for bound in getattr(model, name).aminmax()):
            raise ValueError(
                f"the fit has ended with {name} that are not finite: numbers have left "
                f"{model.dtype}; {_REMEDY}, or fit in float64"
            )


def _spread(X: Tensor, low: Tensor, high: Tensor) -> float:
    """Largest distance of a value from its column's mean."""
    centre = X.mean(dim=0).double()
    return torch.maximum(high.double() - centre, centre - low.double()).max().item()


def _largest_spread(X: Tensor) -> float:
    """How far points may lie from their mean, such that sums of squares stay in the dtype.

    A point is at most twice as far from another mean among the points; squares are summed with
    weights below two over the rows, and over the columns.
    """
    return math.sqrt(torch.finfo(X.dtype).max / (16 * max(X.shape)))


def _least_spread(X: Tensor) -> float:
    """How far some point has to lie from the mean, such that squares are told from zero."""
    return math.sqrt(torch.finfo(X.dtype).tiny * 16 * max(X.shape))
