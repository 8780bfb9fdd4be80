"""The models that are stepped are those of the fits; what is seen of them is what they say."""

import dataclasses

import numpy as np
import pytest
import torch

from biglearn_core.experiments.gmm25.run import Config, draw_data, fit_method
from biglearn_core.explorer.panels import directions_of, task_in_words
from biglearn_core.explorer.settings import STARTS, Settings, start_of
from biglearn_core.explorer.side_by_side import SideBySide
from biglearn_core.explorer.tables import named_table, own_table
from biglearn_core.fit import fit_biglearn_em, fit_joint_em
from biglearn_core.matching import Task
from tests.helpers import random_points


def assert_same_bits(a, b):
    for left, right in zip(a.arrays().values(), b.arrays().values(), strict=True):
        np.testing.assert_array_equal(left, right)


def own(seed=0, **options):
    return own_table("own", random_points(seed, **options).numpy() * [1, 50, 0.01] + 7)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"seed": 3, "n_local_steps": 1},
        {"p_joint": 0.0, "p_marginal": 0.0, "transform": "rotation"},
        {"p_joint": 0.2, "p_marginal": 0.8, "weight_smoothing": 0.0},
        {"start": "k-means++", "covariance_floor": 1e-3},
    ],
)
def test_models_are_those_of_the_fits_to_the_last_bit(changed):
    table, settings = own(), Settings(n_components=4, **changed)
    fits = SideBySide(table, settings)
    fits.step(3)
    fits.step(5)
    W, start = settings.n_local_steps, start_of(table, settings)
    joint = fit_joint_em(
        table.X, start, n_iter=8 * W, covariance_floor=settings.covariance_floor
    )  # fmt: skip
    biglearn = fit_biglearn_em(
        table.X,
        start,
        n_iter=8,
        n_local_steps=W,
        p_joint=settings.p_joint,
        p_marginal=settings.p_marginal,
        transform=settings.transform,
        covariance_floor=settings.covariance_floor,
        weight_smoothing=settings.smoothing,
        seed=settings.seed,
    )
    assert (fits.n_tasks, fits.n_steps) == (8, 8 * W)
    assert_same_bits(fits.fits[0].model, joint.model)
    assert_same_bits(fits.fits[1].model, biglearn.model)


def test_a_published_seed_goes_the_published_way():
    seed, config = 5079, Config(joint_iterations=30, biglearn_iterations=6)
    fits = SideBySide(named_table("25-GMM", seed=seed), Settings(n_components=25, seed=seed))
    fits.step(6)
    data = draw_data(seed)
    for fit in fits.fits:
        assert_same_bits(fit.model, fit_method(fit.name, data, config, seed=seed).model)


@pytest.mark.parametrize("start", STARTS)
def test_both_begin_at_the_same_start_and_every_time_anew(start):
    table, settings = own(1), Settings(n_components=5, start=start, seed=2)
    a, b = SideBySide(table, settings), SideBySide(table, settings)
    assert a.fits[0].model is a.fits[1].model
    assert a.fits[0].log_likelihood == a.fits[1].log_likelihood
    a.step(4)
    for _ in range(4):
        b.step()
    for one, other in zip(a.fits, b.fits, strict=True):
        assert_same_bits(one.model, other.model)
        assert one.log_likelihood == other.log_likelihood
    different = SideBySide(table, dataclasses.replace(settings, seed=3))
    assert not torch.equal(different.start.means, a.start.means)


def test_log_likelihood_is_that_of_all_rows_and_columns():
    fits = SideBySide(own(2), Settings(n_components=3))
    fits.step(2)
    for fit in fits.fits:
        expected = fit.model.log_prob(fits.table.X).mean().item()
        assert fit.log_likelihood[-1] == pytest.approx(expected, rel=1e-12)
        assert len(fit.log_likelihood) == 3


def test_joint_em_never_falls():
    fits = SideBySide(named_table("Overlapping", seed=1, n_rows=500), Settings(n_components=9))
    fits.step(20)
    assert (np.diff(fits.fits[0].log_likelihood) > -1e-12).all()


