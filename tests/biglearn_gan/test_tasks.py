"""The law of the tasks: always something to learn, nothing given from outside."""

import pytest
import torch

from biglearn_gan.tasks import TaskLaw


def drawn(seed, *, n=20_000, G=4, **law):
    return TaskLaw(**law).draw(n, G, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("G", [1, 2, 16])
def test_every_task_learns_something_and_is_given_nothing_from_outside(seed, G):
    tasks = drawn(seed, n=3000, G=G)
    assert not (tasks.given & ~tasks.whole).any()
    assert (tasks.whole & ~tasks.given).any(1).all()


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_asked_for(seed):
    G, n = 8, 20_000
    tasks = drawn(seed, n=n, G=G, p_whole=0.6, p_nothing_given=0.3)
    # A random U is whole by chance in one of 2**G cases.
    whole = tasks.whole.all(1)
    assert whole.double().mean() == pytest.approx(0.6 + 0.4 / 2**G, abs=0.015)
    # At a uniform rate every number of given units is as likely, where it is not all of them.
    n_given = tasks.given[whole].sum(1)
    counts = torch.bincount(n_given, minlength=G) / len(n_given)
    expected = torch.full((G,), 0.7 / (G + 1))
    expected[0] += 0.3
    expected[G - 1] += 0.7 / (G + 1)  # all of them given: one is not
    torch.testing.assert_close(counts, expected, atol=0.015, rtol=0)


def test_the_joint_law_alone():
    tasks = drawn(0, p_whole=1.0, p_nothing_given=1.0)
    assert tasks.whole.all()
    assert not tasks.given.any()


def test_the_unit_left_over_is_none_in_particular():
    tasks = drawn(0, p_whole=1.0, p_nothing_given=0.0)
    one_left = (tasks.whole & ~tasks.given)[tasks.given.sum(1) == 3]
    shares = one_left.double().mean(0)
    torch.testing.assert_close(shares, torch.full_like(shares, 0.25), atol=0.02, rtol=0)


def test_a_second_task_has_the_same_whole():
    law, generator = TaskLaw(), torch.Generator().manual_seed(5)
    tasks = law.draw(5000, 6, generator)
    other = law.draw_given(tasks.whole, generator)
    assert not (other & ~tasks.whole).any()
    assert (tasks.whole & ~other).any(1).all()
    assert (other != tasks.given).any(1).double().mean() > 0.5


def test_units_are_given_as_wholes():
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    tasks = drawn(1, n=50, G=3)
    spread = tasks.of_coordinates(groups)
    for unit in range(3):
        for column in (groups == unit).nonzero().flatten():
            assert torch.equal(spread.given[:, column], tasks.given[:, unit])
            assert torch.equal(spread.whole[:, column], tasks.whole[:, unit])


@pytest.mark.parametrize("name", ["p_whole", "p_nothing_given"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        TaskLaw(**{name: value})
