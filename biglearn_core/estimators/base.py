"""What the scikit-learn estimators share: constructor, validation, and all that follows a fit."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from biglearn_core.estimators.columns import Columns, check_columns, validate_columns
from biglearn_core.estimators.conditional import ConditionalLaw
from biglearn_core.estimators.randomness import drawn_generator, drawn_seed
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.estimators.resolution import default_floor
from biglearn_core.estimators.rows import validate_rows, validate_weights, weighted_mean
from biglearn_core.estimators.scaling import (
    UnitData,
    UnitScale,
    to_unit_scale,
    with_largest_near_one,
)
from biglearn_core.estimators.starts import Start
from biglearn_core.estimators.summary import summarise
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import paper_start
from biglearn_core.numerics.density import LEAST_PROPORTION
from biglearn_core.numerics.evaluation import Evaluation
from biglearn_core.numerics.linalg import cholesky, floor_eigenvalues
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.structures import structure_of
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.missing import (
    IncompletePoints,
    conditional_draws,
    conditional_mean,
    evaluate_incomplete,
)
from biglearn_core.search.search import SearchResult
from biglearn_core.system.devices import choose_device
from biglearn_core.system.numbers import check_integer, check_real

if TYPE_CHECKING:
    import pandas

__all__ = ["MOST_STEPS", "MixtureEstimator", "warn", "warn_not_converged"]

# A result, and the mean log-likelihood of its model on the data that were fitted.
Found = tuple[FitResult | SearchResult, float]

# Joint EM steps, where `max_iter` is not given.
MOST_STEPS = 500

# Of the paper's simulation.
_PAPER_FLOOR = 1e-5

_FOUND_BY_FIT = ("mixture_", "weights_", "means_", "covariances_", "precisions_")


class _Prepared(NamedTuple):
    """What a fit is given, validated: rows, weights, the number of copies, and a start."""

    X: np.ndarray
    sample_weight: np.ndarray | None
    n_rows: float
    start: Start | None


class Criteria(NamedTuple):
    """What is charged for a mixture, in nats; smaller is better.

    Parameters
    ----------
    aic, bic, icl : float
    """

    aic: float
    bic: float
    icl: float


class MixtureEstimator(DensityMixin, BaseEstimator):
    """What JointEM and BigLearnEM share, in the vocabulary of GaussianMixture.

    They say how they fit data with `_fit_default` and `_fit_paper`. Their parameters and attributes
    are told there.
    """

    def __init__(
        self,
        n_components: int,
        *,
        init: str | ArrayLike | GMM | None,
        covariance_type: str,
        preset: Literal["default", "paper"],
        covariance_floor: float | None,
        covariance_prior: Literal["conjugate"] | None,
        max_iter: int | None,
        tol: float,
        n_init: int,
        warm_start: bool,
        random_state: int | np.random.RandomState | None,
        device: Literal["auto", "cpu", "cuda"],
        verbose: int,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.covariance_type = covariance_type
        self.preset = preset
        self.covariance_floor = covariance_floor
        self.covariance_prior = covariance_prior
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

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
        return weighted_mean(self.score_samples(X).astype(np.float64), sample_weight).mean

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
        X, z = self.mixture_.sample(n_samples, drawn_generator(self.random_state))
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
        return self._criteria(X, sample_weight).aic

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
        return self._criteria(X, sample_weight).bic

    def icl(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Integrated completed likelihood criterion; smaller is better.

        Parameters
        ----------
        X : array-like of shape (N, D)
        sample_weight : array-like of shape (N,), optional
            Copies of every row.

        Returns
        -------
        icl : float
            In nats: BIC − 2 Σ_n w_n log max_k r_nk (C. Biernacki, G. Celeux and G. Govaert, IEEE
            PAMI 22(7), 2000).
        """
        return self._criteria(X, sample_weight).icl

    def _criteria(self, X: ArrayLike, sample_weight: ArrayLike | None) -> Criteria:
        evaluation, X = self._evaluate(X)
        log_density = evaluation.log_prob().numpy() - self._scale.log_volume(X)
        with np.errstate(over="ignore"):  # of the digits and bounds of `score_samples`
            log_density = log_density.astype(X.dtype).astype(np.float64)
        fit = weighted_mean(log_density, sample_weight)
        certainty = evaluation.responsibilities().amax(dim=0).log().numpy()
        deviance = -2 * fit.mean * fit.total
        n_parameters = self.mixture_.n_parameters
        bic = deviance + n_parameters * math.log(fit.total)
        uncertainty = -2 * weighted_mean(certainty, sample_weight).mean * fit.total
        return Criteria(deviance + 2 * n_parameters, bic, bic + uncertainty)

    def summary(self, X: ArrayLike | None = None) -> pandas.DataFrame:
        """Describe the components in a table, one row each, in their order.

        Parameters
        ----------
        X : array-like of shape (N, D), optional
            Rows that are counted.

        Returns
        -------
        table : pandas.DataFrame
            Columns "weight"; "mean ..." and "sd ..." of every feature, by its name, or by x0, x1,
            ... where the data of `fit` had none; "volume", ½ log det Σ_k in nats, in the units of
            the data. With `X` also "rows", how many are predicted to be of the component, and
            "uncertainty", the mean of 1 − max_k r_nk over these rows, NaN where there is none.

        Raises
        ------
        ImportError
            Without pandas.
        NotFittedError, ValueError
            As `predict`.
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        shares = None if X is None else self._evaluate(X)[0].responsibilities().numpy()
        return summarise(self.mixture_, names, shares)

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

    def impute(self, X: ArrayLike, n_draws: int | None = None) -> np.ndarray:
        """Fill missing entries with their expectation given the row's observed ones, or with draws.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing.
        n_draws : int, optional
            Fill the table so many times by draws from the law of the missing entries of a row given
            its observed ones (multiple imputation): what is computed from each copy differs as much
            as the gaps leave open.

        Returns
        -------
        filled : ndarray of shape (N, D), or (n_draws, N, D)
            Observed entries unchanged; a row without any value becomes the mean of the mixture. The
            draws differ from each other, the first is that of `sample_conditional`; with an integer
            `random_state` every call gives the same.

        Raises
        ------
        TypeError, ValueError
            When `n_draws` is no positive integer, and as `predict`.
        """
        if n_draws is None:
            return self._fill(X, conditional_mean)
        n_draws = check_integer("n_draws", n_draws, least=1)
        return self._fill(X, lambda Z, model: self._draws(Z, model, n_draws))

    def sample_conditional(self, X: ArrayLike) -> np.ndarray:
        """Fill missing entries with a draw from their law given the row's observed ones.

        Parameters
        ----------
        X : array-like of shape (N, D)
            NaN where missing.

        Returns
        -------
        filled : ndarray of shape (N, D)
            Observed entries unchanged. With an integer `random_state` every call draws the same;
            `impute` with `n_draws` gives several that differ.
        """
        return self._fill(X, lambda Z, model: self._draws(Z, model, 1)[0])

    def condition(self, columns: Columns, X: ArrayLike) -> ConditionalLaw:
        """Law of the other columns given some, for every row of a table.

        Parameters
        ----------
        columns : int, str, or sequence of int, of str, or of D bool
            The columns that are given: positions, names in `feature_names_in_`, or a mask.
        X : array-like of shape (N, d)
            Their values, one column of `X` for each, in the same order. NaN where a value is not
            known in that row, which is then asked about the rest given what it has.

        Returns
        -------
        law : ConditionalLaw
            A mixture over the D − d other columns for each row: its weights, means, standard
            deviations and covariances, quantiles, densities and draws.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            When `columns` are not some, but not all of the features, or `X` is no table with these
            columns; or when a row lies so far out that its law is no number of the dtype.

        Examples
        --------
        >>> import numpy as np
        >>> from biglearn_core import BigLearnEM
        >>> x = np.linspace(0, 1, 200)
        >>> model = BigLearnEM().fit(np.column_stack([x, 2 * x + 1 + 0.1 * np.sin(99 * x)]))
        >>> model.condition([0], [[0.5], [np.nan]]).means.round(1)
        array([[2.],
               [2.]])
        """
        check_is_fitted(self)
        D, names = self.n_features_in_, getattr(self, "feature_names_in_", None)
        given = check_columns(columns, D, names)
        if len(given) == D:
            raise ValueError("columns names all features; leave at least one out, to be asked for")
        known = validate_columns(self, X, given, allow_nan=True)
        rows = np.full((len(known), D), np.nan, dtype=known.dtype)
        rows[:, given] = known
        asked = np.setdiff1d(np.arange(D), given)
        return ConditionalLaw.of(
            self._unit_mixture,
            self._at_unit_scale(rows),
            self._scale,
            columns=asked,
            feature_names=None if names is None else names[asked],
            dtype=known.dtype,
        )

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
        """Covariances, read-only.

        Of shape (K, D, D); (D, D) where they are tied, (K, D) diagonal, (K,) spherical.
        """
        return self._in_the_shape_of_the_type(self.mixture_.covariances)

    @property
    def precisions_(self) -> np.ndarray:
        """Inverses of the covariances, in the same shape; read-only."""
        covariances = self.mixture_.covariances
        inverses = torch.cholesky_inverse(cholesky(covariances)).to(covariances.dtype)
        return self._in_the_shape_of_the_type(inverses)

    def _in_the_shape_of_the_type(self, matrices: Tensor) -> np.ndarray:
        return _read_only(structure_of(self.mixture_.covariance_type).compact(matrices))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FOUND_BY_FIT:
            raise AttributeError(
                f"{name} is what fit has found, and predictions follow from it: it cannot be set. "
                "Build GMM(weights, means, covariances) to ask another mixture, or pass that as "
                "init=... to go on from it"
            )
        super().__setattr__(name, value)

    def _fill(self, X: ArrayLike, rule: Callable[[Tensor, GMM], Tensor]) -> np.ndarray:
        check_is_fitted(self)
        X = validate_rows(self, X, allow_nan=True, reset=False)
        Z = self._at_unit_scale(X)
        with np.errstate(over="ignore", invalid="ignore"):
            filled = self._scale.undo(rule(Z, self._unit_mixture).numpy())
            filled = filled.astype(X.dtype, copy=False)
        np.copyto(filled, X, where=~np.isnan(X))
        bad = ~np.isfinite(filled).all(axis=-1).reshape(-1, len(X)).all(axis=0)
        if bad.any():
            raise ValueError(
                f"the values to fill in leave {X.dtype} in {bad.sum()} rows, row {bad.argmax()} "
                "the first: their observed values lie too far out; drop them"
            )
        return filled

    def _draws(self, Z: Tensor, model: GMM, n_draws: int) -> Tensor:
        generator = drawn_generator(self.random_state)
        return conditional_draws(IncompletePoints(Z), model, n_draws, generator=generator)

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

    def _allow_nan(self) -> bool:
        return False

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allow_nan()
        return tags

    def _seed(self) -> int:
        return drawn_seed(self.random_state)

    def _fit(
        self,
        X: ArrayLike,
        sample_weight: ArrayLike | None,
        beside: Sequence[GMM] = (),
        **settings: Any,
    ) -> Self:
        """Bring the data to the preset's scale, fit them, and keep what was found.

        Mixtures in `beside` are known for these data, in their units; `settings` are of the search.
        """
        with kept_on_error(self), one_thread_an_operation():
            X, sample_weight, n_rows, given = self._prepare(X, sample_weight)
            device, K = choose_device(self.device), self.n_components
            floor_unit = 1.0  # of the floor, in squared units of the data that are fitted
            if self.preset == "paper":
                data = UnitData.as_it_is(X, sample_weight)
                self._scale = data.scale
                floor = self.covariance_floor or _PAPER_FLOOR
                result, log_likelihood = self._fit_paper(*data.to_torch(device), floor)
            else:
                structure = structure_of(self.covariance_type)
                data = to_unit_scale(X, sample_weight=sample_weight, least_rows=K)
                floor = self.covariance_floor or default_floor(data.Z, K)
                standard = data
                if not structure.is_scale_invariant:
                    data, floor_unit = data.in_one_unit()
                self._scale = data.scale
                Z, weights = data.to_torch(device)
                prior = None
                if self.covariance_prior is not None:
                    prior = CovariancePrior.of(Z, K, sample_weight=weights, n_rows=n_rows)
                constraint = Constraint(floor * floor_unit, structure.name, prior)
                known = [data.scale.apply_mixture(m).to(dtype=Z.dtype) for m in beside]
                start = None
                if given is not None:
                    start = given.at_unit_scale(data.scale, X, sample_weight, K)
                    start = start.to(device=device, dtype=Z.dtype)
                result, log_likelihood = self._fit_default(
                    Z, weights, constraint, start, known, settings
                )
            self._gain_of_floor = 0.0
            if floor_unit != 1:
                self._gain_of_floor = _gain_of_floor(result.model, data.scale, standard, floor)
            log_likelihood -= data.log_volume()
            self._keep(
                result,
                log_likelihood=log_likelihood,
                covariance_floor=floor,
                floor_unit=floor_unit,
            )
        return self

    def _fit_default(
        self,
        Z: Tensor,
        weights: Tensor | None,
        constraint: Constraint,
        start: GMM | None,
        beside: Sequence[GMM],
        settings: dict[str, Any],
    ) -> Found:
        """Fit data at unit scale."""
        raise NotImplementedError

    def _fit_paper(self, Z: Tensor, weights: Tensor | None, floor: float) -> Found:
        """Fit data as they are by the published settings."""
        raise NotImplementedError

    def _paper_start(self, Z: Tensor, seed: int) -> GMM:
        return paper_start(
            self.n_components,
            Z.shape[1],
            generator=torch.Generator().manual_seed(seed),
            dtype=Z.dtype,
            device=Z.device,
        )

    def _prepare(self, X: ArrayLike, sample_weight: ArrayLike | None) -> _Prepared:
        """Validate what `fit` is given, leave out rows without weight, and count copies."""
        try:
            self._check_parameters()
        except TypeError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error
        X = validate_rows(self, X, allow_nan=self._allow_nan(), reset=True)
        n_rows = float(len(X))
        if sample_weight is not None:
            sample_weight = validate_weights(sample_weight, X)
            with np.errstate(over="ignore"):
                n_rows = float(sample_weight.sum())
            sample_weight = with_largest_near_one(sample_weight)
        if self.n_components > len(X):
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of rows, n_samples={len(X)}: "
                "use fewer components or more data"
            )
        start = self._given_start(X)
        if sample_weight is None:
            return _Prepared(X, None, n_rows, start)
        # A row without weight is absent, however far out it lies, and so is one whose weight beside
        # the largest is below the ordinary numbers of the dtype.
        some = sample_weight >= np.finfo(X.dtype).tiny
        start = None if start is None else start.of_rows(some)
        return _Prepared(X[some], sample_weight[some], n_rows, start)

    def _given_start(self, X: np.ndarray) -> Start | None:
        """Check the solution to go on from, or the start that was given."""
        init, name = self.init, "init"
        if self.warm_start and hasattr(self, "_unit_mixture"):
            names_before = self._mixture.feature_names
            init = self._scale.undo_mixture(self._unit_mixture).with_feature_names(names_before)
            name = "the last fit, from which warm_start goes on,"
        if init is None or isinstance(init, str):
            return None
        names = getattr(self, "feature_names_in_", None)
        return Start.of(init, X, self.n_components, feature_names=names, name=name)

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError for a parameter that is out of range."""
        choices = {
            "preset": ("default", "paper"),
            "device": ("auto", "cpu", "cuda"),
            "covariance_prior": (None, "conjugate"),
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}"
                )
        covariance_type = structure_of(self.covariance_type).name
        if self.preset == "paper" and (covariance_type != "full" or self.covariance_prior):
            raise ValueError(
                'preset="paper" is defined for full covariances without a prior, got '
                f"covariance_type={self.covariance_type!r} and "
                f"covariance_prior={self.covariance_prior!r}: use the default preset"
            )
        if not isinstance(self.warm_start, bool | np.bool_):
            raise ValueError(f"warm_start must be True or False, got {self.warm_start!r}")
        given = self.init is not None and not isinstance(self.init, str)
        if self.preset == "paper" and (given or self.warm_start):
            raise ValueError(
                'preset="paper" has its own start, N(0, I): leave init and warm_start out, or use '
                "the default preset"
            )
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

    def _keep(
        self,
        result: FitResult | SearchResult,
        *,
        log_likelihood: float,
        covariance_floor: float,
        floor_unit: float,
    ) -> None:
        """Set the fitted attributes, and warn about components that describe nothing."""
        model = result.model.to(device="cpu")
        names = getattr(self, "feature_names_in_", None)
        self._mixture = self._scale.undo_mixture(model).with_feature_names(names)
        self._unit_mixture = model.to(dtype=torch.float64)
        self.covariance_floor_ = covariance_floor
        self.lower_bound_ = log_likelihood
        self.n_iter_ = result.n_iter
        self.converged_ = result.converged
        self.history_ = result.history
        least = torch.linalg.eigvalsh(self._unit_mixture.covariances.double()).amin(dim=1)
        floored = (least <= 1.001 * covariance_floor * floor_unit).nonzero().squeeze(1).tolist()
        if floored:
            shares = ", ".join(f"{w:.2g}" for w in self.weights_[floored])
            warn(
                f"components {floored} (shares of the data: {shares}) sit on the covariance floor "
                f"({covariance_floor:g}): their likelihood says more about the floor than about "
                "the data. For small ones drop rows far out and equal rows, or use fewer "
                "components; for large ones drop constant or redundant features. Where so fine a "
                "structure is real, lower covariance_floor"
            )
        empty = np.flatnonzero(self.weights_ < LEAST_PROPORTION).tolist()
        if empty:
            warn(f"components {empty} are empty; use fewer components")


