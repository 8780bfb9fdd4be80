"""What a fit is given: rows that are held in memory, or rows that are read in passes."""

from __future__ import annotations

import math
import os
from functools import cached_property, partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from biglearn_core.agreement import check_alike, check_same_settings
from biglearn_core.estimators.blocks import HELD_NUMBERS, as_source
from biglearn_core.estimators.rows import refuse_values, validate_rows, validate_weights
from biglearn_core.estimators.scaling import (
    UnitData,
    UnitScale,
    refuse_far_bounds,
    to_unit_scale,
    with_largest_near_one,
)
from biglearn_core.numerics.points import is_near
from biglearn_core.numerics.streamed import BlockView, StreamedPoints
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.dask import is_dask
from biglearn_core.rows.opening import with_weights
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.rows.survey import survey
from biglearn_core.search.missing import StreamedIncompletePoints
from biglearn_core.system.processes import ALONE, Processes
from biglearn_core.system.progress import PassBar

__all__ = ["HeldRows", "PassedRows", "are_held", "open_rows_of_fit"]

# Distinct rows on which a search is made where there are too many to hold: by their number, by the
# numbers in them, and to a coordinate of a component.
_SAMPLED_ROWS = 2**17
_SAMPLED_NUMBERS = 2**21
_SAMPLED_TO_A_COORDINATE = 16

# Parameters that may differ among processes that fit together.
_OF_A_PROCESS = ("device", "verbose")


class _Rows:
    """Rows in memory, of which distinct ones are brought to unit scale."""

    X: np.ndarray
    sample_weight: np.ndarray | None

    @cached_property
    def _distinct(self) -> UnitData:
        return to_unit_scale(self.X, sample_weight=self.sample_weight)

    def unit(self, least_rows: int) -> UnitData:
        """Bring the rows to unit scale, once for all numbers of components; see `to_unit_scale`."""
        if least_rows <= len(self._distinct.Z):
            return self._distinct
        return to_unit_scale(self.X, sample_weight=self.sample_weight, least_rows=least_rows)


class HeldRows(_Rows):
    """Rows in memory.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Validated; NaN where missing.
    sample_weight : float64 ndarray of shape (N,) or None
        Validated.
    processes : Processes, optional
        Each of which holds the same rows, and fits all of them.

    Attributes
    ----------
    given : ndarray of shape (N, D)
        All rows.
    given_weight : float64 ndarray of shape (N,) or None
        Their weights, as they were given.
    some : bool ndarray of shape (N,) or None
        Those that have weight, where weights were given.
    X : ndarray of shape (M, D)
        These alone.
    sample_weight : float64 ndarray of shape (M,) or None
        At most one.
    n_given : int
        N.
    n_rows : float
        Sum of the weights.
    """

    def __init__(
        self, X: np.ndarray, sample_weight: np.ndarray | None, processes: Processes = ALONE
    ) -> None:
        self.processes = processes
        self.n_given, self.n_rows = len(X), float(len(X))
        self.given_weight = sample_weight
        if sample_weight is not None:
            with np.errstate(over="ignore"):
                self.n_rows = float(sample_weight.sum())
            sample_weight = with_largest_near_one(sample_weight)
        self.given, self.some = X, None
        self.X, self.sample_weight = X, sample_weight
        if sample_weight is not None:
            # A row without weight is absent, however far out it lies, and so is one whose weight
            # beside the largest is below the ordinary numbers of the dtype.
            self.some = sample_weight >= np.finfo(X.dtype).tiny
            self.X, self.sample_weight = X[self.some], sample_weight[self.some]

    @property
    def size(self) -> tuple[int, int]:
        """Rows of positive weight, and features."""
        N, D = self.X.shape
        return N, D


