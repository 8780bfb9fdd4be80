"""Split-and-merge moves: take a component from where it is spare to where one is missing.

EM keeps the number of components in every region of the data, so a start with two of them on one
cluster and one on two clusters never mends itself. A move merges the first pair and splits the
second component. What a split would gain is read off a one-dimensional marginal of rotated data,
the transformed marginal matching of Cong and Li (AAAI 2024, arXiv 2312.11926) applied to one
component: two clusters under one Gaussian are invisible to its own joint step, and plain in the
right marginal. The idea of the move is that of N. Ueda et al., "SMEM algorithm for mixture models",
Neural Computation 12(9), 2000.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from biglearn_core.em import em_step
from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import cholesky, floor_eigenvalues
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.threads import each

__all__ = ["Merges", "Splits", "Swap", "apply_swaps", "best_swaps", "score_merges", "score_splits"]

# EM steps of a pair of children: on a marginal, where a step costs next to nothing, and on all
# coordinates.
_MARGINAL_STEPS = 12
_LOCAL_STEPS = 3

# Children start this many standard deviations from their parent's mean.
_OFFSET = 0.6

# Least variance of a child along the split, as a share of its parent's: a marginal with ties would
# otherwise make a spike of them.
_LEAST_SHARE = 1e-2

# Numbers in the data from which on directions are worth a thread each.
_LARGE = 200_000

# Merges are tried between a component and as many of its nearest.
_NEIGHBOURS = 8


@dataclass(frozen=True)
class Splits:
    """The best split found of every component.

    Parameters
    ----------
    gains : Tensor of shape (K,)
        Rise of the mean log-likelihood, in nats, if the component had one more to itself.
    weights : Tensor of shape (2, K)
        Shares of the children in their parent's weight.
    means : Tensor of shape (2, K, D)
    covariances : Tensor of shape (2, K, D, D)
    """

    gains: Tensor
    weights: Tensor
    means: Tensor
    covariances: Tensor


@dataclass(frozen=True)
class Merges:
    """Pairs of components and what one Gaussian of the same moments would lose.

    Parameters
    ----------
    losses : Tensor of shape (M,)
        Fall of the mean log-likelihood, in nats; negative where the merge is a gain.
    pairs : int64 Tensor of shape (M, 2)
    weights : Tensor of shape (M,)
    means : Tensor of shape (M, D)
    covariances : Tensor of shape (M, D, D)
    """

    losses: Tensor
    pairs: Tensor
    weights: Tensor
    means: Tensor
    covariances: Tensor


@dataclass(frozen=True)
class Swap:
    """One move: merge a pair, and split a third component into the place that falls free.

    Parameters
    ----------
    split : int
        Component to split.
    merge : int
        Position in `Merges`.
    pair : tuple of int
        Components to merge.
    gain : float
        Expected rise of the mean log-likelihood, in nats.
    """

    split: int
    merge: int
    pair: tuple[int, int]
    gain: float

    @property
    def key(self) -> tuple[int, int, int]:
        """What the move does, whatever its gain."""
        return (self.split, *self.pair)


def score_splits(
    X: Tensor,
    model: GMM,
    log_prob: Tensor,
    *,
    sample_weight: Tensor,
    covariance_floor: float,
    rng: np.random.Generator,
    n_directions: int = 2,
    n_refined: int = 4,
) -> Splits:
    """Find the best split of every component among a few directions.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    model : GMM
    log_prob : Tensor of shape (K, N)
        `component_log_prob` of the model.
    sample_weight : Tensor of shape (N,)
    covariance_floor : float
        ε.
    rng : numpy.random.Generator
        Draws directions after the first two.
    n_directions : int, default 2
        Principal axes, at most two, then random directions of the whitened component.
    n_refined : int, default 4
        Splits that get EM steps on all coordinates where D > 2, those of the largest gains first.

    Returns
    -------
    splits : Splits

    Notes
    -----
    A component N(m, C) with variance s² along the direction u splits into children that keep its
    conditional law given uᵀx: with b = C u / s² and marginal children N(a_c, s_c²), the child is
    N(m + b (a_c − uᵀm), C + b bᵀ (s_c² − s²)). Its covariance is positive definite whatever the
    marginal says, and the log-likelihood of the component's own points rises by exactly what it
    rises in the marginal.
    """
    labels = log_prob.argmax(dim=0)
    directions = _directions(model, rng, n_directions)
    found = each(
        lambda u: _split_along(X, model, labels, sample_weight, u),
        directions,
        large=X.numel() >= _LARGE,
    )
    best = reduce(_better, found)
    if model.n_features > 2:
        order = best.gains.argsort(descending=True)[:n_refined].tolist()
        best = _refine(X, model, labels, sample_weight, best, order, covariance_floor)
    return best


def score_merges(X: Tensor, model: GMM, log_prob: Tensor, *, sample_weight: Tensor) -> Merges:
    """Find the pairs of components that are missed least.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    model : GMM
    log_prob : Tensor of shape (K, N)
        `component_log_prob` of the model.
    sample_weight : Tensor of shape (N,)

    Returns
    -------
    merges : Merges
        At most K, chosen by an upper bound of the loss, each with its loss on these points.

    Notes
    -----
    The bound is ½[(w_i + w_j) log|P| − w_i log|C_i| − w_j log|C_j|] with the moments P of the pair:
    A. Runnalls, "Kullback-Leibler approach to Gaussian mixture reduction", IEEE Transactions on
    Aerospace and Electronic Systems 43(3), 2007.
    """
    K = model.n_components
    pairs = _neighbours(model.means)
    i, j = pairs.T
    weights = model.weights[i] + model.weights[j]
    share = (model.weights[i] / weights.clamp_min(torch.finfo(X.dtype).tiny)).unsqueeze(1)
    means = share * model.means[i] + (1 - share) * model.means[j]
    gap = model.means[i] - model.means[j]
    covariances = (
        share[:, :, None] * model.covariances[i]
        + (1 - share)[:, :, None] * model.covariances[j]
        + (share * (1 - share))[:, :, None] * gap[:, :, None] * gap[:, None, :]
    )
    covariances, _ = floor_eigenvalues(covariances, 0.0)
    spread = model.weights * _log_determinants(model.covariances)
    bound = 0.5 * (weights * _log_determinants(covariances) - spread[i] - spread[j])
    kept = bound.argsort()[:K]
    pairs, weights = pairs[kept], weights[kept]
    means, covariances = means[kept], covariances[kept]
    merged = GMM.unchecked(weights, means, covariances).evaluate(X).component_log_prob()
    total = log_prob.logsumexp(dim=0)
    apart = (torch.logaddexp(log_prob[pairs[:, 0]], log_prob[pairs[:, 1]]) - total).exp_()
    change = (merged - total).exp_().sub_(apart).clamp_min_(-1 + torch.finfo(X.dtype).eps)
    losses = -(change.log1p_() @ sample_weight) / sample_weight.sum()
    return Merges(losses, pairs, weights, means, covariances)


def best_swaps(
    splits: Splits,
    merges: Merges,
    *,
    least_gain: float,
    at_most: int,
    tried: set[tuple[int, int, int]],
) -> list[Swap]:
    """Pair the cheapest merges with the most rewarding splits, no component in two moves.

    Parameters
    ----------
    splits : Splits
    merges : Merges
    least_gain : float
        Moves expected to gain less are left out; in nats.
    at_most : int
    tried : set of tuple
        Keys of moves to leave out.

    Returns
    -------
    swaps : list of Swap
        Largest expected gain first.
    """
    gains, losses = splits.gains.tolist(), merges.losses.tolist()
    pairs = [tuple(pair) for pair in merges.pairs.tolist()]
    by_gain = splits.gains.argsort(descending=True).tolist()
    used: set[int] = set()
    swaps: list[Swap] = []
    for merge in merges.losses.argsort().tolist():
        pair = pairs[merge]
        if len(swaps) == at_most:
            break
        if used.intersection(pair):
            continue
        free = (k for k in by_gain if k not in used and k not in pair and (k, *pair) not in tried)
        split = next(free, None)
        if split is None:
            continue
        gain = gains[split] - losses[merge]
        if gain < least_gain:
            break
        used.update((split, *pair))
        swaps.append(Swap(split, merge, pair, gain))
    return swaps


def apply_swaps(
    model: GMM, splits: Splits, merges: Merges, swaps: list[Swap], *, covariance_floor: float
) -> GMM:
    """Carry the moves out.

    Parameters
    ----------
    model : GMM
    splits : Splits
    merges : Merges
    swaps : list of Swap
    covariance_floor : float

    Returns
    -------
    model : GMM
        With the merged component in the first place of its pair, and the children in the second
        and in the place of their parent.
    """
    weights, means = model.weights.clone(), model.means.clone()
    covariances = model.covariances.clone()
    for swap in swaps:
        kept, freed = swap.pair
        weights[kept] = merges.weights[swap.merge]
        means[kept] = merges.means[swap.merge]
        covariances[kept] = merges.covariances[swap.merge]
        for child, place in enumerate((swap.split, freed)):
            weights[place] = model.weights[swap.split] * splits.weights[child, swap.split]
            means[place] = splits.means[child, swap.split]
            covariances[place] = splits.covariances[child, swap.split]
    covariances, _ = floor_eigenvalues(covariances, covariance_floor)
    return GMM.unchecked(weights / weights.sum(), means, covariances)


def _directions(model: GMM, rng: np.random.Generator, n: int) -> list[Tensor]:
    """Choose unit vectors to look along, one for every component, each of shape (K, D)."""
    _, axes = torch.linalg.eigh(model.covariances)
    directions = [axes[:, :, -1 - i] for i in range(min(n, 2, model.n_features))]
    factors = cholesky(model.covariances) if n > 2 and model.n_features > 1 else None
    while factors is not None and len(directions) < n:
        g = torch.as_tensor(rng.standard_normal(model.means.shape), device=model.device)
        u = torch.linalg.solve_triangular(factors.mT, g[:, :, None], upper=True)[:, :, 0]
        directions.append((u / u.norm(dim=1, keepdim=True)).to(model.dtype))
    return directions


def _split_along(X: Tensor, model: GMM, labels: Tensor, sample_weight: Tensor, u: Tensor) -> Splits:
    """Two-component EM on uᵀx of every component's points, all components at once.

    The children of a component differ in log density by a quadratic function of uᵀx, so that one
    sigmoid gives both responsibilities, and the sums over the first child are what the second
    leaves of the totals.
    """
    K = model.n_components

    def sums(rows: Tensor) -> Tensor:
        return rows.new_zeros(len(rows), K).index_add_(1, labels, rows)

    v = ((X - model.means[labels]) * u[labels]).sum(dim=1)
    slope = (model.covariances @ u[:, :, None]).squeeze(2)
    expected = (slope * u).sum(dim=1)
    tiny, eps = torch.finfo(X.dtype).tiny, torch.finfo(X.dtype).eps
    counts, first = sums(torch.stack([sample_weight, sample_weight * v]))
    counts = counts.clamp_min_(tiny)
    centre = first / counts
    residuals = v - centre.index_select(0, labels)
    variance = sums((sample_weight * residuals.square())[None])[0] / counts
    variance = torch.maximum(variance, _LEAST_SHARE * expected)
    deviation = variance.sqrt()

    # From here on in units of the component's own points.
    t = residuals / deviation.index_select(0, labels)
    weighted = sample_weight * t
    powers = torch.stack([sample_weight, weighted, weighted * t])
    total = sums(powers)
    means = total.new_tensor([-_OFFSET, _OFFSET])[:, None].repeat(1, K)
    variances = torch.full_like(means, 1 - _OFFSET**2)
    shares = torch.full_like(means, 0.5)
    for _ in range(_MARGINAL_STEPS):
        coefficients = _child_coefficients(shares, means, variances)
        second = sums(powers * _difference(t, labels, coefficients).sigmoid_())
        mass, first, square = torch.stack([total - second, second], dim=1)
        mass = torch.maximum(mass, eps * counts).clamp_min_(tiny)
        means = first / mass
        variances = (square / mass).addcmul_(means, means, value=-1).clamp_min_(_LEAST_SHARE)
        shares = mass / counts
    coefficients = _child_coefficients(shares, means, variances)
    excess = torch.nn.functional.softplus(_difference(t, labels, coefficients))
    together = (coefficients[:, 0] * total).sum(dim=0) + sums((sample_weight * excess)[None])[0]
    gains = (together + 0.5 * total[2]) / sample_weight.sum()

    b = slope / expected[:, None]
    means = centre + deviation * means
    variances = variance * variances
    return Splits(
        gains,
        shares,
        model.means + means[:, :, None] * b,
        model.covariances
        + (variances - expected)[:, :, None, None] * (b[:, :, None] * b[:, None, :]),
    )


def _child_coefficients(shares: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Log density of both children, weighted by their shares, as a polynomial, shape (3, 2, K).

    Less −½ log 2π, which the component alone has as well.
    """
    linear = means / variances
    tiny = torch.finfo(shares.dtype).tiny
    constants = shares.clamp_min(tiny).log() - 0.5 * (variances.log() + means * linear)
    return torch.stack([constants, linear, -0.5 / variances])


