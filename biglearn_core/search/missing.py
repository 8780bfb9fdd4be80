"""Rows with missing entries: EM on the observed marginal of each row, and imputation.

A row of which the coordinates O are known has the density p(x_O), a marginal of the mixture: rows
with gaps are matching tasks that the data themselves have drawn. The missing coordinates enter the
M-step through their conditional law given x_O (Ghahramani and Jordan, "Supervised learning from
incomplete data via an EM approach", NIPS 1993). Missing entries are NaN and are taken to be missing
at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from biglearn_core.em import EMStep, fit_covariances
from biglearn_core.gmm import GMM
from biglearn_core.numerics.density import LEAST_PROPORTION, LOG_2PI
from biglearn_core.numerics.evaluation import Evaluation, is_far
from biglearn_core.numerics.linalg import cholesky, symmetrize
from biglearn_core.numerics.points import Sums
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.streamed import BlockView, StreamedRows
from biglearn_core.rows.source import RowSource
from biglearn_core.system.processes import ALONE, Processes

__all__ = [
    "ConditionalBlock",
    "IncompletePoints",
    "StreamedIncompletePoints",
    "conditional_blocks",
    "conditional_draws",
    "conditional_mean",
    "conditional_sample",
    "evaluate_incomplete",
    "evaluate_rows",
    "incomplete_em_step",
]

# Working memory: numbers in one batch of per-pattern matrices, or of per-row ones.
_BATCH_NUMBERS = 4_000_000


@dataclass(frozen=True)
class _Block:
    """Rows of a few patterns, every pattern padded to the same number of rows.

    Parameters
    ----------
    observed : Tensor of shape (P, D)
        One where the pattern has a value, else zero.
    rows : int64 Tensor of shape (P, R)
        Rows of the data; padding repeats row 0.
    real : bool Tensor of shape (P, R)
        False for padding.
    """

    observed: Tensor
    rows: Tensor
    real: Tensor


class IncompletePoints:
    """Data with missing entries, grouped by which entries are missing.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        NaN where missing; rows without any value are allowed and say nothing.
    sample_weight : Tensor of shape (N,), optional
    """

    def __init__(self, X: Tensor, *, sample_weight: Tensor | None = None) -> None:
        observed = ~torch.isnan(X)
        self.X = torch.where(observed, X, 0.0).double()
        self.weights = (
            self.X.new_ones(X.shape[0]) if sample_weight is None else sample_weight.double()
        )
        self.total = self.weights.sum().item()
        patterns, pattern = torch.unique(observed, dim=0, return_inverse=True)
        counts = torch.bincount(pattern, minlength=len(patterns))
        order = pattern.argsort(stable=True)
        self._patterns = patterns.double()
        self._counts = counts
        self._rows = order
        self._first = counts.cumsum(0) - counts

    def added(self, function: Callable[[IncompletePoints], Sums]) -> Sums:
        """Add up what a function gives of some of the rows at a time; see `Points.added`."""
        return function(self)

    def blocks(self, n_components: int) -> Iterator[_Block]:
        """Hand out the rows in batches of patterns with similar numbers of rows.

        Parameters
        ----------
        n_components : int
            Scales the working memory.

        Yields
        ------
        block : _Block
        """
        D = self.X.shape[1]
        by_count = self._counts.argsort(stable=True)
        counts = self._counts[by_count].tolist()
        bound = max(1, _BATCH_NUMBERS // (n_components * D))
        start = 0
        while start < len(counts):
            stop = start + 1
            while stop < len(counts) and (
                counts[stop] <= 2 * counts[start]
                and (stop + 1 - start) * (D + counts[stop]) <= bound
            ):
                stop += 1
            chosen = by_count[start:stop]
            for low in range(0, counts[stop - 1], bound):
                width = min(bound, counts[stop - 1] - low)
                offset = low + torch.arange(width, device=self.X.device)
                real = offset < self._counts[chosen, None]
                rows = self._rows[torch.where(real, self._first[chosen, None] + offset, 0)]
                yield _Block(self._patterns[chosen], rows, real)
            start = stop


class StreamedIncompletePoints(StreamedRows):
    """Rows with missing entries that are read anew for every step; as `IncompletePoints`.

    Parameters
    ----------
    source : RowSource
    view : BlockView
    total : float
        Sum of the weights of the rows of all processes.
    processes : Processes, optional
    """

    def __init__(
        self, source: RowSource, view: BlockView, total: float, processes: Processes = ALONE
    ) -> None:
        super().__init__(source, view, processes)
        self.total = total

    def added(self, function: Callable[[IncompletePoints], Sums]) -> Sums:
        """Add up what a function gives of every block; see `Points.added`."""
        return self.total_of(partial(_of_rows, self.view, function))


def _of_rows(
    view: BlockView,
    function: Callable[[IncompletePoints], Sums],
    rows: Tensor,
    weights: Tensor | None,
) -> Sums:
    return function(IncompletePoints(view.points(rows).T, sample_weight=weights))


@dataclass(frozen=True)
class _Conditional:
    """Laws of the missing given the observed, for every pattern and component, in float64.

    Parameters
    ----------
    log_constants : Tensor of shape (P, K)
        log π_k − log √det(2π Σ_OO).
    whitening : Tensor of shape (P, K, D, D)
        Inverse Cholesky factor of Σ_OO, padded with the identity.
    gain : Tensor of shape (P, K, D, D)
        Maps the residual x_O − μ_O to that of all coordinates: the identity on O, regression
        outside it.
    covariances : Tensor of shape (P, K, D, D)
        Of the missing coordinates given the observed; zero on O.
    """

    log_constants: Tensor
    whitening: Tensor
    gain: Tensor
    covariances: Tensor

    @classmethod
    def of(cls, model: GMM, observed: Tensor) -> _Conditional:
        D = observed.shape[1]
        sigma = model.covariances.double()
        known = observed[:, None, :, None] * observed[:, None, None, :]
        padded = sigma * known + torch.diag_embed(1 - observed)[:, None]
        factors = cholesky(padded.flatten(0, 1)).view(padded.shape)
        identity = torch.eye(D, dtype=sigma.dtype, device=sigma.device).expand_as(factors)
        whitening = torch.linalg.solve_triangular(factors, identity, upper=False)
        cross = sigma * observed[:, None, None, :]
        half = cross @ whitening.mT
        unknown = (1 - observed)[:, None, :, None] * (1 - observed)[:, None, None, :]
        log_determinants = factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        n_observed = observed.sum(dim=1)[:, None]
        return cls(
            model.weights.double().log() - log_determinants - 0.5 * n_observed * LOG_2PI,
            whitening,
            half @ whitening,
            symmetrize(sigma - half @ half.mT) * unknown,
        )


def evaluate_incomplete(X: Tensor, model: GMM) -> Evaluation:
    """Log π_k N(x_O | μ_k,O , Σ_k,OO) with the observed coordinates O of every row.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        NaN where missing.
    model : GMM

    Returns
    -------
    evaluation : Evaluation
        In the dtype of `X`; log π_k for a row without any value.
    """
    points = IncompletePoints(X)
    relative = points.X.new_empty(model.n_components, X.shape[0])
    shift = points.X.new_zeros(X.shape[0])
    for block, law in _laws(points, model):
        values, shifts = _compare(points, model, block, law, _residuals(points, model, block))
        rows = block.rows[block.real]
        relative[:, rows] = values.movedim(1, 0)[:, block.real]
        shift[rows] = shifts[block.real]
    highest = relative.amax(dim=0)  # what is left is small, and so keeps its digits in float32
    relative, shift = relative - highest, shift + highest
    return Evaluation(relative.to(X.dtype), shift.to(X.dtype))


def evaluate_rows(X: Tensor, model: GMM) -> Evaluation:
    """Evaluate a mixture at rows with or without gaps, each in the way of its kind.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        NaN where missing.
    model : GMM

    Returns
    -------
    evaluation : Evaluation
        A row without gaps is treated as in a table without any.
    """
    incomplete = torch.isnan(X).any(dim=1)
    if not incomplete.any():
        return model.evaluate(X)
    parts = Evaluation.joined(
        [model.evaluate(X[~incomplete]), evaluate_incomplete(X[incomplete], model)]
    )
    place = incomplete.int().argsort(stable=True).argsort()
    shift = None if parts.shift is None else parts.shift[place]
    return Evaluation(parts.relative[:, place], shift)


def incomplete_em_step(
    points: IncompletePoints | StreamedIncompletePoints,
    model: GMM,
    *,
    covariance_floor: float,
    prior: CovariancePrior | None = None,
) -> EMStep:
    """Take one EM step for the observed marginals of all rows.

    Parameters
    ----------
    points : IncompletePoints or StreamedIncompletePoints
    model : GMM
    covariance_floor : float
        ε, the least eigenvalue of every covariance.
    prior : CovariancePrior, optional
        Of the covariances.

    Returns
    -------
    step : EMStep
        Its log-likelihood is the weighted mean of log p(x_O). A component with less than 1e-5 of
        the data keeps its mean and covariance.
    """
    counts, first, second, log_likelihood = points.added(partial(_incomplete_sums, model))
    proportions = counts / points.total
    empty = proportions < LEAST_PROPORTION
    mass = counts.clamp_min(torch.finfo(counts.dtype).tiny)[:, None]
    shift = first / mass
    covariances = second / mass[:, :, None] - shift[:, :, None] * shift[:, None, :]
    means = torch.where(empty[:, None], model.means.double(), model.means.double() + shift)
    covariances = torch.where(empty[:, None, None], model.covariances.double(), covariances)
    # In the model's dtype, where rounding may spare less.
    covariances, floored = fit_covariances(
        model, proportions, covariances.to(model.dtype), floor=covariance_floor, prior=prior
    )
    weights = proportions / proportions.sum()
    updated = model.with_parameters(weights.to(model.dtype), means.to(model.dtype), covariances)
    mean = log_likelihood.item() / points.total
    return EMStep(updated, mean, int(floored.sum()), int(empty.sum()))


def _incomplete_sums(model: GMM, points: IncompletePoints) -> Sums:
    """Add up counts, moments about the means, and the log-likelihood of rows with gaps."""
    K, D = model.means.shape
    counts, log_likelihood = points.X.new_zeros(K), points.X.new_zeros(())
    first, second = points.X.new_zeros(K, D), points.X.new_zeros(K, D, D)
    for block, law in _laws(points, model):
        residuals = _residuals(points, model, block)
        log_prob = _log_prob(law, residuals)
        total = log_prob.logsumexp(dim=1, keepdim=True)
        weights = points.weights[block.rows] * block.real
        log_likelihood += (weights * total.squeeze(1)).sum()
        r = (log_prob - total).exp() * weights[:, None]
        mass = r.sum(dim=2)
        completed = residuals @ law.gain.mT
        weighted = r[..., None] * completed
        counts += mass.sum(dim=0)
        first += weighted.sum(dim=(0, 2))
        second += (weighted.mT @ completed).sum(dim=0)
        second += (mass[:, :, None, None] * law.covariances).sum(dim=0)
    return counts, first, second, log_likelihood


@dataclass(frozen=True)
class ConditionalBlock:
    """Laws of some coordinates given what is known, for rows of a few patterns, in float64.

    Parameters
    ----------
    rows : int64 Tensor of shape (P, R)
        Rows of the data; padding repeats row 0.
    real : bool Tensor of shape (P, R)
        False for padding.
    log_weights : Tensor of shape (P, K, R)
        Log posterior probabilities of the components, up to a constant of each row.
    means : Tensor of shape (P, K, R, m)
        Of every component; a known coordinate is itself.
    covariances : Tensor of shape (P, K, m, m)
        Of every component; zero where a coordinate is known.
    observed : Tensor of shape (P, m)
        One where the coordinate is known, else zero.
    """

    rows: Tensor
    real: Tensor
    log_weights: Tensor
    means: Tensor
    covariances: Tensor
    observed: Tensor

    def weights(self) -> Tensor:
        """Posterior probabilities of the components, shape (P, K, R)."""
        return self.log_weights.softmax(dim=1)

    def factors(self) -> Tensor:
        """Cholesky factors of the covariances, one for known coordinates, shape (P, K, m, m)."""
        filled = self.covariances + torch.diag_embed(self.observed)[:, None]
        return cholesky(filled.flatten(0, 1)).view(filled.shape)


def conditional_blocks(
    points: IncompletePoints, model: GMM, index: Tensor | None = None
) -> Iterator[ConditionalBlock]:
    """Give the laws of all rows given what is known of each, in batches of bounded memory.

    Parameters
    ----------
    points : IncompletePoints
    model : GMM
    index : int64 Tensor of shape (m,), optional
        Coordinates whose laws are wanted; all when not given.

    Yields
    ------
    block : ConditionalBlock
    """
    for block, law in _laws(points, model):
        residuals = _residuals(points, model, block)
        log_weights = _compare(points, model, block, law, residuals)[0]
        gain, covariances, means = law.gain, law.covariances, model.means.double()
        observed = block.observed
        if index is not None:
            gain, means, observed = gain[:, :, index], means[:, index], observed[:, index]
            covariances = covariances[:, :, index[:, None], index]
        yield ConditionalBlock(
            block.rows,
            block.real,
            log_weights,
            residuals @ gain.mT + means[:, None],
            covariances,
            observed,
        )


def conditional_mean(X: Tensor, model: GMM) -> Tensor:
    """Fill missing entries with their expectation given the row's observed ones.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        NaN where missing.
    model : GMM

    Returns
    -------
    filled : Tensor of shape (N, D)
        Observed entries unchanged.
    """
    points = IncompletePoints(X)
    filled = points.X.clone()
    for block in conditional_blocks(points, model):
        values = (block.weights()[..., None] * block.means).sum(dim=1)
        filled[block.rows[block.real]] = values[block.real]
    return torch.where(torch.isnan(X), filled.to(X.dtype), X)


def conditional_sample(X: Tensor, model: GMM, *, generator: torch.Generator) -> Tensor:
    """Fill missing entries with a draw from their law given the row's observed ones.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        NaN where missing.
    model : GMM
    generator : torch.Generator
        On the CPU, so that the draws are the same on every device.

    Returns
    -------
    filled : Tensor of shape (N, D)
        Observed entries unchanged.
    """
    draws = conditional_draws(IncompletePoints(X), model, 1, generator=generator)[0]
    return torch.where(torch.isnan(X), draws.to(X.dtype), X)


def conditional_draws(
    points: IncompletePoints,
    model: GMM,
    n_draws: int,
    *,
    generator: torch.Generator,
    index: Tensor | None = None,
) -> Tensor:
    """Draw some coordinates from their law given the row's observed ones, several times.

    Parameters
    ----------
    points : IncompletePoints
    model : GMM
    n_draws : int
    generator : torch.Generator
        On the CPU, so that the draws are the same on every device. The first draws are those of a
        smaller `n_draws`.
    index : int64 Tensor of shape (m,), optional
        Coordinates that are wanted; all when not given.

    Returns
    -------
    draws : float64 Tensor of shape (n_draws, N, m)
        What stands in place of an observed coordinate means nothing.
    """
    N, D = points.X.shape
    m = D if index is None else len(index)
    uniform, draws = points.X.new_empty(n_draws, N), points.X.new_empty(n_draws, N, m)
    for i in range(n_draws):
        uniform[i] = torch.rand(N, dtype=torch.float64, generator=generator)
        draws[i] = torch.randn(N, m, dtype=torch.float64, generator=generator)
    for block in conditional_blocks(points, model, index):
        cumulated = block.weights().cumsum(dim=1)
        factors = block.factors()
        for i in range(n_draws):
            z = (uniform[i][block.rows][:, None] > cumulated[:, :-1]).sum(dim=1)
            candidates = block.means + draws[i][block.rows][:, None] @ factors.mT
            chosen = z[:, None, :, None].expand(-1, 1, -1, m)
            values = candidates.gather(1, chosen).squeeze(1)
            draws[i, block.rows[block.real]] = values[block.real]
    return draws


def _laws(points: IncompletePoints, model: GMM) -> Iterator[tuple[_Block, _Conditional]]:
    """Hand out the rows with the laws of their patterns; many rows of one share them."""
    law, observed = None, None
    for block in points.blocks(model.n_components):
        if law is None or not torch.equal(block.observed, observed):
            law, observed = _Conditional.of(model, block.observed), block.observed
        yield block, law


def _residuals(points: IncompletePoints, model: GMM, block: _Block) -> Tensor:
    """Observed part of x − μ_k, zero elsewhere, shape (P, K, R, D)."""
    gaps = points.X[block.rows][:, None] - model.means.double()[:, None]
    return gaps * block.observed[:, None, None]


def _log_prob(law: _Conditional, residuals: Tensor) -> Tensor:
    """Component log densities, shape (P, K, R)."""
    whitened = residuals @ law.whitening.mT
    return law.log_constants[..., None] - 0.5 * whitened.square().sum(dim=-1)


def _compare(
    points: IncompletePoints, model: GMM, block: _Block, law: _Conditional, residuals: Tensor
) -> tuple[Tensor, Tensor]:
    """Component log densities less a shift of each row, shapes (P, K, R) and (P, R).

    The shift is zero but for rows so far out that their squares blur or overflow.
    """
    relative = _log_prob(law, residuals)
    shift = relative.new_zeros(block.real.shape)
    far = is_far(relative.movedim(1, 0), law.log_constants.T[:, :, None]) & block.real
    for p in far.any(dim=1).nonzero().squeeze(1).tolist():
        known, rows = block.observed[p] > 0, block.rows[p, far[p]]
        evidence = model.marginal(known).to(dtype=torch.float64)
        exact = evidence.evaluate(points.X[rows][:, known])
        relative[p][:, far[p]] = exact.relative
        if exact.shift is not None:
            shift[p, far[p]] = exact.shift
    return relative, shift
