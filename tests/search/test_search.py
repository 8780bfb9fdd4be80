"""The search: what it promises of likelihood, weights, floors and repetition."""

import math

import numpy as np
import pytest
import torch

from biglearn_core.em import em_step
from biglearn_core.gmm import GMM
from biglearn_core.init import assignment_start, kmeans_start
from biglearn_core.numerics.points import Points
from biglearn_core.search.climb import climb
from biglearn_core.search.search import MOVES, SearchConfig, search_mixture

FLOOR = 1e-4


def grid(side, n, seed):
    rng = np.random.default_rng(seed)
    at = 2.0 * np.arange(side) - (side - 1)
    means = np.array([(a, b) for a in at for b in at])
    z = rng.integers(0, len(means), n)
    return torch.from_numpy(means[z] + math.sqrt(0.1) * rng.standard_normal((n, 2))), means


def unequal(large, small, seed):
    rng = np.random.default_rng(seed)
    sizes = [large] * 3 + [small] * 5
    centres = rng.uniform(-5, 5, (8, 2))
    X = np.concatenate(
        [c + 0.4 * rng.standard_normal((n, 2)) for c, n in zip(centres, sizes, strict=True)]
    )
    return torch.from_numpy((X - X.mean(axis=0)) / X.std(axis=0)), sizes


def mean_density(X, model, weights=None):
    return model.mean_log_prob(Points.of(X, sample_weight=weights))


def from_labels(X, sizes):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    points = Points.of(X)

    def step(model):
        return em_step(points, model, covariance_floor=FLOOR)

    return climb(step, assignment_start(X, labels, len(sizes)), n_iter=300, tol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_reaches_the_optimum_found_from_the_truth_on_a_grid(seed):
    X, means = grid(4, 1200, seed)
    truth = GMM(
        torch.full((16,), 1 / 16, dtype=X.dtype),
        torch.from_numpy(means),
        0.1 * torch.eye(2, dtype=X.dtype).repeat(16, 1, 1),
    )
    points = Points.of(X)
    optimum = climb(
        lambda model: em_step(points, model, covariance_floor=FLOOR), truth, n_iter=200, tol=1e-8
    ).log_likelihood
    result = search_mixture(X, 16, covariance_floor=FLOOR, seed=seed)
    assert result.log_likelihood > optimum - 1e-3
    assert result.converged


@pytest.mark.parametrize("small", [100, 20])
@pytest.mark.parametrize("seed", range(3))
def test_unequal_weights_end_no_lower_than_from_the_true_labels(small, seed):
    X, sizes = unequal(2000, small, seed)
    result = search_mixture(X, 8, covariance_floor=FLOOR, seed=seed)
    assert result.log_likelihood > from_labels(X, sizes).log_likelihood - 2e-3
    assert result.n_empty == 0


@pytest.mark.parametrize("seed", range(3))
def test_never_below_its_start_and_log_likelihood_is_the_models(seed):
    rng = np.random.default_rng(seed)
    X = torch.from_numpy(rng.standard_normal((300, 3)))
    start = kmeans_start(X, 6, seed=seed)
    result = search_mixture(X, 6, covariance_floor=FLOOR, seed=seed, init=start)
    assert result.log_likelihood >= mean_density(X, start)
    assert result.log_likelihood == pytest.approx(mean_density(X, result.model), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_swaps_alone_mend_a_start_with_misplaced_components(seed):
    X, means = grid(3, 450, seed)
    wrong = means.copy()
    wrong[8] = wrong[0] + 0.1
    start = GMM(
        torch.full((9,), 1 / 9, dtype=X.dtype),
        torch.from_numpy(wrong),
        0.1 * torch.eye(2, dtype=X.dtype).repeat(9, 1, 1),
    )
    config = SearchConfig(max_bursts=0)
    result = search_mixture(X, 9, covariance_floor=FLOOR, seed=seed, init=start, config=config)
    distances = torch.cdist(result.model.means, torch.from_numpy(means))
    assert distances.min(dim=0).values.max() < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_bursts_that_lose_are_not_kept(seed):
    X = torch.from_numpy(np.random.default_rng(seed).standard_normal((100, 3)))
    config = SearchConfig(
        patience=99, max_bursts=4, max_steps=10**6, n_tasks=12, n_local_steps=(5,), coarse_iter=1
    )
    history = search_mixture(X, 6, covariance_floor=FLOOR, seed=seed, config=config).history
    bursts = history.move == MOVES.index("matching")
    assert bursts.sum() == 4
    assert not history.accepted[bursts].all()
    assert history.log_likelihood[-1] >= history.log_likelihood[bursts].max()
    assert history.log_likelihood[-1] >= history.log_likelihood[0]


def test_history_tells_every_move():
    X, _ = grid(4, 1000, 0)
    result = search_mixture(X, 20, covariance_floor=FLOOR, seed=0)
    history = result.history
    assert history.n_steps.sum() == result.n_iter
    assert {MOVES[m] for m in history.move} == set(MOVES)
    assert history.log_likelihood[-1] == result.log_likelihood
    best_before = np.maximum.accumulate(history.log_likelihood)[:-1]
    assert result.log_likelihood >= best_before.max() - 1e-12


def test_a_seed_repeats_and_global_random_state_is_left_alone():
    X, _ = grid(3, 300, 0)
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second = (search_mixture(X, 9, covariance_floor=FLOOR, seed=5) for _ in range(2))
    assert torch.equal(first.model.means, second.model.means)
    assert np.array_equal(np_state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())


def test_weights_act_as_copies():
    X, _ = grid(3, 200, 1)
    weights = torch.from_numpy(np.random.default_rng(0).integers(1, 4, 200)).double()
    start = kmeans_start(X, 9, seed=0)
    weighted = search_mixture(
        X, 9, covariance_floor=FLOOR, seed=0, sample_weight=weights, init=start
    )
    copies = X.repeat_interleave(weights.long(), dim=0)
    repeated = search_mixture(copies, 9, covariance_floor=FLOOR, seed=0, init=start)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=1e-6)
    torch.testing.assert_close(weighted.model.means, repeated.model.means, atol=1e-4, rtol=0)


def test_more_searches_are_never_worse():
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((90, 2)))
    one, three = (
        search_mixture(X, 4, covariance_floor=FLOOR, seed=0, config=SearchConfig(n_init=n))
        for n in (1, 3)
    )
    assert three.log_likelihood >= one.log_likelihood


@pytest.mark.parametrize("K", [1, 2])
def test_few_components(K):
    X, _ = grid(2, 100, 0)
    result = search_mixture(X, K, covariance_floor=FLOOR, seed=0)
    if K == 1:
        torch.testing.assert_close(result.model.means[0], X.mean(dim=0))
        torch.testing.assert_close(result.model.covariances[0], torch.cov(X.T, correction=0))
    assert result.converged


@pytest.mark.parametrize(("name", "value"), [("n_init", 0), ("tol", -1.0), ("patience", -1)])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        SearchConfig(**{name: value})


def test_climb_takes_back_a_step_that_falls():
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 2)))
    points = Points.of(X)
    good = from_labels(X, [25, 25]).model

    def downhill(model):
        step = em_step(points, model, covariance_floor=FLOOR)
        worse = GMM.unchecked(step.model.weights, step.model.means + 5, step.model.covariances)
        return type(step)(worse, step.log_likelihood, step.n_floored, step.n_empty)

    result = climb(downhill, good, n_iter=10, tol=1e-9)
    assert result.model is good
    assert result.log_likelihood == pytest.approx(mean_density(X, good), abs=1e-12)
