"""Rows with missing entries against a naive EM, and against the complete data."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score

from biglearn_core import GMM, BigLearnEM
from biglearn_core.em import em_step
from biglearn_core.numerics.points import Points
from biglearn_core.search.incomplete import search_incomplete
from biglearn_core.search.missing import (
    IncompletePoints,
    conditional_mean,
    conditional_sample,
    evaluate_incomplete,
    incomplete_em_step,
)


def random_mixture(seed, K, D):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((K, D, D))
    covariances = roots @ roots.transpose(0, 2, 1) / D + 0.3 * np.eye(D)
    weights = rng.dirichlet(np.full(K, 5.0))
    return weights, 2 * rng.standard_normal((K, D)), covariances


def as_gmm(weights, means, covariances, dtype=torch.float64):
    return GMM(*(torch.tensor(p, dtype=dtype) for p in (weights, means, covariances)))


def with_gaps(seed, N, D, share):
    rng = np.random.default_rng(seed)
    X = 2 * rng.standard_normal((N, D))
    X[rng.random((N, D)) < share] = np.nan
    return X


def naive_conditionals(x, weights, means, covariances):
    """Density, and mean and covariance of the whole row, for every component."""
    known, missing = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
    for w, m, C in zip(weights, means, covariances, strict=True):
        density, mean, covariance = w, m.copy(), np.zeros_like(C)
        if len(known):
            density = w * multivariate_normal(m[known], C[np.ix_(known, known)]).pdf(x[known])
            B = C[np.ix_(missing, known)] @ np.linalg.inv(C[np.ix_(known, known)])
            mean[known], mean[missing] = x[known], m[missing] + B @ (x[known] - m[known])
            covariance[np.ix_(missing, missing)] = (
                C[np.ix_(missing, missing)] - B @ C[np.ix_(known, missing)]
            )
        else:
            covariance = C
        yield density, mean, covariance


def naive_em_step(X, sample_weight, weights, means, covariances):
    K, D = means.shape
    counts, first, second, total = np.zeros(K), np.zeros((K, D)), np.zeros((K, D, D)), 0.0
    for x, w in zip(X, sample_weight, strict=True):
        laws = list(naive_conditionals(x, weights, means, covariances))
        evidence = sum(density for density, _, _ in laws)
        total += w * np.log(evidence)
        for k, (density, mean, covariance) in enumerate(laws):
            r = w * density / evidence
            counts[k] += r
            first[k] += r * mean
            second[k] += r * (np.outer(mean, mean) + covariance)
    new_means = first / counts[:, None]
    outer = np.einsum("ki,kj->kij", new_means, new_means)
    new_covariances = second / counts[:, None, None] - outer
    n = np.sum(sample_weight)
    return counts / n, new_means, new_covariances, total / n


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_step_equals_a_naive_one(seed, share, weighted):
    X, parameters = with_gaps(seed, 80, 4, share), random_mixture(seed, 3, 4)
    w = np.random.default_rng(seed).uniform(0, 2, 80) if weighted else np.ones(80)
    points = IncompletePoints(
        torch.from_numpy(X), sample_weight=torch.from_numpy(w) if weighted else None
    )
    model = as_gmm(*parameters)
    for _ in range(3):
        step = incomplete_em_step(points, model, covariance_floor=1e-9)
        *parameters, log_likelihood = naive_em_step(X, w, *parameters)
        model = step.model
        np.testing.assert_allclose(model.weights, parameters[0], atol=1e-9)
        np.testing.assert_allclose(model.means, parameters[1], atol=1e-8)
        np.testing.assert_allclose(model.covariances, parameters[2], atol=1e-8)
        assert step.log_likelihood == pytest.approx(log_likelihood, abs=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_step_on_complete_rows_is_the_ordinary_one(seed):
    X = torch.from_numpy(with_gaps(seed, 100, 3, 0.0))
    model = as_gmm(*random_mixture(seed, 4, 3))
    ours = incomplete_em_step(IncompletePoints(X), model, covariance_floor=0.1)
    theirs = em_step(Points.of(X), model, covariance_floor=0.1)
    torch.testing.assert_close(ours.model.means, theirs.model.means)
    torch.testing.assert_close(ours.model.covariances, theirs.model.covariances)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood)
    assert ours.n_floored == theirs.n_floored


def test_batches_of_patterns_change_nothing(monkeypatch):
    X = torch.from_numpy(with_gaps(0, 200, 5, 0.3))
    model = as_gmm(*random_mixture(0, 3, 5))
    whole = incomplete_em_step(IncompletePoints(X), model, covariance_floor=1e-6)
    monkeypatch.setattr("biglearn_core.search.missing._BATCH_NUMBERS", 100)
    parts = incomplete_em_step(IncompletePoints(X), model, covariance_floor=1e-6)
    torch.testing.assert_close(parts.model.covariances, whole.model.covariances)
    assert parts.log_likelihood == pytest.approx(whole.log_likelihood)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_densities_and_expectations_are_the_naive_ones(dtype):
    X, parameters = with_gaps(1, 60, 4, 0.5), random_mixture(1, 3, 4)
    tensor, model = torch.tensor(X, dtype=dtype), as_gmm(*parameters, dtype=dtype)
    densities = evaluate_incomplete(tensor, model).component_log_prob().T
    filled = conditional_mean(tensor, model)
    assert filled.dtype == densities.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    for n, x in enumerate(X):
        laws = list(naive_conditionals(x, *parameters))
        expected = np.array([density for density, _, _ in laws])
        np.testing.assert_allclose(densities[n].exp(), expected, rtol=10 * tolerance)
        mean = sum(d * m for d, m, _ in laws) / expected.sum()
        np.testing.assert_allclose(filled[n], mean, atol=10 * tolerance)
    known = ~np.isnan(X)
    assert torch.equal(filled[torch.from_numpy(known)], tensor[torch.from_numpy(known)])


def test_draws_follow_the_conditional_law():
    weights, means, covariances = random_mixture(4, 3, 3)
    model = as_gmm(weights, means, covariances)
    x = np.array([0.5, np.nan, np.nan])
    X = torch.from_numpy(np.tile(x, (40_000, 1)))
    draws = conditional_sample(X, model, generator=torch.Generator().manual_seed(0)).numpy()
    laws = list(naive_conditionals(x, weights, means, covariances))
    r = np.array([density for density, _, _ in laws])
    r /= r.sum()
    mean = sum(s * m for s, (_, m, _) in zip(r, laws, strict=True))
    second = sum(s * (C + np.outer(m, m)) for s, (_, m, C) in zip(r, laws, strict=True))
    covariance = second - np.outer(mean, mean)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.12)
    assert (draws[:, 0] == 0.5).all()


def mixture_sample(seed, N=600, D=4):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-6, 6, (3, D))
    z = rng.integers(0, 3, N)
    common = rng.standard_normal((N, 1))
    return centres[z] + 0.8 * common + 0.4 * rng.standard_normal((N, D)), z


@pytest.mark.parametrize("seed", range(3))
def test_fit_with_gaps_is_near_the_fit_without(seed):
    X, z = mixture_sample(seed)
    Y = X.copy()
    Y[np.random.default_rng(seed).random(X.shape) < 0.15] = np.nan
    complete = BigLearnEM(3, random_state=0).fit(X)
    model = BigLearnEM(3, random_state=0).fit(Y)
    assert model.converged_
    assert adjusted_rand_score(model.predict(X), z) > 0.98
    assert model.score(X) > complete.score(X) - 0.05
    nearest = np.abs(model.means_[:, None] - complete.means_).max(axis=2).min(axis=1)
    assert nearest.max() < 0.25
    gaps = np.isnan(Y)
    error = np.sqrt(np.mean((model.impute(Y) - X)[gaps] ** 2))
    by_column = np.sqrt(np.mean((np.nanmean(Y, axis=0) - X)[gaps] ** 2))
    assert error < 0.5 * by_column
    assert model.lower_bound_ == pytest.approx(model.score(Y), abs=1e-8)


@pytest.mark.parametrize("seed", range(2))
def test_fit_with_gaps_does_not_depend_on_scale(seed):
    X, _ = mixture_sample(seed, N=200)
    X[np.random.default_rng(seed).random(X.shape) < 0.2] = np.nan
    scale = np.array([1e5, 1, 1e-4, 1])
    one = BigLearnEM(3, random_state=0).fit(X)
    other = BigLearnEM(3, random_state=0).fit(X * scale)
    np.testing.assert_allclose(other.impute(X * scale), one.impute(X) * scale, rtol=1e-5)
    drawn = one.sample_conditional(X)
    assert np.isfinite(drawn).all()
    np.testing.assert_array_equal(drawn[~np.isnan(X)], X[~np.isnan(X)])
    np.testing.assert_array_equal(drawn, one.sample_conditional(X))


def test_rows_and_columns_without_values():
    X, _ = mixture_sample(0, N=100)
    X[0] = np.nan
    model = BigLearnEM(3, random_state=0).fit(X)
    np.testing.assert_allclose(model.impute(X)[0], model.weights_ @ model.means_, atol=1e-8)
    X[:, 2] = np.nan
    with pytest.raises(ValueError, match=r"features \[2\] have no value.*drop them"):
        BigLearnEM(3).fit(X)


def test_weights_act_as_copies_with_gaps():
    X, _ = mixture_sample(1, N=120)
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    weights = np.random.default_rng(2).integers(0, 3, 120)
    weighted = BigLearnEM(3, random_state=0).fit(X, sample_weight=weights)
    copies = BigLearnEM(3, random_state=0).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.means_, copies.means_, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e5, 1e9])
def test_steps_with_rows_far_out_stay_positive_definite(size, dtype):
    X = with_gaps(0, 120, 4, 0.15)
    X[:5] *= size
    tensor = torch.tensor(X, dtype=dtype)
    model = as_gmm(*random_mixture(0, 3, 4), dtype=dtype)
    for _ in range(10):
        model = incomplete_em_step(IncompletePoints(tensor), model, covariance_floor=1e-4).model
        model.checked()
    drawn = conditional_sample(tensor, model, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(drawn).all()


def test_every_step_is_told_whether_of_a_search_or_on_the_gaps():
    X = torch.from_numpy(with_gaps(0, 200, 3, 0.1))
    told = []
    result = search_incomplete(
        X, 3, covariance_floor=1e-3, seed=0, progress=lambda *move: told.append(move)
    )
    counts = [steps for _, _, steps in told]
    assert counts == sorted(counts)
    assert result.n_iter <= counts[-1] < result.n_iter + 20  # the one Gaussian before them
    assert len(set(counts)) > result.n_iter / 8
    assert {move for move, _, _ in told} == {"start", "swap", "joint"}
