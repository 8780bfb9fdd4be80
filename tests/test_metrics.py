"""Divergences against scipy, and scores of labels."""

import itertools

import numpy as np
import pytest

from biglearn_core.metrics import KLEvaluator, clustering_accuracy, score_labels
from tests.helpers import parameters, random_gmm, random_points
from tests.oracle import naive_log_prob


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
