"""Scaling and splitting, where a column is constant or a class has few members."""

from collections import Counter

import numpy as np
import pytest

from biglearn_core.datasets.protocols import min_max_scale, stratified_split


def test_constant_column_becomes_zero():
    X = np.array([[3.0, 1.0], [3.0, 2.0], [3.0, 5.0]])
    other = np.array([[7.0, 9.0]])
    min_max_scale(X, other)
    np.testing.assert_array_equal(X, [[0, 0], [0, 0.25], [0, 1]])
    np.testing.assert_array_equal(other, [[0, 2]])
    rounding = np.array([[0.1 + 0.2], [0.3]])
    min_max_scale(rounding)
    np.testing.assert_array_equal(rounding, [[0], [0]])


@pytest.mark.parametrize("seed", range(5))
def test_class_with_one_member_goes_to_the_training_part(seed):
    y = np.array([0] * 20 + [1] * 10 + [7] + [9])
    train, test = stratified_split(y, seed=seed)
    assert sorted([*train, *test]) == list(range(32))
    assert {30, 31} <= set(train)
    assert Counter(y[test].tolist()) == {0: 4, 1: 2}


@pytest.mark.parametrize("y", [[1, 2, 3], [1, 1, 2, 2, 3, 3]])
def test_too_few_rows_to_split(y):
    with pytest.raises(ValueError, match=r"too few for an 80/20 split.*split=False"):
        stratified_split(np.array(y), seed=0)
