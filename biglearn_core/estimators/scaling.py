"""Data of one's own, brought to unit scale and to an order that does not depend on their layout.

A fit on the result does not change when a feature is rescaled, shifted or moved to another column,
when rows are permuted, or when equal rows are written as one row with a weight. A few rows, however
far out, do not set the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

from biglearn_core.estimators.correlations import Correlations, correlations
from biglearn_core.gmm import GMM
from biglearn_core.init import drawn_in
from biglearn_core.numerics.linalg import resolved_floors
from biglearn_core.rows.hashing import row_hashes

__all__ = [
    "UnitData",
    "UnitScale",
    "refuse_far_bounds",
    "to_unit_scale",
    "with_largest_near_one",
]

# Skewness and kurtosis agree to this many decimals where only rounding tells features apart.
_DECIMALS = 8

# Standard deviation of a Gaussian, in lower quartiles of the distances between its values.
_GAUSSIAN = 2.2191

# Scale of a feature with many equal values, in steps between distinct ones: the default floor is
# the deviation of rounding to such steps.
_STEPS = 100 / math.sqrt(12)

# The same in standard deviations, at most: the default floor is then the variance.
_DEVIATIONS = 100.0

# From so many scales on a standard deviation is that of a few rows, and so is the mean.
_HEAVIEST = 3.0

# Values that are compared pairwise, those at even ranks.
_COMPARED_VALUES = 256

# Values at unit scale are cut here where features are told apart: their fourth powers must not
# drown the decimals that count.
_CUT = 50.0

# Scales whose squares, times the covariance floor, are numbers of the dtype; and values at unit
# scale whose squares can still be added up.
_SCALES = {np.dtype(np.float32): (1e-16, 1e16), np.dtype(np.float64): (1e-148, 1e148)}
_LARGEST = {np.dtype(np.float32): 1e14, np.dtype(np.float64): 1e140}


@dataclass(frozen=True)
class UnitScale:
    """The map z = (x − centre) / scale, with the features in another order.

    Parameters
    ----------
    centre, scale : float64 ndarray of shape (D,)
        Mean and standard deviation of every feature, or what stands for them where a few rows
        decide these (`to_unit_scale`).
    order : int64 ndarray of shape (D,)
        Feature that stands in each column of z.
    """

    centre: np.ndarray
    scale: np.ndarray
    order: np.ndarray

    @classmethod
    def identity(cls, n_features: int) -> UnitScale:
        """Return the map that changes nothing.

        Parameters
        ----------
        n_features : int

        Returns
        -------
        scale : UnitScale
        """
        return cls(np.zeros(n_features), np.ones(n_features), np.arange(n_features))

    def apply(self, X: np.ndarray, first: int = 0) -> np.ndarray:
        """Bring rows to unit scale.

        Parameters
        ----------
        X : ndarray of shape (N, D)
        first : int, default 0
            Position of the first of them, for the error.

        Returns
        -------
        Z : float64 ndarray of shape (N, D)
            NaN stays NaN.

        Raises
        ------
        ValueError
            When a row lies so far out that its distance in scales is no number of float64.
        """
        with np.errstate(over="ignore"):
            Z = (X.astype(np.float64) - self.centre) / self.scale
        far = np.isinf(Z).any(axis=1)
        if far.any():
            raise ValueError(
                f"{far.sum()} of {len(X)} rows, row {first + far.argmax()} the first, lie more "
                "than 1e308 scales of a feature away from the data of fit; drop them"
            )
        return Z[:, self.order]

    def undo(self, Z: np.ndarray) -> np.ndarray:
        """Bring rows of unit scale back.

        Parameters
        ----------
        Z : ndarray of shape (..., D)

        Returns
        -------
        X : float64 ndarray of shape (..., D)
        """
        X = np.empty(Z.shape)
        X[..., self.order] = Z
        X *= self.scale
        X += self.centre
        return X

    def undo_mixture(self, model: GMM) -> GMM:
        """Law of x where z follows the mixture.

        Parameters
        ----------
        model : GMM

        Returns
        -------
        image : GMM

        Raises
        ------
        ValueError
            When the dtype of the model cannot hold it in the units of the data.
        """
        place = torch.as_tensor(np.argsort(self.order))
        scale = torch.as_tensor(self.scale)
        means = model.means.double()[:, place] * scale + torch.as_tensor(self.centre)
        covariances = model.covariances.double()[:, place[:, None], place]
        covariances = covariances * scale[:, None] * scale
        image = GMM.unchecked(
            model.weights.double(), means, covariances, covariance_type=model.covariance_type
        )
        return image.to(dtype=model.dtype) if model.dtype != image.dtype else image.checked()

    def apply_mixture(self, model: GMM) -> GMM:
        """Law of z where x follows the mixture.

        Parameters
        ----------
        model : GMM

        Returns
        -------
        image : GMM
            In float64, on the CPU, with full covariances.
        """
        order, scale = torch.as_tensor(self.order), torch.as_tensor(self.scale)
        model = model.to(device="cpu", dtype=torch.float64)
        means = (model.means - torch.as_tensor(self.centre)) / scale
        covariances = model.covariances / scale[:, None] / scale
        return GMM.unchecked(model.weights, means[:, order], covariances[:, order[:, None], order])

    def log_volume(self, X: np.ndarray) -> np.ndarray:
        """Add up what log p(z) exceeds log p(x) by, over the features that a row has.

        Parameters
        ----------
        X : ndarray of shape (N, D)
            NaN where missing.

        Returns
        -------
        log_volume : float64 ndarray of shape (N,)
        """
        return ~np.isnan(X) @ np.log(self.scale)


@dataclass(frozen=True)
class UnitData:
    """Distinct rows at unit scale.

    Parameters
    ----------
    Z : ndarray of shape (M, D)
    sample_weight : ndarray of shape (M,) or None
        Weights with multiplicities, of mean one; None where all are equal.
    scale : UnitScale
    """

    Z: np.ndarray
    sample_weight: np.ndarray | None
    scale: UnitScale

    @cached_property
    def correlations(self) -> Correlations:
        """What one Gaussian for all rows would say of them."""
        return correlations(self.Z, self.sample_weight)

    @classmethod
    def as_it_is(cls, X: np.ndarray, sample_weight: np.ndarray | None) -> UnitData:
        """Wrap data that are taken as they are.

        Parameters
        ----------
        X : ndarray of shape (N, D)
        sample_weight : ndarray of shape (N,), optional

        Returns
        -------
        data : UnitData
        """
        weights = None if sample_weight is None else sample_weight.astype(X.dtype)
        return cls(X, weights, UnitScale.identity(X.shape[1]))

    def in_one_unit(self) -> tuple[UnitData, float]:
        """Measure all features in the unit of the data again, scaled by one number.

        Where covariances must keep a form that scaling single features would break.

        Returns
        -------
        data : UnitData
            The largest scale of a feature is one.
        least : float
            The smallest, squared.
        """
        scale = self.scale.scale
        largest = scale.max()
        relative = (scale / largest)[self.scale.order]
        return (
            UnitData(
                self.Z * relative.astype(self.Z.dtype),
                self.sample_weight,
                UnitScale(self.scale.centre, np.full_like(scale, largest), self.scale.order),
            ),
            float(relative.min() ** 2),
        )

    def drowns(self, floor: float) -> bool:
        """Tell whether rounding beside the widest feature exceeds a covariance floor.

        Parameters
        ----------
        floor : float

        Returns
        -------
        drowns : bool
        """
        variances = np.nanvar(self.Z.astype(np.float64), axis=0)
        covariance = torch.from_numpy(np.diag(variances).astype(self.Z.dtype))
        return bool(resolved_floors(covariance[None], floor) > floor)

    def in_double(self) -> UnitData:
        """Return the same data in float64."""
        weights = self.sample_weight
        return UnitData(
            self.Z.astype(np.float64),
            None if weights is None else weights.astype(np.float64),
            self.scale,
        )

    def to_torch(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Copy rows and weights to a device.

        Parameters
        ----------
        device : torch.device

        Returns
        -------
        Z : Tensor of shape (M, D)
        weights : Tensor of shape (M,) or None
        """
        weights = self.sample_weight
        return (
            torch.tensor(self.Z, device=device),
            None if weights is None else torch.tensor(weights, device=device),
        )

    def log_volume(self) -> float:
        """Average what the mean of log p(z) exceeds that of log p(x) by.

        Returns
        -------
        log_volume : float
            In nats; of the values that are not missing.
        """
        log_scale = np.log(self.scale.scale[self.scale.order])
        return float(np.average(~np.isnan(self.Z) @ log_scale, weights=self.sample_weight))