class PassedRows(_Rows):
    """Rows of a source, perhaps of several processes, that are read in passes.

    Parameters
    ----------
    source : RowSource
        The rows of this process.
    processes : Processes
    n_components : int
        K, by which the sample is large enough.
    progress : PassBar

    Attributes
    ----------
    X, sample_weight : ndarray
        Of the sample (`rows.survey`): scale and floor come from it, and the search is made on it.
    n_given : int
        Rows of positive weight.
    n_rows : float
        Their weight.
    given : RowSource
        The rows of this process.
    given_weight : None
        They lie in it.
    """

    given_weight = None

    def __init__(
        self, source: RowSource, processes: Processes, n_components: int, progress: PassBar
    ) -> None:
        self.source = self.given = source
        self.processes, self.progress = processes, progress
        size = _sample_size(source.n_features, n_components)
        progress.tell("survey")
        seen = survey(source, size, processes, progress)
        if seen.extent.n_rows == 0:
            raise ValueError("sample_weight is zero everywhere; give at least one row a weight")
        self.extent, self.X = seen.extent, seen.sample.rows
        self.sample_weight = with_largest_near_one(seen.sample.weights)
        self.n_given, self.n_rows = seen.extent.n_rows, seen.extent.total
        self._unit = seen.extent.weight_unit

    @property
    def size(self) -> tuple[int, int]:
        """Rows of positive weight, and features."""
        return self.n_given, self.X.shape[1]

    def unit(self, least_rows: int) -> UnitData:
        """Bring the sample to unit scale, and see that no other row lies too far; as `HeldRows`."""
        self._refuse_unseen_features()
        data = super().unit(least_rows)
        refuse_far_bounds(self.extent.low, self.extent.high, data.scale, self.X.dtype)
        return data

    def _refuse_unseen_features(self) -> None:
        """Refuse features of which the sample has no value, though some rows have one."""
        unseen = np.isnan(self.X).all(axis=0) & (self.extent.known > 0)
        if unseen.any():
            known = ", ".join(f"{weight:.9g}" for weight in self.extent.known[unseen])
            some = f"{known} of {self.n_given} rows"
            if self.extent.is_weighted:
                some = f"rows of weight {known}, of {self.n_rows:.9g} in all"
            raise ValueError(
                f"features {np.flatnonzero(unseen).tolist()} have values in {some}, and none of "
                f"these rows is among the {len(self.X)} that are drawn for scales and a start, "
                "as all are too many to be held in memory: drop these features, or fit fewer rows, "
                f"{HELD_NUMBERS // self.X.shape[1]} at most, with all that have such a value"
            )

    def log_volume(self, scale: UnitScale) -> float:
        """Average what the mean of log p(z) exceeds that of log p(x) by; see `UnitData`."""
        return float(self.extent.known @ np.log(scale.scale)) / self.extent.total

    def points(
        self, scale: UnitScale, dtype: torch.dtype, device: torch.device
    ) -> StreamedPoints | StreamedIncompletePoints:
        """Show all rows at unit scale.

        Parameters
        ----------
        scale : UnitScale
        dtype : torch.dtype
        device : torch.device

        Returns
        -------
        points : StreamedPoints or StreamedIncompletePoints
            The latter where values are missing in some process.
        """
        view = BlockView(scale.centre, scale.scale, scale.order, self._unit, dtype, device)
        total = self.extent.total * self._unit
        if self.extent.n_incomplete:
            incomplete = StreamedIncompletePoints(self.source, view, total, self.processes)
            incomplete.progress = self.progress
            return incomplete
        mean = ((self.extent.mean - scale.centre) / scale.scale)[scale.order]
        centre = torch.from_numpy(mean).to(device, dtype)
        sample = torch.from_numpy(scale.apply(self.X)).to(device, dtype)
        if not is_near(centre, sample):
            centre = torch.zeros_like(centre)
        return StreamedPoints.of(
            self.source,
            view,
            centre=centre,
            total=total,
            processes=self.processes,
            progress=self.progress,
        )


