"""Insert and drop: put a component where it is missed most, take one from where it is missed least.

How much a component is missed is read off the responsibilities: without component k, whose weight
goes to the others, the density of a point is (1 − r_k) / (1 − π_k) of what it was. One swap at a
time is tried where few components let every pair be looked at, all promising ones at once where
there are many.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.search.climb import ranking
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.credit import Credit
from biglearn_core.search.insert import Insertions, Sample, View, with_parts

__all__ = ["Plan", "all_at_once", "distinct", "mergers", "one_at_a_time"]

# Insertions of which all drops are looked at, and drops that are tried of each.
_BEST = 12
_DROPS = 3

# Divisions that are tried alone, each with the cheapest mergers.
_ALONE = 3

# Insertions whose gains differ by less are one.
_SAME = 1e-6


def one_at_a_time(
    sample: Sample,
    view: View,
    insertions: Insertions,
    credit: Credit,
    *,
    at_most: int,
    constraint: Constraint,
) -> list[GMM]:
    """Mixtures with one component dropped and one inserted, most promising first.

    Parameters
    ----------
    sample : Sample
    view : View
    insertions : Insertions
    credit : Credit
    at_most : int
    constraint : Constraint

    Returns
    -------
    models : list of GMM
    """
    best = insertions.pick(distinct(insertions, _BEST))
    if len(best.weights) == 0:
        return []
    a = best.weights[:, None]
    K = view.model.n_components
    new = a * best.log_ratios(sample, view.log_density).exp_()
    merged = _merged(view, sample, constraint)
    left = torch.cat([_without(view), _left(sample, view, merged)])
    gains = torch.stack([(new + (1 - a) * row).log_() @ sample.shares for row in left], dim=1)
    gains -= credit.withheld_from_new(view.model, best.weights, best.covariances, best.floored)[
        :, None
    ]
    gains += credit.optimism(view.model.weights, view.model.n_features).repeat(2)
    tried: dict[int, int] = {}
    models = []
    for position in ranking(gains.flatten()).tolist():
        c, drop = divmod(position, 2 * K)
        if tried.setdefault(c, 0) == _DROPS or not gains[c, drop].isfinite():
            continue
        tried[c] += 1
        found = _swapped(view.model, best, merged if drop >= K else None, c, drop % K)
        models.append(constraint.of_type(found))
        if len(models) == at_most:
            break
    return models


def distinct(insertions: Insertions, n: int) -> Tensor:
    """Pick the largest gains, without candidates that have come to the same place.

    Parameters
    ----------
    insertions : Insertions
    n : int
        At most.

    Returns
    -------
    positions : int64 Tensor
        The most rewarding first.
    """
    order = ranking(insertions.gains)
    gains = insertions.gains[order]
    gaps = torch.cat([gains.new_full((1,), torch.inf), gains[:-1] - gains[1:]])
    return order[(gaps > _SAME) & gains.isfinite()][:n]


def _swapped(model: GMM, insertions: Insertions, merged: Insertions | None, c: int, k: int) -> GMM:
    if merged is not None:
        model = with_parts(model, [(int(merged.owners[k]), merged, k)])
    weights = model.weights.clone()
    weights[k] = 0
    weights *= (1 - insertions.weights[c]) / weights.sum()
    model = model.with_parameters(weights, model.means, model.covariances)
    return with_parts(model, [(k, insertions, c)])


@dataclass(frozen=True)
class Plan:
    """Divisions of some components, and mergers or drops of others.

    Parameters
    ----------
    first, second : Insertions
        Parts of every component that could be divided: the first stays in its place, the second
        goes to the place that is freed.
    merged : Insertions
        Of every component k, moments of what it and its heir hold together.
    dropped : bool Tensor of shape (K,)
        Components that are missed less if their weight goes to all others alike, as those that
        spread over many others.
    together : list of (int, int)
        Swaps that do not touch each other, as positions of a division and of a component that
        gives way; the most rewarding first.
    alone : list of (int, int)
        Swaps to be tried one at a time, the most rewarding first.
    """

    first: Insertions
    second: Insertions
    merged: Insertions
    dropped: Tensor
    together: list[tuple[int, int]]
    alone: list[tuple[int, int]]

    def proposals(self, n_alone: int) -> Iterator[Sequence[tuple[int, int]]]:
        """List what to try: all swaps at once, a third of them and so on, then single ones.

        Parameters
        ----------
        n_alone : int
            Single swaps, at most.

        Yields
        ------
        swaps : sequence of (int, int)
        """
        n = len(self.together)
        while n > 1:
            yield self.together[:n]
            n //= 3
        for swap in self.alone[:n_alone]:
            yield [swap]

    def apply(self, model: GMM, swaps: Sequence[tuple[int, int]]) -> GMM:
        """Carry swaps out.

        Parameters
        ----------
        model : GMM
        swaps : sequence of (int, int)

        Returns
        -------
        model : GMM
            With heirs and what they were merged with in the heirs' places.
        """
        parts = []
        for c, k in swaps:
            if not self.dropped[k]:
                parts.append((int(self.merged.owners[k]), self.merged, k))
            parts += [(int(self.first.owners[c]), self.first, c), (k, self.second, c)]
        return with_parts(model, parts)


def all_at_once(
    sample: Sample,
    view: View,
    parts: tuple[Insertions, Insertions],
    credit: Credit,
    *,
    accepted_loss: float,
    constraint: Constraint,
    optimism_counts: bool,
) -> Plan:
    """Pair the most rewarding divisions with the cheapest mergers or drops.

    No component is in two swaps.

    Parameters
    ----------
    sample : Sample
    view : View
    parts : pair of Insertions
        Both parts of every component that could be divided; the gains are those of the division.
    credit : Credit
    accepted_loss : float
        Swaps expected to lose more are left out; in nats.
    constraint : Constraint
    optimism_counts : bool
        Whether the optimism of components counts in gains and losses.

    Returns
    -------
    plan : Plan
    """
    merged, losses = mergers(sample, view, constraint)
    heirs = merged.owners
    of_drops = -(_without(view).log_() @ sample.shares)
    gains = parts[0].gains
    if optimism_counts:
        optimism = credit.optimism(view.model.weights, view.model.n_features)
        losses += (
            credit.optimism(merged.weights, view.model.n_features) - optimism - optimism[heirs]
        )
        of_drops -= optimism
        gains = gains + optimism[parts[0].owners]
        for part in parts:
            gains = gains - credit.withheld_from_new(
                view.model, part.weights, part.covariances, part.floored
            )
    dropped = of_drops < losses
    losses = torch.minimum(losses, of_drops)
    gain, owner = gains.tolist(), parts[0].owners.tolist()
    loss, heir = losses.tolist(), heirs.tolist()
    cheapest = ranking(-losses).tolist()
    by_gain = ranking(gains).tolist()

    def apart(c: int, k: int, used: set[int]) -> bool:
        return used.isdisjoint((k, heir[k])) and owner[c] not in (k, heir[k])

    used: set[int] = set()
    together = []
    for c in by_gain:
        if owner[c] in used:
            continue
        k = next((k for k in cheapest if apart(c, k, used)), None)
        if k is None or gain[c] - loss[k] < -accepted_loss:
            break
        used.update((k, heir[k], owner[c]))
        together.append((c, k))
    pairs = itertools.product(by_gain[:_ALONE], cheapest[: 2 * _ALONE])
    alone = [(c, k) for c, k in pairs if apart(c, k, set()) and gain[c] - loss[k] >= -accepted_loss]
    alone.sort(key=lambda swap: loss[swap[1]] - gain[swap[0]])
    return Plan(*parts, merged, dropped, together, alone)


def mergers(sample: Sample, view: View, constraint: Constraint) -> tuple[Insertions, Tensor]:
    """Merge every component with its heir, the one most like it.

    Parameters
    ----------
    sample : Sample
    view : View
    constraint : Constraint

    Returns
    -------
    merged : Insertions
        One Gaussian for both, for every component; the owners are the heirs.
    losses : Tensor of shape (K,)
        Fall of the mean log-likelihood of the sample, in nats.
    """
    merged = _merged(view, sample, constraint)
    return merged, -(_left(sample, view, merged).log_() @ sample.shares)


def _merged(view: View, sample: Sample, constraint: Constraint) -> Insertions:
    """Every component and its heir, the one most like it, as one Gaussian of the same moments."""
    model = view.model
    likeness = (view.shares * sample.shares) @ view.log_shares.T
    heirs = likeness.fill_diagonal_(-torch.inf).argmax(dim=1)
    weights = model.weights + model.weights[heirs]
    share = (model.weights / weights.clamp_min(torch.finfo(weights.dtype).tiny))[:, None]
    gap = model.means - model.means[heirs]
    covariances = (
        share[:, :, None] * model.covariances
        + (1 - share)[:, :, None] * model.covariances[heirs]
        + (share * (1 - share))[:, :, None] * gap[:, :, None] * gap[:, None, :]
    )
    covariances, floored = constraint.alone(covariances, like=model.covariances[:1])
    means = model.means[heirs] + share * gap
    return Insertions(torch.zeros_like(weights), weights, means, covariances, floored, heirs)


def _left(sample: Sample, view: View, merged: Insertions) -> Tensor:
    """Density of every point after each merger, beside what it was, shape (K, n)."""
    ratios = merged.log_ratios(sample, view.log_density).exp_()
    ratios.mul_(merged.weights[:, None]).add_(1 - view.shares - view.shares[merged.owners])
    return ratios.clamp_min_(torch.finfo(ratios.dtype).tiny)


def _without(view: View) -> Tensor:
    """Density of every point without each component, beside what it was, shape (K, n).

    The weight of the component goes to all others alike.
    """
    weights = view.model.weights.clamp_max(1 - 1e-6)
    left = (1 - view.shares) / (1 - weights)[:, None]
    return left.clamp_min_(torch.finfo(left.dtype).tiny)
