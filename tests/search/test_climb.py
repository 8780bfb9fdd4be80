"""Climbs in lockstep against climbs one by one, and against steps whose gains are made up."""

import math

import numpy as np
import pytest
import torch

from biglearn_core.em import em_step, lockstep_em_step
from biglearn_core.gmm import GMM
from biglearn_core.numerics.points import Points
from biglearn_core.search.climb import Scored, climb, climb_together, race
from tests.helpers import TOLERANCE, assert_same_model, parameters, random_gmm, random_points
from tests.oracle import naive_em_step
from tests.search.small import joint_step, naive_mean


def stacked(models):
    fields = ("weights", "means", "covariances")
    return GMM.unchecked(*(torch.cat([getattr(m, name) for m in models]) for name in fields))


def split(batch, n):
    fields = (batch.weights, batch.means, batch.covariances)
    return [GMM.unchecked(*parts) for parts in zip(*(f.chunk(n) for f in fields), strict=True)]


def made_up(*ascents):
    """Step along given likelihoods; a model tells its ascent in its mean, its step beside it."""

    def step(batch, n):
        of, at = batch.means.view(n, -1, 2)[:, 0].long().T.tolist()
        values = [ascents[i][min(t, len(ascents[i]) - 1)] for i, t in zip(of, at, strict=True)]
        values, zeros = torch.tensor(values).double(), torch.zeros(n, dtype=torch.long)
        ahead = batch.means + torch.tensor([0.0, 1.0])
        model = GMM.unchecked(batch.weights, ahead, batch.covariances)
        return Scored(model, values, values, values, zeros, zeros)

    starts = []
    for i in range(len(ascents)):
        means = torch.tensor([[float(i), 0.0]])
        starts.append(GMM.unchecked(torch.ones(1), means, torch.eye(2)[None]))
    return step, starts


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_in_lockstep_is_the_step_of_each(dtype, weighted):
    X = random_points(0, N=150, dtype=dtype)
    w = np.random.default_rng(0).uniform(0, 2, 150) if weighted else np.ones(150)
    points = Points.of(X, sample_weight=torch.tensor(w, dtype=dtype) if weighted else None)
    models = [random_gmm(seed, dtype=dtype) for seed in range(3)]
    models[1].means[2] = 1e3
    steps = lockstep_em_step(points, stacked(models), 3, covariance_floor=0.3)
    tolerance = TOLERANCE[dtype]
    for i, (found, model) in enumerate(zip(split(steps.model, 3), models, strict=True)):
        alone = em_step(points, model, covariance_floor=0.3)
        assert_same_model(found, alone.model, rtol=tolerance, atol=tolerance)
        assert steps.floored[i].sum() == alone.n_floored
        assert steps.empty[i].sum() == alone.n_empty == (i == 1)
        *expected, log_likelihood = naive_em_step(
            X.double().numpy(),
            *parameters(model),
            index=np.arange(3),
            A=np.eye(3),
            floor=0.3,
            smoothing=0.0,
            sample_weight=w,
        )
        assert steps.log_likelihood[i].item() == pytest.approx(log_likelihood, abs=10 * tolerance)
        full = np.arange(4) != 2 if i == 1 else np.arange(4) >= 0
        for ours, theirs in zip(parameters(found), expected, strict=True):
            np.testing.assert_allclose(
                ours[full], theirs[full], rtol=10 * tolerance, atol=10 * tolerance
            )
    assert steps.floored.any()


def test_climbs_together_are_the_climbs_of_each():
    X = random_points(0)
    step = joint_step(Points.of(X), 1e-4)
    models = [random_gmm(seed) for seed in range(5)]
    together = climb_together(step, models, n_iter=12, tol=2e-3)
    for model, found in zip(models, together, strict=True):
        alone = climb(step, model, n_iter=12, tol=2e-3)
        assert_same_model(found.model, alone.model, rtol=1e-7, atol=1e-7)
        assert found.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-9)
        assert found.log_likelihood == pytest.approx(naive_mean(X, found.model), abs=1e-9)
        assert (found.n_steps, found.converged) == (alone.n_steps, alone.converged)
        assert found.log_likelihood > naive_mean(X, model)
    assert {found.converged for found in together} == {False, True}
    assert len({found.n_steps for found in together}) > 2