def open_rows_of_fit(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: ArrayLike | None,
    *,
    processes: Processes,
    allow_nan: bool,
    n_components: int,
    progress: PassBar,
) -> HeldRows | PassedRows:
    """Check what a fit is given, and see whether it can be held in memory.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets number and names of features.
    X : array-like or source
        The rows of this process.
    sample_weight : array-like of shape (N,) or None
    processes : Processes
    allow_nan : bool
    n_components : int
    progress : PassBar

    Returns
    -------
    rows : HeldRows or PassedRows
        The latter where all processes together have more than 2²³ numbers. Fewer are gathered:
        every process then fits all of them.

    Raises
    ------
    TypeError, ValueError, OSError
        When they cannot be taken.
    ProcessesError
        When another process has failed.
    """
    check_same_settings(_settings(estimator), processes)
    find = partial(_find, estimator, X, sample_weight, processes, allow_nan=allow_nan)
    found = processes.together(find)
    if isinstance(found, HeldRows):
        return found
    check_alike(found.n_features, found.dtype.itemsize, processes, found.feature_names)
    n_rows = sum(int(one[0]) for one in processes.gather(np.array([found.n_rows])))
    if are_held(n_rows, found.n_features):
        held = processes.together(lambda: _read(found))
        X, weights = _gathered(held, processes)
        names = getattr(estimator, "feature_names_in_", None)
        X = validate_rows(estimator, X, allow_nan=allow_nan, reset=True)
        if names is not None:
            estimator.feature_names_in_ = names
        weights = None if weights is None else validate_weights(weights, len(X))
        return HeldRows(X, weights, processes)
    rows = PassedRows(found, processes, n_components, progress)
    refused = 0 if allow_nan else rows.extent.n_incomplete
    refuse_values(rows.extent.n_infinite, refused, found.dtype)
    if not math.isfinite(rows.extent.total) or not np.isfinite(rows.extent.sums).all():
        raise ValueError(
            f"sums over the rows leave float64 (weights of {rows.extent.total:g} in all): multiply "
            "weights or features by a power of ten"
        )
    return rows


def are_held(n_rows: int, n_features: int) -> bool:
    """Whether rows of all processes together are so few that they are held in memory.

    Parameters
    ----------
    n_rows, n_features : int

    Returns
    -------
    held : bool
    """
    return n_rows * n_features <= HELD_NUMBERS


def _settings(estimator: BaseEstimator) -> dict[str, Any]:
    """Tell what a fit depends on besides its rows."""
    settings = {"estimator": type(estimator).__name__, **estimator.get_params(deep=False)}
    settings = {name: value for name, value in settings.items() if name not in _OF_A_PROCESS}
    if not isinstance(settings["random_state"], Integral):
        settings["random_state"] = "drawn"  # by each, and then that of the first is taken
    if settings.get("warm_start"):
        settings["the last fit"] = getattr(estimator, "_unit_mixture", None)
    return settings


def _find(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: ArrayLike | None,
    processes: Processes,
    *,
    allow_nan: bool,
) -> HeldRows | RowSource:
    """Check the rows of this process, and hold them if it is alone and they are few."""
    source = as_source(estimator, X, reset=True)
    if source is None:
        alone = processes.size == 1
        rows = validate_rows(
            estimator, X, allow_nan=allow_nan, reset=True, least_rows=2 if alone else 0
        )
        if alone and are_held(*rows.shape):
            weights = None if sample_weight is None else validate_weights(sample_weight, len(rows))
            return HeldRows(rows, weights)
        names = getattr(estimator, "feature_names_in_", None)
        source = ArrayRows(rows, feature_names=None if names is None else tuple(names))
    if sample_weight is None:
        return source
    beside = isinstance(sample_weight, str | os.PathLike | np.memmap) or is_dask(sample_weight)
    if not beside:  # such weights are checked where they lie
        sample_weight = validate_weights(sample_weight, source.n_rows, some=processes.size == 1)
    return with_weights(source, sample_weight)


def _read(source: RowSource) -> Block:
    """Read all rows."""
    blocks = list(source.blocks(max(1, source.n_rows)))
    if not blocks:
        return Block(np.empty((0, source.n_features), dtype=source.dtype))
    (block,) = blocks
    return block


def _gathered(block: Block, processes: Processes) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows and weights of all processes, in the order of these."""
    rows = np.concatenate(processes.gather(block.rows))
    given = processes.gather(np.array([int(block.weights is not None)]))
    if not any(int(one[0]) for one in given):
        return rows, None
    weights = np.ones(len(block)) if block.weights is None else block.weights
    return rows, np.concatenate(processes.gather(weights))


def _sample_size(n_features: int, n_components: int) -> int:
    rows = min(_SAMPLED_ROWS, _SAMPLED_NUMBERS // n_features)
    return max(rows, _SAMPLED_TO_A_COORDINATE * n_components * (n_features + 1))
