"""How fine the structure of data at unit scale is, and the covariance floor that leaves it alone.

A floor of a hundredth of a feature's standard deviation stops components from shrinking onto single
rows. Where clusters are tight and far apart, their distance sets that deviation, and the floor
would blur them: there it is lowered to what the nearest neighbours of the rows tell.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import chi2
from sklearn.metrics import nan_euclidean_distances

from biglearn_core.estimators.scaling import UnitData

__all__ = ["DEFAULT_FLOOR", "default_floor", "local_variance"]

# A hundredth of a feature's standard deviation, squared.
DEFAULT_FLOOR = 1e-4

# The floor is at most this share of the local variance: a third of its root, which leaves clusters
# alone that are ten times as long as wide.
_SHARE_OF_LOCAL_VARIANCE = 0.1

# The floor is at most this share of the least eigenvalue of the correlations that is more than the
# rounding of values leaves (a share of the largest; values up to 300 deviations from zero), and of
# the least variance of a feature.
_SHARE_OF_LEAST_VARIANCE = 0.5
_SHARE_OF_LEAST_FEATURE = 0.1
_ROUNDED_VARIANCE = {np.dtype(np.float32): 1e-10, np.dtype(np.float64): 0.0}

# Rows to a feature from which on they tell which features repeat others, or do in spite of gaps.
_ROWS = 10

# Least floors, which a dtype can tell from rounding.
_LEAST = {np.dtype(np.float32): 1e-8, np.dtype(np.float64): 1e-16}

# Share of an average component's rows that count as the neighbours of one of them.
_NEIGHBOURHOOD = 0.1

# Rows whose neighbourhoods are looked at, the share of them that has to be as dense as the answer,
# and rows that are searched for neighbours.
_N_ROWS = 64
_DENSEST = 0.1
_SEARCHED_ROWS = 100_000

_ROWS_AT_ONCE = 10_000

# Distance that rounding leaves between equal rows, in units of their norm.
_ROUNDING = 1e-7


def default_floor(data: UnitData, n_components: int, *, is_compared: bool = False) -> float:
    """Choose the least eigenvalue of covariances for data at unit scale.

    Parameters
    ----------
    data : UnitData
    n_components : int
        K.
    is_compared : bool, default False
        Whether the fit is compared with those of other numbers of components, of which none must
        gain by a floor of its own.

    Returns
    -------
    floor : float
        1e-4, or a tenth of the local variance where that is less, or half the variance of the rows
        along the direction in which features repeat each other most, where that is less still: one
        Gaussian of strongly correlated features is no component on the floor. Where some repeat
        others but for rounding, that counts for one component alone, which cannot shrink; the floor
        is then at most a tenth of the least variance of a feature as well, as it is added to that.
    """
    Z, found = data.Z, data.correlations
    floors = [DEFAULT_FLOOR, _SHARE_OF_LOCAL_VARIANCE * local_variance(Z, n_components)]
    if len(found.deviations) and _are_enough(Z, len(found.deviations)):
        values = np.linalg.eigvalsh(found.matrix)
        rounding = max(found.resolution, _ROUNDED_VARIANCE[Z.dtype])
        n_null = int((values <= rounding * values[-1]).sum())
        # Features of many equal values have scales beyond their deviations.
        narrow = np.minimum(found.deviations, 1)
        variances = np.linalg.eigvalsh(narrow[:, None] * found.matrix * narrow)
        exact = n_components == 1 and not is_compared and len(Z) >= _ROWS * len(narrow)
        if n_null == 0 or exact:
            floors.append(_SHARE_OF_LEAST_VARIANCE * variances[n_null])
        if n_null > 0 and exact:
            floors.append(_SHARE_OF_LEAST_FEATURE * narrow.min() ** 2)
    return max(_LEAST[Z.dtype], float(min(floors)))


def _are_enough(Z: np.ndarray, n_features: int) -> bool:
    """Whether rows tell in which directions they vary least."""
    return len(Z) > n_features and (len(Z) >= _ROWS * n_features or not np.isnan(Z).any())


def local_variance(Z: np.ndarray, n_components: int) -> float:
    """Variance per coordinate of the densest clusters, from distances to neighbours.

    Parameters
    ----------
    Z : ndarray of shape (N, D)
        Distinct rows; NaN where missing.
    n_components : int
        K.

    Returns
    -------
    variance : float
        That of a Gaussian which holds a K-th of the rows, with a tenth of its rows as near to one
        of them as seen here. A tenth of all rows have neighbours as near, so that few rows do not
        set it. Infinite where there are too few rows to tell, or so many gaps.
    """
    searched = Z[:: -(-len(Z) // _SEARCHED_ROWS)]
    n_neighbours = math.ceil(_NEIGHBOURHOOD * len(searched) / n_components)
    if n_neighbours < Z.shape[1] + 1 or n_neighbours >= len(searched):
        return math.inf
    rows = searched[:: -(-len(searched) // _N_ROWS)]
    gaps = np.isnan(searched).any()
    measure = nan_euclidean_distances if gaps else _distances
    # In float64: what cancels in float32 may be wider than the clusters.
    rows = rows.astype(np.float64)
    parts = np.split(searched, range(_ROWS_AT_ONCE, len(searched), _ROWS_AT_ONCE))
    distances = np.concatenate([measure(rows, part.astype(np.float64)) for part in parts], axis=1)
    nearest = np.partition(distances, n_neighbours, axis=1)[:, n_neighbours]
    if gaps:
        # Rows that agree wherever both have values, as of ratings, are apart by rounding alone.
        size = np.sqrt(Z.shape[1] * np.nansum(rows**2, axis=1))
        nearest[nearest <= _ROUNDING * size] = 0
    nearest = nearest[np.isfinite(nearest)]
    if len(nearest) == 0:
        return math.inf
    distance = np.quantile(nearest, _DENSEST, method="lower")
    if distance == 0:
        return math.inf
    # Two rows of one Gaussian N(m, σ² I) are apart by 2σ² χ² with D degrees of freedom.
    return float(distance**2 / (2 * chi2.ppf(_NEIGHBOURHOOD, Z.shape[1])))


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return torch.cdist(torch.from_numpy(rows), torch.from_numpy(others)).numpy()
