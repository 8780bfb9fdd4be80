"""What the scikit-learn estimators share: validation, and everything after the fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from biglearn_core.estimators.scaling import UnitScale, with_largest_near_one
from biglearn_core.estimators.tables import holds_float32, with_nan
from biglearn_core.gmm import GMM
from biglearn_core.numerics.density import LEAST_PROPORTION
from biglearn_core.numerics.evaluation import Evaluation
from biglearn_core.numerics.linalg import cholesky
from biglearn_core.search.missing import conditional_mean, conditional_sample, evaluate_incomplete
from biglearn_core.validation import check_integer, check_real

__all__ = ["MixtureEstimator", "validate_rows", "validate_weights"]

_FOUND_BY_FIT = ("mixture_", "weights_", "means_", "covariances_", "precisions_")


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
        NaN where a value is missing, however the table writes it.

    Raises
    ------
    TypeError, ValueError
        As scikit-learn.
    """
    table = with_nan(X)
    try:
        rows: np.ndarray = validate_data(
            estimator,
            table,
            dtype=np.float32 if holds_float32(table) else [np.float64, np.float32],
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
            reset=reset,
        )
    except OverflowError as error:
        raise ValueError(f"Input X contains a number too large for float64: {error}") from error
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"{error}: encode categorical columns as numbers, or drop them") from error
    if np.isinf(rows).any():
        raise ValueError(
            f"Input X contains infinity or a value too large for {rows.dtype} in "
            f"{np.isinf(rows).any(axis=1).sum()} rows; drop these rows, or replace the values by "
            "NaN, which BigLearnEM takes as missing"
        )
    if not allow_nan and np.isnan(rows).any():
        raise ValueError(
            f"Input X contains NaN in {np.isnan(rows).any(axis=1).sum()} rows; drop them, or use "
            "BigLearnEM with its default preset, which fits and imputes incomplete rows"
        )
    return rows


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
    if np.ma.is_masked(sample_weight):
        raise ValueError(
            f"sample_weight has {np.ma.count_masked(sample_weight)} masked entries; give every row "
            "a weight, zero to leave it out"
        )
    if isinstance(sample_weight, Real):
        sample_weight = np.full(len(X), sample_weight)
    try:
        weights = check_array(
            with_nan(sample_weight), dtype=np.float64, ensure_2d=False, input_name="sample_weight"
        )
        if weights.shape != (len(X),):
            raise ValueError(f"its shape is {weights.shape}, expected {(len(X),)}")
    except (TypeError, ValueError) as error:
        raise type(error)(f"sample_weight must hold one finite number a row: {error}") from error
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
        return self._evaluate(X)[0].labels().numpy()

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Posterior probability of every component.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        responsibilities : ndarray of shape (N, K)
            Rows sum to one, however far out a row lies.
        """
        evaluation, X = self._evaluate(X)
        return evaluation.responsibilities().T.numpy().astype(X.dtype)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log density of every row; of its observed features where some are missing.

        Parameters
        ----------
        X : array-like of shape (N, D)

        Returns
        -------
        log_density : ndarray of shape (N,)
            In nats, with respect to the units of the data; −inf where it is below the least number
            of the dtype.
        """
        evaluation, X = self._evaluate(X)
        log_density = evaluation.log_prob().numpy() - self._scale.log_volume(X)
        with np.errstate(over="ignore"):
            return log_density.astype(X.dtype)

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
        return _weighted(self.score_samples(X).astype(np.float64), sample_weight).mean

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

    def aic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Akaike information criterion; smaller is better.

        Parameters
        ----------
        X : array-like of shape (N, D)
        sample_weight : array-like of shape (N,), optional
            Copies of every row.

        Returns
        -------
        aic : float
            In nats.
        """
        fit = _weighted(self.score_samples(X).astype(np.float64), sample_weight)
        return float(-2 * fit.mean * fit.total + 2 * self.mixture_.n_parameters)

    def bic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Bayesian information criterion; smaller is better.

        Parameters
        ----------
        X : array-like of shape (N, D)
        sample_weight : array-like of shape (N,), optional
            Copies of every row: their sum counts as the number of rows.

        Returns
        -------
        bic : float
            In nats.
        """
        fit = _weighted(self.score_samples(X).astype(np.float64), sample_weight)
        return float(-2 * fit.mean * fit.total + self.mixture_.n_parameters * np.log(fit.total))

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
    def mixture_(self) -> GMM:
        """The law that was found."""
        check_is_fitted(self)
        return self._mixture

    @property
    def weights_(self) -> np.ndarray:
        """Mixing proportions, shape (K,); read-only."""
        return _read_only(self.mixture_.weights)

    @property
    def means_(self) -> np.ndarray:
        """Means, shape (K, D); read-only."""
        return _read_only(self.mixture_.means)

    @property
    def covariances_(self) -> np.ndarray:
        """Covariances, shape (K, D, D); read-only."""
        return _read_only(self.mixture_.covariances)

    @property
    def precisions_(self) -> np.ndarray:
        """Inverses of the covariances, shape (K, D, D); read-only."""
        covariances = self.mixture_.covariances
        return _read_only(torch.cholesky_inverse(cholesky(covariances)).to(covariances.dtype))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FOUND_BY_FIT:
            raise AttributeError(
                f"{name} is what fit has found, and predictions follow from it: it cannot be set. "
                "Build GMM(weights, means, covariances) to ask another mixture, or pass that as "
                "JointEM(init=...) to go on from it"
            )
        super().__setattr__(name, value)

    def _fill(self, X: ArrayLike, rule: Callable[[Tensor, GMM], Tensor]) -> np.ndarray:
        check_is_fitted(self)
        X = validate_rows(self, X, allow_nan=True, reset=False)
        Z = self._at_unit_scale(X)
        with np.errstate(over="ignore", invalid="ignore"):
            filled = self._scale.undo(rule(Z, self._unit_mixture).numpy())
            filled = np.where(np.isnan(X), filled.astype(X.dtype), X)
        bad = ~np.isfinite(filled).all(axis=1)
        if bad.any():
            raise ValueError(
                f"the values to fill in leave {X.dtype} in {bad.sum()} rows, row {bad.argmax()} "
                "the first: their observed values lie too far out; drop them"
            )
        return filled

    def _evaluate(self, X: ArrayLike) -> tuple[Evaluation, np.ndarray]:
        """Components at every row, in float64 at unit scale; and the validated rows."""
        check_is_fitted(self)
        X = validate_rows(self, X, allow_nan=self._allow_nan(), reset=False)
        Z = self._at_unit_scale(X)
        incomplete = np.isnan(X).any(axis=1)
        if not incomplete.any():
            return self._unit_mixture.evaluate(Z), X
        # A row without gaps is treated as in a table without any.
        parts = Evaluation.joined(
            [
                self._unit_mixture.evaluate(Z[~incomplete]),
                evaluate_incomplete(Z[incomplete], self._unit_mixture),
            ]
        )
        place = incomplete.argsort(kind="stable").argsort()
        shift = None if parts.shift is None else parts.shift[place]
        return Evaluation(parts.relative[:, place], shift), X

    def _at_unit_scale(self, X: np.ndarray) -> Tensor:
        """Rows as the fit would have seen them: rounded to its dtype where that can hold them."""
        Z = torch.from_numpy(self._scale.apply(X))
        rounded = Z.to(self._mixture.dtype).double()
        return torch.where(rounded.isinf(), Z, rounded)

    @contextmanager
    def _kept_on_error(self) -> Iterator[None]:
        """Leave the estimator as it was where a fit is refused."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _allow_nan(self) -> bool:
        return False

    def __sklearn_tags__(self) -> Tags:
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
        """Validate what `fit` is given, and leave out rows without weight."""
        try:
            self._check_parameters()
        except TypeError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error
        X = validate_rows(self, X, allow_nan=self._allow_nan(), reset=True)
        if sample_weight is not None:
            sample_weight = with_largest_near_one(validate_weights(sample_weight, X))
        if self.n_components > len(X):
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of rows, n_samples={len(X)}: "
                "use fewer components or more data"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError('device="cuda", but this machine has no CUDA device; use "auto"')
        if sample_weight is None:
            return X, None
        # A row without weight is absent, however far out it lies, and so is one whose weight beside
        # the largest is below the ordinary numbers of the dtype.
        some = sample_weight >= np.finfo(X.dtype).tiny
        return X[some], sample_weight[some]

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError for a parameter that is out of range."""
        choices = {"preset": ("default", "paper"), "device": ("auto", "cpu", "cuda")}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        check_integer("n_components", self.n_components, least=1)
        check_integer("n_init", self.n_init, least=1)
        if not isinstance(self.verbose, bool):
            check_integer("verbose", self.verbose, least=0)
        if self.max_iter is not None:
            check_integer("max_iter", self.max_iter, least=1)
        check_real("tol", self.tol, least=0)
        if self.covariance_floor is not None:
            check_real("covariance_floor", self.covariance_floor, positive=True)
        check_random_state(self.random_state)

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
        model = model.to(device="cpu")
        self._mixture = scale.undo_mixture(model)
        self._unit_mixture = model.to(dtype=torch.float64)
        self.covariance_floor_ = covariance_floor
        self.lower_bound_ = log_likelihood - log_volume
        self.n_iter_ = n_iter
        self.converged_ = converged
        self.history_ = history
        least = torch.linalg.eigvalsh(self._unit_mixture.covariances.double()).amin(dim=1)
        floored = (least <= 1.001 * covariance_floor).nonzero().squeeze(1).tolist()
        if floored:
            shares = ", ".join(f"{w:.2g}" for w in self.weights_[floored])
            warnings.warn(
                f"components {floored} (shares of the data: {shares}) sit on the covariance floor "
                f"({covariance_floor:g}): their likelihood says more about the floor than about "
                "the data. For small ones drop rows far out and equal rows, or use fewer "
                "components; for large ones drop constant or redundant features. Where so fine a "
                "structure is real, lower covariance_floor",
                ConvergenceWarning,
                stacklevel=4,
            )
        empty = np.flatnonzero(self.weights_ < LEAST_PROPORTION).tolist()
        if empty:
            warnings.warn(
                f"components {empty} are empty; use fewer components",
                ConvergenceWarning,
                stacklevel=4,
            )


def _read_only(parameter: Tensor) -> np.ndarray:
    """Copy, so that neither can be changed through the other, and locked, so that none seems to."""
    array = parameter.numpy().copy()
    array.flags.writeable = False
    return array


class _Weighted(NamedTuple):
    mean: float
    total: float


def _weighted(log_density: np.ndarray, sample_weight: ArrayLike | None) -> _Weighted:
    """Mean of the log-densities, and the number of rows that the weights stand for."""
    if sample_weight is None:
        sample_weight = np.ones(len(log_density))
    weights = validate_weights(sample_weight, log_density[:, None])
    exponent = np.frexp(weights.max())[1]
    scaled = np.ldexp(weights, -exponent)  # so that no sum leaves float64
    total, some = scaled.sum(), scaled > 0  # a log-density of −inf counts only where it has weight
    with np.errstate(over="ignore"):
        n_rows = float(np.ldexp(total, exponent))
    return _Weighted(float((scaled[some] / total) @ log_density[some]), n_rows)
