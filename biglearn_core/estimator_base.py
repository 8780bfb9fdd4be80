"""What the scikit-learn estimators share: validation, and everything after the fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.linalg import cholesky
from biglearn_core.missing import (
    conditional_mean,
    conditional_sample,
    incomplete_component_log_prob,
)
from biglearn_core.scaling import UnitScale

__all__ = ["MixtureEstimator", "validate_rows", "validate_weights"]

# Weights below this share of the data belong to empty components.
_LEAST_WEIGHT = 1e-5


def validate_rows(
    estimator: BaseEstimator, X: ArrayLike, *, allow_nan: bool, reset: bool
) -> np.ndarray:
    """Check data as scikit-learn does, with a remedy in every message.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets, or is compared with, the number and names of features.
    X : array-like of shape (N, D)
    allow_nan : bool
    reset : bool
        Whether this is a fit.

    Returns
    -------
    X : float32 or float64 ndarray of shape (N, D)

    Raises
    ------
    TypeError, ValueError
        As scikit-learn.
    """
    try:
        X = validate_data(
            estimator,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
            reset=reset,
        )
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"{error}: encode categorical columns as numbers, or drop them") from error
    if np.isinf(X).any():
        raise ValueError(
            f"Input X contains infinity or a value too large for {X.dtype} in "
            f"{np.isinf(X).any(axis=1).sum()} rows; drop these rows, or replace the values by NaN, "
            "which BigLearnEM takes as missing"
        )
    if not allow_nan and np.isnan(X).any():
        raise ValueError(
            f"Input X contains NaN in {np.isnan(X).any(axis=1).sum()} rows; drop them, or use "
            "BigLearnEM with its default preset, which fits and imputes incomplete rows"
        )
    return X


def validate_weights(sample_weight: ArrayLike, X: np.ndarray) -> np.ndarray:
    """Check sample weights.

    Parameters
    ----------
    sample_weight : array-like of shape (N,)
    X : ndarray of shape (N, D)

    Returns
    -------
    sample_weight : float64 ndarray of shape (N,)

    Raises
    ------
    ValueError
        When weights are of another length, not finite, negative or all zero.
    """
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, allow_all_zero_weights=True)
    if (weights < 0).any():
        raise ValueError(
            f"Negative values in data passed to sample_weight: {(weights < 0).sum()} of "
            f"{len(weights)}; weights count copies of a row and must be non-negative"
        )
    if not weights.any():
        raise ValueError("sample_weight is zero everywhere; give at least one row a weight")
    return weights


class MixtureEstimator(DensityMixin, BaseEstimator):
    """What JointEM and BigLearnEM do once fitted, in the vocabulary of GaussianMixture."""

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "preset": [StrOptions({"default", "paper"})],
        "covariance_floor": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
        "verbose": ["verbose"],
    }

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Most probable component of every row.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        labels : int64 ndarray of shape (N,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            When `X` has another number of features than the data of `fit`, or values that are not
            allowed.
        """
        return self._component_log_prob(X).argmax(axis=1)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Posterior probability of every component.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        responsibilities : ndarray of shape (N, K)
            Rows sum to one.
        """
        return torch.from_numpy(self._component_log_prob(X)).softmax(dim=1).numpy()

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log density of every row; of its observed features where some are missing.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        log_density : ndarray of shape (N,)
            In nats, with respect to the units of the data.
        """
        return torch.from_numpy(self._component_log_prob(X)).logsumexp(dim=1).numpy()

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean log density.

        Parameters
        ----------
        X : array-like of shape (N, D)
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative.

        Returns
        -------
        log_likelihood : float
            In nats per row.
        """
        log_density = self.score_samples(X).astype(np.float64)
        if sample_weight is None:
            return float(log_density.mean())
        weights = validate_weights(sample_weight, log_density[:, None])
        return float(weights @ log_density / weights.sum())

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : int, default 1

        Returns
        -------
        X : ndarray of shape (n_samples, D)
        y : int64 ndarray of shape (n_samples,)
            Component of each row.
        """
        check_is_fitted(self)
        X, z = self.mixture_.sample(n_samples, self._generator())
        return X.numpy(), z.numpy()

    def aic(self, X: ArrayLike) -> float:
        """Akaike information criterion; smaller is better.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        aic : float
            In nats.
        """
        log_density = self.score_samples(X).astype(np.float64)
        return float(-2 * log_density.sum() + 2 * self.mixture_.n_parameters)

    def bic(self, X: ArrayLike) -> float:
        """Bayesian information criterion; smaller is better.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        bic : float
            In nats.
        """
        log_density = self.score_samples(X).astype(np.float64)
        return float(-2 * log_density.sum() + self.mixture_.n_parameters * np.log(len(log_density)))

    def fit_predict(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Fit, and return the most probable component of every row.

        Parameters
        ----------
        X : array-like of shape (N, D)
        y : ignored
        sample_weight : array-like of shape (N,), optional

        Returns
        -------
        labels : int64 ndarray of shape (N,)
        """
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def impute(self, X: ArrayLike) -> np.ndarray:
        """Fill missing entries with their expectation given the row's observed ones.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing.

        Returns
        -------
        filled : ndarray of shape (N, D)
            Observed entries unchanged; a row without any value becomes the mean of the mixture.
        """
        return self._fill(X, conditional_mean)

    def sample_conditional(self, X: ArrayLike) -> np.ndarray:
        """Fill missing entries with a draw from their law given the row's observed ones.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing.

        Returns
        -------
        filled : ndarray of shape (N, D)
            Observed entries unchanged. With an integer `random_state` every call draws the same.
        """
        generator = self._generator()
        return self._fill(X, lambda Z, model: conditional_sample(Z, model, generator=generator))

    @property
    def precisions_(self) -> np.ndarray:
        """Inverses of the covariances, shape (K, D, D)."""
        check_is_fitted(self)
        return _inverse(self.mixture_.covariances)

    def _fill(self, X: ArrayLike, rule: Callable[[Tensor, GMM], Tensor]) -> np.ndarray:
        check_is_fitted(self)
        X = validate_rows(self, X, allow_nan=True, reset=False)
        Z = torch.from_numpy(self._scale.apply(X))
        filled = self._scale.undo(rule(Z, self._unit_mixture.to(dtype=Z.dtype)).numpy())
        return np.where(np.isnan(X), filled, X)

    def _component_log_prob(self, X: ArrayLike) -> np.ndarray:
        """Log π_k p(x | k) of every row, shape (N, K)."""
        check_is_fitted(self)
        X = validate_rows(self, X, allow_nan=self._allow_nan(), reset=False)
        Z = torch.from_numpy(self._scale.apply(X))
        model = self._unit_mixture.to(dtype=Z.dtype)
        if np.isnan(X).any():
            log_prob = incomplete_component_log_prob(Z, model)
        else:
            log_prob = model.component_log_prob(Z)
        return (log_prob.numpy() - self._scale.log_volume(X)[:, None]).astype(X.dtype)

    def _allow_nan(self) -> bool:
        return False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allow_nan()
        return tags

    def _seed(self) -> int:
        """Draw a seed from `random_state`, or from the operating system where that is None."""
        if self.random_state is None:
            return int(np.random.default_rng().integers(2**31 - 1))
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed())

    def _prepare(
        self, X: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Validate what `fit` is given."""
        X = validate_rows(self, X, allow_nan=self._allow_nan(), reset=True)
        if sample_weight is not None:
            sample_weight = validate_weights(sample_weight, X)
        if self.n_components > len(X):
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of rows, n_samples={len(X)}: "
                "use fewer components or more data"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError('device="cuda", but this machine has no CUDA device; use "auto"')
        return X, sample_weight

    def _torch_device(self) -> torch.device:
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _keep(
        self,
        model: GMM,
        scale: UnitScale,
        *,
        log_likelihood: float,
        log_volume: float,
        n_iter: int,
        converged: bool,
        history: Any,
        covariance_floor: float,
    ) -> None:
        """Set the fitted attributes, and warn about components that describe nothing."""
        self._scale = scale
        self._unit_mixture = model.to(device="cpu")
        self.mixture_ = scale.undo_mixture(self._unit_mixture)
        self.weights_ = self.mixture_.weights.numpy()
        self.means_ = self.mixture_.means.numpy()
        self.covariances_ = self.mixture_.covariances.numpy()
        self.lower_bound_ = log_likelihood - log_volume
        self.n_iter_ = n_iter
        self.converged_ = converged
        self.history_ = history
        least = torch.linalg.eigvalsh(self._unit_mixture.covariances.double()).amin(dim=1)
        floored = (least <= 1.001 * covariance_floor).nonzero().squeeze(1).tolist()
        if floored:
            warnings.warn(
                f"components {floored} sit on the covariance floor ({covariance_floor:g}): their "
                "likelihood says more about the floor than about the data. Use fewer components, "
                "drop constant or redundant features, or raise covariance_floor; lower it if so "
                "fine a structure is real",
                ConvergenceWarning,
                stacklevel=5,
            )
        empty = np.flatnonzero(self.weights_ < _LEAST_WEIGHT).tolist()
        if empty:
            warnings.warn(
                f"components {empty} are empty; use fewer components",
                ConvergenceWarning,
                stacklevel=5,
            )


def _inverse(covariances: Tensor) -> np.ndarray:
    return torch.cholesky_inverse(cholesky(covariances)).to(covariances.dtype).numpy()