def _gain_of_floor(model: GMM, scale: UnitScale, standard: UnitData, floor: float) -> float:
    """Mean log-likelihood that a mixture owes to a floor below that of standardised features."""
    law = standard.scale.apply_mixture(scale.undo_mixture(model.to(device="cpu")))
    covariances, floored = floor_eigenvalues(law.covariances, floor)
    if not floored.any():
        return 0.0
    held = GMM.unchecked(law.weights, law.means, covariances)
    Z = torch.from_numpy(standard.Z).double()
    ask = evaluate_incomplete if torch.isnan(Z).any() else _evaluate_complete
    gain = ask(Z, law).log_prob() - ask(Z, held).log_prob()
    return max(0.0, float(np.average(gain.numpy(), weights=standard.sample_weight)))


def _evaluate_complete(Z: Tensor, model: GMM) -> Evaluation:
    return model.evaluate(Z)


def warn_not_converged(n_iter: int) -> None:
    """Tell that EM has not come to rest.

    Parameters
    ----------
    n_iter : int
        Steps that it was given.
    """
    warn(f"EM has not converged in {n_iter} steps: raise max_iter or tol")


def warn(message: str) -> None:
    """Warn whoever has called, through whatever of this library and scikit-learn lies between.

    Parameters
    ----------
    message : str
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_library(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ConvergenceWarning, stacklevel=level)


def _is_library(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("biglearn_core", "sklearn")


def _read_only(parameter: Tensor) -> np.ndarray:
    """Copy, so that neither can be changed through the other, and locked, so that none seems to."""
    array = parameter.numpy().copy()
    array.flags.writeable = False
    return array
