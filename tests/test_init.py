"""Starts: valid, seeded, and the moments of the clusters that they come from."""

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
from tests.helpers import random_points


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


def test_weights_of_a_start_from_many_points_sum_to_one():
    X = torch.arange(1_000_000, dtype=torch.float64)[:, None]
    start = assignment_start(X, torch.arange(1_000_000) % 3, 3)
    assert abs(start.weights.sum().item() - 1) < 1e-15
