"""The schedule draws the tasks that it says."""

import numpy as np
import pytest
from scipy.stats import beta, kstest

from biglearn_core.matching import Schedule
from biglearn_core.numerics.linalg import haar_orthogonal


def tasks(n=4000, **options):
    schedule = Schedule(**{"n_features": 16, "seed": 0, **options})
    return [schedule.task(i) for i in range(n)]


def test_kinds_come_with_their_probabilities():
    kinds = [task.kind for task in tasks()]
    for kind, probability in [("joint", 0.4), ("marginal", 0.1), ("transformed", 0.5)]:
        sigma = np.sqrt(probability * (1 - probability) / len(kinds))
        assert abs(kinds.count(kind) / len(kinds) - probability) < 4 * sigma


def test_probabilities_may_follow_the_progress():
    schedule = Schedule(n_features=3, seed=0, p_joint=lambda f: f, p_marginal=0.0)
    early = [schedule.task(i, 0.0).kind for i in range(50)]
    late = [schedule.task(i, 1.0).kind for i in range(50)]
    assert set(early) == {"transformed"}
    assert set(late) == {"joint"}


def test_subsets_follow_the_beta_law_and_are_uniform():
    drawn = [task.index for task in tasks() if task.index is not None]
    sizes = np.array([len(index) for index in drawn])
    assert sizes.min() >= 1
    for size in range(1, 17):
        low, high = (0 if size == 1 else size / 16), (size + 1) / 16
        probability = beta(5, 1).cdf(high) - beta(5, 1).cdf(low)
        sigma = np.sqrt(probability * (1 - probability) / len(sizes)) + 1e-3
        assert abs((sizes == size).mean() - probability) < 4 * sigma
    counts = np.bincount(np.concatenate(drawn), minlength=16)
    assert np.ptp(counts) / counts.mean() < 0.1
    assert all((np.diff(index) > 0).all() for index in drawn)


def test_a_marginal_in_two_dimensions_is_one_axis():
    assert {len(t.index) for t in tasks(500, n_features=2) if t.index is not None} == {1}


def test_a_task_depends_on_seed_and_iteration_alone():
    schedule = Schedule(n_features=5, seed=3)
    forward = [schedule.task(i) for i in range(20)]
    backward = [schedule.task(i) for i in reversed(range(20))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert a.kind == b.kind
        np.testing.assert_array_equal(a.index, b.index)
        np.testing.assert_array_equal(a.transform, b.transform)
    others = [Schedule(n_features=5, seed=4).task(i).kind for i in range(20)]
    assert others != [t.kind for t in forward]


@pytest.mark.parametrize("rotation", [False, True])
def test_transforms_are_haar_distributed(rotation):
    rng = np.random.default_rng(0)
    draws = np.array([haar_orthogonal(3, rng, rotation=rotation) for _ in range(2000)])
    np.testing.assert_allclose(
        draws @ draws.transpose(0, 2, 1), np.eye(3)[None] + 0 * draws, atol=1e-12
    )
    determinants = np.linalg.det(draws)
    assert (determinants > 0).all() if rotation else abs(determinants.mean()) < 0.1
    # A coordinate of a uniform point on the sphere in three dimensions is uniform on [-1, 1].
    for i in range(3):
        assert kstest(draws[:, i, 0], "uniform", args=(-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"p_joint": 0.8, "p_marginal": 0.3}, "sum of at most 1"),
        ({"p_joint": -0.1}, "non-negative"),
        ({"transform": "shear"}, "shear"),
        ({"beta": (0.0, 1.0)}, "positive"),
    ],
)
def test_bad_schedules_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        Schedule(n_features=2, seed=0, **options)
