"""Rounding of the quadratic form: when float32 may be used, and what it costs."""

from functools import partial

import numpy as np
import pytest
import torch

from biglearn_core.em import em_step
from biglearn_core.init import assignment_start, kmeans_plusplus_start
from biglearn_core.numerics.density import Density, Law, QuadraticDensity, WhitenedDensity
from biglearn_core.numerics.forms import choose_density
from biglearn_core.numerics.linalg import largest_eigenvalue_bound
from biglearn_core.numerics.lowrank import LowRankDensity
from biglearn_core.numerics.points import Chunk, Points
from tests.helpers import parameters
from tests.oracle import naive_log_prob


@pytest.mark.parametrize("D", [1, 2, 16, 60])
def test_the_bound_is_tight_and_never_below(D):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        roots = rng.standard_normal((4, D, D)) * np.geomspace(1, 1e-4, D)
        matrices = torch.tensor(roots @ roots.transpose(0, 2, 1)) * 10.0 ** rng.integers(-6, 6)
        largest = torch.linalg.eigvalsh(matrices)[:, -1]
        ratio = largest_eigenvalue_bound(matrices) / largest
        assert (ratio > 1 - 1e-12).all()
        assert (ratio < D**0.125 + 1e-9).all()


@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0, 3000.0])
def test_whatever_form_is_chosen_is_accurate_in_float32(spread):
    """From compact data to data over which float32 features would cancel."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        centres = spread * rng.standard_normal((8, 12))
        X = torch.tensor(centres[rng.integers(8, size=400)] + rng.standard_normal((400, 12)))
        X = X.float()
        model = kmeans_plusplus_start(X, 8, seed=seed)
        points = Points.of(X)
        density = choose_density(points, model.weights, model.means, model.covariances)
        features = density.features(Chunk(points.Z, None))
        found = density.log_prob(features).T.double().numpy()
        exact = naive_log_prob(X.double().numpy(), *parameters(model))
        near = exact > exact.max(axis=1, keepdims=True) - 30
        # Rounding of the float32 data themselves moves a residual by spread * eps.
        assert np.abs(found - exact)[near].max() < 2e-3 + 1e-5 * spread
        if spread < 1:
            assert isinstance(density, QuadraticDensity)
            assert features.dtype == torch.float32
        if spread >= 3000:
            assert not (isinstance(density, QuadraticDensity) and features.dtype == torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_form_answers_a_fit_alike(dtype):
    """Moments, log-likelihood and mean log density of the same points, whatever computes them."""
    rng = np.random.default_rng(0)
    X = torch.tensor(rng.standard_normal((300, 130)) * np.geomspace(2, 1e-2, 130), dtype=dtype)
    points = Points.of(X, sample_weight=torch.tensor(rng.uniform(0, 2, 300), dtype=dtype))
    labels = torch.from_numpy(rng.integers(0, 3, 300))
    model = em_step(points, assignment_start(X, labels, 3), covariance_floor=0.05).model
    law = Law.of(model.weights, model.means, model.covariances, points.centre)
    densities = (
        QuadraticDensity.of_law(law, torch.float64),
        WhitenedDensity(law, dtype),
        LowRankDensity.of(points, model.weights, model.means, model.low_rank),
    )
    weights = points.weights.double()
    exact = naive_log_prob(X.double().numpy(), *parameters(model))
    mean = (weights @ torch.from_numpy(exact).logsumexp(dim=1)).item() / points.total
    r = torch.from_numpy(exact).softmax(dim=1) * weights[:, None]
    tolerance = 1e-3 if dtype == torch.float32 else 1e-8
    for density in densities:
        assert density.mean_log_prob(points) == pytest.approx(mean, abs=tolerance)
        for expectation in (density.expectation, partial(Density.expectation, density)):
            moments, log_likelihood = expectation(points)
            assert log_likelihood / points.total == pytest.approx(mean, abs=tolerance)
            first = r.T @ X.double() - r.sum(dim=0)[:, None] * density.origins
            torch.testing.assert_close(moments.first.double(), first, rtol=0, atol=300 * tolerance)
            torch.testing.assert_close(
                moments.counts.double(), r.sum(dim=0), rtol=0, atol=300 * tolerance
            )


def test_mean_log_density_does_not_depend_on_what_a_step_has_left():
    rng = np.random.default_rng(1)
    X = torch.tensor(rng.standard_normal((200, 130)))
    points = Points.of(X, sample_weight=torch.tensor(rng.uniform(0, 2, 200)))
    labels = torch.from_numpy(rng.integers(0, 2, 200))
    model = em_step(points, assignment_start(X, labels, 2), covariance_floor=0.5).model
    assert model.low_rank is not None
    mean = (points.weights @ model.log_prob(X)).item() / points.total
    assert model.mean_log_prob(points) == pytest.approx(mean, abs=1e-9)
    assert model.mean_log_prob(points) == model.dense().mean_log_prob(points)