def _difference(t: Tensor, labels: Tensor, coefficients: Tensor) -> Tensor:
    """Log density of the second child less that of the first at every point, shape (N,)."""
    differences = coefficients[:, 1] - coefficients[:, 0]
    constant, linear, quadratic = differences.index_select(1, labels)
    return constant.addcmul_(linear.addcmul_(quadratic, t), t)


def _better(first: Splits, second: Splits) -> Splits:
    """Of every component the split with the larger gain."""
    other = second.gains > first.gains
    return Splits(
        torch.where(other, second.gains, first.gains),
        torch.where(other, second.weights, first.weights),
        torch.where(other[:, None], second.means, first.means),
        torch.where(other[:, None, None], second.covariances, first.covariances),
    )


def _refine(
    X: Tensor,
    model: GMM,
    labels: Tensor,
    sample_weight: Tensor,
    splits: Splits,
    components: list[int],
    covariance_floor: float,
) -> Splits:
    """EM steps of a pair of children on all coordinates of their parent's points."""
    splits = replace(
        splits,
        gains=splits.gains.clone(),
        weights=splits.weights.clone(),
        means=splits.means.clone(),
        covariances=splits.covariances.clone(),
    )
    for k in components:
        members = labels == k
        if members.sum() < 4 or sample_weight[members].sum() <= 0:
            continue
        points = Points.of(X[members], sample_weight=sample_weight[members])
        one = GMM.unchecked(X.new_ones(1), model.means[k, None], model.covariances[k, None])
        covariances, _ = floor_eigenvalues(splits.covariances[:, k], covariance_floor)
        weights = splits.weights[:, k] / splits.weights[:, k].sum()
        pair = GMM.unchecked(weights, splits.means[:, k], covariances)
        for _ in range(_LOCAL_STEPS):
            pair = em_step(points, pair, covariance_floor=covariance_floor).model
        gain = pair.mean_log_prob(points) - one.mean_log_prob(points)
        splits.gains[k] = gain * points.total / sample_weight.sum()
        splits.weights[:, k] = pair.weights
        splits.means[:, k] = pair.means
        splits.covariances[:, k] = pair.covariances
    return splits


def _neighbours(means: Tensor) -> Tensor:
    """Pairs i < j of which one is among the nearest of the other, shape (P, 2)."""
    K = means.shape[0]
    distances = torch.cdist(means, means)
    distances.fill_diagonal_(math.inf)
    near = distances.topk(min(_NEIGHBOURS, K - 1), dim=1, largest=False).indices
    adjacent = torch.zeros(K, K, dtype=torch.bool, device=means.device).scatter_(1, near, True)
    return (adjacent | adjacent.T).triu(diagonal=1).nonzero()


def _log_determinants(covariances: Tensor) -> Tensor:
    factors = cholesky(covariances)
    logs = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return logs.to(covariances.dtype)