def to_unit_scale(
    X: np.ndarray, *, sample_weight: np.ndarray | None = None, least_rows: int = 1
) -> UnitData:
    """Standardise features, merge equal rows, and sort both.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        NaN where missing.
    sample_weight : ndarray of shape (N,), optional
        Non-negative, not all zero.
    least_rows : int, default 1
        Where fewer rows are distinct, some are kept in several parts.

    Returns
    -------
    data : UnitData

    Raises
    ------
    ValueError
        When a feature has no value at all, or its variance, or the square of a row far out, would
        leave the dtype of `X`.

    Notes
    -----
    The scale of a feature is the lower quartile of the distances between its values, in units in
    which that of a Gaussian is its standard deviation, and at most the standard deviation (P.
    Rousseeuw and C. Croux, "Alternatives to the median absolute deviation", JASA 88, 1993: their
    Q_n, here on values at 256 even ranks). Up to half of the rows may lie anywhere without moving
    it far, and where values fall into two or three clusters it is nearer to the width of these than
    to their distance, so that features which tell clusters apart count for more. Where so many rows
    share a value that the quartile is zero, as in an indicator or a count of something rare, the
    quartile is taken over distinct values, each counted once, and the scale is such that the
    default floor, a hundredth of it, is the deviation 1/√12 of what is rounded to steps of that
    size, but no more than the standard deviation: a component narrower than the steps of a
    feature says nothing about the data.
    """
    weights = np.ones(len(X)) if sample_weight is None else with_largest_near_one(sample_weight)
    rows, weights = _merge_equal(X[weights > 0], weights[weights > 0])
    if len(rows) < least_rows:
        parts = np.resize(np.arange(len(rows)), least_rows)
        weights = (weights / np.bincount(parts))[parts]
        rows = rows[parts]
    equal = np.ptp(weights) <= 1e-12 * weights.max()
    centre, scale = _centre_and_scale(rows, None if equal else weights)
    with np.errstate(over="ignore"):
        Z = (rows.astype(np.float64) - centre) / scale
    _refuse_far_rows(Z, X.dtype)
    order = _feature_order(Z, weights)
    Z = Z[:, order]
    sorted_rows = np.argsort(_row_keys(drawn_in(torch.from_numpy(Z)).numpy()), kind="stable")
    Z, weights = Z[sorted_rows].astype(X.dtype), weights[sorted_rows]
    relative = None if equal else (weights / weights.mean()).astype(X.dtype)
    return UnitData(Z, relative, UnitScale(centre, scale, order))


