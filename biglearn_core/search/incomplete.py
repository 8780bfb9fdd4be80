"""The default fit for data with missing entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import has_eigenvalue_below
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.search.climb import Climb, Scored, climb
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.credit import TOUCHING, Credit, n_degenerate
from biglearn_core.search.missing import IncompletePoints, conditional_sample, incomplete_em_step
from biglearn_core.search.search import (
    MOVES,
    Progress,
    SearchConfig,
    SearchHistory,
    SearchResult,
    search_mixture,
)

__all__ = ["search_incomplete"]

# Rows without gaps, to a coordinate of a component, from which on they are searched by themselves;
# and their share from which on that stands for a search under one Gaussian.
_WHOLE, _MOSTLY_WHOLE = 10, 0.9

# Rows that are searched to distinct ones, at most, and one more.
_MOST_COPIES = 3


def search_incomplete(
    X: Tensor,
    n_components: int,
    *,
    covariance_floor: float,
    seed: int,
    config: SearchConfig | None = None,
    sample_weight: Tensor | None = None,
    covariance_type: str = "full",
    prior: CovariancePrior | None = None,
    init: GMM | None = None,
    beside: Sequence[GMM] = (),
    progress: Progress | None = None,
) -> SearchResult:
    """Fit a mixture to data of unit scale, some entries of which are missing.

    Gaps are filled by draws from their conditional law, first under one Gaussian, then under the
    mixture found; each time the completed data are searched (`search_mixture`) and the outcome
    climbs by EM on the observed marginals of all rows. In between that is done with the rows that
    have no gaps, where they are many: what is drawn under one Gaussian hides classes. A row of
    large weight, as of many equal ones with gaps, is filled several times, so that no draw weighs
    more than rows usually do; one without any value says nothing, and is not searched.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        NaN where missing; every column has a value.
    n_components : int
        At most N.
    covariance_floor : float
        ε > 0.
    seed : int
    config : SearchConfig, optional
    sample_weight : Tensor of shape (N,), optional
        Non-negative.
    covariance_type : str, default "full"
    prior : CovariancePrior, optional
        Of the covariances.
    init : GMM, optional
        EM on the observed marginals climbs from it, in place of one Gaussian; gaps are first filled
        under its outcome, where the first search starts.
    beside : sequence of GMM
        As in `search_mixture`.
    progress : callable, optional
        As in `search_mixture`.

    Returns
    -------
    result : SearchResult
        The model with the largest observed log-likelihood, the weighted mean of log p(x_O), that to
        which `init` led among them. Its history has the climbs on incomplete data alone, and the
        steps of the searches between them.
    """
    config = config or SearchConfig()
    generator = torch.Generator().manual_seed(seed)
    points = IncompletePoints(X, sample_weight=sample_weight)

    told = _Told(progress)

    def step(model: GMM, n_mixtures: int) -> Scored:
        told.step()
        taken = incomplete_em_step(points, model, covariance_floor=covariance_floor, prior=prior)
        log_likelihood, n_floored, n_empty = (
            torch.tensor([value], dtype=torch.float64)
            for value in (taken.log_likelihood, taken.n_floored, taken.n_empty)
        )
        objective = log_likelihood
        if prior is not None:
            objective = objective + prior.log_density(covariance_type, model.covariances, 1)
        return Scored(taken.model, log_likelihood, objective, objective, n_floored, n_empty)

    # A step on data with gaps gains what the values that are there give: where they are few, a
    # small gain per row is a large one per value.
    observed = (~torch.isnan(X)).double().mean(dim=1)
    share = (observed @ points.weights).item() / points.total
    tol, coarse_tol = config.tol * share, config.coarse_tol * share
    rows: list[tuple] = []
    best: Climb | None = None
    constraint = Constraint(covariance_floor, covariance_type, prior)
    with torch.no_grad(), one_thread_an_operation():
        if init is None:
            first = _standard_normal(X, covariance_type)
            model = climb(step, first, n_iter=config.max_iter, tol=coarse_tol).model
        else:
            best = climb(step, constraint.of_type(init), n_iter=config.max_iter, tol=tol)
            model = best.model
            rows.append(_row(0, "start", best, accepted=True, n_steps=best.n_steps))
        coordinates = constraint.structure.n_coordinates(X.shape[1])
        turns = _turns(X, sample_weight, n_components, coordinates)
        for turn, part in enumerate(turns if init is None else [turns[-1]] * 2):
            found = search_mixture(
                conditional_sample(X[part.rows], model, generator=generator),
                n_components,
                covariance_floor=covariance_floor,
                seed=seed + turn,
                config=config,
                sample_weight=part.weights,
                covariance_type=covariance_type,
                prior=prior,
                init=None if init is None or turn > 0 else model,
                beside=beside,
                progress=told.search,
            )
            told.n_steps += found.n_iter
            last = climb(step, found.model, n_iter=config.max_iter, tol=tol)
            accepted = best is None or last.score > best.score
            best = last if accepted else best
            model = best.model
            n_steps = found.n_iter + last.n_steps
            rows.append(_row(turn, "joint", last, accepted=accepted, n_steps=n_steps))
            told.reached = best.log_likelihood
        floored = has_eigenvalue_below(best.model.covariances, TOUCHING * covariance_floor)
        credit = Credit(
            X.shape[0],
            covariance_floor,
            config.plain_likelihood,
            covariance_type,
            n_degenerate=n_degenerate(_covariance(best.model), constraint),
        )
        gain_of_thinness = credit.gain_of_thinness(best.model, 1, floored[None]).item()
    history = SearchHistory.of(rows, found.history.stopped)
    return SearchResult(
        best.model,
        best.log_likelihood,
        best.converged,
        int(history.n_steps.sum()),
        best.n_floored,
        best.n_empty,
        gain_of_thinness,
        history,
    )


@dataclass(frozen=True)
class _Part:
    """Rows to be searched, some of them several times, and their weights."""

    rows: Tensor
    weights: Tensor | None


def _turns(
    X: Tensor, sample_weight: Tensor | None, n_components: int, n_coordinates: int
) -> list[_Part]:
    """List what is searched, one after the other; `n_coordinates` are those of a component."""
    missing = torch.isnan(X)
    whole = (~missing.any(dim=1)).nonzero().squeeze(1)
    completed = _copies(missing, sample_weight, n_components)
    if len(whole) < _WHOLE * n_components * n_coordinates:
        return [completed, completed]
    alone = _Part(whole, None if sample_weight is None else sample_weight[whole])
    if len(whole) >= _MOSTLY_WHOLE * len(X):
        return [alone, completed]
    return [completed, alone, completed]


def _copies(missing: Tensor, sample_weight: Tensor | None, n_components: int) -> _Part:
    """All rows that have a value, those with gaps as often as their weights ask for."""
    known = ~missing.all(dim=1)
    if known.sum() < n_components:
        known = torch.ones_like(known)
    rows = known.nonzero().squeeze(1)
    if sample_weight is None:
        return _Part(rows, None)
    weights = sample_weight[rows]
    usual = max(weights.median().item(), weights.sum().item() / (_MOST_COPIES * len(rows)))
    wanted = (weights / usual).ceil().long().clamp_min(1)
    n_copies = torch.where(missing[rows].any(dim=1), wanted, 1)
    return _Part(rows.repeat_interleave(n_copies), (weights / n_copies).repeat_interleave(n_copies))


class _Told:
    """Progress of searches and of climbs on incomplete data, one after the other."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.n_steps = 0
        self.reached = math.nan

    def step(self) -> None:
        """Count a step of a climb."""
        self.n_steps += 1
        if self._progress is not None:
            self._progress("joint", self.reached, self.n_steps)

    def search(self, move: str, log_likelihood: float, n_steps: int) -> None:
        """Pass on what a search tells; its own steps are counted when it ends."""
        if self._progress is not None:
            self._progress(move, log_likelihood, self.n_steps + n_steps)


def _row(turn: int, move: str, climbed: Climb, *, accepted: bool, n_steps: int) -> tuple:
    return (
        turn,
        MOVES.index(move),
        climbed.log_likelihood,
        accepted,
        n_steps,
        climbed.n_floored,
        climbed.n_empty,
    )


def _covariance(model: GMM) -> Tensor:
    gaps = model.means - model.weights @ model.means
    within = torch.einsum("k,kij->ij", model.weights, model.dense().covariances)
    return within + (gaps * model.weights[:, None]).T @ gaps


def _standard_normal(X: Tensor, covariance_type: str) -> GMM:
    D = X.shape[1]
    identity = torch.eye(D).to(X).unsqueeze(0)
    return GMM.unchecked(
        X.new_ones(1), X.new_zeros(1, D), identity, covariance_type=covariance_type
    )
