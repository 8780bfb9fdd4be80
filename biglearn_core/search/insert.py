"""Insertion: the component that a mixture misses most, found while the mixture stays as it is.

EM keeps the number of components in every region of the data, so a start with two of them on one
cluster and one on two clusters never mends itself. A component added to a fixed density f finds its
place by EM of its own: r = a N(x) / ((1 − a) f(x) + a N(x)), and weight, mean and covariance from
the points weighted by r (J. Verbeek, N. Vlassis and B. Kröse, "Efficient greedy learning of
Gaussian mixture models", Neural Computation 15(2), 2003). Many candidates are columns of one
matrix: their steps cost what a step of as many components does, on a thinned sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn.functional import softplus

from biglearn_core.em import m_step
from biglearn_core.gmm import GMM
from biglearn_core.numerics.forms import choose_density
from biglearn_core.numerics.linalg import cholesky, inverse_triangular
from biglearn_core.numerics.points import Chunk, Points
from biglearn_core.search.constraint import Constraint

__all__ = [
    "Insertions",
    "Sample",
    "Starts",
    "View",
    "grow",
    "moments_of",
    "neighbourhoods",
    "with_parts",
]

# Numbers that the residuals or responsibilities of one batch of candidates take, or distances.
_BATCH_NUMBERS = 4_000_000

# Rows count as unlikely that are among the least likely, one of so many; and as crowded that are
# among the densest, from so many times as many as are wanted to one of so many.
_UNLIKELY = 20
_TIMES_WANTED, _CROWDED = 4, 20

# Rows to a coordinate, and one more, that tell by their distance how dense they lie: enough to see
# three times the density expected, few enough to lie within a cluster of thirty.
_NEAREST = 4

# Features up to which scikit-learn finds neighbours by a tree.
_TREE_FEATURES = 15

# Least and largest weight of a candidate while it grows.
_WEIGHTS = (1e-5, 0.9)

# Shares below this are alike.
_LEAST_LOG_SHARE = -1e4

# Log ratio of densities beyond which a number of the dtype overflows.
_LARGEST_LOG_RATIO = 80.0


class Sample:
    """Rows on which moves are found: all of the data, or evenly thinned.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,), optional
    at_most : int
        Rows to keep.

    Attributes
    ----------
    X : Tensor of shape (n, D)
    shares : Tensor of shape (n,)
        Sample weights that sum to one.
    points : Points
    chunk : Chunk
        All points at once.
    """

    def __init__(self, X: Tensor, sample_weight: Tensor | None, at_most: int) -> None:
        stride = -(-X.shape[0] // at_most)
        self.X = X[::stride]
        weights = None if sample_weight is None else sample_weight[::stride]
        self.points = Points.of(self.X, sample_weight=weights)
        ones = self.X.new_ones(len(self.X)) if weights is None else weights
        self.shares = ones / ones.sum()
        self.chunk = Chunk(self.points.Z, None)
        self._cumulative = self.shares.double().cumsum(0).cpu().numpy()

    def __len__(self) -> int:
        return len(self.X)

    @cached_property
    def watched(self) -> Tensor:
        """Rows whose neighbours are looked for: all, or evenly thinned where no tree finds them."""
        n, D = self.X.shape
        stride = 1 if D <= _TREE_FEATURES else -(-n * n // _BATCH_NUMBERS)
        return torch.arange(0, n, stride, device=self.X.device)

    @cached_property
    def log_reach(self) -> Tensor:
        """Log of the distance within which every watched row has so many neighbours."""
        X, watched = self.X.cpu().numpy(), self.X[self.watched].cpu().numpy()
        nearest = NearestNeighbors(n_neighbors=min(_NEAREST * (X.shape[1] + 1), len(X)))
        distances = torch.from_numpy(nearest.fit(X).kneighbors(watched)[0][:, -1]).to(self.X)
        return distances.clamp_min_(torch.finfo(distances.dtype).tiny).log_()

    def draw(self, n: int, rng: np.random.Generator) -> Tensor:
        """Draw rows by their weights, shape (n,)."""
        drawn = self._cumulative.searchsorted(rng.random(n) * self._cumulative[-1])
        return torch.from_numpy(drawn.clip(max=len(self) - 1)).to(self.X.device)


@dataclass(frozen=True)
class View:
    """A mixture as seen by the sample.

    Parameters
    ----------
    model : GMM
    log_density : Tensor of shape (n,)
        log f(x), in nats.
    log_shares : Tensor of shape (K, n)
        Logarithms of the responsibilities, down to −1e4.
    shares : Tensor of shape (K, n)
        Responsibilities.
    owners : int64 Tensor of shape (n,)
        Most probable component.
    """

    model: GMM
    log_density: Tensor
    log_shares: Tensor
    shares: Tensor
    owners: Tensor

    @classmethod
    def of(cls, sample: Sample, model: GMM) -> View:
        """Evaluate a mixture on a sample."""
        seen = model.dense().evaluate(sample.X)
        log_shares = seen.relative.log_softmax(dim=0).clamp_(min=_LEAST_LOG_SHARE)
        return cls(model, seen.log_prob(), log_shares, log_shares.exp(), seen.labels())


@dataclass(frozen=True)
class Starts:
    """Where candidates start.

    Parameters
    ----------
    members : Tensor of shape (C, n)
        Share of every point in the candidate, from 0 to 1.
    owners : int64 Tensor of shape (C,)
        Component of the mixture that holds most of these points.
    """

    members: Tensor
    owners: Tensor


@dataclass(frozen=True)
class Insertions:
    """Components to add to a mixture.

    Parameters
    ----------
    gains : Tensor of shape (C,)
        Rise of the mean log-likelihood of the sample if the mixture kept all its own, in nats; −inf
        for a candidate that has come down to fewer points than coordinates.
    weights : Tensor of shape (C,)
    means : Tensor of shape (C, D)
    covariances : Tensor of shape (C, D, D)
    floored : bool Tensor of shape (C,)
    owners : int64 Tensor of shape (C,)
        Component of the mixture in which the candidate has started.
    """

    gains: Tensor
    weights: Tensor
    means: Tensor
    covariances: Tensor
    floored: Tensor
    owners: Tensor

    def pick(self, index: Tensor) -> Insertions:
        """Give some of them."""
        return Insertions(*(field[index] for field in vars(self).values()))

    def log_ratios(self, sample: Sample, log_density: Tensor) -> Tensor:
        """Log N(x) − log f(x) of every candidate, shape (C, n)."""
        density = choose_density(
            sample.points, torch.ones_like(self.weights), self.means, self.covariances
        )
        log_prob = density.log_prob(density.features(sample.chunk)).to(self.means.dtype)
        return log_prob.sub_(log_density).clamp_(max=_LARGEST_LOG_RATIO)


def grow(
    sample: Sample,
    views: Sequence[View],
    starts: Sequence[Starts],
    *,
    constraint: Constraint,
    n_steps: int,
) -> list[Insertions]:
    """Let candidates for one or several mixtures find their places.

    Parameters
    ----------
    sample : Sample
    views : sequence of View
        Of the mixtures, which stay as they are.
    starts : sequence of Starts
        One for every mixture.
    constraint : Constraint
    n_steps : int
        EM steps of every candidate alone.

    Returns
    -------
    insertions : list of Insertions
        One for every mixture.
    """
    counts = [len(start.owners) for start in starts]
    log_density = torch.stack([view.log_density for view in views])
    of = torch.repeat_interleave(torch.arange(len(views)), torch.tensor(counts)).to(sample.X.device)
    all_members = torch.cat([start.members for start in starts])
    owners = torch.cat([start.owners for start in starts])
    like = torch.stack([view.model.covariances[0] for view in views])
    parts = []
    for batch in _batches(sample, len(owners)):
        members = all_members[batch].to(sample.X.dtype)
        densities = log_density[of[batch]]
        for _ in range(n_steps):
            grown = moments_of(
                sample, members, owners[batch], constraint=constraint, like=like[of[batch]]
            )
            log_ratios = grown.log_ratios(sample, densities)
            log_odds = grown.weights.log() - torch.log1p(-grown.weights)
            log_odds_of_points = log_ratios.add_(log_odds[:, None])
            members = log_odds_of_points.sigmoid()
        # The density has become (1 − a) f (1 + odds).
        gains = softplus(log_odds_of_points) @ sample.shares + torch.log1p(-grown.weights)
        few = grown.weights * len(sample) < grown.means.shape[1] + 1
        parts.append(
            Insertions(
                torch.where(few | ~gains.isfinite(), -math.inf, gains),
                grown.weights,
                grown.means,
                grown.covariances,
                grown.floored,
                grown.owners,
            )
        )
    values = zip(*(vars(part).values() for part in parts), strict=True)
    fields = [torch.cat(field).split(counts) for field in values]
    return [Insertions(*found) for found in zip(*fields, strict=True)]


def moments_of(
    sample: Sample,
    members: Tensor,
    owners: Tensor,
    *,
    constraint: Constraint,
    like: Tensor | None = None,
) -> Insertions:
    """Take the M-step of candidates from their shares in the points; their gains are not known.

    Parameters
    ----------
    sample : Sample
    members : Tensor of shape (C, n)
    owners : int64 Tensor of shape (C,)
    constraint : Constraint
    like : Tensor of shape (C, D, D) or (1, D, D), optional
        A covariance of the mixture that they are candidates for.

    Returns
    -------
    insertions : Insertions
    """
    C, D = len(members), sample.X.shape[1]
    identity = torch.eye(D, dtype=sample.X.dtype, device=sample.X.device).expand(C, D, D)
    origin = sample.points.centre.expand(C, D)
    density = choose_density(sample.points, sample.X.new_ones(C), origin, identity)
    features = density.features(sample.chunk)
    weighted = members * (sample.shares * sample.points.total)
    moments = density.moments(features, weighted.to(features.dtype))
    weights, means, covariances = m_step(moments, density.origins, sample.points.total)
    covariances, floored = constraint.alone(covariances.to(sample.X.dtype), like=like)
    weights = weights.to(sample.X.dtype).clamp(*_WEIGHTS)
    means = means.to(sample.X.dtype)
    return Insertions(torch.zeros_like(weights), weights, means, covariances, floored, owners)


def with_parts(model: GMM, parts: Sequence[tuple[int, Insertions, int]]) -> GMM:
    """Put components in the place of others.

    Parameters
    ----------
    model : GMM
    parts : sequence of (int, Insertions, int)
        Where, and which component; K as a place adds one.

    Returns
    -------
    model : GMM
        Weights, as they are given, are scaled to sum to one. The covariances may not be of the
        type yet.
    """
    K, n_added = model.n_components, sum(place >= model.n_components for place, _, _ in parts)

    def copy(values: Tensor) -> Tensor:
        if n_added == 0:
            return values.clone()
        return torch.cat([values, values[:1].expand(n_added, *values.shape[1:])])

    weights, means, covariances = map(copy, (model.weights, model.means, model.covariances))
    added = K
    for place, part, i in parts:
        if place >= K:
            place, added = added, added + 1
        weights[place], means[place] = part.weights[i], part.means[i]
        covariances[place] = part.covariances[i]
    return model.with_parameters(weights / weights.sum(), means, covariances)


def neighbourhoods(sample: Sample, view: View, n: int, rng: np.random.Generator) -> Starts:
    """Start candidates in neighbourhoods of rows.

    Parameters
    ----------
    sample : Sample
    view : View
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    starts : Starts
        From a few rows to the share of an average component, half of them near in the coordinates
        of the data and half in those in which the row's component is round. Half of the rows are
        drawn by weight; a quarter lies where rows are densest beside what the mixture expects, as
        in a small cluster within a wide one; a quarter among the least likely, as in a small
        cluster beside the others. O(n N D²), and as much for the densities.
    """
    K, D = view.model.means.shape
    n_of_a_kind = n // 4
    unlikely = view.log_density.argsort()[: max(n_of_a_kind, len(sample) // _UNLIKELY)]
    rows = torch.cat(
        [
            sample.draw(n - 2 * n_of_a_kind, rng),
            _missed(sample, view, n_of_a_kind, rng),
            unlikely[torch.from_numpy(rng.integers(len(unlikely), size=n_of_a_kind))],
        ]
    )
    n, owners = len(rows), view.owners[rows]
    least = min(2 * (D + 1), len(sample))
    most = max(least + 1, len(sample) // K)
    sizes = np.exp(rng.uniform(math.log(least), math.log(most), n)).astype(int).tolist()
    whitening = inverse_triangular(cholesky(view.model.covariances)).to(sample.X.dtype)
    members = torch.empty(n, len(sample), dtype=torch.bool, device=sample.X.device)
    for i, (row, owner) in enumerate(zip(rows.tolist(), owners.tolist(), strict=True)):
        gaps = sample.X - sample.X[row]
        if i % 2:
            gaps = gaps @ whitening[owner].T
        distances = gaps.square().sum(dim=1)
        members[i] = distances <= distances.kthvalue(sizes[i]).values
    return Starts(members, owners)


def _missed(sample: Sample, view: View, n: int, rng: np.random.Generator) -> Tensor:
    """Rows around which there are most others beside what the mixture expects."""
    watched = sample.watched
    ratio = -sample.X.shape[1] * sample.log_reach - view.log_density[watched]
    fewest = min(_TIMES_WANTED * n, len(watched))
    most = max(fewest, len(watched) // _CROWDED)
    # Among few rows the densest alone, among many the less dense as well: of any number alike.
    among = np.exp(rng.uniform(math.log(fewest), math.log(most), n))
    places = (among * rng.random(n)).astype(int)
    return watched[ratio.topk(most).indices[torch.from_numpy(places)]]


def _batches(sample: Sample, n: int) -> Iterator[slice]:
    size = max(1, _BATCH_NUMBERS // (len(sample) * max(4, sample.X.shape[1])))
    return (slice(i, i + size) for i in range(0, n, size))
