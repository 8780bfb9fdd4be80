"""Swaps: what they make are mixtures, what they promise is what the likelihood becomes."""

import numpy as np
import pytest
import torch

from biglearn_core.gmm import GMM
from biglearn_core.numerics.points import Points
from biglearn_core.search.climb import climb
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.credit import Credit
from biglearn_core.search.insert import Sample, View, grow, neighbourhoods
from biglearn_core.search.pursuit import divide
from biglearn_core.search.swap import all_at_once, one_at_a_time
from tests.helpers import parameters, random_points
from tests.search.small import assert_proper, clusters, joint_step, mixture_of, naive_mean, near

FLOOR = 1e-4


def insertions_for(sample, view, seed=0, n=24):
    starts = neighbourhoods(sample, view, n, np.random.default_rng(seed))
    return grow(sample, [view], [starts], constraint=Constraint(FLOOR), n_steps=8)[0]


def alone(X, model, *, at_most=8, plain=False, weights=None):
    sample = Sample(X, weights, 10_000)
    view = View.of(sample, model)
    return one_at_a_time(
        sample,
        view,
        insertions_for(sample, view),
        Credit(len(X), FLOOR, plain),
        at_most=at_most,
        constraint=Constraint(FLOOR),
    )


def plan_for(X, model, *, few_rows=False, accepted_loss=0.1, which=0):
    sample = Sample(X, None, 10_000)
    view = View.of(sample, model)
    parts = divide(sample, view)[which].parts(
        sample, view, constraint=Constraint(FLOOR), on_all=few_rows
    )
    return all_at_once(
        sample,
        view,
        parts,
        Credit(len(X), FLOOR, False),
        accepted_loss=accepted_loss,
        constraint=Constraint(FLOOR),
        optimism_counts=few_rows,
    )


@pytest.mark.parametrize("K", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_swaps_one_at_a_time_give_mixtures(seed, K):
    X = random_points(seed)
    model = near(X, seed, K=K)
    before = [p.copy() for p in parameters(model)]
    models = alone(X, model)
    assert 0 < len(models) <= 8
    for swapped in models:
        assert_proper(swapped, K)
    for ours, theirs in zip(parameters(model), before, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_swaps_are_tried_in_the_order_of_their_likelihoods(seed, weighted):
    X = random_points(seed)
    w = torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 2, len(X)))
    models = alone(X, near(X, seed), at_most=12, plain=True, weights=w if weighted else None)
    reached = [naive_mean(X, model, w.numpy() if weighted else None) for model in models]
    assert len(reached) == 12
    assert max(np.diff(reached)) < 1e-9
    assert reached[0] - reached[-1] > 1e-3


def two_on_one(D, seed):
    """Two components on one cluster, and one on two clusters."""
    rng = np.random.default_rng(seed)
    axis = np.eye(D)[0]
    centres = [-6 * np.ones(D), 6 * np.ones(D), 6 * np.ones(D) + 4 * axis, 30 * axis]
    X = clusters(centres, 150, 0.5, seed)
    labels = np.r_[rng.integers(0, 2, 150), np.full(300, 2), np.full(150, 3)]
    truth = mixture_of(X, torch.arange(4).repeat_interleave(150))
    return X, mixture_of(X, torch.from_numpy(labels)), truth


