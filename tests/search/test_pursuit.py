"""Divisions along chosen marginals: classes they must find, gains against a naive EM."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, ortho_group

from biglearn_core.gmm import GMM
from biglearn_core.numerics.points import Points
from biglearn_core.search.climb import climb
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.insert import Sample, View
from biglearn_core.search.pursuit import divide
from biglearn_core.search.starts import grown_start, plusplus_starts
from tests.helpers import random_gmm, random_points
from tests.search.small import (
    assert_proper,
    clusters,
    joint_step,
    mixture_of,
    naive_log_density,
    naive_mean,
)


def hidden(seed, along, D=10):
    """Give points of one axis to a rotated space in which all other axes are longer."""
    rng = np.random.default_rng(seed)
    others = rng.standard_normal((len(along), D - 1)) * np.linspace(2, 9, D - 1)
    X = np.column_stack([along, others]) @ ortho_group.rvs(D, random_state=rng)
    return torch.from_numpy(X)


def one_component(X):
    sample = Sample(X, None, 10**6)
    return sample, View.of(sample, mixture_of(X, torch.zeros(len(X))))


def agreement(members, z):
    same = ((members > 0.5) == torch.from_numpy(z == 1)).double().mean().item()
    return max(same, 1 - same)


@pytest.mark.parametrize("seed", range(3))
def test_classes_along_a_hidden_short_axis_are_divided(seed):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 2, 800)
    X = hidden(seed, z - 0.5 + 0.12 * rng.standard_normal(800))
    longest, beside, _ = divide(*one_component(X))
    assert agreement(beside.members, z) > 0.95
    assert agreement(longest.members, z) < 0.7
    assert beside.gains[0] > 0.3 > longest.gains[0]


def hidden_among_many(along, D, seed):
    """Give points of one axis to a rotated space in which all other axes are as long."""
    rng = np.random.default_rng(seed)
    others = rng.standard_normal((len(along), D - 1)) * along.std()
    return torch.from_numpy(np.column_stack([along, others]) @ ortho_group.rvs(D, random_state=rng))


@pytest.mark.parametrize("seed", range(3))
def test_classes_along_one_of_many_axes_are_divided(seed):
    z = np.arange(3000) % 2
    along = 2.8 * (2 * z - 1) + np.random.default_rng(seed).standard_normal(3000)
    beside = divide(*one_component(hidden_among_many(along, 45, seed)))[1]
    assert agreement(beside.members, z) > 0.98


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_class_on_the_mean_of_a_narrow_one_is_divided(seed):
    z = (np.arange(3000) % 10 == 0).astype(int)
    along = np.where(z == 1, 6.0, 1.0) * np.random.default_rng(seed).standard_normal(3000)
    within = divide(*one_component(hidden_among_many(along, 30, seed)))[2]
    assert agreement(within.members, z) > 0.9
    assert within.gains[0] > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_classes_between_the_principal_axes_are_divided(seed):
    rng = np.random.default_rng(seed)
    z = np.arange(1200) % 2
    classes = np.where(z == 1, 1, -1) + 0.25 * rng.standard_normal(1200)
    X = np.column_stack([classes, rng.standard_normal((1200, 2))]) @ np.array(
        [[1, 1, 1], [1, -1, 0.5], [0.5, 1, -1]]
    )
    beside = divide(*one_component(torch.from_numpy(X)))[1]
    assert agreement(beside.members, z) > 0.98


@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_class_within_a_wide_one_is_divided(seed):
    rng = np.random.default_rng(seed)
    z = (rng.random(800) < 0.8).astype(int)
    X = hidden(seed, np.where(z == 1, 0.02, 1.0) * rng.standard_normal(800))
    within = divide(*one_component(X))[2]
    assert agreement(within.members, z) > 0.95
    assert within.gains[0] > 0.3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("seed", "D"), [(0, 4), (1, 4), (2, 4), (3, 9)])
def test_gains_do_not_depend_on_rotation_and_scale(seed, D, scale):
    X, model = random_points(seed, N=300, D=D), random_gmm(seed, D=D)
    A = scale * torch.from_numpy(ortho_group.rvs(D, random_state=seed))
    moved = GMM(model.weights, model.means @ A.T, A @ model.covariances @ A.T)
    sample, other = Sample(X, None, 1000), Sample(X @ A.T, None, 1000)
    before, after = divide(sample, View.of(sample, model)), divide(other, View.of(other, moved))
    assert any(division.gains.max() > 0.01 for division in before)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one.gains, two.gains, atol=1e-7, rtol=0)


def naive_gain(t, w):
    """Rise of the mean log-likelihood of t from one Gaussian to two, after ten steps of EM."""
    w = w / w.sum()
    t = t - w @ t
    t = t / math.sqrt(w @ t**2)
    pi, mu, var = np.full(2, 0.5), np.array([-0.6, 0.6]), np.full(2, 0.64)
    for _ in range(10):
        joint = pi * norm.pdf(t[:, None], mu, np.sqrt(var))
        r = w[:, None] * joint / joint.sum(axis=1, keepdims=True)
        pi = r.sum(axis=0)
        mu = r.T @ t / pi
        var = np.maximum((r * (t[:, None] - mu) ** 2).sum(axis=0) / pi, 0.01)
    joint = pi * norm.pdf(t[:, None], mu, np.sqrt(var))
    return w @ (np.log(joint.sum(axis=1)) - norm.logpdf(t))


@pytest.mark.parametrize("D", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_gain_along_the_longest_axis_is_that_of_a_naive_em(seed, D):
    X = torch.cat([random_points(seed, N=200, D=D), 50 + random_points(seed + 9, N=100, D=D)])
    w = np.random.default_rng(seed).uniform(0, 2, 300)
    sample = Sample(X, torch.from_numpy(w), 1000)
    labels = torch.tensor([0] * 200 + [1] * 100)
    divisions = divide(sample, View.of(sample, mixture_of(X, labels)))
    assert len(divisions) == (1 if D == 1 else 3)
    for k in range(2):
        part, weights = X[labels == k].numpy(), w[labels == k]
        _, axes = np.linalg.eigh(np.atleast_2d(np.cov(part.T, aweights=weights)))
        expected = naive_gain(part @ axes[:, -1], weights) * weights.sum() / w.sum()
        assert divisions[0].gains[k].item() == pytest.approx(expected, abs=1e-9)


def test_two_clusters_on_a_line_are_divided():
    X = clusters([(0.0,), (5.0,)], 100, 0.5, 0)
    (division,) = divide(*one_component(X))
    assert agreement(division.members, np.arange(200) // 100) == 1


def test_a_component_of_too_few_points_is_left_alone():
    X = torch.cat([random_points(0, N=100), 100 + random_points(1, N=4)])
    model = mixture_of(X, torch.tensor([0] * 100 + [1] * 4))
    model = GMM(model.weights, model.means, model.covariances + 0.1 * torch.eye(3).double())
    sample = Sample(X, None, 1000)
    view = View.of(sample, model)
    for division in divide(sample, view):
        assert division.gains[0].isfinite()
        assert division.gains[1] == -math.inf
        assert division.starts(view, second=True).owners.tolist() == [0]
        for part in division.parts(sample, view, constraint=Constraint(1e-6)):
            assert part.owners.tolist() == [0]


@pytest.mark.parametrize("numbers", [1, 500])
def test_blocks_change_nothing(monkeypatch, numbers):
    X, model = random_points(0, N=300, D=3), random_gmm(0, D=3)
    sample = Sample(X, None, 1000)
    view = View.of(sample, model)
    before = divide(sample, view)
    monkeypatch.setattr("biglearn_core.search.pursuit._BLOCK_NUMBERS", numbers)
    for one, two in zip(before, divide(sample, view), strict=True):
        torch.testing.assert_close(one.gains, two.gains)


def test_moments_that_overflow_leave_a_component_alone():
    far = random_points(0, N=60, D=8) * torch.logspace(-14, 6, 8)
    X = torch.cat([torch.cat([random_points(1, N=100, D=8), far]), far * 1e16]).float()
    labels = torch.tensor([0] * 160 + [1] * 60)
    sample = Sample(X, None, 1000)
    shape = torch.eye(8).expand(2, 8, 8)
    means = torch.stack([X[labels == k].mean(dim=0) for k in range(2)])
    view = View.of(sample, GMM.unchecked(torch.tensor([0.5, 0.5]), means, shape))
    for division in divide(sample, view):
        assert not division.gains.isnan().any()
        assert division.members.isfinite().all()


def test_parts_hold_what_their_component_owns():
    X = clusters([(0, 0), (3, 0), (40, 0), (40, 8)], 100, 0.5, 0)
    sample = Sample(X, None, 1000)
    view = View.of(sample, mixture_of(X, torch.arange(2).repeat_interleave(200)))
    longest = divide(sample, view)[0]
    first, second = longest.parts(sample, view, constraint=Constraint(1e-6))
    found = torch.cat([first.means, second.means])
    distances = torch.cdist(found, X.view(4, 100, 2).mean(dim=1))
    assert distances.min(dim=0).values.max() < 0.1
    torch.testing.assert_close(first.weights + second.weights, torch.full((2,), 0.5).double())


@pytest.mark.parametrize("seed", range(4))
def test_gain_on_all_coordinates_is_one_the_likelihood_keeps(seed):
    X, model = random_points(seed), random_gmm(seed)
    sample = Sample(X, None, 1000)
    view = View.of(sample, model)
    before = naive_mean(X, model)
    for division in divide(sample, view):
        first, second = division.parts(sample, view, constraint=Constraint(1e-3), on_all=True)
        for c, k in enumerate(first.owners.tolist()):
            rest = [j for j in range(4) if j != k]
            divided = GMM.unchecked(
                *(
                    torch.cat([getattr(model, f)[rest]] + [getattr(p, f)[c, None] for p in both])
                    for f in ("weights", "means", "covariances")
                    for both in [(first, second)]
                )
            )
            rise = np.mean(naive_log_density(X, divided)) - before
            assert first.gains[c].item() <= rise + 1e-9


@pytest.mark.parametrize("seed", range(2))
def test_a_start_that_grows_finds_classes_that_differ_along_a_short_axis(seed):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 3, 900)
    X = hidden(seed, z + 0.12 * rng.standard_normal(900), D=4)
    sample = Sample(X, None, 10_000)
    step = joint_step(Points.of(X), 1e-4)
    model = grown_start(sample, 3, step, constraint=Constraint(1e-4))
    assert_proper(model, 3)
    reached = climb(step, model, n_iter=50, tol=1e-6).model
    assert naive_mean(X, reached) > naive_mean(X, mixture_of(X, torch.from_numpy(z)))


def test_a_start_that_cannot_grow_is_none():
    X = random_points(0, N=8)
    step = joint_step(Points.of(X), 1e-2)
    assert grown_start(Sample(X, None, 100), 7, step, constraint=Constraint(1e-2)) is None


def test_starts_by_plusplus_see_all_clusters_far_apart():
    X = clusters([(0, 0), (30, 0), (0, 30), (30, 30)], 50, 0.5, 0)
    w = torch.from_numpy(np.random.default_rng(0).uniform(0.5, 2, 200))
    sample = Sample(X, w, 1000)
    rng = np.random.default_rng(0)
    starts = plusplus_starts(sample, 4, 6, constraint=Constraint(1e-4), rng=rng)
    assert len(starts) == 6
    expected = [np.average(X[i : i + 50], axis=0, weights=w[i : i + 50]) for i in range(0, 200, 50)]
    for model in starts:
        assert_proper(model, 4)
        order = (model.means[:, 0].round(decimals=-1) + 10 * model.means[:, 1]).argsort()
        np.testing.assert_allclose(model.means[order], expected, atol=1e-9)
        assert model.weights[order[0]].item() == pytest.approx((w[:50].sum() / w.sum()).item())
