"""The search: what it promises of likelihood, weights, floors and repetition."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score

from biglearn_core.gmm import GMM
from biglearn_core.init import assignment_start, kmeans_start
from biglearn_core.numerics.points import Points
from biglearn_core.search.climb import Climb, climb
from biglearn_core.search.credit import Credit
from biglearn_core.search.moves import SAME_OPTIMUM, Moves
from biglearn_core.search.search import MOVES, STOPS, SearchConfig, search_mixture
from tests.helpers import random_gmm
from tests.search.small import assert_proper, joint_step, naive_mean

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


def from_labels(X, sizes):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    step = joint_step(Points.of(X), FLOOR)
    return climb(step, assignment_start(X, labels, len(sizes)), n_iter=300, tol=1e-7)


def score(X, model, plain=False):
    """Give what models are compared by, with components on the floor told by their eigenvalues."""
    floored = torch.linalg.eigvalsh(model.covariances)[:, 0] < 1.001 * FLOOR
    withheld = Credit(len(X), FLOOR, plain).withheld(model, 1, floored[None]).item()
    return naive_mean(X, model) - withheld


@pytest.mark.parametrize("seed", range(4))
def test_reaches_the_optimum_found_from_the_truth_on_a_grid(seed):
    X, means = grid(4, 1200, seed)
    truth = GMM(
        torch.full((16,), 1 / 16, dtype=X.dtype),
        torch.from_numpy(means),
        0.1 * torch.eye(2, dtype=X.dtype).repeat(16, 1, 1),
    )
    step = joint_step(Points.of(X), FLOOR)
    optimum = climb(step, truth, n_iter=200, tol=1e-8).log_likelihood
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
    assert score(X, result.model) >= score(X, start) - SAME_OPTIMUM
    assert result.log_likelihood == pytest.approx(naive_mean(X, result.model), abs=1e-9)


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
    config = SearchConfig(max_steps=0)
    result = search_mixture(X, 9, covariance_floor=FLOOR, seed=seed, init=start, config=config)
    distances = torch.cdist(result.model.means, torch.from_numpy(means))
    assert distances.min(dim=0).values.max() < 0.5


def test_history_tells_every_move():
    X, _ = grid(4, 1000, 0)
    told = []
    result = search_mixture(
        X, 20, covariance_floor=FLOOR, seed=0, progress=lambda *move: told.append(move)
    )
    history = result.history
    assert history.n_steps.sum() == result.n_iter
    assert {MOVES[m] for m in history.move} == set(MOVES)
    assert history.log_likelihood[-1] == result.log_likelihood
    assert (history.n_steps >= 0).all()
    assert history.accepted[history.move == MOVES.index("start")].all()
    assert history.accepted[-1]
    assert history.move[0] == MOVES.index("start")
    assert history.move[-1] == MOVES.index("joint")
    assert (np.diff(history.start) >= 0).all()
    assert history.stopped in STOPS
    counts = [steps for _, _, steps in told]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2 * len(history)  # at every step, not after whole moves alone
    totals = history.n_steps.cumsum()
    moves = list(zip([MOVES[m] for m in history.move], history.log_likelihood, totals, strict=True))
    remaining = iter(told)
    assert all(move in remaining for move in moves)  # each in its turn
    assert math.isnan(told[0][1])


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


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("seed", [0, 2])
def test_more_searches_are_never_worse(seed, plain):
    X = torch.from_numpy(np.random.default_rng(seed).standard_normal((70, 2)))
    one, three = (
        search_mixture(
            X,
            3,
            covariance_floor=FLOOR,
            seed=seed,
            config=SearchConfig(n_init=n, plain_likelihood=plain),
        )
        for n in (1, 3)
    )
    assert score(X, three.model, plain) >= score(X, one.model, plain) - SAME_OPTIMUM
    assert three.n_iter >= one.n_iter


def test_more_searches_believe_an_optimum_later():
    X, _ = grid(2, 200, 0)
    one, three = (
        search_mixture(
            X, 4, covariance_floor=FLOOR, seed=0, config=SearchConfig(n_init=n, max_steps=10**6)
        ).history
        for n in (1, 3)
    )
    assert (one.start[-1], three.start[-1]) == (2, 6)


@pytest.mark.parametrize("K", [1, 2])
def test_few_components(K):
    X, _ = grid(2, 100, 0)
    result = search_mixture(X, K, covariance_floor=FLOOR, seed=0)
    if K == 1:
        torch.testing.assert_close(result.model.means[0], X.mean(dim=0))
        torch.testing.assert_close(result.model.covariances[0], torch.cov(X.T, correction=0))
    assert result.converged


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_init", 0),
        ("max_iter", 0),
        ("coarse_iter", 0),
        ("max_returns", 0),
        ("tol", -1.0),
        ("coarse_tol", math.nan),
        ("patience", -1),
        ("accepted_loss", -0.1),
        ("max_steps", -1),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        SearchConfig(**{name: value})


@pytest.mark.parametrize(
    ("K", "n", "max_steps", "stopped"),
    [
        (1, 100, None, "one component"),
        (8, 16, None, "few rows"),
        (4, 200, 0, "budget"),
        (4, 200, 10**6, "returned"),
    ],
)
def test_tells_why_it_ended(K, n, max_steps, stopped):
    X, _ = grid(2, n, 0)
    config = SearchConfig(max_steps=max_steps)
    result = search_mixture(X, K, covariance_floor=FLOOR, seed=0, config=config)
    assert result.history.stopped == stopped
    assert_proper(result.model, K)


def standardised(X):
    return torch.from_numpy((X - X.mean(axis=0)) / X.std(axis=0))


def agreement(X, z, K, *, seed, floor=FLOOR, **settings):
    config = SearchConfig(**settings)
    result = search_mixture(X, K, covariance_floor=floor, seed=seed, config=config)
    return adjusted_rand_score(z, result.model.predict(X)), result.log_likelihood


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_parallel_cigars_are_found(seed, K):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, K, 400 * K)
    noise = rng.standard_normal((len(z), 2)) * [0.12, 12]
    X = np.column_stack([z + noise[:, 0], noise[:, 1]]) @ ortho_group.rvs(2, random_state=rng)
    assert agreement(standardised(X), z, K, seed=seed, floor=1e-7)[0] > 0.98


@pytest.mark.parametrize("seed", range(3))
def test_iris_is_clustered_and_plain_likelihood_goes_at_least_as_high(seed):
    X, z = load_iris(return_X_y=True)
    found, log_likelihood = agreement(standardised(X), z, 3, seed=seed)
    _, plain = agreement(standardised(X), z, 3, seed=seed, plain_likelihood=True)
    assert found > 0.85
    assert plain >= log_likelihood - SAME_OPTIMUM


@pytest.mark.parametrize("seed", range(3))
def test_clusters_in_many_dimensions_are_found(seed):
    rng = np.random.default_rng(seed)
    z = np.arange(800) % 8
    X = 1.5 * rng.standard_normal((8, 32))[z] + rng.standard_normal((800, 32))
    assert agreement(standardised(X), z, 8, seed=seed)[0] > 0.99


def test_n_init_goes_on_to_so_many_starts():
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((90, 2)))
    config = SearchConfig(n_init=3, max_returns=9)
    history = search_mixture(X, 4, covariance_floor=FLOOR, seed=0, config=config).history
    assert history.start.max() >= 1
    assert history.stopped == "budget"


@pytest.mark.parametrize("seed", [0, 1])
def test_many_parallel_cigars_are_found(seed):
    """Two under one component differ along its short axis alone."""
    K, rng = 24, np.random.default_rng(seed)
    labels, index = rng.integers(K, size=250 * K), np.arange(K)
    centres = np.column_stack([index, 4 * np.sin(0.5 * index)])
    X = centres[labels] + rng.normal(size=(len(labels), 2)) * [0.16, 1.6]
    assert agreement(standardised(X), labels, K, seed=seed, floor=1e-7)[0] > 0.98


def test_steps_that_lower_the_score_end_the_swaps():
    """Steps raise the likelihood; what is withheld may grow by more, and swaps win it back."""
    model = random_gmm(0)

    def at(score):
        return Climb(model, score, score, 0, 0, 1, True)

    moves = object.__new__(Moves)
    moves._tol, moves._K = 1e-5, 4
    told = []
    moves._account = lambda move, state, accepted: told.append((move, state.score, accepted))
    moves._swap_many = lambda best, tol: at(0.0) if best.score < -0.5 else None
    moves._climb = lambda models: [at(-1.0)]
    assert moves._swap_together(at(-2.0)).score == 0.0
    assert told == [("joint", -1.0, False)]