@pytest.mark.parametrize("D", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_first_proposal_mends_two_on_one_and_one_on_two(D, seed):
    X, wrong, truth = two_on_one(D, seed)
    step = joint_step(Points.of(X), FLOOR)
    plan = plan_for(X, wrong)
    swaps = next(iter(plan.proposals(1)))
    for first in (alone(X, wrong)[0], plan.apply(wrong, swaps)):
        reached = climb(step, first, n_iter=10, tol=0)
        assert naive_mean(X, reached.model) > naive_mean(X, truth) - 0.01
    assert climb(step, wrong, n_iter=30, tol=0).log_likelihood < naive_mean(X, truth) - 0.2


def misplaced(seed):
    """Two components on each of four clusters, and one on each of four pairs of clusters."""
    rng = np.random.default_rng(seed)
    X = clusters(rng.uniform(-20, 20, (12, 2)), 60, 1.0, seed)
    return X, mixture_of(
        X,
        torch.from_numpy(
            np.r_[rng.integers(0, 2, 240), np.full(480, 2)]
            + np.r_[np.repeat(np.arange(0, 8, 2), 60), np.repeat(np.arange(6, 10), 120)]
        ),
    )


@pytest.mark.parametrize("few_rows", [False, True])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_swaps_at_once_give_mixtures_and_share_no_component(seed, which, few_rows):
    X, model = misplaced(seed)
    plan = plan_for(X, model, few_rows=few_rows, accepted_loss=9, which=which)
    assert len(plan.together) >= 2
    owner, heir = plan.first.owners.tolist(), plan.merged.owners.tolist()
    touched = [i for c, k in plan.together for i in (owner[c], k, heir[k])]
    assert len(touched) == len(set(touched))
    assert all(len({owner[c], k, heir[k]}) == 3 for c, k in plan.alone)
    proposals = list(plan.proposals(6))
    assert [len(swaps) for swaps in proposals[:2]] == [
        len(plan.together),
        max(1, len(plan.together) // 3),
    ]
    assert len(proposals) <= 9
    for swaps in proposals:
        assert_proper(plan.apply(model, swaps), 12)


@pytest.mark.parametrize("seed", range(3))
def test_a_component_that_spreads_over_all_others_gives_way_without_an_heir(seed):
    corners = [(x, y) for x in range(0, 40, 10) for y in range(0, 40, 10)]
    X = clusters([*corners, (40, 0), (41.5, 0)], 60, 0.2, seed)
    wrong = mixture_of(X, torch.arange(17).repeat_interleave(torch.tensor([60] * 16 + [120])))
    weights = torch.cat([0.99 * wrong.weights, wrong.weights.new_tensor([0.01])])
    means = torch.cat([wrong.means, X.mean(dim=0, keepdim=True)])
    covariances = torch.cat([wrong.covariances, X.T.cov()[None]])
    spread = GMM.unchecked(weights, means, covariances)
    plan = plan_for(X, spread, accepted_loss=0.0, which=1)
    (c, k), *others = plan.together
    assert others == []
    assert (int(plan.first.owners[c]), k) == (16, 17)
    assert plan.dropped[k]
    mended = plan.apply(spread, plan.together)
    assert_proper(mended, 18)
    truth = mixture_of(X, torch.arange(18).repeat_interleave(60))
    assert naive_mean(X, mended) > naive_mean(X, truth) - 0.02
    assert naive_mean(X, spread) < naive_mean(X, truth) - 0.05


def test_swaps_that_lose_more_than_accepted_are_left_out():
    X = clusters([(0, 0), (9, 0), (0, 9), (9, 9)], 100, 0.5, 0)
    truth = mixture_of(X, torch.arange(4).repeat_interleave(100))
    plan = plan_for(X, truth)
    assert plan.together == plan.alone == []
    assert list(plan_for(X, truth, accepted_loss=9).proposals(6)) != []


def test_merged_moments_are_those_of_both():
    X, model = misplaced(0)
    merged = plan_for(X, model).merged
    weights, means, covariances = parameters(model)
    for k, heir in enumerate(merged.owners.tolist()):
        assert heir != k
        pair = [k, heir]
        mean = np.average(means[pair], axis=0, weights=weights[pair])
        second = covariances[pair] + np.einsum("ki,kj->kij", means[pair], means[pair])
        second = np.average(second, axis=0, weights=weights[pair]) - np.outer(mean, mean)
        assert merged.weights[k].item() == pytest.approx(weights[pair].sum())
        np.testing.assert_allclose(merged.means[k], mean, atol=1e-9)
        np.testing.assert_allclose(merged.covariances[k], second, atol=1e-9)


def test_the_heir_is_the_component_on_the_same_cluster():
    X, wrong, _ = two_on_one(2, 0)
    assert plan_for(X, wrong).merged.owners[:2].tolist() == [1, 0]
