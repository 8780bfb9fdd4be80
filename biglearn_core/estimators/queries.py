"""All that follows the fit of a mixture: predictions, densities, criteria, draws and fillings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from biglearn_core.estimators.blocks import QueryBlock, query_blocks, query_source
from biglearn_core.estimators.columns import Columns, check_columns, validate_columns
from biglearn_core.estimators.conditional import ConditionalLaw
from biglearn_core.estimators.given import HeldRows, PassedRows
from biglearn_core.estimators.randomness import RandomState, drawn_generator
from biglearn_core.estimators.rows import validate_rows, validate_weights, weighted_mean
from biglearn_core.estimators.scaling import UnitScale
from biglearn_core.estimators.summary import Counts, summarise
from biglearn_core.gmm import GMM
from biglearn_core.numerics.evaluation import Evaluation
from biglearn_core.numerics.linalg import cholesky
from biglearn_core.numerics.structures import structure_of
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.search.missing import (
    IncompletePoints,
    conditional_draws,
    conditional_mean,
    evaluate_rows,
)
from biglearn_core.system.numbers import check_integer, shown

if TYPE_CHECKING:
    import pandas

__all__ = ["Criteria", "FittedMixture"]

_FOUND_BY_FIT = ("mixture_", "weights_", "means_", "covariances_", "precisions_")


class Criteria(NamedTuple):
    """What is charged for a mixture, in nats; smaller is better.

    Parameters
    ----------
    aic, bic, icl : float
    """

    aic: float
    bic: float
    icl: float


class FittedMixture(DensityMixin, BaseEstimator):
    """What is asked of a mixture that was fitted, in the vocabulary of GaussianMixture.

    A fit sets the mixture in the units of the data, that at unit scale, and the scale.
    """

    n_features_in_: int
    random_state: RandomState
    _mixture: GMM
    _unit_mixture: GMM
    _scale: UnitScale

    def predict(self, X: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Most probable component of every row.

        Parameters
        ----------
        X : array-like of shape (N, D), or rows in files or chunks
            As in `fit`.
        out : ndarray of shape (N,), optional
            Where to write the labels, for example a memory map of integers.

        Returns
        -------
        labels : int64 ndarray of shape (N,)
            Or `out`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            When `X` has another number of features than the data of `fit`, or values that are not
            allowed, or `out` another shape than the answer or a dtype that does not hold it.
        """
        return self._answer(X, out, _labels, (), np.dtype(np.int64))

    def predict_proba(self, X: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Posterior probability of every component.

        Parameters
        ----------
        X : array-like of shape (N, D), or rows in files or chunks
        out : ndarray of shape (N, K), optional
            Where to write them.

        Returns
        -------
        responsibilities : ndarray of shape (N, K)
            Or `out`. Rows sum to one, however far out a row lies.
        """
        return self._answer(X, out, _responsibilities, (self._n_answers(),))

    def score_samples(self, X: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Log density of every row; of its observed features where some are missing.

        Parameters
        ----------
        X : array-like of shape (N, D), or rows in files or chunks
        out : ndarray of shape (N,), optional
            Where to write them.

        Returns
        -------
        log_density : ndarray of shape (N,)
            Or `out`. In nats, with respect to the units of the data; −inf where it is below the
            least number of the dtype.
        """
        return self._answer(X, out, self._log_density, ())

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean log density.

        Parameters
        ----------
        X : array-like of shape (N, D), or rows in files or chunks
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative. When not given those of a source that has some.

        Returns
        -------
        log_likelihood : float
            In nats per row.
        """
        return float(self._means(X, sample_weight, self._log_density)[0][0])

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
        means, total = self._means(X, sample_weight, self._terms_of_criteria)
        return self._charged(means * total)

    def _criteria_of_rows(self, rows: HeldRows | PassedRows) -> Criteria:
        """Charge for the rows of a fit, of all processes."""
        if isinstance(rows, HeldRows):
            source, answer = ArrayRows(rows.given), self._terms_of_criteria
            means, total = self._means_of(source, rows.given_weight, answer)
            return self._charged(means * total)
        sums = rows.source.fold(self._sums_of_block, np.add, progress=rows.progress)
        found = torch.from_numpy(np.zeros(3) if sums is None else sums)
        return self._charged(rows.processes.sum([found])[0].numpy())

    def _sums_of_block(self, block: Block) -> np.ndarray:
        """Add up the terms of the criteria over a block that a fit has checked."""
        rows, weights = block.rows, block.weights
        weights = np.ones(len(rows)) if weights is None else weights
        rows, weights = rows[weights > 0], weights[weights > 0]
        return self._terms_of_criteria(self._evaluate(rows), rows) @ weights

    def _charged(self, sums: np.ndarray) -> Criteria:
        """Charge for the parameters, given the sums of log densities, certainties and rows."""
        log_density, certainty, n_rows = sums.tolist()
        if n_rows == 0:
            raise ValueError("no row has a value: there is nothing to compare a mixture with")
        n_parameters = self.mixture_.n_parameters
        bic = -2 * log_density + n_parameters * math.log(n_rows)
        return Criteria(-2 * log_density + 2 * n_parameters, bic, bic - 2 * certainty)

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
        counted = None
        if X is not None:
            counted = Counts(self._n_answers())
            for evaluation, _ in self._evaluations(X):
                counted.add(evaluation.responsibilities().numpy())
        return summarise(self.mixture_, names, counted)

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

    def _evaluations(self, X: Any) -> Iterator[tuple[Evaluation, QueryBlock]]:
        """Components at all rows, block by block."""
        check_is_fitted(self)
        source = query_source(self, X, allow_nan=self._allow_nan())
        for block in query_blocks(source, allow_nan=self._allow_nan(), n_answers=self._n_answers()):
            yield self._evaluate(block.rows, block.first), block

    def _n_answers(self) -> int:
        check_is_fitted(self)
        return self._mixture.n_components

    def _answer(
        self,
        X: Any,
        out: np.ndarray | None,
        answer: Callable[[Evaluation, np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        dtype: np.dtype | None = None,
    ) -> np.ndarray:
        """Answer for every row, in an array of their own or in one that is given."""
        check_is_fitted(self)
        source = query_source(self, X, allow_nan=self._allow_nan())
        shape = (source.n_rows, *shape)
        if out is None:
            out = np.empty(shape, dtype=dtype or source.dtype)
        else:
            _check_out(out, shape, self._n_answers() if dtype is not None else None)
        blocks = query_blocks(source, allow_nan=self._allow_nan(), n_answers=self._n_answers())
        for rows, _, first in blocks:
            found = answer(self._evaluate(rows, first), rows)
            out[first : first + len(rows)] = found
        return out

    def _means(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        answer: Callable[[Evaluation, np.ndarray], np.ndarray],
    ) -> tuple[np.ndarray, float]:
        """Weighted means of what is answered for every row, and the sum of the weights."""
        check_is_fitted(self)
        source = query_source(self, X, allow_nan=self._allow_nan())
        given = None
        if sample_weight is not None:
            given = validate_weights(sample_weight, source.n_rows)
        return self._means_of(source, given, answer)

    def _means_of(
        self,
        source: RowSource,
        given: np.ndarray | None,
        answer: Callable[[Evaluation, np.ndarray], np.ndarray],
    ) -> tuple[np.ndarray, float]:
        """As `_means`, of rows whose features are those of the fit and of checked weights."""
        means, totals = [], []
        blocks = query_blocks(source, allow_nan=self._allow_nan(), n_answers=self._n_answers())
        for rows, weights, first in blocks:
            if given is not None:
                if weights is not None:
                    raise ValueError(
                        f"{source.label} has weights already; give them in one place, as a column "
                        "or as sample_weight"
                    )
                weights = given[first : first + len(rows)]
            found = answer(self._evaluate(rows, first), rows)
            if weights is not None and not weights.any():
                continue
            of_columns = [weighted_mean(column, weights) for column in np.atleast_2d(found)]
            means.append([column.mean for column in of_columns])
            totals.append(of_columns[0].total)
        if not totals:
            raise ValueError("there is no row of positive weight to take the mean of")
        if len(totals) == 1:
            return np.array(means[0]), totals[0]
        return np.average(means, axis=0, weights=totals), math.fsum(totals)

    def _log_density(self, evaluation: Evaluation, rows: np.ndarray) -> np.ndarray:
        log_density = evaluation.log_prob().numpy() - self._scale.log_volume(rows)
        with np.errstate(over="ignore"):
            return log_density.astype(rows.dtype)

    def _terms_of_criteria(self, evaluation: Evaluation, rows: np.ndarray) -> np.ndarray:
        """Log density, log of the largest responsibility, and one, or zeros without any value."""
        certainty = evaluation.responsibilities().amax(dim=0).log().numpy()
        known = ~np.isnan(rows).all(axis=1)
        log_density = self._log_density(evaluation, rows).astype(np.float64)
        return np.stack([log_density, np.where(known, certainty, 0), known])

    def _evaluate(self, rows: np.ndarray, first: int = 0) -> Evaluation:
        """Components at validated rows, in float64 at unit scale."""
        return evaluate_rows(self._at_unit_scale(rows, first), self._unit_mixture)

    def _at_unit_scale(self, X: np.ndarray, first: int = 0) -> Tensor:
        """Rows as the fit would have seen them: rounded to its dtype where that can hold them."""
        Z = torch.from_numpy(self._scale.apply(X, first))
        rounded = Z.to(self._mixture.dtype).double()
        return torch.where(rounded.isinf(), Z, rounded)

    def _allow_nan(self) -> bool:
        return False

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allow_nan()
        return tags


def _check_out(out: Any, shape: tuple[int, ...], n_labels: int | None) -> None:
    """Refuse what cannot take the answers: floats, or so many labels."""
    if not isinstance(out, np.ndarray) or out.shape != shape:
        raise ValueError(f"out must be an ndarray of shape {shape}, got {shown(out)}")
    if n_labels is None and out.dtype.kind != "f":
        raise ValueError(f"out must hold floating-point numbers, got {out.dtype}")
    if n_labels is not None and (
        out.dtype.kind not in "iu" or np.iinfo(out.dtype).max < n_labels - 1
    ):
        raise ValueError(f"out must hold integers up to {n_labels - 1}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")


def _labels(evaluation: Evaluation, rows: np.ndarray) -> np.ndarray:
    return evaluation.labels().numpy()


def _responsibilities(evaluation: Evaluation, rows: np.ndarray) -> np.ndarray:
    return evaluation.responsibilities().T.numpy()


def _read_only(parameter: Tensor) -> np.ndarray:
    """Copy, so that neither can be changed through the other, and locked, so that none seems to."""
    array = parameter.numpy().copy()
    array.flags.writeable = False
    return array
