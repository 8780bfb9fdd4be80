"""Split-and-merge moves against what they claim to gain and lose."""

import numpy as np
import pytest
import torch

from biglearn_core.gmm import GMM
from biglearn_core.numerics.points import Points
from biglearn_core.search.split_merge import apply_swaps, best_swaps, score_merges, score_splits


def clusters(centres, n, sd, seed):
    rng = np.random.default_rng(seed)
    X = np.concatenate([c + sd * rng.standard_normal((n, len(c))) for c in np.array(centres)])
    return torch.from_numpy(X)


def mixture_of(X, labels, K):
    parts = [X[labels == k] for k in range(K)]
    covariances = torch.stack([torch.cov(p.T, correction=0).view(X.shape[1], -1) for p in parts])
    weights = torch.tensor([len(p) / len(X) for p in parts], dtype=X.dtype)
    return GMM(weights, torch.stack([p.mean(dim=0) for p in parts]), covariances)


def mean_density(X, model):
    return model.mean_log_prob(Points.of(X))


def score(X, model, *, seed=0, **options):
    ones = torch.ones(len(X), dtype=X.dtype)
    log_prob = model.component_log_prob(X).T
    splits = score_splits(
        X,
        model,
        log_prob,
        sample_weight=ones,
        covariance_floor=1e-6,
        rng=np.random.default_rng(seed),
        **options,
    )
    return splits, score_merges(X, model, log_prob, sample_weight=ones)


@pytest.mark.parametrize("seed", range(3))
def test_gain_of_a_split_is_what_the_likelihood_rises_by(seed):
    # One component on two clusters, and one far away: its points are its own.
    X = clusters([(-2, 0), (2, 1), (60, 60)], 200, 0.4, seed)
    labels = torch.tensor([0] * 400 + [1] * 200)
    model = mixture_of(X, labels, 2)
    splits, _ = score(X, model)
    children = GMM(
        torch.cat([model.weights[0] * splits.weights[:, 0], model.weights[1:]]),
        torch.cat([splits.means[:, 0], model.means[1:]]),
        torch.cat([splits.covariances[:, 0], model.covariances[1:]]),
    )
    rise = mean_density(X, children) - mean_density(X, model)
    assert splits.gains[0].item() == pytest.approx(rise, abs=1e-9)
    assert splits.gains[0] > 0.5
    assert splits.gains[1] < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_loss_of_a_merge_is_what_the_likelihood_falls_by(seed):
    X = clusters([(0, 0), (1, 1), (9, 0), (0, 9)], 100, 0.5, seed)
    labels = torch.arange(4).repeat_interleave(100)
    model = mixture_of(X, labels, 4)
    _, merges = score(X, model)
    for m, (i, j) in enumerate(merges.pairs.tolist()):
        rest = [k for k in range(4) if k not in (i, j)]
        merged = GMM(
            torch.cat([merges.weights[m, None], model.weights[rest]]),
            torch.cat([merges.means[m, None], model.means[rest]]),
            torch.cat([merges.covariances[m, None], model.covariances[rest]]),
        )
        fall = mean_density(X, model) - mean_density(X, merged)
        assert merges.losses[m].item() == pytest.approx(fall, abs=1e-9)
    assert merges.pairs[merges.losses.argmin()].tolist() == [0, 1]


def test_merged_moments_are_those_of_the_pair():
    X = clusters([(0, 0, 0), (3, 1, 0), (9, 0, 4)], 50, 0.5, 0)
    model = mixture_of(X, torch.arange(3).repeat_interleave(50), 3)
    _, merges = score(X, model)
    for m, (i, j) in enumerate(merges.pairs.tolist()):
        members = torch.cat([X[50 * i : 50 * i + 50], X[50 * j : 50 * j + 50]])
        torch.testing.assert_close(merges.means[m], members.mean(dim=0))
        torch.testing.assert_close(merges.covariances[m], torch.cov(members.T, correction=0))


@pytest.mark.parametrize("D", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_a_swap_mends_two_on_one_and_one_on_two(D, seed):
    rng = np.random.default_rng(seed)
    centres = [-6 * np.ones(D), 6 * np.ones(D), 6 * np.ones(D) + 4 * np.eye(D)[0]]
    X = clusters(centres, 200, 0.5, seed)
    labels = torch.from_numpy(np.r_[rng.integers(0, 2, 200), np.full(400, 2)])
    model = mixture_of(X, labels, 3)
    splits, merges = score(X, model)
    swaps = best_swaps(splits, merges, least_gain=0.0, at_most=3, tried=set())
    assert [(s.split, s.pair) for s in swaps] == [(2, (0, 1))]
    mended = apply_swaps(model, splits, merges, swaps, covariance_floor=1e-6)
    truth = mixture_of(X, torch.arange(3).repeat_interleave(200), 3)
    assert mean_density(X, mended) > mean_density(X, truth) - 0.05
    assert not best_swaps(splits, merges, least_gain=0.0, at_most=3, tried={swaps[0].key})


def test_swaps_share_no_component():
    X = clusters(np.random.default_rng(0).uniform(-9, 9, (6, 2)), 60, 1.0, 0)
    model = mixture_of(X, torch.from_numpy(np.random.default_rng(1).integers(0, 9, 360)), 9)
    splits, merges = score(X, model)
    swaps = best_swaps(splits, merges, least_gain=-1.0, at_most=9, tried=set())
    touched = [k for s in swaps for k in s.key]
    assert len(swaps) >= 2
    assert len(touched) == len(set(touched))
    assert len(best_swaps(splits, merges, least_gain=-1.0, at_most=1, tried=set())) == 1


@pytest.mark.parametrize("n_directions", [1, 2, 4])
def test_children_are_laws_whatever_the_direction(n_directions):
    X = clusters([(0, 0, 0), (5, 5, 5)], 40, 1.0, 3)
    model = mixture_of(X, torch.arange(2).repeat_interleave(40), 2)
    splits, _ = score(X, model, n_directions=n_directions)
    torch.testing.assert_close(splits.weights.sum(dim=0), torch.ones(2, dtype=X.dtype))
    assert torch.linalg.eigvalsh(splits.covariances).min() > 0
