"""What a caller hands to a fit, checked at the edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biglearn_core.agreement import check_alike
from biglearn_core.gmm import GMM
from biglearn_core.system.devices import check_memory
from biglearn_core.system.numbers import check_integer, check_real, shown
from biglearn_core.system.processes import ALONE, Processes

__all__ = [
    "Facts",
    "check_covariance_floor",
    "check_data",
    "check_finite_model",
    "check_log_likelihood",
    "check_mixture",
    "check_options",
    "check_sample_weight",
    "check_start",
]

_REMEDY = (
    "rescale X by a power of ten (the start's means with it, its covariances and covariance_floor "
    "by the square), or fit with BigLearnEM or JointEM, which rescale by themselves"
)


@dataclass(frozen=True, eq=False)
class Facts:
    """What the checks of a fit ask of its data.

    Parameters
    ----------
    n_rows, n_features : int
    dtype : torch.dtype
    device : torch.device
    low, high, mean : float64 Tensor of shape (D,)
        Of the values; on the CPU.
    n_bad : int
        Values, or rows, that are not finite.
    """

    n_rows: int
    n_features: int
    dtype: torch.dtype
    device: torch.device
    low: Tensor
    high: Tensor
    mean: Tensor
    n_bad: int

    @classmethod
    def of(cls, X: Tensor, processes: Processes = ALONE) -> Facts:
        """Look through a tensor, and those of the other processes.

        Parameters
        ----------
        X : Tensor of shape (N, D)
            Empty where a process has no rows.
        processes : Processes, optional

        Returns
        -------
        facts : Facts
            Of all rows.

        Raises
        ------
        TypeError
            When it is no float32 or float64 tensor.
        ValueError
            When it has no two axes, no columns, or nobody has rows; when those of the processes
            differ in columns or dtype.
        """
        processes.together(lambda: _check_tensor(X))
        N, D = X.shape
        check_alike(D, X.element_size(), processes)
        if N == 0:
            low, high = torch.full((2, D), math.inf, dtype=torch.float64)
            high, mean = -high, torch.zeros(D, dtype=torch.float64)
        else:
            low, high = (bound.double().cpu() for bound in X.aminmax(dim=0))
            mean = X.mean(dim=0).double().cpu()
        bad = 0 if (low.isfinite() & high.isfinite()).all() else (~torch.isfinite(X)).sum().item()
        n_bad = torch.tensor(float(bad if N else 0))
        if processes.size > 1:
            low = torch.from_numpy(np.min(processes.gather(low.numpy()), axis=0))
            high = torch.from_numpy(np.max(processes.gather(high.numpy()), axis=0))
            parts = [torch.tensor(float(N)), N * mean, n_bad]
            n_rows, sums, n_bad = processes.sum([part.double() for part in parts])
            N, mean = int(n_rows), sums / n_rows
        if N == 0:
            raise ValueError(f"X must have shape (N, D) with N >= 1, got {tuple(X.shape)}")
        return cls(N, D, X.dtype, X.device, low, high, mean, int(n_bad))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return self.n_rows, self.n_features

    @property
    def spread(self) -> float:
        """Largest distance of a value from its column's mean."""
        return torch.maximum(self.high - self.mean, self.mean - self.low).max().item()

    @property
    def largest_spread(self) -> float:
        """How far points may lie from their mean, such that sums of squares stay in the dtype.

        A point is at most twice as far from another mean among the points; squares are summed with
        weights below two over the rows, and over the columns.
        """
        return math.sqrt(torch.finfo(self.dtype).max / (16 * max(self.shape)))

    @property
    def least_spread(self) -> float:
        """How far some point has to lie from the mean, such that squares are told from zero."""
        return math.sqrt(torch.finfo(self.dtype).tiny * 16 * max(self.shape))


