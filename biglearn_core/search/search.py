"""The default fit for people's own data: a search that keeps what the data favour.

One move carries it, insert and drop: a component is added where the mixture misses it most
(`insert.py`), found in neighbourhoods of rows and in those marginals in which the components fit
their points worst (`pursuit.py`); the one that is missed least is dropped (`swap.py`); joint EM
steps follow (`climb.py`), and the outcome is kept if it is better. Where one basin is exhausted,
the search goes on from other starts, until they lead to nothing better or its steps are spent. The
steps of several mixtures are taken in lockstep: on small data they cost what those of one do.

What "better" means is told by `credit.py`: the mean log-likelihood, less what components of few
rows gain by fitting just these rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.search.climb import Climb
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.credit import Credit, n_degenerate
from biglearn_core.search.moves import SAME_OPTIMUM, Moves

__all__ = ["MOVES", "STOPS", "SearchConfig", "SearchHistory", "SearchResult", "search_mixture"]

MOVES = ("start", "swap", "joint")

# Why a search ends: other starts have led to the same optimum; its steps are spent; there is
# nothing to swap; there are no more rows than coordinates in all components together; or mixtures
# that were known were to be tried alone.
STOPS = ("returned", "budget", "one component", "few rows", "known mixtures")

# EM steps of a search in those of its first climb: in general, and where EM has many pairs of point
# and component to work on, so that a step costs more than its operations.
_EFFORT = 15
_EFFORT_ON_MANY_PAIRS = 60
_MANY_PAIRS = 40_000

# Components beyond which the effort falls with the square of their number: swaps alone have mended
# by then what one start has worse than another. Beyond the second bound it is never raised.
_FEW_COMPONENTS = 15
_MANY_COMPONENTS = 20

Progress = Callable[[str, float, int], None]


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How long to search, and how hard.

    Parameters
    ----------
    n_init : int, default 1
        Multiplies `max_steps` and `max_returns`.
    tol : float, default 1e-5
        The last joint steps end when the mean log-likelihood rises by less; in nats.
    max_iter : int, default 500
        Joint steps at the end, at most.
    max_steps : int, optional
        EM steps after which no other start is tried. Steps on part of the data, or of several
        mixtures at once, count by their cost. When not given 15 times those of the first climb, 60
        times where there is more to work on, and fewer for more than 15 components.
    max_returns : int, default 2
        Times that other starts have led to the best optimum, after which it is believed.
    plain_likelihood : bool, default False
        Whether models are compared by their likelihood alone (`search.credit`).
    optimism : bool, default True
        Whether, unless that is so, what few rows gain for their parameters is not counted.
    coarse_tol : float, default 3e-5
        The same as `tol` for joint steps within the search.
    coarse_iter : int, default 60
        The same as `max_iter` for joint steps within the search.
    patience : int, optional
        Rounds of swaps without success that end the search in one basin. When not given one, and
        two where there is more to work on.
    only_beside : bool, default False
        Whether to begin at mixtures that are known alone (`search_mixture`), where there are any,
        and to try no swaps but many at once: a first look.
    accepted_loss : float, default 0.1
        Of many swaps at once those are tried that are expected to lose no more than this over K, in
        nats: what a swap gains where components overlap shows in the joint steps after it.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    n_init: int = 1
    tol: float = 1e-5
    max_iter: int = 500
    max_steps: int | None = None
    max_returns: int = 2
    plain_likelihood: bool = False
    optimism: bool = True
    coarse_tol: float = 3e-5
    coarse_iter: int = 60
    patience: int | None = None
    only_beside: bool = False
    accepted_loss: float = 0.1

    def __post_init__(self) -> None:
        for name in ("n_init", "max_iter", "coarse_iter", "max_returns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("tol", "coarse_tol", "patience", "accepted_loss", "max_steps"):
            if getattr(self, name) is not None and not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be non-negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class SearchHistory:
    """Trace of a search, one entry per move.

    Parameters
    ----------
    start : int64 ndarray of shape (M,)
        Which basin.
    move : int8 ndarray of shape (M,)
        Position in `MOVES`: start 0, swap 1, joint 2.
    log_likelihood : float64 ndarray of shape (M,)
        Mean log p(x) that the move reached, in nats; NaN where its model could not be evaluated.
    accepted : bool ndarray of shape (M,)
        Whether the move was kept.
    n_steps : int64 ndarray of shape (M,)
        EM steps taken.
    n_floored : int64 ndarray of shape (M,)
        Components with an eigenvalue that the last step raised to the floor.
    n_empty : int64 ndarray of shape (M,)
        Components with less than 1e-5 of the data in the last step.
    stopped : str
        Why the search ended, one of `STOPS`.
    """

    start: np.ndarray
    move: np.ndarray
    log_likelihood: np.ndarray
    accepted: np.ndarray
    n_steps: np.ndarray
    n_floored: np.ndarray
    n_empty: np.ndarray
    stopped: str

    def __len__(self) -> int:
        return len(self.move)

    def rows(self) -> list[tuple]:
        """Give the entries, each a tuple of values in the order of the fields."""
        columns = (getattr(self, field.name).tolist() for field in fields(self)[:-1])
        return list(zip(*columns, strict=True))

    @classmethod
    def of(cls, rows: list[tuple], stopped: str) -> SearchHistory:
        """Collect rows of values in the order of the fields.

        Parameters
        ----------
        rows : list of tuple
            At least one.
        stopped : str

        Returns
        -------
        history : SearchHistory
        """
        columns = zip(*rows, strict=True)
        types = (np.int64, np.int8, np.float64, np.bool_, np.int64, np.int64, np.int64)
        arrays = (np.array(c, dtype=t) for c, t in zip(columns, types, strict=True))
        return cls(*arrays, stopped)


@dataclass(frozen=True)
class SearchResult:
    """Outcome of a search.

    Parameters
    ----------
    model : GMM
        The model of the highest score met, after the last climb.
    log_likelihood : float
        Mean log p(x) of that model on the data, in nats.
    converged : bool
        Whether its last joint step gained less than `tol`.
    n_iter : int
        EM steps taken in all.
    n_floored, n_empty : int
        Components on the floor, and components with less than 1e-5 of the data, in that model.
    gain_of_thinness : float
        What of the log-likelihood is not believed, since it comes from thin components
        (`search.credit`); in nats.
    history : SearchHistory
    """

    model: GMM
    log_likelihood: float
    converged: bool
    n_iter: int
    n_floored: int
    n_empty: int
    gain_of_thinness: float
    history: SearchHistory


def search_mixture(
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
    """Fit a mixture to data of unit scale.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        float32 or float64, finite, with coordinates of comparable scale.
    n_components : int
        At most N.
    covariance_floor : float
        ε > 0.
    seed : int
        Of starts and of the rows where insertions begin; nothing else is random.
    config : SearchConfig, optional
    sample_weight : Tensor of shape (N,), optional
        Non-negative.
    covariance_type : str, default "full"
    prior : CovariancePrior, optional
        Of the covariances.
    init : GMM, optional
        Start of the first basin, in place of those that are drawn.
    beside : sequence of GMM
        Mixtures of any number of components that are known for these data. Basins begin at them as
        well, after components were inserted or merged.
    progress : callable, optional
        Called as progress(move, log-likelihood reached, EM steps so far) after every move, and at
        every EM step with what the last move has reached, NaN before the first.

    Returns
    -------
    result : SearchResult
        Of no lower score than its start: no less likely, but for what `search.credit` withholds.

    Raises
    ------
    ValueError
        When there are fewer points than components, or no model could be evaluated in this dtype.
    """
    config = config or SearchConfig()
    constraint = Constraint(covariance_floor, covariance_type, prior)
    trace = _Trace(progress)
    with torch.no_grad(), one_thread_an_operation():
        moves = Moves(
            X,
            n_components,
            sample_weight=sample_weight,
            constraint=constraint,
            credit=Credit(
                X.shape[0],
                covariance_floor,
                config.plain_likelihood,
                covariance_type,
                counts_optimism=config.optimism,
                n_degenerate=n_degenerate(_covariance(X, sample_weight), constraint),
            ),
            rng=np.random.default_rng(seed),
            coarse_tol=config.coarse_tol,
            coarse_iter=config.coarse_iter,
            patience=_patience(X.shape[0], n_components, config),
            accepted_loss=config.accepted_loss,
            record=trace.record,
            tell=trace.tell,
        )
        best, stopped = _search(moves, trace, config, init, beside, constraint, X.shape)
        rough = stopped == "known mixtures"
        last = moves.last(
            best,
            n_iter=config.coarse_iter if rough else config.max_iter,
            tol=config.coarse_tol if rough else config.tol,
        )
    history = trace.freeze(stopped)
    return SearchResult(
        last.model,
        last.log_likelihood,
        last.converged,
        int(history.n_steps.sum()),
        last.n_floored,
        last.n_empty,
        moves.gain_of_thinness(last.model),
        history,
    )


def _covariance(X: Tensor, sample_weight: Tensor | None) -> Tensor:
    weights = X.new_ones(len(X)) if sample_weight is None else sample_weight
    weights = weights / weights.sum()
    gaps = X - weights @ X
    return (gaps * weights[:, None]).T @ gaps


class _Trace:
    """Moves of a search in the making."""

    def __init__(self, progress: Progress | None) -> None:
        self.basin = 0
        self._rows: list[tuple] = []
        self._progress = progress
        self._spent = 0
        self._reached = MOVES[0], math.nan

    def tell(self, spent: float) -> None:
        """Say how many steps have been taken, amid a move."""
        if self._progress is not None:
            self._progress(*self._reached, round(spent))

    def record(self, move: str, state: Climb, *, accepted: bool, spent: float) -> None:
        """Add a move; all steps since the last one are its own."""
        n_steps, self._spent = round(spent) - self._spent, round(spent)
        log_likelihood = state.log_likelihood
        self._rows.append(
            (self.basin, MOVES.index(move), log_likelihood, accepted, n_steps,
             state.n_floored, state.n_empty)
        )  # fmt: skip
        self._reached = move, log_likelihood
        self.tell(spent)

    def freeze(self, stopped: str) -> SearchHistory:
        """Give what has been added."""
        return SearchHistory.of(self._rows, stopped)


def _search(
    moves: Moves,
    trace: _Trace,
    config: SearchConfig,
    init: GMM | None,
    beside: Sequence[GMM],
    constraint: Constraint,
    shape: torch.Size,
) -> tuple[Climb, str]:
    """Search basin after basin, until the best optimum is believed or the steps are spent."""
    N, D = shape
    if beside and config.only_beside:
        (best,) = moves.start_beside(beside)
        if best.model.n_components > 2:  # of two the swap of one is the other
            best = moves.improve([best], alone=False)
        return best, "known mixtures"
    climbs = moves.starts(first=True) if init is None else moves.start_from(init)
    K = climbs[0].model.n_components
    if K == 1:
        return climbs[0], "one component"
    if K * constraint.structure.n_coordinates(D) >= N:
        return climbs[0], "few rows"
    budget = config.max_steps
    if budget is None:
        budget = _budget(N, K, climbs[0].n_steps)
    best = moves.improve(climbs)
    longest, returns, drawn = moves.spent, 0, False
    if beside:
        trace.basin += 1
        climbs = moves.start_beside(beside)
        if climbs[0].score > best.score + SAME_OPTIMUM:
            best = moves.improve(climbs)
    budget = moves.spent - longest + config.n_init * max(budget, longest)
    while returns < config.max_returns * config.n_init:
        before = moves.spent
        # A start that was given may be one from which EM hardly moves: another is always tried.
        first_drawn = init is not None and config.max_steps is None and not drawn
        if before + longest > budget and not first_drawn:
            return best, "budget"
        trace.basin += 1
        drawn = True
        found = moves.improve(moves.starts(first=first_drawn))
        longest = moves.spent - before
        gain = found.score - best.score
        returns = 0 if gain > SAME_OPTIMUM else returns + (gain > -SAME_OPTIMUM)
        # Of one optimum, the components stay in the order of a start that was given.
        best = found if gain > (SAME_OPTIMUM if init is not None else 0) else best
    return best, "returned"


def _patience(N: int, K: int, config: SearchConfig) -> int:
    if config.patience is not None:
        return config.patience
    return 2 if N * K >= _MANY_PAIRS else 1


def _budget(N: int, K: int, first_steps: int) -> float:
    """EM steps for a search, from how many the first climb took.

    Data on which EM is slow to settle take restarts as long. The constants were set so that a
    search takes less time than ten of them (benchmarks/public_sets.py).
    """
    many = N * K >= _MANY_PAIRS and K <= _MANY_COMPONENTS
    share = min(1.0, _FEW_COMPONENTS / K)
    return (_EFFORT_ON_MANY_PAIRS if many else _EFFORT) * share**2 * first_steps
