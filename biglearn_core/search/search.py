"""The default fit for people's own data: a search that only ever climbs in joint likelihood.

From a k-means start the search repeats three kinds of moves, each followed by joint EM steps and
kept only if the joint log-likelihood of the data has risen:

- joint: EM steps alone;
- swap: split-and-merge moves, found on one-dimensional marginals (`split_merge.py`);
- matching: a burst of BigLearn-EM's matching tasks (Cong and Li, AAAI 2024, arXiv 2312.11926),
  which leaves the optimum of the joint law for one of many other laws and lets the joint steps
  find another optimum from there.

Acceptance by likelihood is what the paper's schedule lacks on data unlike its own: there a task may
end anywhere, smoothing draws unequal weights to uniform, and a component whose covariance block was
replaced without its other blocks turns indefinite and lands on the floor. Here such a burst is one
rejected move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.em import EMStep, em_step
from biglearn_core.gmm import GMM
from biglearn_core.init import drawn_in, kmeans_start
from biglearn_core.matching import Schedule, run_task
from biglearn_core.numerics.linalg import floor_eigenvalues
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.threads import each, one_thread_an_operation
from biglearn_core.search.climb import Climb, climb
from biglearn_core.search.split_merge import apply_swaps, best_swaps, score_merges, score_splits

__all__ = ["MOVES", "SearchConfig", "SearchHistory", "SearchResult", "search_mixture"]

MOVES = ("joint", "swap", "matching")

# Component-point pairs on which moves are scored; more points than that are thinned out. Moves are
# accepted on all points.
_SCORED_PAIRS = 20_000_000

# Sizes N K D from which on a search may take so many times the steps of its first climb, and the
# same with fewer than ten points to a coordinate of a component.
_EFFORT = ((1_000_000, 9), (100_000, 6), (0, 4))
_EFFORT_ON_FEW_POINTS = ((100_000, 3), (0, 2))

# Size N K D from which on starts are worth a thread each.
_LARGE = 1_000_000

# What scoring all splits and merges costs, in EM steps.
_SCORING_STEPS = 5

Progress = Callable[[str, float, int], None]


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How long to search, and how hard.

    Parameters
    ----------
    n_init : int, default 1
        Searches from different starts, the best of which is kept.
    tol : float, default 1e-5
        The last joint steps end when the mean log-likelihood rises by less; in nats.
    max_iter : int, default 500
        Joint steps at the end, at most.
    max_steps : int, optional
        EM steps of one search, beyond which no further move is tried. When not given, 20 + c (K +
        the steps of the first climb) with c from 2 to 9, growing with the problem; none with fewer
        points than coordinates in a component, where moves lead nowhere and the best start is all
        there is.
    n_starts : int, optional
        Runs of k-means for one search, which goes on from the most likely outcome; 3 when not
        given, 10 where components have fewer points than coordinates.
    coarse_tol : float, default 1e-4
        The same as `tol` for joint steps within the search.
    coarse_iter : int, default 60
        The same as `max_iter` for joint steps within the search.
    swap_iter : int, default 20
        Joint steps after a swap, at most; fewer where they do not lead above the model before it.
    max_rejected : int, default 4
        Single swaps rejected in a row that end a round of swaps.
    accepted_loss : float, default 0.1
        A swap is tried if the mean log-likelihood is expected to fall by no more than this over K,
        in nats: what a swap gains where components overlap shows in the joint steps after it.
    patience : int, default 1
        Bursts of matching tasks that come back to the same likelihood and so end the search.
    max_bursts : int, default 8
    n_tasks : int, default 12
        Matching tasks in a burst.
    n_local_steps : tuple of int, default (1, 2)
        EM steps of a task, for the bursts in turn: short tasks stay near the optimum that they
        leave, longer ones go further.
    p_joint, p_marginal : float, default 0.2 and 0.1
        Probabilities of joint and marginal tasks; the rest are transformed marginals.
    beta : pair of float, default (5, 1)
        As in `fit_biglearn_em`.

    Raises
    ------
    ValueError
        When a number of steps, moves or searches is out of range.
    """

    n_init: int = 1
    tol: float = 1e-5
    max_iter: int = 500
    max_steps: int | None = None
    n_starts: int | None = None
    coarse_tol: float = 1e-4
    coarse_iter: int = 60
    swap_iter: int = 20
    max_rejected: int = 4
    accepted_loss: float = 0.1
    patience: int = 1
    max_bursts: int = 8
    n_tasks: int = 12
    n_local_steps: tuple[int, ...] = (1, 2)
    p_joint: float = 0.2
    p_marginal: float = 0.1
    beta: tuple[float, float] = (5.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("n_init", "max_iter", "coarse_iter", "swap_iter", "n_tasks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("tol", "coarse_tol", "max_rejected", "patience", "max_bursts"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be non-negative, got {getattr(self, name)}")

    def schedule(self, n_features: int, seed: tuple[int, ...]) -> Schedule:
        """Draw the matching tasks of a burst.

        Parameters
        ----------
        n_features : int
        seed : tuple of int

        Returns
        -------
        schedule : Schedule
        """
        return Schedule(
            n_features=n_features,
            seed=seed,
            p_joint=self.p_joint,
            p_marginal=self.p_marginal,
            beta=self.beta,
        )


@dataclass(frozen=True)
class SearchHistory:
    """Trace of a search, one entry per move.

    Parameters
    ----------
    start : int64 ndarray of shape (M,)
        Which of the `n_init` searches.
    move : int8 ndarray of shape (M,)
        Position in `MOVES`: joint 0, swap 1, matching 2.
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
    """

    start: np.ndarray
    move: np.ndarray
    log_likelihood: np.ndarray
    accepted: np.ndarray
    n_steps: np.ndarray
    n_floored: np.ndarray
    n_empty: np.ndarray

    def __len__(self) -> int:
        return len(self.move)

    @classmethod
    def of(cls, rows: list[tuple]) -> SearchHistory:
        """Collect rows of values in the order of the fields.

        Parameters
        ----------
        rows : list of tuple
            At least one.

        Returns
        -------
        history : SearchHistory
        """
        columns = zip(*rows, strict=True)
        types = (np.int64, np.int8, np.float64, np.bool_, np.int64, np.int64, np.int64)
        return cls(*(np.array(c, dtype=t) for c, t in zip(columns, types, strict=True)))


@dataclass(frozen=True)
class SearchResult:
    """Outcome of a search.

    Parameters
    ----------
    model : GMM
        The most likely model met.
    log_likelihood : float
        Mean log p(x) of that model on the data, in nats.
    converged : bool
        Whether its last joint step gained less than `tol`.
    n_iter : int
        EM steps taken in all.
    n_floored, n_empty : int
        Components on the floor, and components with less than 1e-5 of the data, in that model.
    history : SearchHistory
    """

    model: GMM
    log_likelihood: float
    converged: bool
    n_iter: int
    n_floored: int
    n_empty: int
    history: SearchHistory


def search_mixture(
    X: Tensor,
    n_components: int,
    *,
    covariance_floor: float,
    seed: int,
    config: SearchConfig | None = None,
    sample_weight: Tensor | None = None,
    init: GMM | None = None,
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
        Of starts, random directions and matching tasks; nothing else is random.
    config : SearchConfig, optional
    sample_weight : Tensor of shape (N,), optional
        Non-negative.
    init : GMM, optional
        Start of the first search, instead of k-means.
    progress : callable, optional
        Called as progress(move, log-likelihood reached, EM steps so far) after every move.

    Returns
    -------
    result : SearchResult
        Never less likely than its start.

    Raises
    ------
    ValueError
        When there are fewer points than components, or no model could be evaluated in this dtype.
    """
    config = config or SearchConfig()
    with torch.no_grad(), one_thread_an_operation():
        search = _Search(X, sample_weight, covariance_floor, config, seed, progress)
        best: Climb | None = None
        for start in range(config.n_init):
            model = init if start == 0 and init is not None else search.start(n_components)
            state = search.run(model, start)
            if best is None or state.log_likelihood > best.log_likelihood:
                best = state
        history = search.history()
    return SearchResult(
        best.model,
        best.log_likelihood,
        best.converged,
        int(history.n_steps.sum()),
        best.n_floored,
        best.n_empty,
        history,
    )


class _Search:
    """Data, settings and trace that all moves share."""

    def __init__(
        self,
        X: Tensor,
        sample_weight: Tensor | None,
        covariance_floor: float,
        config: SearchConfig,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self._points = Points.of(X, sample_weight=sample_weight)
        self._X = X
        self._sample_weight = sample_weight
        self._weights = X.new_ones(X.shape[0]) if sample_weight is None else sample_weight
        self._floor = covariance_floor
        self._config = config
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._progress = progress
        self._rows: list[tuple] = []
        self._start = 0
        self._n_steps = 0

    def start(self, n_components: int) -> GMM:
        """Take the most likely of a few k-means clusterings."""
        N, D = self._X.shape
        n_starts = self._config.n_starts or (10 if n_components * D >= N else 3)
        seeds = [int(self._rng.integers(2**31 - 1)) for _ in range(n_starts)]
        positions = drawn_in(self._X)

        def start(seed: int) -> tuple[GMM, float]:
            model = kmeans_start(
                self._X,
                n_components,
                seed=seed,
                sample_weight=self._sample_weight,
                positions=positions,
            )
            covariances, _ = floor_eigenvalues(model.covariances, self._floor)
            model = GMM.unchecked(model.weights, model.means, covariances)
            return model, model.mean_log_prob(self._points)

        large = N * n_components * D >= _LARGE
        return max(each(start, seeds, large=large), key=lambda found: found[1])[0]

    def history(self) -> SearchHistory:
        return SearchHistory.of(self._rows)

    def run(self, model: GMM, start: int) -> Climb:
        """Climb from one start until bursts of matching tasks find nothing better."""
        config = self._config
        self._start = start
        first = self._n_steps
        best = self._climb(model, config.coarse_iter, config.coarse_tol)
        self._record("joint", best, accepted=True, n_steps=best.n_steps)
        self._last_step = first + self._budget(best)
        best = self._swap(best)
        returns = 0
        for burst in range(config.max_bursts):
            if returns == config.patience or model.n_components == 1 or self._spent():
                break
            found = self._match(best, burst)
            gain = found.log_likelihood - best.log_likelihood
            returns += abs(gain) < config.coarse_tol
            best = found if gain > 0 else best
        last = self._climb(best.model, config.max_iter, config.tol)
        self._record("joint", last, accepted=True, n_steps=last.n_steps)
        return last

    def _climb(self, model: GMM, n_iter: int, tol: float, goal: float = -math.inf) -> Climb:
        def step(model: GMM) -> EMStep:
            return em_step(self._points, model, covariance_floor=self._floor)

        return climb(step, model, n_iter=n_iter, tol=tol, goal=goal)

    def _try(self, model: GMM, n_iter: int, goal: float = -math.inf) -> Climb | None:
        try:
            return self._climb(model, n_iter, self._config.coarse_tol, goal)
        except ValueError:  # a covariance that this dtype cannot factor
            return None

    def _swap(self, best: Climb) -> Climb:
        """Split-and-merge moves until several in a row are rejected.

        All promising swaps are made at once; where that fails, fewer, down to one at a time.
        """
        config = self._config
        K = best.model.n_components
        if K < 3:
            return best
        at_most, rejected = K, 0
        tried: set[tuple[int, int, int]] = set()
        splits = None
        while not self._spent():
            if splits is None:
                splits, merges = self._score(best.model)
                self._last_step -= _SCORING_STEPS
            swaps = best_swaps(
                splits, merges, least_gain=-config.accepted_loss / K, at_most=at_most, tried=tried
            )
            if not swaps:
                break
            proposal = apply_swaps(best.model, splits, merges, swaps, covariance_floor=self._floor)
            state = self._try(proposal, config.swap_iter, best.log_likelihood)
            accepted = state is not None and state.log_likelihood > best.log_likelihood
            steps = 0 if state is None else state.n_steps
            self._record("swap", state, accepted=accepted, n_steps=steps)
            if accepted:
                gain = state.log_likelihood - best.log_likelihood
                best, splits, rejected = state, None, 0
                tried.clear()
                if gain < self._config.tol:
                    break
            elif len(swaps) > 1:
                at_most = max(1, len(swaps) // 3)
            else:
                tried.add(swaps[0].key)
                rejected += 1
                if rejected == config.max_rejected:
                    break
        return best

    def _budget(self, first: Climb) -> int:
        """EM steps for the search, from how many the first climb took.

        Data on which EM is slow to settle take other programs as long. The constants were set so
        that a search takes less time than ten runs of scikit-learn (benchmarks/estimators_sets.py):
        a step costs less than one of theirs where many points make up for its overhead.
        """
        if self._config.max_steps is not None:
            return self._config.max_steps
        N, D = self._X.shape
        K = first.model.n_components
        if N <= K * D:
            return 0
        efforts = _EFFORT_ON_FEW_POINTS if N < 10 * K * D else _EFFORT
        effort = next(c for size, c in efforts if size <= N * K * D)
        return 20 + effort * (K + first.n_steps)

    def _spent(self) -> bool:
        return self._n_steps >= self._last_step

    def _score(self, model: GMM) -> tuple:
        X, weights = self._X, self._weights
        stride = -(-X.shape[0] * model.n_components // _SCORED_PAIRS)
        if stride > 1:
            X, weights = X[::stride], weights[::stride]
        log_prob = model.dense().evaluate(X).component_log_prob()  # as those that merge
        splits = score_splits(
            X,
            model,
            log_prob,
            sample_weight=weights,
            covariance_floor=self._floor,
            rng=self._rng,
        )
        return splits, score_merges(X, model, log_prob, sample_weight=weights)

    def _match(self, best: Climb, burst: int) -> Climb:
        """Take a burst of matching tasks, then joint steps and swaps."""
        config = self._config
        schedule = config.schedule(best.model.n_features, (self._seed, self._start, burst))
        n_local_steps = config.n_local_steps[burst % len(config.n_local_steps)]
        model = best.model
        try:
            for iteration in range(config.n_tasks):
                model = run_task(
                    schedule.task(iteration),
                    self._points,
                    model,
                    n_local_steps=n_local_steps,
                    covariance_floor=self._floor,
                    weight_smoothing=0.0,
                ).model
        except ValueError:
            state = None
        else:
            state = self._try(model, config.coarse_iter)
        steps = config.n_tasks * n_local_steps
        if state is not None:
            steps += state.n_steps
            state = self._swap(state)
        gain = -math.inf if state is None else state.log_likelihood - best.log_likelihood
        self._record("matching", state, accepted=gain > 0, n_steps=steps)
        return best if state is None else state

    def _record(self, move: str, state: Climb | None, *, accepted: bool, n_steps: int = 0) -> None:
        if state is None:
            row = (math.nan, False, n_steps, 0, 0)
        else:
            row = (state.log_likelihood, accepted, n_steps, state.n_floored, state.n_empty)
        self._rows.append((self._start, MOVES.index(move), *row))
        self._n_steps += n_steps
        if self._progress is not None:
            self._progress(move, row[0], self._n_steps)
