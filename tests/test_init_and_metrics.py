"""Starts, divergences and label scores."""

import itertools

import numpy as np
import pytest
import torch

from biglearn_core.init import (
    assignment_start,
    kmeans_plusplus_start,
    kmeans_start,
    paper_start,
    random_points_start,
)
from biglearn_core.metrics import KLEvaluator, clustering_accuracy, score_labels
from tests.helpers import parameters, random_gmm, random_points
from tests.oracle import naive_log_prob


def test_paper_start_is_blind_standard_normal():
    model = paper_start(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert model.dtype == torch.float64
    assert torch.equal(model.covariances[7], torch.eye(3, dtype=torch.float64))
    assert model.weights.unique().numel() == 1
    assert model.means.mean().abs() < 0.05
    assert abs(model.means.std() - 1) < 0.05


@pytest.mark.parametrize("start", [kmeans_start, kmeans_plusplus_start, random_points_start])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_data_starts_are_valid_and_seeded(start, dtype):
    X = random_points(0, dtype=dtype)
    first, again = start(X, 5, seed=1), start(X, 5, seed=1)
    assert torch.equal(first.means, again.means)
    assert first.dtype == dtype
    first._check()
    assert not torch.equal(first.means, start(X, 5, seed=2).means)


@pytest.mark.parametrize("start", [kmeans_start, kmeans_plusplus_start, random_points_start])
def test_fewer_distinct_points_than_components(start):
    X = torch.tensor([[0.0, 0.0]] * 5 + [[1.0, 1.0]] * 5, dtype=torch.float64)
    model = start(X, 4, seed=0)
    model._check()
    assert torch.isfinite(model.log_prob(X)).all()


@pytest.mark.parametrize("start", [kmeans_start, kmeans_plusplus_start, random_points_start])
def test_more_components_than_points_are_refused(start):
    with pytest.raises(ValueError, match="fewer components"):
        start(random_points(0, N=3), 4, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        start(random_points(0, N=3), 0, seed=0)


def test_assignment_start_is_the_moments_of_the_clusters():
    X, labels = random_points(1), torch.tensor(np.random.default_rng(1).integers(3, size=200))
    model = assignment_start(X, labels, 3)
    for k in range(3):
        members = X[labels == k].numpy()
        assert model.weights[k] == pytest.approx(len(members) / 200)
        np.testing.assert_allclose(model.means[k], members.mean(axis=0))
        np.testing.assert_allclose(model.covariances[k], np.cov(members.T, bias=True), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_divergences_agree_with_scipy(seed):
    truth, model, X = random_gmm(seed), random_gmm(seed + 50), random_points(seed)
    kl = KLEvaluator(truth, X)(model)

    def log_prob(gmm, index):
        weights, means, covariances = parameters(gmm)
        block = covariances[:, index][:, :, index]
        parts = naive_log_prob(X.numpy()[:, index], weights, means[:, index], block)
        return np.logaddexp.reduce(parts, axis=1)

    def expected(index):
        return (log_prob(truth, index) - log_prob(model, index)).mean()

    assert kl.joint == pytest.approx(expected([0, 1, 2]))
    for i in range(3):
        assert kl.marginal[i] == pytest.approx(expected([i]))
        assert kl.conditional[i] == pytest.approx(expected([0, 1, 2]) - expected([i]))


def test_a_law_does_not_diverge_from_itself():
    truth = random_gmm(0)
    assert KLEvaluator(truth, random_points(0))(truth).joint == 0


@pytest.mark.parametrize("n_clusters", [2, 3, 5])
def test_accuracy_is_the_best_matching(n_clusters):
    rng = np.random.default_rng(n_clusters)
    classes, clusters = rng.integers(3, size=60), rng.integers(n_clusters, size=60)
    wide = max(3, n_clusters)
    best = max(
        np.mean(np.array(names)[clusters] == classes)
        for names in itertools.permutations(range(wide), n_clusters)
    )
    assert clustering_accuracy(classes, clusters) == pytest.approx(best)


def test_label_scores_ignore_names():
    classes = np.repeat([3, 7, 9], 10)
    renamed = np.repeat([2, 0, 1], 10)
    scores = score_labels(classes, renamed)
    assert (scores.nmi, scores.ari, scores.acc) == pytest.approx((1, 1, 1))
