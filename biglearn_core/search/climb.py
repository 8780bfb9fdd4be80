"""Joint EM steps to convergence, of one mixture or of several in lockstep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.gmm import GMM

__all__ = ["Climb", "Scored", "Step", "climb", "climb_together", "race", "ranking"]

# A climb that should reach a goal is watched from this step on, and may have so many times as far
# to go as its last two gains let expect.
_WATCHED = 4
_HOPE = 3.0

# Gains shrink from step to step by this factor at most, where a limit is guessed from them.
_SLOWEST = 0.98

# Scores that agree to this many decimals are equal.
_DECIMALS = 7


@dataclass(frozen=True)
class Scored:
    """An EM step of B mixtures of K components, and what their models are worth.

    Parameters
    ----------
    model : GMM
        The components of all mixtures after the step, one mixture after the other.
    log_likelihood : float64 Tensor of shape (B,)
        Weighted means of log p(x) before the step, in nats.
    objective : float64 Tensor of shape (B,)
        What the steps raise: the log-likelihood, with the log prior of the covariances where they
        have one.
    score : float64 Tensor of shape (B,)
        By what models are compared: the objective, perhaps less what is not believed of it.
    n_floored, n_empty : int64 Tensor of shape (B,)
        Components raised to the floor, and components with less than 1e-5 of the data.
    """

    model: GMM
    log_likelihood: Tensor
    objective: Tensor
    score: Tensor
    n_floored: Tensor
    n_empty: Tensor


# Takes the components of several mixtures, one mixture after the other, and their number.
Step = Callable[[GMM, int], Scored]


@dataclass(frozen=True)
class Climb:
    """A model with its log-likelihood, and how it was reached.

    Parameters
    ----------
    model : GMM
    log_likelihood : float
        Mean log p(x) of that very model, in nats.
    score : float
        By what it is compared with others.
    n_floored : int
        Components with an eigenvalue that the last step raised to the floor.
    n_empty : int
        Components with less than 1e-5 of the data in the last step.
    n_steps : int
        EM steps taken.
    converged : bool
        Whether the last step gained less than the tolerance.
    """

    model: GMM
    log_likelihood: float
    score: float
    n_floored: int
    n_empty: int
    n_steps: int
    converged: bool


def climb(step: Step, model: GMM, *, n_iter: int, tol: float) -> Climb:
    """Take EM steps while they gain.

    Parameters
    ----------
    step : callable
    model : GMM
    n_iter : int
        Steps at most, besides the one that evaluates the last model.
    tol : float
        Gain of the mean log-likelihood that is too small to go on, in nats.

    Returns
    -------
    climb : Climb
        Never less likely than `model`: a step that the covariance floor turned downhill is taken
        back.
    """
    return climb_together(step, [model], n_iter=n_iter, tol=tol)[0]


def climb_together(
    step: Step,
    models: Sequence[GMM],
    *,
    n_iter: int,
    tol: float,
    goals: Sequence[float] | None = None,
) -> list[Climb]:
    """Take EM steps of several mixtures in lockstep, of each while it gains.

    Parameters
    ----------
    step : callable
    models : sequence of GMM
        Of equal numbers of components.
    n_iter : int
        Steps at most, besides the one that evaluates the last models.
    tol : float
        As in `climb`.
    goals : sequence of float, optional
        Scores to reach, one for every model: a climb is given up once its gains, which shrink from
        step to step, let expect that it would not get there.

    Returns
    -------
    climbs : list of Climb
        In the order of the models.
    """
    done: dict[int, Climb] = {}
    places = list(range(len(models)))
    goal = torch.tensor([-math.inf] * len(models) if goals is None else goals).double()
    batch, before, previous = _stack(models), None, None
    for n_steps in range(1, n_iter + 2):
        current = step(batch, len(places))
        if previous is None:
            last_gain = torch.full_like(goal, math.inf)
            gain = last_gain
        else:
            gain = (current.objective - previous.objective).cpu()
        rate = (gain / last_gain).nan_to_num(0).clamp_(0, _SLOWEST)
        expected = current.score.cpu() + gain * _HOPE * rate / (1 - rate)
        stop = (gain < tol) | ((expected < goal) & (n_steps > _WATCHED)) | (n_steps > n_iter)
        n = len(places)
        if stop.any():
            for i in stop.nonzero().squeeze(1).tolist():
                fell = gain[i] < 0
                at, outcome = (before, previous) if fell else (batch, current)
                done[places[i]] = _outcome(at, outcome, n, i, n_steps, bool(gain[i] < tol))
            going = (~stop).nonzero().squeeze(1)
            if len(going) == 0:
                break
            places = [places[i] for i in going.tolist()]
            goal, gain = goal[going], gain[going]
            batch, current = _pick(batch, n, going), _pick_scored(current, n, going)
        before, previous, last_gain = batch, current, gain
        batch = current.model
    return [done[i] for i in range(len(models))]


def race(
    step: Step,
    models: Sequence[GMM],
    *,
    rounds: Sequence[tuple[int, int]],
    groups: Sequence[int] | None = None,
    tol: float = -math.inf,
) -> list[tuple[int, GMM]]:
    """Take a few steps of many mixtures in lockstep, and go on with the best.

    Parameters
    ----------
    step : callable
    models : sequence of GMM
        Of equal numbers of components.
    rounds : sequence of (int, int)
        Steps, and how many mixtures of every group are kept after them.
    groups : sequence of int, optional
        Those that race against each other; all when not given.
    tol : float, optional
        A mixture that a step raised by less rests to the end of a round; in nats.

    Returns
    -------
    kept : list of (int, GMM)
        Positions and models of the highest scores, group after group, best first.
    """
    batch, n = _stack(models), len(models)
    places = torch.arange(n)
    group = torch.zeros(n) if groups is None else torch.tensor(groups)
    for n_steps, n_kept in rounds:
        going, before = torch.arange(n), -math.inf
        for _ in range(n_steps):
            everyone = len(going) == n
            scored = step(batch if everyone else _pick(batch, n, going), len(going))
            if everyone:
                batch, scores = scored.model, scored.score.cpu()
            else:
                batch = _put(batch, n, going, scored.model)
                scores = scores.index_copy(0, going, scored.score.cpu())
            if tol > -math.inf:
                reached = scored.objective.cpu()
                moving = reached - before >= tol
                going, before = going[moving], reached[moving]
            if len(going) == 0:
                break
        best = ranking(scores)
        kept = torch.cat([best[group[best] == g][:n_kept] for g in group.unique()])
        batch, n = _pick(batch, n, kept), len(kept)
        places, group = places[kept], group[kept]
    return [(place, _only(batch, n, i)) for i, place in enumerate(places.tolist())]


def ranking(scores: Tensor) -> Tensor:
    """Order from the highest on, without regard to what may be rounding.

    The order of what is equally good must not depend on the units of the data.

    Parameters
    ----------
    scores : Tensor of shape (n,)
        In nats.

    Returns
    -------
    order : int64 Tensor of shape (n,)
    """
    return scores.double().round(decimals=_DECIMALS).argsort(descending=True, stable=True)


def _outcome(at: GMM, scored: Scored, n: int, i: int, n_steps: int, converged: bool) -> Climb:
    return Climb(
        _only(at, n, i),
        scored.log_likelihood[i].item(),
        scored.score[i].item(),
        int(scored.n_floored[i]),
        int(scored.n_empty[i]),
        n_steps,
        converged,
    )


def _stack(models: Sequence[GMM]) -> GMM:
    if len(models) == 1:
        return models[0]
    return models[0].with_parameters(
        torch.cat([model.weights for model in models]),
        torch.cat([model.means for model in models]),
        torch.cat([model.covariances for model in models]),
    )


def _pick(batch: GMM, n: int, index: Tensor) -> GMM:
    """Select some of n mixtures."""

    def part(parameter: Tensor) -> Tensor:
        return parameter.unflatten(0, (n, -1))[index].flatten(0, 1)

    return batch.with_parameters(part(batch.weights), part(batch.means), part(batch.covariances))


def _put(batch: GMM, n: int, index: Tensor, some: GMM) -> GMM:
    """Replace some of n mixtures."""

    def part(parameter: Tensor, new: Tensor) -> Tensor:
        mixtures, others = parameter.unflatten(0, (n, -1)), new.unflatten(0, (len(index), -1))
        return mixtures.index_copy(0, index.to(mixtures.device), others).flatten(0, 1)

    return batch.with_parameters(
        part(batch.weights, some.weights),
        part(batch.means, some.means),
        part(batch.covariances, some.covariances),
    )


def _only(batch: GMM, n: int, i: int) -> GMM:
    """Select one of n mixtures; one that is alone keeps the low-rank form of its covariances."""
    return batch if n == 1 else _pick(batch, n, torch.tensor([i]))


def _pick_scored(scored: Scored, n: int, index: Tensor) -> Scored:
    return Scored(
        _pick(scored.model, n, index),
        scored.log_likelihood[index],
        scored.objective[index],
        scored.score[index],
        scored.n_floored[index],
        scored.n_empty[index],
    )
