"""Densities over the plane: levels hold their shares, and no narrow component is missed."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from biglearn_core import GMM
from biglearn_core.displays.density import (
    SHARES,
    draw_regions,
    grid_along,
    levels_holding,
    log_density_on,
)
from tests.helpers import random_gmm


def test_levels_of_one_gaussian_are_those_of_its_ellipses():
    covariance = torch.tensor([[[2.0, 0.6], [0.6, 0.5]]], dtype=torch.float64)
    gaussian = GMM(torch.ones(1).double(), torch.zeros(1, 2).double(), covariance)
    shares = (0.9, 0.5, 0.25)
    peak = gaussian.log_prob(torch.zeros(1, 2).double()).item()
    expected = [peak + np.log(1 - share) for share in shares]  # r²/2 = −log(1 − share)
    np.testing.assert_allclose(levels_holding(gaussian, shares), expected, atol=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_regions_of_a_mixture_hold_their_shares(seed):
    mixture = random_gmm(seed, K=5, D=2)
    levels = levels_holding(mixture, SHARES)
    assert (np.diff(levels) > 0).all()
    x = np.linspace(-15, 15, 1201)
    mass = np.exp(log_density_on(mixture, x, x)) * (x[1] - x[0]) ** 2
    held = [mass[np.log(mass) - 2 * np.log(x[1] - x[0]) >= level].sum() for level in levels]
    np.testing.assert_allclose(held, SHARES, atol=0.015)


def test_a_grid_of_the_plane_has_rows_along_y():
    mixture = random_gmm(1, K=3, D=2)
    x, y = np.linspace(-1, 1, 4), np.linspace(2, 5, 3)
    log_density = log_density_on(mixture, x, y)
    assert log_density.shape == (3, 4)
    point = torch.tensor([[x[3], y[1]]])
    assert log_density[1, 3] == pytest.approx(mixture.log_prob(point).item(), rel=1e-12)


def test_a_component_between_two_points_of_the_grid_is_seen():
    means = torch.tensor([[0.0], [40.05]], dtype=torch.float64)
    covariances = torch.tensor([[[400.0]], [[1e-6]]], dtype=torch.float64)
    mixture = GMM(torch.tensor([0.5, 0.5], dtype=torch.float64), means, covariances)
    x = grid_along(mixture, 0, -100.0, 100.0)
    assert (np.diff(x) > 0).all()
    assert (x[0], x[-1]) == (-100.0, 100.0)
    density = mixture.log_prob(torch.from_numpy(x)[:, None]).exp().numpy()
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=2e-3)


def test_regions_fill_the_limits_of_the_axes_and_keep_them():
    axes = Figure().subplots()
    axes.set(xlim=(-4, 4), ylim=(-3, 3))
    regions = draw_regions(axes, random_gmm(2, K=3, D=2))
    assert len(regions.levels) == len(SHARES) + 1
    assert (axes.get_xlim(), axes.get_ylim()) == ((-4, 4), (-3, 3))
