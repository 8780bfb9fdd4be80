"""What a search does in one basin: starts, and swaps as long as they lead higher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from biglearn_core.em import lockstep_em_step
from biglearn_core.gmm import GMM
from biglearn_core.init import drawn_in, kmeans_start
from biglearn_core.numerics.linalg import has_eigenvalue_below
from biglearn_core.numerics.points import Points, n_quadratic_features
from biglearn_core.numerics.threads import each
from biglearn_core.search.climb import Climb, Scored, climb, climb_together, race, ranking
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.credit import TOUCHING, Credit
from biglearn_core.search.insert import Insertions, Sample, Starts, View, grow, neighbourhoods
from biglearn_core.search.pursuit import Division, best_of, divide
from biglearn_core.search.resize import with_divisions, with_insertions, without
from biglearn_core.search.starts import grown_start, plusplus_starts
from biglearn_core.search.swap import all_at_once, mergers, one_at_a_time

__all__ = ["SAME_OPTIMUM", "Moves"]

# Scores of the same optimum differ by less, in nats.
SAME_OPTIMUM = 1e-4

# Features beyond which single swaps and races of starts would take more memory than the data, and
# directions of extreme kurtosis more time than a climb.
_MOST_FEATURES = 128

# Components from which on k-means alone gives starts and all promising swaps are tried at once, and
# up to which they are tried one by one.
_MANY = 15
_MOST_ALONE = 20

# So many less K starts by k-means++ the first time, the more components, the less likely is a good
# draw; and for every basin that is searched in lockstep later on.
_FIRST_STARTS = 15
_LATER_STARTS = 4

# Runs of k-means for the first start, and where components have fewer rows than coordinates.
_KMEANS = 3
_KMEANS_ON_FEW_ROWS = 10

# Rows to a coordinate of a component below which they are scarce.
_SCARCE = 10

# What a run of k-means costs, in EM steps.
_KMEANS_STEPS = 3

# Rows on which moves are found, at least, and rows to a coordinate of a component.
_SAMPLED_ROWS = 10_000
_SAMPLED_TO_A_COORDINATE = 16

# What an EM step costs besides its pairs of point and component, in numbers touched: where there
# are fewer, its time is that of its operations.
_OVERHEAD = 1_200_000
_NUMBERS_OF_A_PAIR = 20

# Numbers touched from which on a step is long enough for mixtures that have converged to rest.
_LONG_STEP = 20_000_000

# Numbers touched up to which several basins are searched in lockstep, and how many trials and
# candidates are worth their time.
_TOGETHER, _MOST_TOGETHER = 300_000, 3
_TRIALS, _MOST_TRIALS, _LEAST_TRIALS = 50_000_000, 16, 2
_CANDIDATES, _MOST_CANDIDATES, _LEAST_CANDIDATES = 6_000_000, 96, 24

# Trials where rows are scarce, at most.
_TRIALS_ON_SCARCE_ROWS = 4

# EM steps of candidates alone, of starts that race, and of mixtures that have been given components
# or have lost some, of which alternatives race; and of trials that race, with the part of them that
# stays.
_GROWTH = 10
_START_RACE = (6, 10)
_RESIZE_STEPS, _ALTERNATIVES = 5, 4
_RACE = ((4, 2), (6, 4))

# EM steps of many swaps at once, at most, and the gain of one swap among ten components that is too
# small to go on.
_TOGETHER_STEPS = 20
_TOGETHER_TOL = 1e-3

# Swaps that are tried alone where several at once have failed.
_ALONE = 6


class Moves:
    """Data, settings and account of a search.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_components : int
        K.
    sample_weight : Tensor of shape (N,), optional
    constraint : Constraint
    credit : Credit
    rng : numpy.random.Generator
    coarse_tol : float
        Gain that ends a climb, in nats.
    coarse_iter : int
        Steps of a climb, at most.
    patience : int
        Rounds of swaps without success after which a basin is exhausted.
    accepted_loss : float
        Of many swaps at once those are tried that are expected to lose no more than this over K.
    record : callable
        Called as record(move, climb, accepted=..., spent=...) after every move.
    tell : callable
        Called with `spent` before every EM step.
    """

    def __init__(
        self,
        X: Tensor,
        n_components: int,
        *,
        sample_weight: Tensor | None,
        constraint: Constraint,
        credit: Credit,
        rng: np.random.Generator,
        coarse_tol: float,
        coarse_iter: int,
        patience: int,
        accepted_loss: float,
        record: Callable[..., None],
        tell: Callable[[float], None],
    ) -> None:
        N, D = X.shape
        K = n_components
        self._X, self._sample_weight, self._K = X, sample_weight, K
        self._points = Points.of(X, sample_weight=sample_weight)
        sampled = max(_SAMPLED_ROWS, _SAMPLED_TO_A_COORDINATE * K * (D + 1))
        self._sample = Sample(X, sample_weight, sampled)
        self._constraint, self._credit, self._rng = constraint, credit, rng
        self._tol, self._n_iter, self._patience = coarse_tol, coarse_iter, patience
        self._accepted_loss = accepted_loss / K
        self._record, self._tell = record, tell
        self._numbers = n_quadratic_features(D) + _NUMBERS_OF_A_PAIR
        self._many = K >= _MANY or D > _MOST_FEATURES
        self._alone = not self._many or (K <= _MOST_ALONE and D <= _MOST_FEATURES)
        coordinates = constraint.structure.n_coordinates(D)
        rows_needed = K * coordinates
        self._few_rows, self._scarce = rows_needed >= N, _SCARCE * rows_needed > N
        self._spent = 0.0
        size, sampled_size = N * K * self._numbers, len(self._sample) * self._numbers
        self._n_together = max(1, min(_MOST_TOGETHER, _TOGETHER // size))
        self._n_trials = max(_LEAST_TRIALS, min(_MOST_TRIALS, _TRIALS // size))
        if self._scarce:  # what single swaps gain on few rows is not worth more
            self._n_together, self._n_trials = 1, min(self._n_trials, _TRIALS_ON_SCARCE_ROWS)
            self._alone = not self._many
        candidates = min(_MOST_CANDIDATES, _CANDIDATES // sampled_size)
        self._n_candidates = max(_LEAST_CANDIDATES, candidates)
        self._rest = self._tol if sampled_size * K >= _LONG_STEP else -math.inf

    @property
    def spent(self) -> float:
        """EM steps on all data of one mixture that would have cost as much as all moves so far."""
        return self._spent

    def starts(self, *, first: bool) -> list[Climb]:
        """Begin anew.

        Parameters
        ----------
        first : bool
            Whether it is the first time, for which there is more to choose from.

        Returns
        -------
        climbs : list of Climb
            Of the best starts, as many as are searched in lockstep; in different optima, the
            highest first.
        """
        if self._few_rows or self._many:
            models = self._kmeans(_KMEANS_ON_FEW_ROWS if self._few_rows else _KMEANS)
            means = [model.mean_log_prob(self._points) for model in models]
            models = [models[ranking(torch.tensor(means, dtype=torch.float64))[0]]]
        else:
            try:
                models = self._race_starts(first=first)
            except ValueError:  # a covariance that this dtype cannot factor
                models = self._kmeans(1)
        climbs = self._climb(models)
        climbs = [climbs[i] for i in _order(climbs)]
        self._account("start", climbs[0], accepted=True)
        return _apart(climbs)[: self._n_together]

    def start_from(self, model: GMM) -> list[Climb]:
        """Begin at a given mixture."""
        climbs = self._climb([self._constraint.of_type(model)])
        self._account("start", climbs[0], accepted=True)
        return climbs

    def start_beside(self, models: Sequence[GMM]) -> list[Climb]:
        """Begin at mixtures of any number of components, by insertions or mergers.

        Parameters
        ----------
        models : sequence of GMM

        Returns
        -------
        climbs : list of Climb
            Of the best after a few steps.
        """
        resized = [self._resized(model) for model in models]
        ((_, best),) = race(self._sample_step, resized, rounds=((_RESIZE_STEPS, 1),))
        climbs = self._climb([best])
        self._account("start", climbs[0], accepted=True)
        return climbs

    def _resized(self, model: GMM) -> GMM:
        """Give a mixture as many components as are wanted."""
        model = self._constraint.of_type(model.dense())
        while (missing := self._K - model.n_components) != 0:
            view = View.of(self._sample, model)
            if missing < 0:
                merged, losses = mergers(self._sample, view, self._constraint)
                changed = [without(model, merged, losses, -missing)]
            else:
                (insertions,) = self._insertions([view], _LEAST_CANDIDATES)
                changed = with_insertions(model, insertions, missing, _ALTERNATIVES)
                for division in divide(self._sample, view):
                    changed += with_divisions(model, self._parts(division, view), missing)
            # One after the other may lack insertions: of these alone the fullest race.
            K = max(found.n_components for found in changed)
            models = [self._constraint.of_type(m) for m in changed if m.n_components == K]
            ((_, model),) = race(self._sample_step, models, rounds=((_RESIZE_STEPS, 1),))
        return model

    def last(self, best: Climb, *, n_iter: int, tol: float) -> Climb:
        """Climb to the end."""
        last = climb(self._full_step, best.model, n_iter=n_iter, tol=tol)
        self._account("joint", last, accepted=True)
        return last

    def gain_of_thinness(self, model: GMM) -> float:
        """Tell what thin components add to the log-likelihood of a mixture, in nats."""
        floored = has_eigenvalue_below(model.covariances, TOUCHING * self._constraint.floor)
        return self._credit.gain_of_thinness(model, 1, floored[None]).item()

    def improve(self, climbs: Sequence[Climb], *, alone: bool = True) -> Climb:
        """Swap components as long as that leads higher, from several optima in lockstep.

        Parameters
        ----------
        climbs : sequence of Climb
        alone : bool, default True
            Whether swaps are tried one by one, where components are few; else many at once.

        Returns
        -------
        best : Climb
        """
        best = list(climbs)
        if self._many or not alone:
            best = [self._swap_together(best[0])]
        if not (alone and self._alone):
            return _highest(best)
        refused = [0] * len(best)
        while active := [i for i in range(len(best)) if refused[i] < self._patience]:
            try:
                found = self._swap_alone([best[i] for i in active])
            except ValueError:  # a covariance that this dtype cannot factor
                break
            for i, higher in zip(active, found, strict=True):
                refused[i] = 0 if higher is not None else refused[i] + 1
                best[i] = higher or best[i]
                if any(_is_same(best[i], best[j]) for j in range(i)):
                    refused[i] = self._patience  # the other one goes on
        return _highest(best)

    def _race_starts(self, *, first: bool) -> list[GMM]:
        """Give the best of many starts after a few steps."""
        K, kept = self._K, self._n_together + 1
        models = []
        if first:
            models = self._kmeans(1)
            grown = grown_start(self._sample, K, self._sample_step, constraint=self._constraint)
            models += [] if grown is None else [grown]
        models += plusplus_starts(
            self._sample,
            K,
            _FIRST_STARTS - K if first else _LATER_STARTS * self._n_together,
            constraint=self._constraint,
            rng=self._rng,
        )
        rounds = zip(_START_RACE, (max(kept, len(models) // 2), kept), strict=True)
        raced = race(self._sample_step, models, rounds=tuple(rounds), tol=self._rest)
        return [model for _, model in raced]

    def _climb(self, models: Sequence[GMM], goals: Sequence[float] | None = None) -> list[Climb]:
        return climb_together(
            self._full_step, models, n_iter=self._n_iter, tol=self._tol, goals=goals
        )

    def _swap_alone(self, climbs: Sequence[Climb]) -> list[Climb | None]:
        """One round of swaps: what leads higher from every optimum, or None."""
        views = [View.of(self._sample, found.model) for found in climbs]
        trials, groups = [], []
        insertions_of = self._insertions(views, self._n_candidates)
        for i, (view, insertions) in enumerate(zip(views, insertions_of, strict=True)):
            models = one_at_a_time(
                self._sample,
                view,
                insertions,
                self._credit,
                at_most=self._n_trials,
                constraint=self._constraint,
            )
            trials += models
            groups += [i] * len(models)
        if not trials:
            return [None] * len(climbs)
        rounds = [(n_steps, -(-self._n_trials // share)) for n_steps, share in _RACE]
        kept = race(self._sample_step, trials, rounds=rounds, groups=groups, tol=self._rest)
        goals = [climbs[groups[i]].score + self._tol for i, _ in kept]
        outcomes = self._climb([model for _, model in kept], goals)
        higher: list[Climb | None] = []
        for group, before in enumerate(climbs):
            mine = [o for o, (i, _) in zip(outcomes, kept, strict=True) if groups[i] == group]
            found = _highest(mine) if mine else None
            accepted = found is not None and found.score > before.score + self._tol
            if found is not None:
                self._account("swap", found, accepted=accepted)
            higher.append(found if accepted else None)
        return higher

    def _insertions(self, views: Sequence[View], n_candidates: int) -> list[Insertions]:
        """Candidates for every mixture, from both parts of all divisions and from random rows."""
        starts = []
        for view in views:
            parts = [
                division.starts(view, second=second)
                for division in divide(self._sample, view)
                for second in (False, True)
            ]
            n_divided = sum(len(part.owners) for part in parts)
            n_random = max(_LEAST_CANDIDATES, n_candidates - n_divided)
            parts.append(neighbourhoods(self._sample, view, n_random, self._rng))
            starts.append(
                Starts(
                    torch.cat([part.members for part in parts]),
                    torch.cat([part.owners for part in parts]),
                )
            )
        n_candidates = sum(len(start.owners) for start in starts)
        self._spend(n_candidates, len(self._sample), n_steps=_GROWTH)
        return grow(self._sample, views, starts, constraint=self._constraint, n_steps=_GROWTH)

    def _swap_together(self, best: Climb) -> Climb:
        """Swap many at once, round after round, as long as that leads higher."""
        tol = min(self._tol, _TOGETHER_TOL / self._K)
        settled = True
        while True:
            found = self._swap_many(best, tol)
            if found is not None:
                best, settled = found, False
            elif settled:
                return best
            else:  # what these steps bring together can be divided
                (climbed,) = self._climb([best.model])
                # Steps raise the likelihood, and may still lower the score, by what is withheld.
                accepted = climbed.score >= best.score
                self._account("joint", climbed, accepted=accepted)
                if not accepted:
                    return best
                best, settled = climbed, True

    def _swap_many(self, best: Climb, tol: float) -> Climb | None:
        """Try all promising swaps at once; where that fails fewer, down to one at a time."""
        view = View.of(self._sample, best.model)
        divisions = divide(self._sample, view, longest_only=self._X.shape[1] > _MOST_FEATURES)
        division = best_of(divisions, view)
        plan = all_at_once(
            self._sample,
            view,
            self._parts(division, view),
            self._credit,
            accepted_loss=self._accepted_loss,
            constraint=self._constraint,
            optimism_counts=self._scarce,
        )
        self._spend(4 * self._K, len(self._sample))
        for swaps in plan.proposals(_ALONE):
            swapped = self._constraint.of_type(plan.apply(best.model, swaps))
            found = self._try(swapped, best.score + tol, tol)
            if found is not None and found.score > best.score + tol:
                return found
        return None

    def _parts(self, division: Division, view: View) -> tuple[Insertions, Insertions]:
        return division.parts(
            self._sample,
            view,
            constraint=self._constraint,
            on_all=self._scarce or self._constraint.covariance_type != "full",
        )

    def _try(self, model: GMM, goal: float, tol: float) -> Climb | None:
        """Climb from a model with some components swapped; None where it cannot be evaluated."""
        try:
            (found,) = climb_together(
                self._full_step, [model], n_iter=_TOGETHER_STEPS, tol=tol, goals=[goal]
            )
        except ValueError:  # a covariance that this dtype cannot factor
            return None
        self._account("swap", found, accepted=found.score > goal)
        return found

    def _kmeans(self, n: int) -> list[GMM]:
        positions = drawn_in(self._X)

        def start(seed: int) -> GMM:
            model = kmeans_start(
                self._X,
                self._K,
                seed=seed,
                sample_weight=self._sample_weight,
                positions=positions,
            )
            covariances, _ = self._constraint.alone(model.covariances)
            return self._constraint.of_type(GMM.unchecked(model.weights, model.means, covariances))

        seeds = [int(self._rng.integers(2**31 - 1)) for _ in range(n)]
        self._spent += _KMEANS_STEPS * n
        return each(start, seeds, large=self._X.numel() * self._K >= _OVERHEAD)

    def _full_step(self, mixtures: GMM, n: int) -> Scored:
        return self._step(self._points, mixtures, n)

    def _sample_step(self, mixtures: GMM, n: int) -> Scored:
        return self._step(self._sample.points, mixtures, n)

    def _step(self, points: Points, mixtures: GMM, n: int) -> Scored:
        self._spend(mixtures.n_components, points.Z.shape[1])
        steps = lockstep_em_step(
            points,
            mixtures,
            n,
            covariance_floor=self._constraint.floor,
            prior=self._constraint.prior,
        )
        objective = steps.log_likelihood + steps.log_prior
        withheld = self._credit.withheld(steps.model, n, steps.floored)
        return Scored(
            steps.model,
            steps.log_likelihood,
            objective,
            objective - withheld,
            steps.floored.sum(dim=1),
            steps.empty.sum(dim=1),
        )

    def _account(self, move: str, state: Climb, *, accepted: bool) -> None:
        self._record(move, state, accepted=accepted, spent=self._spent)

    def _spend(self, n_components: int, n_rows: int, n_steps: int = 1) -> None:
        step = len(self._X) * self._K * self._numbers + _OVERHEAD
        self._spent += n_steps * (n_components * n_rows * self._numbers + _OVERHEAD) / step
        self._tell(self._spent)


def _highest(climbs: Sequence[Climb]) -> Climb:
    return climbs[_order(climbs)[0]]


def _order(climbs: Sequence[Climb]) -> list[int]:
    scores = torch.tensor([found.score for found in climbs], dtype=torch.float64)
    return ranking(scores).tolist()


def _is_same(one: Climb, other: Climb) -> bool:
    return abs(one.score - other.score) < SAME_OPTIMUM


def _apart(climbs: Sequence[Climb]) -> list[Climb]:
    """Those in different optima; they are sorted by score."""
    kept = [climbs[0]]
    for found in climbs[1:]:
        if not _is_same(found, kept[-1]):
            kept.append(found)
    return kept
