"""Data of one's own, brought to unit scale and to an order that does not depend on their layout.

A fit on the result does not change when a feature is rescaled, shifted or moved to another column,
when rows are permuted, or when equal rows are written as one row with a weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from biglearn_core.gmm import GMM

__all__ = ["UnitData", "UnitScale", "to_unit_scale"]

# Skewness and kurtosis agree to this many decimals where only rounding tells features apart.
_DECIMALS = 8


@dataclass(frozen=True)
class UnitScale:
    """The map z = (x − centre) / scale, with the features in another order.

    Parameters
    ----------
    centre, scale : float64 ndarray of shape (D,)
        Mean and standard deviation of every feature; the scale of a constant feature is one.
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

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Bring rows to unit scale.

        Parameters
        ----------
        X : ndarray of shape (N, D)

        Returns
        -------
        Z : ndarray of shape (N, D)
            In the dtype of `X`; NaN stays NaN.
        """
        Z = (X.astype(np.float64) - self.centre) / self.scale
        return Z[:, self.order].astype(X.dtype)

    def undo(self, Z: np.ndarray) -> np.ndarray:
        """Bring rows of unit scale back.

        Parameters
        ----------
        Z : ndarray of shape (N, D)

        Returns
        -------
        X : ndarray of shape (N, D)
            In the dtype of `Z`.
        """
        X = np.empty(Z.shape)
        X[:, self.order] = Z
        return (X * self.scale + self.centre).astype(Z.dtype)

    def undo_mixture(self, model: GMM) -> GMM:
        """Law of x where z follows the mixture.

        Parameters
        ----------
        model : GMM

        Returns
        -------
        image : GMM
        """
        place = torch.as_tensor(np.argsort(self.order))
        scale = torch.as_tensor(self.scale)
        means = model.means.double()[:, place] * scale + torch.as_tensor(self.centre)
        covariances = model.covariances.double()[:, place[:, None], place]
        covariances = covariances * scale[:, None] * scale
        return GMM.unchecked(model.weights, means.to(model.dtype), covariances.to(model.dtype))

    def apply_mixture(self, model: GMM) -> GMM:
        """Law of z where x follows the mixture.

        Parameters
        ----------
        model : GMM

        Returns
        -------
        image : GMM
            In float64, on the CPU.
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
        When a feature has no value at all.
    """
    weights = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    rows, weights = _merge_equal(X[weights > 0], weights[weights > 0])
    if len(rows) < least_rows:
        parts = np.resize(np.arange(len(rows)), least_rows)
        weights = (weights / np.bincount(parts))[parts]
        rows = rows[parts]
    centre, scale = _moments(rows, weights)
    Z = (rows.astype(np.float64) - centre) / scale
    order = _feature_order(Z, weights)
    Z = Z[:, order]
    sorted_rows = np.argsort(_row_keys(Z), kind="stable")
    Z, weights = Z[sorted_rows].astype(X.dtype), weights[sorted_rows]
    equal = np.ptp(weights) <= 1e-12 * weights.max()
    relative = None if equal else (weights / weights.mean()).astype(X.dtype)
    return UnitData(Z, relative, UnitScale(centre, scale, order))


def _moments(X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of the values that every feature has."""
    known = ~np.isnan(X)
    mass = weights @ known
    if (mass == 0).any():
        raise ValueError(
            f"features {np.flatnonzero(mass == 0).tolist()} have no value in any row of positive "
            "weight; drop them"
        )
    # About a value of the feature itself, so that a large shift does not cancel.
    origin = X[known.argmax(axis=0), np.arange(X.shape[1])].astype(np.float64)
    gaps = np.where(known, X.astype(np.float64) - origin, 0.0)
    shift = (weights @ gaps) / mass
    variance = (weights @ np.where(known, gaps - shift, 0.0) ** 2) / mass
    centre = origin + shift
    # A spread at the level of rounding is none.
    rounding = 4 * np.finfo(X.dtype).eps * np.abs(centre)
    scale = np.sqrt(variance)
    return centre, np.where(scale > rounding, scale, 1.0)


def _feature_order(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Order by skewness, then kurtosis, whatever columns the features stand in."""
    known = np.where(np.isnan(Z), 0.0, Z)
    skewness, kurtosis = ((weights @ known**power) / weights.sum() for power in (3, 4))
    return np.lexsort((kurtosis.round(_DECIMALS), skewness.round(_DECIMALS)))


def _row_keys(X: np.ndarray) -> np.ndarray:
    """Project every row onto one random direction; equal rows get equal keys."""
    rng = np.random.default_rng(0)
    known = ~np.isnan(X)
    values, gaps = rng.uniform(0.5, 1.5, (2, X.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        return (np.where(known, X, 0.0) * values).sum(axis=1) + (~known * gaps).sum(axis=1)


def _merge_equal(X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(_row_keys(X), kind="stable")
    X, weights = X[order], weights[order]
    same = (X[1:] == X[:-1]) | (np.isnan(X[1:]) & np.isnan(X[:-1]))
    first = np.flatnonzero(np.append(True, ~same.all(axis=1)))
    return X[first], np.add.reduceat(weights, first)
