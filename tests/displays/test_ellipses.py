"""Ellipses hold the share of a component that they are said to hold."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from biglearn_core.displays.ellipses import deviations_of, draw_ellipses
from biglearn_core.displays.style import COLOURS
from tests.helpers import random_gmm


def draw(mixture, **options):
    return draw_ellipses(Figure().subplots(), mixture, colours="black", **options)


def inside(ellipse, points):
    angle = np.deg2rad(ellipse.get_angle())
    along, across = (
        np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        @ (points - ellipse.get_center()).T
    )
    return (2 * along / ellipse.get_width()) ** 2 + (2 * across / ellipse.get_height()) ** 2 <= 1


@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.9, 0.99])
def test_the_radius_is_that_of_the_closed_form(coverage):
    assert deviations_of(coverage) == pytest.approx(np.sqrt(-2 * np.log(1 - coverage)), rel=1e-12)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_an_ellipse_holds_the_stated_share_of_draws(seed, coverage):
    mixture = random_gmm(seed, K=3, D=2)
    ellipses = draw(mixture, n_deviations=deviations_of(coverage))
    X, z = mixture.sample(60_000, torch.Generator().manual_seed(seed))
    assert len(ellipses) == 3
    for k, ellipse in enumerate(ellipses):
        own = X[z == k].numpy()
        error = np.sqrt(coverage * (1 - coverage) / len(own))
        assert inside(ellipse, own).mean() == pytest.approx(coverage, abs=4 * error)


@pytest.mark.parametrize("units", [(1e6, 1e-6), (3.0, 250.0)])
def test_units_stretch_an_ellipse_and_nothing_else(units):
    mixture = random_gmm(7, K=2, D=2)
    X, _ = mixture.sample(2000, torch.Generator().manual_seed(0))
    scale = torch.diag(torch.tensor(units, dtype=torch.float64))
    for one, other in zip(draw(mixture), draw(mixture.transform(scale)), strict=True):
        inside_one = inside(one, X.numpy())
        assert 0 < inside_one.mean() < 1
        np.testing.assert_array_equal(inside_one, inside(other, (X @ scale).numpy()))


def test_colours_are_those_of_the_components_and_fade_only_when_asked():
    mixture = random_gmm(0, K=3, D=2)
    axes = Figure().subplots()
    ellipses = draw_ellipses(axes, mixture, colours=COLOURS[:3], faded=False)
    assert [e.get_alpha() for e in ellipses] == [1.0] * 3
    assert len({e.get_edgecolor() for e in ellipses}) == 3
    assert list(axes.patches) == ellipses
    faded = [e.get_alpha() for e in draw(mixture)]
    assert np.argsort(faded).tolist()[0] == mixture.weights.argmin()
