"""Starts that a caller gives, labels of the rows, means or a mixture, at unit scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from biglearn_core.estimators.scaling import UnitScale
from biglearn_core.gmm import GMM
from biglearn_core.init import assignment_start
from biglearn_core.numerics.names import named_columns
from biglearn_core.rows.tables import with_nan
from biglearn_core.system.numbers import shown

__all__ = ["Start"]

_FORMS = "a GMM, one integer label a row, or means of shape (K, D)"


@dataclass(frozen=True)
class Start:
    """One of the three, checked against the rows of a fit.

    Parameters
    ----------
    labels : int64 ndarray of shape (N,), optional
    means : float64 ndarray of shape (K, D), optional
        In the units of the data.
    mixture : GMM, optional
        In the units of the data.
    """

    labels: np.ndarray | None = None
    means: np.ndarray | None = None
    mixture: GMM | None = None

    @classmethod
    def of(
        cls,
        init: GMM | ArrayLike,
        X: np.ndarray,
        n_components: int,
        *,
        feature_names: np.ndarray | None = None,
        name: str = "init",
    ) -> Self:
        """Check what was given.

        Parameters
        ----------
        init : GMM, array-like or data frame
            Columns of a frame of means are taken by name, where `X` has names.
        X : ndarray of shape (N, D)
        n_components : int
            K.
        feature_names : ndarray of D str, optional
            Of the columns of `X`.
        name : str, default "init"
            What an error calls it.

        Returns
        -------
        start : Start

        Raises
        ------
        ValueError
            When it is none of the three, of another size than the data or `n_components` ask for,
            when labels leave 0..K−1, means are not finite, or names of features differ.
        """
        if isinstance(init, GMM):
            _check_mixture(init, X, n_components, feature_names, name)
            return cls(mixture=init)
        names = None if feature_names is None else list(feature_names)
        array = _as_array(named_columns(init, names, what=name), name)
        if array.ndim == 1:
            return cls(labels=_check_labels(array, len(X), n_components, name))
        return cls(means=_check_means(array, n_components, X.shape[1], name))

    def of_rows(self, rows: np.ndarray) -> Self:
        """Keep the labels of some rows alone.

        Parameters
        ----------
        rows : bool ndarray of shape (N,)

        Returns
        -------
        start : Start
        """
        return self if self.labels is None else replace(self, labels=self.labels[rows])

    def at_unit_scale(
        self, scale: UnitScale, X: np.ndarray, sample_weight: np.ndarray | None, n_components: int
    ) -> GMM:
        """Make a mixture of it.

        Labels give each component the share, mean and covariance of its rows. A gap in a row counts
        as the mean of the feature in the component, with the variance that it has there; in all
        rows where the component has no value. Means give every row the label of the nearest one at
        unit scale, over the features that the row has; a row without any value has none.

        Parameters
        ----------
        scale : UnitScale
        X : ndarray of shape (N, D)
            In the units of the data; NaN where missing.
        sample_weight : ndarray of shape (N,), optional
        n_components : int
            K.

        Returns
        -------
        model : GMM
            In float64, on the CPU.

        Raises
        ------
        ValueError
            When a component has no row of positive weight.
        """
        if self.mixture is not None:
            return scale.apply_mixture(self.mixture)
        some = ~np.isnan(X).all(axis=1)
        Z, weights = scale.apply(X[some]), None if sample_weight is None else sample_weight[some]
        if self.means is not None:
            labels, what = _nearest(Z, scale.apply(self.means)), "means {} are nearest to"
        else:
            labels, what = np.asarray(self.labels)[some], "labels {} are those of"
        empty = np.flatnonzero(np.bincount(labels, minlength=n_components) == 0).tolist()
        if empty:
            raise ValueError(
                f"init: {what.format(empty)} no row with a value and a positive weight, and a "
                "component without rows is no start: leave them out, with a smaller n_components"
            )
        return _labelled(Z, labels, weights, n_components)


def _as_array(init: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(with_nan(init))
    except (TypeError, ValueError):  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        kind = f"{array.dtype} of shape {array.shape}" if array.ndim else shown(init)
        raise ValueError(f"{name} must be {_FORMS}, got {kind}")
    return array


def _check_labels(labels: np.ndarray, n_rows: int, n_components: int, name: str) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has one axis, so that it must hold integer labels, got {labels.dtype}; means "
            "have the shape (K, D)"
        )
    if len(labels) != n_rows:
        raise ValueError(f"{name} must hold one label a row, {n_rows} in all, got {len(labels)}")
    outside = (labels < 0) | (labels >= n_components)
    if outside.any():
        raise ValueError(
            f"{name} must hold labels in 0..{n_components - 1}, with n_components={n_components}; "
            f"{outside.sum()} are not, row {outside.argmax()} with {labels[outside.argmax()]} the "
            "first. A row of unknown label needs one as well, for example that of its nearest "
            "neighbour: EM does not keep the labels"
        )
    return labels.astype(np.int64)


def _check_means(means: np.ndarray, n_components: int, n_features: int, name: str) -> np.ndarray:
    if means.shape != (n_components, n_features):
        raise ValueError(
            f"{name} as means must have shape ({n_components}, {n_features}), for "
            f"n_components={n_components} and the features of X, got {means.shape}"
        )
    if not np.isfinite(means).all():
        raise ValueError(f"{name} as means must be finite, got {means.tolist()}")
    return means.astype(np.float64)


def _check_mixture(
    mixture: GMM, X: np.ndarray, n_components: int, feature_names: np.ndarray | None, name: str
) -> None:
    if (mixture.n_components, mixture.n_features) != (n_components, X.shape[1]):
        raise ValueError(
            f"{name} has {mixture.n_components} components over {mixture.n_features} features, but "
            f"n_components={n_components} and X has {X.shape[1]} features"
        )
    if mixture.feature_names is None or feature_names is None:
        return
    if mixture.feature_names != tuple(feature_names):
        raise ValueError(
            f"{name} has the features {list(mixture.feature_names)}, but X has "
            f"{list(feature_names)}: its marginal(...) of these names has them in this order, and "
            "with_feature_names(...) names them anew"
        )


def _nearest(Z: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Label every row by the mean that is nearest over the features that it has."""
    distances = [np.nansum((Z - mean) ** 2, axis=1) for mean in means]
    return np.argmin(distances, axis=0)


