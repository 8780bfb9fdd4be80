"""Peers without a network: k-means, principal components, a mixture of features."""

import numpy as np
import pytest
import torch

from biglearn_core.metrics import score_labels
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.features import (
    FeatureMixtureConfig,
    cluster_features,
    to_unit_mean_variance,
)
from BL_vs_deepClustering.peers.shallow import KMeansConfig, cluster_kmeans, principal_components
from tests.BL_vs_deepClustering.small import K, synthetic


def test_kmeans_keeps_the_least_inertia():
    X = synthetic().X
    found = cluster_kmeans(X, 5, KMeansConfig(n_init=6), seed=0)
    best = int(found.curves["inertia"].argmin())
    np.testing.assert_array_equal(found.clusters, found.history[best])
    for labels, inertia in zip(found.history, found.curves["inertia"], strict=True):
        groups = [X[labels == k].double() for k in range(5)]
        own = sum((g - g.mean(0)).square().sum().item() for g in groups)
        assert own == pytest.approx(inertia, rel=1e-3)  # centres of the last update but one


def test_principal_components_keep_units_and_variance():
    X = synthetic().X
    Z = principal_components(X, 3)
    values = np.linalg.eigvalsh(np.cov(X.numpy().T.astype(np.float64)))[::-1]
    np.testing.assert_allclose(Z.var(axis=0, ddof=1), values[:3], rtol=1e-4)


def test_feature_mixture_keeps_the_highest_likelihood_and_ignores_scale():
    Z = torch.tensor(principal_components(synthetic().X, 4))
    config = FeatureMixtureConfig(n_init=2, n_iterations=5)
    options = {"seed": 0, "n_projection": 7, "clock": Stopwatch()}
    found = cluster_features(Z, K, config, **options)
    best = int(found.curves["log_likelihood"].argmax())
    assert len(found.history) == 4
    np.testing.assert_array_equal(found.clusters, found.history[best])
    assert found.n_parameters == 7 + (K - 1) + K * 4 + K * 10
    scaled = cluster_features(64 * Z + 8, K, config, **options)
    assert score_labels(found.clusters, scaled.clusters).ari > 0.99
    unit = to_unit_mean_variance(Z)
    assert unit.square().mean().item() == pytest.approx(1, rel=1e-4)
    with pytest.raises(ValueError, match="nothing to cluster"):
        to_unit_mean_variance(torch.ones(5, 2))