def check_options(
    facts: Facts,
    *,
    n_iter: int,
    covariance_floor: float,
    weight_smoothing: float,
    callback: Callable | None,
    chunk_size: int | None,
) -> tuple[int, dict[str, float]]:
    """Check the options that both training loops take.

    Parameters
    ----------
    facts : Facts
    n_iter, covariance_floor, weight_smoothing, callback, chunk_size
        As in `fit_joint_em`.

    Returns
    -------
    n_iter : int
    options : dict of str to float
        Of every step: covariance_floor and weight_smoothing.

    Raises
    ------
    TypeError, ValueError
        As `fit_joint_em`.
    """
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {type(callback).__name__}")
    if chunk_size is not None:
        check_integer("chunk_size", chunk_size, least=1)
    n_iter = check_integer("n_iter", n_iter, least=0)
    most = math.sqrt(torch.finfo(facts.dtype).max)  # a sum over the components is finite
    smoothing = check_real("weight_smoothing", weight_smoothing, least=0, most=most)
    floor = check_covariance_floor(covariance_floor, facts)
    return n_iter, {"covariance_floor": floor, "weight_smoothing": smoothing}


def _check_tensor(X: Tensor) -> None:
    if not isinstance(X, Tensor) or X.dtype not in (torch.float32, torch.float64):
        kind = X.dtype if isinstance(X, Tensor) else type(X).__name__
        hint = "; torch.from_numpy(X) makes one" if isinstance(X, np.ndarray) else ""
        raise TypeError(f"X must be a float32 or float64 torch.Tensor, got {kind}{hint}")
    if X.ndim != 2 or X.shape[1] == 0:
        raise ValueError(f"X must have shape (N, D) with N >= 1, got {tuple(X.shape)}")


def check_data(facts: Facts) -> None:
    """Check the data of a fit.

    Parameters
    ----------
    facts : Facts

    Raises
    ------
    ValueError
        When they hold NaN or infinity, or spread so far that sums of their squares leave the dtype.
    """
    if facts.n_bad:
        raise ValueError(
            f"X holds {facts.n_bad} values that are NaN or infinite; drop or impute them"
        )
    spread, most = facts.spread, facts.largest_spread
    if not spread <= most:
        if not math.isfinite(spread):
            spread = torch.maximum(facts.low.abs(), facts.high.abs()).max().item()
        raise ValueError(
            f"X reaches {spread:.3g} from its mean, but squares of more than {most:.3g} cannot be "
            f"summed in {facts.dtype} (shape {facts.shape}): {_REMEDY}"
        )


def check_mixture(init: Any) -> None:
    """Check that the start of a fit is a mixture.

    Parameters
    ----------
    init : object

    Raises
    ------
    TypeError
        When it is none.
    """
    if not isinstance(init, GMM):
        raise TypeError(
            f"init must be a GMM, got {shown(init)}; biglearn_core.init draws one, for example "
            "kmeans_plusplus_start(X, n_components, seed=0)"
        )


def check_start(facts: Facts, init: GMM, *, n_held: int) -> None:
    """Check the start of a fit against its data.

    Parameters
    ----------
    facts : Facts
        Checked.
    init : GMM
    n_held : int
        Numbers of the data that are held in memory.

    Raises
    ------
    TypeError
        When it is no mixture, or of another dtype or device than the data.
    ValueError
        When it has another D, values that are not finite or whose squares leave the dtype, weights
        that are no proportions, or when memory lacks for its covariances.
    """
    check_mixture(init)
    if facts.n_features != init.n_features:
        raise ValueError(f"X has {facts.n_features} columns, the start {init.n_features}")
    if facts.dtype != init.dtype or facts.device != init.device:
        raise TypeError(
            f"X is {facts.dtype} on {facts.device}, the start {init.dtype} on {init.device}; "
            "convert one of them with .to(...)"
        )
    most = facts.largest_spread
    distance = (init.means.double().cpu() - facts.mean).abs().max().item()
    if not distance <= most:
        raise ValueError(
            f"init has means as far as {distance:.3g} from the mean of X, but squares of more than "
            f"{most:.3g} cannot be summed in {facts.dtype}: draw the start from the data, or "
            f"{_REMEDY}"
        )
    variance = max(bound.abs().item() for bound in init.covariances.aminmax())
    if not variance <= most**2:
        raise ValueError(
            f"init has covariances of up to {variance:.3g}, but more than {most**2:.3g} cannot be "
            f"summed in {facts.dtype}: draw the start from the data, or {_REMEDY}"
        )
    least = init.weights.min().item()
    if not (least >= 0 and 0 < init.weights.sum().item() < math.inf):
        raise ValueError(
            f"init must have finite, non-negative weights, got {init.weights.tolist()}"
        )
    check_memory(
        # Moments and covariances of a step beside those of the start; the data about their mean.
        init.means.element_size() * (2 * init.covariances.numel() + n_held),
        facts.device,
        purpose=f"a fit of {init.n_components} components to data of shape {facts.shape}",
    )