@pytest.mark.parametrize("features", [(0, 1), (2, 0)])
def test_panels_are_in_units_of_the_data(features):
    table = own(3)
    fits = SideBySide(table, Settings(n_components=3, start="k-means"))
    fits.step(3)
    shown = np.arange(0, 200, 3)
    plane = list(features)
    for panel, fit in zip(fits.panels(features, shown), fits.fits, strict=True):
        A = torch.diag(torch.from_numpy(table.scale))
        law = fit.model.transform(A).marginal(plane)
        np.testing.assert_allclose(panel.means, law.means.numpy() + table.offset[plane])
        np.testing.assert_allclose(panel.covariances, law.covariances.numpy())
        responsibilities = fit.model.responsibilities(table.X[shown]).numpy()
        np.testing.assert_array_equal(panel.labels, responsibilities.argmax(axis=1))
        np.testing.assert_array_equal(panel.responsibilities, responsibilities.max(axis=1))
        assert panel.log_likelihood == fit.log_likelihood[-1]


def test_tasks_are_shown_as_the_directions_that_they_match():
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    turned = Task("transformed", np.array([0]), turn)
    np.testing.assert_array_equal(directions_of(turned, (0, 1)), [[0.6, 0.8]])
    np.testing.assert_array_equal(directions_of(turned, (1, 0)), [[0.8, 0.6]])
    some = Task("marginal", np.array([0, 2]))
    np.testing.assert_array_equal(directions_of(some, (2, 1)), [[0, 0], [1, 0]])
    for task in (None, Task("joint")):
        assert directions_of(task, (0, 1)).shape == (0, 2)
    assert task_in_words(turned, "ab", (0, 1)) == "transformed marginal at 53°"
    assert task_in_words(Task("marginal", np.array([1])), "ab", (0, 1)) == "marginal of b"
    assert task_in_words(some, "abc", (0, 1)) == "marginal of 2 of 3"


def test_the_marginal_along_the_direction_is_the_one_that_was_matched():
    """Local steps on a projection raise the likelihood of the rows' projection on the line."""
    table = named_table("25-GMM", seed=1, n_rows=500)
    settings = Settings(n_components=25, p_joint=0.0, p_marginal=0.0, weight_smoothing=0.0)
    fits = SideBySide(table, settings)
    fit = fits.fits[1]
    for _ in range(5):
        before = fit.model
        fits.step()
        (direction,) = fits.panels((0, 1), np.arange(2))[1].directions
        a = torch.from_numpy(direction / np.linalg.norm(direction))[None]
        after = [m.transform(a).log_prob(table.X @ a.mT).mean() for m in (before, fit.model)]
        assert after[1] > after[0]


@pytest.mark.parametrize("start", STARTS[1:])
def test_more_components_than_rows_to_start_from_are_refused(start):
    with pytest.raises(ValueError, match="n_components=7 needs as many points, got 6"):
        SideBySide(own(N=6), Settings(n_components=7, start=start))


def test_a_blind_start_may_have_more_components_than_there_are_rows():
    fits = SideBySide(own(N=6), Settings(n_components=7))
    fits.step(3)
    assert np.isfinite(fits.fits[1].log_likelihood).all()


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"n_components": 0}, ValueError, "n_components must be at least 1"),
        ({"n_components": 2.0}, TypeError, "n_components must be an integer"),
        ({"n_local_steps": 0}, ValueError, "n_local_steps must be at least 1"),
        ({"start": "kmeans"}, ValueError, "start must be one of paper"),
        ({"p_joint": 0.8, "p_marginal": 0.3}, ValueError, "sum of at most 1"),
        ({"transform": "shear"}, ValueError, "transform must be"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, error, text):
    with pytest.raises(error, match=text):
        Settings(**{"n_components": 3} | wrong)


def test_options_of_the_steps_are_checked_as_by_the_fits():
    with pytest.raises(ValueError, match="covariance_floor"):
        SideBySide(own(), Settings(n_components=2, covariance_floor=-1.0))
