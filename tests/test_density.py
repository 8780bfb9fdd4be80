"""Rounding of the quadratic form: when float32 may be used, and what it costs."""

import numpy as np
import pytest
import torch
from oracle import naive_log_prob

from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.density import QuadraticDensity, choose_density
from biglearn_core.numerics.linalg import largest_eigenvalue_bound
from biglearn_core.numerics.points import Chunk, Points


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
        parameters = (model.weights, model.means, model.covariances)
        points = Points.of(X)
        density = choose_density(points, *parameters)
        features = density.features(Chunk(points.Z, None))
        found = density.log_prob(features).T.double().numpy()
        exact = naive_log_prob(X.double().numpy(), *(p.double().numpy() for p in parameters))
        near = exact > exact.max(axis=1, keepdims=True) - 30
        # Rounding of the float32 data themselves moves a residual by spread * eps.
        assert np.abs(found - exact)[near].max() < 2e-3 + 1e-5 * spread
        if spread < 1:
            assert isinstance(density, QuadraticDensity)
            assert features.dtype == torch.float32
        if spread >= 3000:
            assert not (isinstance(density, QuadraticDensity) and features.dtype == torch.float32)
