"""Samples against independent formulas, and how they are written for one seed and for many."""

import itertools

import numpy as np
import pytest
import scipy.stats

from biglearn_core.experiments.statistics import Sample, rate_interval, signed_rank

VALUES = [0.5, 0.7, 0.6, 0.9]


def test_moments_are_those_of_a_sample():
    sample = Sample.of(VALUES)
    assert (sample.mean, sample.n) == (pytest.approx(0.675), 4)
    assert sample.std == pytest.approx(scipy.stats.tstd(VALUES))
    assert Sample.of([True, False]).mean == 0.5


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_interval_is_students(confidence):
    independent = scipy.stats.ttest_1samp(VALUES, 0).confidence_interval(confidence)
    assert Sample.of(VALUES).interval(confidence) == pytest.approx(tuple(independent))


def test_the_prediction_interval_holds_as_many_new_values_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (20_000, 5))
    inside = 0
    for *known, new in draws:
        low, high = Sample.of(known).prediction_interval(0.9)
        inside += low <= new <= high
    assert inside / len(draws) == pytest.approx(0.9, abs=0.008)


def test_one_way_to_write_it():
    sample, single = Sample.of(VALUES), Sample.of([0.5])
    assert (sample.with_std(), single.with_std()) == ("0.675 ± 0.171", "0.500")
    low, high = sample.interval()
    assert sample.with_interval() == f"0.675 [{low:.3f}, {high:.3f}]"
    assert sample.with_interval(2, sign="+") == f"+0.67 [{low:+.2f}, {high:+.2f}]"
    assert single.with_interval() == "0.500 (one seed)"
    assert single.interval() is single.prediction_interval() is None
    assert Sample(0.5, None, 100).with_interval() == "0.500"  # whose deviation was not kept


def test_the_interval_of_a_rate_is_exact():
    low, high = rate_interval(96, 100)
    beta = scipy.stats.beta
    assert low == pytest.approx(beta.ppf(0.025, 96, 5))
    assert high == pytest.approx(beta.ppf(0.975, 97, 4))
    assert rate_interval(0, 100)[0] == 0


def test_differences_are_taken_on_the_seeds_that_both_have():
    gap = Sample.of_differences({0: 1.0, 2: 5.0, 7: 3.0}, {7: 1.0, 1: 9.0, 2: 2.0})
    assert (gap.mean, gap.n) == (2.5, 2)
    assert gap.std == pytest.approx(np.std([3.0, 2.0], ddof=1))
    assert Sample.of_differences({0: 1.0}, {1: 1.0}) is None


def test_signed_ranks_are_counted_exactly():
    """Of n differences of one sign p is 2^(1−n); of others, the share of patterns as far out."""
    assert signed_rank([0.3, 0.1, 0.7, 0.2]) == pytest.approx(2**-3)
    values = np.array([0.5, -0.1, 0.4, 0.9, -0.2, 0.3])
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    signs = np.array(list(itertools.product((0, 1), repeat=6)))
    sums = signs @ ranks
    found = ranks[values > 0].sum()
    centre = ranks.sum() / 2
    expected = np.mean(np.abs(sums - centre) >= abs(found - centre) - 1e-9)
    assert signed_rank(values) == pytest.approx(expected)
    assert signed_rank(-values) == pytest.approx(expected)
    assert signed_rank([0.0, 0.0]) == 1.0
    assert signed_rank([0.0, 0.3, 0.1, 0.7, 0.2]) == pytest.approx(2**-3)