def _labelled(
    Z: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, n_components: int
) -> GMM:
    """Take the moments of labelled rows, with gaps as `Start.at_unit_scale` says."""
    gaps = np.isnan(Z)
    of_rows = None if weights is None else torch.from_numpy(weights)
    if not gaps.any():
        return assignment_start(
            torch.from_numpy(Z), torch.from_numpy(labels), n_components, sample_weight=of_rows
        )
    shares = np.ones(len(Z)) if weights is None else weights
    filled, missing = Z.copy(), np.zeros((n_components, Z.shape[1]))
    everywhere = _observed_moments(Z, shares)
    for k in range(n_components):
        rows = labels == k
        own = _observed_moments(Z[rows], shares[rows])
        mean, variance = np.where(np.isnan(own), everywhere, own)
        filled[rows] = np.where(gaps[rows], mean, Z[rows])
        missing[k] = variance * np.average(gaps[rows], axis=0, weights=shares[rows])
    model = assignment_start(
        torch.from_numpy(filled), torch.from_numpy(labels), n_components, sample_weight=of_rows
    )
    covariances = model.covariances + torch.diag_embed(torch.from_numpy(missing))
    return GMM.unchecked(model.weights, model.means, covariances)


def _observed_moments(Z: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Mean and variance of every feature where it is known, shape (2, D); NaN where it never is."""
    known = ~np.isnan(Z) * shares[:, None]
    with np.errstate(invalid="ignore"):
        mean = (known * np.nan_to_num(Z)).sum(axis=0) / known.sum(axis=0)
        variance = (known * np.nan_to_num(Z - mean) ** 2).sum(axis=0) / known.sum(axis=0)
    return np.stack([mean, variance])
