import pytest

from biglearn_core.estimators.number import least_at


def counted(value):
    asked = []

    def ask(number):
        asked.append(number)
        return value(number)

    return ask, asked


@pytest.mark.parametrize("best", [1, 2, 3, 5, 8, 13, 25, 40, 99, 150])
def test_a_valley_is_found_anywhere_in_few_questions(best):
    ask, asked = counted(lambda number: abs(number - best) ** 0.7)
    assert least_at(ask, 1, 10_000) == best
    assert len(asked) == len(set(asked)) <= 32


@pytest.mark.parametrize("bounds", [(1, 1), (3, 3), (1, 2), (4, 9)])
def test_nothing_out_of_bounds_is_asked(bounds):
    for best in range(*bounds, 1):
        ask, asked = counted(lambda number, best=best: abs(number - best))
        assert least_at(ask, *bounds) == best
        assert bounds[0] <= min(asked) <= max(asked) <= bounds[1]
    assert least_at(lambda number: -number, *bounds) == bounds[1]
    assert least_at(lambda number: number, *bounds) == bounds[0]


def test_a_bump_of_two_does_not_stop_it():
    values = {1: 10, 2: 11, 3: 12, 4: 5, 5: 6, 6: 7, 7: 8}
    assert least_at(lambda number: values.get(number, 20), 1, 50) == 4


def test_of_equals_the_smaller_is_taken():
    assert least_at(lambda number: 0.0, 2, 30) == 2