def with_largest_near_one(weights: np.ndarray) -> np.ndarray:
    """Multiply by a power of two, which is exact, so that sums neither overflow nor underflow.

    Parameters
    ----------
    weights : ndarray of shape (N,)
        Non-negative, not all zero.

    Returns
    -------
    weights : float64 ndarray of shape (N,)
        At most one.
    """
    return np.ldexp(weights.astype(np.float64), -np.frexp(weights.max())[1])


def _centre_and_scale(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of every feature, from the values that it has."""
    centre, scale = np.empty(X.shape[1]), np.empty(X.shape[1])
    for j, column in enumerate(X.T):
        known = ~np.isnan(column)
        if not known.any():
            raise ValueError(
                f"features {np.flatnonzero(np.isnan(X).all(axis=0)).tolist()} have no value in any "
                "row of positive weight; drop them"
            )
        values = column[known].astype(np.float64)
        # Added up by size, so that rounding depends neither on units nor on where a row stands.
        if weights is None:
            values, of_values = np.sort(values), None
        else:
            by_size = np.lexsort((weights[known], values))
            values, of_values = values[by_size], weights[known][by_size]
        with np.errstate(over="ignore"):  # an infinite scale is refused below
            centre[j], scale[j] = _spread(values, of_values, X.dtype)
    low, high = _SCALES[X.dtype]
    bad = np.flatnonzero((scale < low) | (scale > high))
    if len(bad):
        raise ValueError(
            f"features {bad.tolist()} have the scales {scale[bad].tolist()}: their variances would "
            f"leave {X.dtype}, which holds scales from {low:g} to {high:g}. Multiply these "
            "features by a power of ten, on which the clusters do not depend"
            f"{'' if X.dtype == np.float64 else ', or pass float64'}"
        )
    return centre, scale


def _spread(values: np.ndarray, weights: np.ndarray | None, dtype: np.dtype) -> tuple[float, float]:
    """Centre and scale of one feature, from its values in increasing order.

    The scale of one that is constant but for rounding is the size of its value, beside which the
    rounding does not count; one where that is zero.
    """
    ranked = _at_even_ranks(values)
    median = ranked[len(ranked) // 2]
    # In units of the largest gap, a power of two, so that no square leaves float64; about the
    # median, so that a large shift does not cancel.
    exponent = np.frexp(np.abs(values / 2 - median / 2).max())[1] + 1
    unit = np.ldexp(1.0, exponent.clip(-1021, 1023))
    gaps = values / unit - median / unit
    shift = np.average(gaps, weights=weights)
    deviation = np.sqrt(np.average((gaps - shift) ** 2, weights=weights)) * unit
    rounding = 4 * np.finfo(dtype).eps * abs(median)  # a spread at its level is none
    typical = _GAUSSIAN * _typical_distance(ranked)
    if typical > rounding:
        scale = min(deviation, typical)
    else:
        distinct = np.unique(values)
        distinct = distinct[np.append(True, np.diff(distinct) > rounding)]
        steps = _STEPS * _typical_distance(_at_even_ranks(distinct))
        # Values of next to no weight leave no deviation to speak of.
        weightless = deviation <= np.finfo(np.float64).eps * steps
        scale = steps if weightless else min(steps, _DEVIATIONS * deviation)
    if scale <= rounding:
        return median, float(np.clip(abs(median), *_SCALES[dtype])) if median else 1.0
    return (median + shift * unit if deviation <= _HEAVIEST * scale else median), scale


def _at_even_ranks(values: np.ndarray) -> np.ndarray:
    """Of values in increasing order, where they are many, those at even ranks."""
    if len(values) <= _COMPARED_VALUES:
        return values
    ranks = (np.arange(_COMPARED_VALUES) + 0.5) / _COMPARED_VALUES * len(values)
    return values[ranks.astype(int)]


def _typical_distance(values: np.ndarray) -> float:
    """Lower quartile of the distances between values; zero where there is but one."""
    if len(values) < 2:
        return 0.0
    distances = pdist(values[:, None], "cityblock")  # without squares, which underflow
    return float(np.partition(distances, len(distances) // 4)[len(distances) // 4])


def refuse_far_bounds(low: np.ndarray, high: np.ndarray, scale: UnitScale, dtype: np.dtype) -> None:
    """Refuse rows of which only the bounds are known where some lie too far out.

    Parameters
    ----------
    low, high : float64 ndarray of shape (D,)
        Infinite where no row has a value.
    scale : UnitScale
    dtype : numpy.dtype
        Of the rows.

    Raises
    ------
    ValueError
        When the square of one, at unit scale, would leave the dtype.
    """
    with np.errstate(over="ignore"):
        reach = np.maximum(scale.centre - low, high - scale.centre) / scale.scale
    far = np.flatnonzero(reach > _LARGEST[dtype])
    if len(far):
        raise ValueError(
            f"features {far.tolist()} have values more than {_LARGEST[dtype]:g} scales away from "
            f"the others, and their squares would leave {dtype}: drop these rows"
            f"{'' if dtype == np.float64 else ', or pass float64'}"
        )


def _refuse_far_rows(Z: np.ndarray, dtype: np.dtype) -> None:
    far = (np.abs(Z) > _LARGEST[dtype]).any(axis=1)
    if far.any():
        raise ValueError(
            f"{far.sum()} of {len(Z)} distinct rows lie more than {_LARGEST[dtype]:g} scales of a "
            f"feature away from the others, and their squares would leave {dtype}: drop them"
            f"{'' if dtype == np.float64 else ', or pass float64'}"
        )


def _feature_order(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Order by skewness, then kurtosis, whatever columns the features stand in."""
    known = np.where(np.isnan(Z), 0.0, Z).clip(-_CUT, _CUT)
    cubes = known * known * known
    skewness, kurtosis = (weights @ power / weights.sum() for power in (cubes, cubes * known))
    return np.lexsort((kurtosis.round(_DECIMALS), skewness.round(_DECIMALS)))


def _row_keys(X: np.ndarray) -> np.ndarray:
    """Project every row onto one random direction."""
    rng = np.random.default_rng(0)
    known = ~np.isnan(X)
    values, gaps = rng.uniform(0.5, 1.5, (2, X.shape[1]))
    # Columns in units of a power of two, so that no sum leaves float64.
    powers = np.frexp(np.abs(np.where(known, X, 0.0)).max(axis=0, initial=0.0))[1]
    X = np.ldexp(np.where(known, X, 0.0).astype(np.float64), -powers)
    return (X * values).sum(axis=1) + (~known * gaps).sum(axis=1)


def _merge_equal(X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(row_hashes(X), kind="stable")
    X, weights = X[order], weights[order]
    same = (X[1:] == X[:-1]) | (np.isnan(X[1:]) & np.isnan(X[:-1]))
    first = np.flatnonzero(np.append(True, ~same.all(axis=1)))
    return X[first], np.add.reduceat(weights, first)
