"""Correlations of features as one Gaussian has them, gaps or not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from biglearn_core.gmm import GMM
from biglearn_core.search.missing import IncompletePoints, incomplete_em_step

__all__ = ["Correlations", "correlations"]

# Deviations of features at unit scale are at least a hundredth (`scaling`), but for those that are
# constant up to rounding, or to values of next to no weight.
_CONSTANT = 1e-3

# Rows without gaps, to a feature, from which on they tell the correlations by themselves.
_WHOLE = 5

# Rows with gaps that are looked at otherwise, the features up to which that takes little time, and
# EM steps of one Gaussian on them, which end when one gains less; in nats.
_N_ROWS, _MOST_FEATURES = 500, 64
_N_STEPS, _TOL = 50, 1e-3

# Least variance that these steps can see.
_FLOOR = 1e-9


class Correlations(NamedTuple):
    """Second moments of features.

    Parameters
    ----------
    deviations : float64 ndarray of shape (D,)
        Of those features that vary at all.
    matrix : float64 ndarray of shape (D, D)
        Correlations of these.
    resolution : float
        Eigenvalues of the matrix that are not larger, as a share of the largest, are rounding.
    """

    deviations: np.ndarray
    matrix: np.ndarray
    resolution: float


def correlations(Z: np.ndarray, sample_weight: np.ndarray | None = None) -> Correlations:
    """Take deviations of all values, and correlations of whole rows where these are many.

    Parameters
    ----------
    Z : ndarray of shape (N, D)
        At unit scale; NaN where missing.
    sample_weight : ndarray of shape (N,), optional

    Returns
    -------
    found : Correlations
        Where there are too few whole rows, those of one Gaussian that EM has fitted to some hundred
        rows with gaps; none between very many features.
    """
    Z = Z.astype(np.float64)
    weights = np.ones(len(Z)) if sample_weight is None else sample_weight.astype(np.float64)
    known = ~np.isnan(Z)
    mass = np.maximum(weights @ known, np.finfo(float).tiny)
    gaps = np.where(known, Z - weights @ np.where(known, Z, 0) / mass, 0)
    deviations = np.sqrt(weights @ gaps**2 / mass)
    vary = deviations > _CONSTANT
    Z = np.where(known, gaps, np.nan)[:, vary] / deviations[vary]
    D = Z.shape[1]
    whole = known[:, vary].all(axis=1)
    resolution = 10 * max(D, 1) * np.finfo(float).eps
    if whole.all() or whole.sum() >= _WHOLE * (D + 1):
        covariance = _of_whole_rows(Z[whole], weights[whole])
    elif D <= _MOST_FEATURES:
        covariance, resolution = _of_rows_with_gaps(Z, weights), 3 * _FLOOR
    else:
        covariance = np.eye(D)
    # What does not vary among the rows that are looked at is taken to be uncorrelated.
    constant = covariance.diagonal() <= 0
    covariance[constant, constant] = 1
    root = np.sqrt(covariance.diagonal())
    return Correlations(deviations[vary], covariance / np.outer(root, root), resolution)


def _of_whole_rows(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weights = weights / weights.sum()
    gaps = Z - weights @ Z
    covariance: np.ndarray = (gaps * weights[:, None]).T @ gaps
    return covariance


def _of_rows_with_gaps(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit one Gaussian to rows of unit variances by EM."""
    stride = -(-len(Z) // _N_ROWS)
    rows = torch.from_numpy(Z[::stride].copy())
    points = IncompletePoints(rows, sample_weight=torch.from_numpy(weights[::stride].copy()))
    D = Z.shape[1]
    unit = torch.eye(D, dtype=torch.float64)[None]
    model = GMM.unchecked(rows.new_ones(1), rows.new_zeros(1, D), unit)
    before = -np.inf
    for _ in range(_N_STEPS):
        step = incomplete_em_step(points, model, covariance_floor=_FLOOR)
        model = step.model
        if step.log_likelihood - before < _TOL:
            break
        before = step.log_likelihood
    covariance: np.ndarray = model.dense().covariances[0].numpy()
    return covariance.copy()