def check_covariance_floor(value: Any, facts: Facts) -> float:
    """Check the least eigenvalue that a fit leaves to its covariances.

    Parameters
    ----------
    value : object
    facts : Facts
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
    tiny, most = torch.finfo(facts.dtype).tiny, facts.largest_spread**2
    if not (floor == 0 or tiny <= floor <= most):
        raise ValueError(
            f"covariance_floor must be 0, or from {tiny:.3g} to {most:.3g} for {facts.dtype} of "
            f"shape {facts.shape}, got {floor}"
        )
    if floor > 0:
        return floor
    spread, least = facts.spread, facts.least_spread
    if 0 < spread < least:
        raise ValueError(
            f"X stays within {spread:.3g} of its mean, but squares of less than {least:.3g} vanish "
            f"in {facts.dtype}: {_REMEDY}, or give a covariance_floor above 0"
        )
    return floor


def check_sample_weight(
    sample_weight: Tensor | None, X: Tensor, processes: Processes = ALONE
) -> Tensor | None:
    """Check sample weights, and scale them by a power of two.

    Parameters
    ----------
    sample_weight : Tensor of shape (N,) or None
        Real numbers; booleans count as 0 and 1.
    X : Tensor of shape (N, D)
        Checked.
    processes : Processes, optional
        Weights are all given, or none, in each of them.

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
    given = processes.gather(np.array([int(sample_weight is not None)]))
    if len({int(one[0]) for one in given}) > 1:
        raise ValueError("sample_weight must be given in all processes, or in none")
    if sample_weight is None:
        return None
    weights = sample_weight
    largest = processes.together(lambda: _largest_weight(weights, X))
    largest = max(float(one[0]) for one in processes.gather(np.array([largest])))
    if largest == 0:
        raise ValueError("sample_weight must not be zero everywhere")
    exponent = 1 - math.frexp(largest)[1]
    half = exponent // 2  # a subnormal weight takes more than the largest power of two at once
    return (weights.double() * 2.0**half * 2.0 ** (exponent - half)).to(X.dtype)


def _largest_weight(sample_weight: Tensor, X: Tensor) -> float:
    if not isinstance(sample_weight, Tensor) or sample_weight.is_complex():
        kind = sample_weight.dtype if isinstance(sample_weight, Tensor) else shown(sample_weight)
        hint = "; torch.from_numpy makes one" if isinstance(sample_weight, np.ndarray) else ""
        raise TypeError(f"sample_weight must be a torch.Tensor of real numbers, got {kind}{hint}")
    if sample_weight.shape != (X.shape[0],) or sample_weight.device != X.device:
        raise ValueError(
            f"sample_weight must have shape ({X.shape[0]},) on {X.device}, got "
            f"{tuple(sample_weight.shape)} on {sample_weight.device}"
        )
    if len(sample_weight) == 0:
        return 0.0
    least, largest = (bound.item() for bound in sample_weight.double().aminmax())
    if not (least >= 0 and largest < math.inf):
        raise ValueError(
            f"sample_weight must be finite and non-negative, got values from {least} to {largest}"
        )
    return largest


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
