"""The laws of some columns given others, for every row of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from biglearn_core.estimators.quantiles import mixture_quantile
from biglearn_core.estimators.randomness import RandomState, drawn_generator
from biglearn_core.estimators.scaling import UnitScale
from biglearn_core.gmm import GMM
from biglearn_core.numerics.density import LOG_2PI
from biglearn_core.rows.tables import is_frame, with_nan
from biglearn_core.search.missing import (
    ConditionalBlock,
    IncompletePoints,
    conditional_blocks,
    conditional_draws,
)
from biglearn_core.system.numbers import check_integer, check_real

__all__ = ["ConditionalLaw"]


@dataclass(frozen=True)
class _Question:
    """What is known of rows at unit scale, and which coordinates are asked for.

    Parameters
    ----------
    model : GMM
        float64.
    points : IncompletePoints
    index : int64 Tensor of shape (m,)
        Coordinates that are asked for.
    centre, scale : float64 ndarray of shape (m,)
        Of these coordinates, which lead back to the units of the data.
    dtype : dtype
        Of answers.
    """

    model: GMM
    points: IncompletePoints
    index: Tensor
    centre: np.ndarray
    scale: np.ndarray
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.points.X), self.model.n_components, len(self.index)

    def blocks(self) -> Iterator[ConditionalBlock]:
        return conditional_blocks(self.points, self.model, self.index)

    def gather(self, answer: Callable[[ConditionalBlock], Tensor], *shape: int) -> np.ndarray:
        """Answer block by block, shape (N, *shape); `answer` gives (P, R, *shape)."""
        answers = self.points.X.new_empty(len(self.points.X), *shape)
        for block in self.blocks():
            answers[block.rows[block.real]] = answer(block)[block.real]
        return answers.numpy()

    def places(self, values: np.ndarray) -> np.ndarray:
        """Turn values of the coordinates asked for, on the last axis, to the units of the data."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.finite(values * self.scale + self.centre)

    def finite(self, values: np.ndarray) -> np.ndarray:
        """Turn to the dtype of answers, read-only; the rows are the last axis but one."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = values.astype(self.dtype)
        if not np.isfinite(values).all():
            raise ValueError(
                f"the law given some of these rows is no number of {self.dtype}: their known "
                "values lie too far out; drop them"
                f"{'' if self.dtype == np.float64 else ', or pass float64'}"
            )
        values.flags.writeable = False
        return values


@dataclass(frozen=True, eq=False, repr=False)
class ConditionalLaw:
    """Gaussian mixtures over the columns that are not given, one for each row.

    Made by `condition` of a fitted estimator. Everything is in the units of the data and in the
    dtype of the rows that were given; arrays are read-only.

    Parameters
    ----------
    weights : ndarray of shape (N, K)
        Posterior probabilities of the components given what is known of the row.
    means : ndarray of shape (N, m)
        Expectations of the columns asked for.
    standard_deviations : ndarray of shape (N, m)
        Of the mixture: spread within the components and between them.
    columns : int64 ndarray of shape (m,)
        Positions of the columns asked for in the data of `fit`, increasing.
    feature_names : ndarray of shape (m,) or None
        Their names, where the data of `fit` had names.

    Notes
    -----
    What is not kept is computed when it is asked for, from the rows that were given, in pieces of
    bounded memory. No answer for a row depends on the others, but for the draws of `sample`.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import BigLearnEM
    >>> x = np.linspace(0, 1, 200)
    >>> model = BigLearnEM().fit(np.column_stack([x, 3 * x + 0.1 * np.sin(99 * x)]))
    >>> law = model.condition([0], [[0.5]])
    >>> law.means.round(1), law.quantile(0.5).round(1)
    (array([[1.5]]), array([[1.5]]))
    """

    weights: np.ndarray
    means: np.ndarray
    standard_deviations: np.ndarray
    columns: np.ndarray
    feature_names: np.ndarray | None
    _question: _Question

    @classmethod
    def of(
        cls,
        model: GMM,
        Z: Tensor,
        scale: UnitScale,
        *,
        columns: np.ndarray,
        feature_names: np.ndarray | None,
        dtype: np.dtype,
    ) -> ConditionalLaw:
        """Condition a mixture at unit scale.

        Parameters
        ----------
        model : GMM
            float64, over D coordinates.
        Z : float64 Tensor of shape (N, D)
            NaN where not known; the coordinates asked for are nowhere known.
        scale : UnitScale
            Leads to the units of the data.
        columns : int64 ndarray of shape (m,)
            Features that are asked for.
        feature_names : ndarray of shape (m,), optional
        dtype : dtype
            Of answers.

        Returns
        -------
        law : ConditionalLaw

        Raises
        ------
        ValueError
            When the law given a row is no number of the dtype.
        """
        index = torch.from_numpy(np.argsort(scale.order)[columns])
        points = IncompletePoints(Z)
        question = _Question(
            model, points, index, scale.centre[columns], scale.scale[columns], dtype
        )
        N, K, m = question.shape
        moments = points.X.new_empty(N, K), points.X.new_empty(N, m), points.X.new_empty(N, m)
        for block in question.blocks():
            r = block.weights()
            mean = (r[..., None] * block.means).sum(dim=1)
            spread = (block.means - mean[:, None]).square()
            spread += block.covariances.diagonal(dim1=-2, dim2=-1)[:, :, None].clamp_min(0)
            deviation = (r[..., None] * spread).sum(dim=1).sqrt()
            rows = block.rows[block.real]
            for kept, values in zip(moments, (r.movedim(1, 2), mean, deviation), strict=True):
                kept[rows] = values[block.real]
        weights, means, deviations = (values.numpy() for values in moments)
        return cls(
            question.finite(weights),
            question.places(means),
            question.finite(deviations * question.scale),
            columns,
            feature_names,
            question,
        )

    def __repr__(self) -> str:
        N, K, _ = self._question.shape
        asked = self.columns if self.feature_names is None else self.feature_names
        return f"ConditionalLaw(columns={asked.tolist()}, n_rows={N}, n_components={K})"

    @property
    def covariances(self) -> np.ndarray:
        """Covariances of the mixtures, shape (N, m, m)."""
        _, _, m = self._question.shape

        def of(block: ConditionalBlock) -> Tensor:
            r = block.weights()
            mean = (r[..., None] * block.means).sum(dim=1, keepdim=True)
            gaps = (block.means - mean).movedim(1, 3)
            between = (gaps * r.movedim(1, 2)[:, :, None]) @ gaps.mT
            return between + torch.einsum("pkr,pkij->prij", r, block.covariances)

        values = self._question.gather(of, m, m)
        return self._question.finite(values * np.outer(self._question.scale, self._question.scale))

    @property
    def component_means(self) -> np.ndarray:
        """Means of the components, shape (N, K, m)."""
        _, K, m = self._question.shape
        values = self._question.gather(lambda block: block.means.movedim(1, 2), K, m)
        return self._question.places(values)

    @property
    def component_covariances(self) -> np.ndarray:
        """Covariances of the components, shape (N, K, m, m)."""
        _, K, m = self._question.shape

        def of(block: ConditionalBlock) -> Tensor:
            width = block.rows.shape[1]
            return block.covariances[:, None].expand(-1, width, -1, -1, -1)

        values = self._question.gather(of, K, m, m)
        return self._question.finite(values * np.outer(self._question.scale, self._question.scale))

    def log_prob(self, Y: ArrayLike) -> np.ndarray:
        """Log density of one value of the columns asked for in each row.

        Parameters
        ----------
        Y : array-like of shape (N, m)
            Finite.

        Returns
        -------
        log_prob : ndarray of shape (N,)
            In nats, with respect to the units of the data; −inf where it is below the least number
            of the dtype.

        Raises
        ------
        ValueError
            When `Y` has another shape or columns of other names, or is not finite.
        """
        N, _, m = self._question.shape
        if self.feature_names is not None and is_frame(Y):
            names = list(getattr(Y, "columns", ()))
            if names != self.feature_names.tolist():
                raise ValueError(
                    f"Y has the columns {names}, expected {self.feature_names.tolist()}, in this "
                    "order"
                )
        Y = np.asarray(with_nan(Y), dtype=np.float64)
        if Y.shape != (N, m):
            raise ValueError(f"Y has shape {Y.shape}, expected {(N, m)}: one row for each given")
        if not np.isfinite(Y).all():
            raise ValueError(
                f"Y is not finite in {(~np.isfinite(Y).all(axis=1)).sum()} rows; drop these from Y "
                "and from what is given"
            )
        asked = torch.from_numpy((Y - self._question.centre) / self._question.scale)

        def of(block: ConditionalBlock) -> Tensor:
            factors = block.factors()
            gaps = asked[block.rows][:, None] - block.means
            whitened = torch.linalg.solve_triangular(factors, gaps.mT, upper=False)
            log_determinants = factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
            log_density = -0.5 * whitened.square().sum(dim=2) - log_determinants[..., None]
            return (block.log_weights.log_softmax(dim=1) + log_density).logsumexp(dim=1)

        log_volume = 0.5 * m * LOG_2PI + np.log(self._question.scale).sum()
        with np.errstate(over="ignore"):
            return (self._question.gather(of) - log_volume).astype(self._question.dtype)

    def quantile(self, q: ArrayLike) -> np.ndarray:
        """Quantiles of every column by itself.

        Parameters
        ----------
        q : float or array-like of shape (Q,)
            Above zero and below one.

        Returns
        -------
        quantiles : ndarray of shape (N, m), or (Q, N, m)
            The values that the column stays below with probability `q`.

        Raises
        ------
        TypeError, ValueError
            When `q` is no number above zero and below one, nor a sequence of such.
        """
        if np.ndim(q) > 1 or np.size(q) == 0:
            raise ValueError(
                f"q must be a number or a sequence of numbers, got shape {np.shape(q)}"
            )
        levels = [_check_level(level) for level in np.atleast_1d(np.asarray(q)).tolist()]
        _, _, m = self._question.shape

        def of(block: ConditionalBlock) -> Tensor:
            weights = block.weights().movedim(1, 0)[..., None]
            means = block.means.movedim(1, 0)
            variances = block.covariances.diagonal(dim1=-2, dim2=-1).movedim(1, 0)
            deviations = variances.clamp_min(torch.finfo(variances.dtype).tiny).sqrt()
            solved = [
                mixture_quantile(level, weights, means, deviations[:, :, None]) for level in levels
            ]
            return torch.stack(solved, dim=2)

        quantiles = self._question.gather(of, len(levels), m).swapaxes(0, 1)
        return self._question.places(quantiles[0] if np.ndim(q) == 0 else quantiles)

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> np.ndarray:
        """Draw from the law of every row.

        Parameters
        ----------
        n_samples : int, default 1
            Draws for each row.
        random_state : int, RandomState instance or None, default None

        Returns
        -------
        Y : ndarray of shape (n_samples, N, m)
            With an integer `random_state` the first draws are those of a smaller `n_samples`.

        Raises
        ------
        TypeError, ValueError
            When `n_samples` is no positive integer.
        """
        n_samples = check_integer("n_samples", n_samples, least=1)
        question = self._question
        draws = conditional_draws(
            question.points,
            question.model,
            n_samples,
            generator=drawn_generator(random_state),
            index=question.index,
        )
        return question.places(draws.numpy())


def _check_level(q: float) -> float:
    level = check_real("q", q, positive=True)
    if level >= 1:
        raise ValueError(f"q must be below one, got {level}")
    return level