def test_a_step_that_falls_is_taken_back():
    step, starts = made_up((0, 1, 2, 1.5, 9), range(20), (5, 4))
    first, second, third = climb_together(step, starts, n_iter=10, tol=1e-3)
    assert (first.log_likelihood, first.n_steps, first.converged) == (2, 4, True)
    assert first.model.means.tolist() == [[0, 2]]
    assert (second.log_likelihood, second.n_steps, second.converged) == (10, 11, False)
    assert second.model.means.tolist() == [[1, 10]]
    assert third.log_likelihood == 5
    assert third.model.means.tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("goal", "n_steps"),
    # At step five there are 0.125 left, at step six half of that; three times as much is hoped for.
    [(10, 5), (2.27, 5), (2.2, 6), (2.1, 7), (1.9, 12), (-math.inf, 12)],
)
def test_a_goal_out_of_reach_is_given_up(goal, n_steps):
    halving = [2 - 0.5 ** (t - 1) for t in range(40)]
    step, starts = made_up(halving, halving)
    with_goal, without = climb_together(
        step, starts, n_iter=39, tol=0.75 * 0.5**9, goals=[goal, -math.inf]
    )
    assert without.n_steps == 12
    assert without.converged
    assert with_goal.n_steps == n_steps
    assert with_goal.log_likelihood == halving[n_steps - 1]
    assert with_goal.converged == (n_steps == 12)


def test_goals_stay_with_their_models_as_others_end():
    slow = [2 - 0.8 ** (t - 1) for t in range(200)]
    step, starts = made_up((0, 1, 1), slow, slow)
    _, reached, hopeless = climb_together(
        step, starts, n_iter=150, tol=1e-4, goals=[-math.inf, 1.9, 50]
    )
    assert reached.converged
    assert hopeless.n_steps == 5
    assert hopeless.model.means.tolist() == [[2, 4]]


def test_race_keeps_the_best_of_every_group():
    step, starts = made_up(
        (0, 3, 0, 0, 0), (0, 2, 9, 9, 9), (0, 1, 9, 9, 9), (7, 0, 8, 8, 8), (0, 5, 0, 0, 0)
    )
    groups = [1, 1, 1, 0, 0]
    kept = race(step, starts, rounds=((2, 2), (1, 1)), groups=groups)
    # After two steps 2 has lost; 3 overtakes 4 and 1 overtakes 0 in the third.
    assert [place for place, _ in kept] == [3, 1]
    assert [model.means.tolist() for _, model in kept] == [[[3, 3]], [[1, 3]]]


def test_race_of_all_gives_the_best_first():
    step, starts = made_up((0, 1), (0, 4), (0, 2), (0, 3))
    assert [place for place, _ in race(step, starts, rounds=((2, 3),))] == [1, 3, 2]


def test_who_has_converged_rests_to_the_end_of_a_round():
    step, starts = made_up((0, 1, 1, 1, 9), (0, 2, 3, 4, 5, 6, 7), (0, 1, 2, 2.5, 2.5))
    counts = []

    def counting(batch, n):
        counts.append(n)
        return step(batch, n)

    kept = race(counting, starts, rounds=((5, 3), (1, 1)), tol=0.1)
    assert counts == [3, 3, 3, 2, 2, 3]
    # The first rests after three steps; what a further one would have found is seen in the next
    # round alone, and then the last rests as well.
    assert [(place, model.means.tolist()) for place, model in kept] == [(1, [[1, 6]])]
    _, (last, _), *_ = race(step, starts, rounds=((5, 3),), tol=0.1)
    assert last == 2
