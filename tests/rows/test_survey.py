"""One pass over rows: their extent and a sample, whatever their order, division and holders."""

from dataclasses import astuple, fields
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from biglearn_core.rows import source as rows_source, survey as surveying
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.hashing import row_hashes
from biglearn_core.rows.source import Block
from biglearn_core.rows.survey import Extent, extent_of, survey
from biglearn_core.rows.weighted import WeightedRows


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", 300)


def table(seed=0, *, n=1000, D=3, dtype=np.float64, gaps=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)).astype(dtype)
    X[rng.random(X.shape) < gaps] = np.nan
    return X


def seen_of(X, weights=None, n_sampled=100):
    source = ArrayRows(X)
    return survey(source if weights is None else WeightedRows(source, weights), n_sampled)


def contents(sample):
    """Rows as text, with their weights."""
    return {row.tobytes(): weight for row, weight in zip(sample.rows, sample.weights, strict=True)}


def assert_same(one, other, *, rtol=1e-13):
    for field in fields(Extent):
        a, b = getattr(one.extent, field.name), getattr(other.extent, field.name)
        if field.name in ("total", "known", "sums"):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13)
        else:
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.sample.rows, other.sample.rows)
    np.testing.assert_array_equal(one.sample.weights, other.sample.weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_extent_is_that_of_the_rows_that_have_weight(dtype, gaps, weighted):
    X = table(dtype=dtype, gaps=gaps)
    weights = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
    seen = seen_of(X, weights if weighted else None)
    w = weights if weighted else np.ones(len(X))
    kept, w = X[w > 0].astype(np.float64), w[w > 0]
    extent, known = seen.extent, ~np.isnan(kept)
    assert (extent.n_rows, extent.total, extent.largest) == (len(kept), w.sum(), w.max())
    np.testing.assert_array_equal(extent.low, np.nanmin(kept, axis=0))
    np.testing.assert_array_equal(extent.high, np.nanmax(kept, axis=0))
    np.testing.assert_array_equal(extent.known, w @ known)
    np.testing.assert_allclose(extent.sums, w @ np.nan_to_num(kept), rtol=0, atol=1e-11)
    columns = [np.average(c[k], weights=w[k]) for c, k in zip(kept.T, known.T, strict=True)]
    np.testing.assert_allclose(extent.mean, columns, rtol=0, atol=1e-13)
    assert extent.n_incomplete == (~known).any(axis=1).sum()
    assert (extent.n_infinite, extent.is_weighted) == (0, weighted)


def test_infinite_values_are_counted_and_a_feature_without_a_value_has_no_bounds():
    X = table()
    X[7, 1], X[8] = np.inf, -np.inf
    X[9, 2] = np.nan
    assert (seen_of(X).extent.n_infinite, seen_of(X).extent.n_incomplete) == (2, 1)
    X = table()
    X[:, 1] = np.nan
    extent = seen_of(X).extent
    assert (extent.low[1], extent.high[1], extent.known[1]) == (np.inf, -np.inf, 0)
    assert np.isfinite(extent.mean).all()


@pytest.mark.parametrize("n", [0, 5])
def test_there_may_be_no_row_of_weight(n):
    source = WeightedRows(ArrayRows(table(n=n)), np.zeros(n))
    seen = survey(source, 10)
    assert (seen.extent.n_rows, seen.extent.total) == (0, 0)
    assert seen.sample.rows.shape == (0, 3)
    assert len(seen.sample.weights) == 0


@pytest.mark.parametrize("n_sampled", [50, 5000])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_neither_order_nor_blocks_change_anything(monkeypatch, n_sampled, gaps):
    rng = np.random.default_rng(2)
    X = table(gaps=gaps)[rng.integers(700, size=1000)]
    X[rng.random(len(X)) < 0.3] = X[0]
    weights = rng.integers(0, 5, len(X)) / 4
    first = seen_of(X, weights, n_sampled)
    order = rng.permutation(len(X))
    assert_same(first, seen_of(X[order], weights[order], n_sampled))
    for numbers in (3, 4000, 10**6):
        monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", numbers)
        assert_same(first, seen_of(X, weights, n_sampled))


class FakeProcesses:
    """Processes one after the other: what each will gather is known from a run before."""

    def __init__(self, size):
        self.size, self._rank, self._calls = size, 0, 0
        self._sent = [[] for _ in range(size)]

    def gather(self, array):
        at, self._calls = self._calls, self._calls + 1
        own = self._sent[self._rank]
        if at == len(own):
            own.append(array)
        if any(len(sent) <= at for sent in self._sent):
            raise InterruptedError
        gathered = [sent[at] for sent in self._sent]
        assert len({one.dtype for one in gathered}) == 1
        return gathered

    def together(self, function):
        return function()

    def run(self, jobs):
        """Repeat the jobs until nobody waits for another."""
        while True:
            found = []
            for self._rank, job in enumerate(jobs):
                self._calls = 0
                try:
                    found.append(job())
                except InterruptedError:
                    continue
            if len(found) == len(jobs):
                return found


@pytest.mark.parametrize(
    "bounds", [(0, 1000), (0, 300, 1000), (0, 0, 999, 1000), (0, 500, 500, 1000)]
)
@pytest.mark.parametrize("n_sampled", [50, 5000])
def test_the_division_among_processes_does_not_matter(bounds, n_sampled):
    rng = np.random.default_rng(3)
    X = table()[rng.integers(700, size=1000)]
    X[rng.random(len(X)) < 0.3] = X[0]
    weights = rng.integers(0, 5, len(X)) / 4
    parts = [slice(*pair) for pair in pairwise(bounds)]
    processes = FakeProcesses(len(parts))
    found = processes.run(
        [
            partial(survey, WeightedRows(ArrayRows(X[p]), weights[p]), n_sampled, processes)
            for p in parts
        ]
    )
    for seen in found:
        assert_same(seen_of(X, weights, n_sampled), seen)
        assert_same(found[0], seen, rtol=0)


@pytest.mark.parametrize("n_sampled", [50, 5000])
@pytest.mark.parametrize("first", [0, 500])
def test_all_rows_of_a_process_may_be_without_weight(n_sampled, first):
    X, weights = table(), np.zeros(1000)
    weights[first : first + 500] = 2.0
    processes = FakeProcesses(2)
    found = processes.run(
        [
            partial(survey, WeightedRows(ArrayRows(X[p]), weights[p]), n_sampled, processes)
            for p in (slice(500), slice(500, 1000))
        ]
    )
    for seen in found:
        assert_same(seen_of(X, weights, n_sampled), seen)
        assert seen.sample.weights.dtype == np.float64


@pytest.mark.parametrize("n_sampled", [50, 5000])
def test_copies_of_a_row_are_a_weight(n_sampled):
    X, rng = table(gaps=0.1), np.random.default_rng(4)
    copies = rng.integers(0, 4, len(X))
    rows = rng.permutation(np.repeat(X, copies, axis=0))
    one, other = seen_of(X, copies, n_sampled).sample, seen_of(rows, None, n_sampled).sample
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_few_rows_are_all_in_the_sample_with_their_weights():
    X = np.repeat(table(n=40), 3, axis=0)
    X[:3, 0] = [0.0, -0.0, 0.0]
    weights = np.arange(120) / 7
    found = contents(seen_of(X, weights).sample)
    assert len(found) == 40
    for row, w in zip(X[3::3], weights.reshape(40, 3)[1:].sum(axis=1), strict=True):
        assert found[row.tobytes()] == pytest.approx(w, rel=1e-11)


def test_rows_of_zero_weight_are_absent():
    X, weights = table(), np.random.default_rng(5).random(1000).round()
    X[weights == 0] += 1e6
    seen = seen_of(X, weights)
    assert seen.sample.rows.max() < 100
    assert_same(seen, seen_of(X[weights > 0], weights[weights > 0]))


@pytest.mark.parametrize("n_sampled", [64, 512])
def test_the_sample_stands_for_all_weight(n_sampled):
    X = table(n=4000)
    weights = np.random.default_rng(6).uniform(0.2, 2, size=4000)
    sample = seen_of(X, weights, n_sampled).sample
    assert sample.weights.sum() == pytest.approx(weights.sum(), rel=1e-9)
    assert len(sample.rows) == n_sampled
    # Light ones keep their proportions.
    known = {row.tobytes(): weight for row, weight in zip(X, weights, strict=True)}
    ratios = [weight / known[text] for text, weight in contents(sample).items()]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_row_that_is_half_of_all_is_in_the_sample_with_its_weight(seed):
    rng = np.random.default_rng(seed)
    X = table(seed, n=20_000)
    heavy = [table(100 + seed, n=2)[0], np.array([np.nan, 1.0, seed])]
    X[rng.random(len(X)) < 0.5] = heavy[0]
    X[rng.random(len(X)) < 0.01] = heavy[1]
    sample = seen_of(X, None, 200).sample
    found = contents(sample)
    for row in heavy:
        same = np.array_equal if np.isfinite(row).all() else partial(np.array_equal, equal_nan=True)
        count = sum(same(row, other) for other in X)
        assert found[row.tobytes()] == count
    assert sample.weights.sum() == pytest.approx(len(X), rel=1e-9)
    assert len(sample.rows) in range(200, 203)


def test_one_row_of_large_weight_among_many_is_found():
    X, weights = table(n=20_000), np.ones(20_000)
    weights[12_345] = 300.0
    sample = seen_of(X, weights, 50).sample
    assert contents(sample)[X[12_345].tobytes()] == 300
    assert sample.weights.sum() == pytest.approx(weights.sum(), rel=1e-9)


def test_what_is_held_of_possibly_heavy_rows_is_bounded(monkeypatch):
    """In many dimensions a block has so few rows that each of them makes up a thousandth of it."""
    monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", 3 * 500)
    held, combined = [], surveying._combined

    def watched(*parts, n):
        extent, sketch = combined(*parts, n=n)
        held.append(len(sketch.frequent.rows))
        return extent, sketch

    monkeypatch.setattr(surveying, "_combined", watched)
    X = table(n=30_000)
    X[np.random.default_rng(7).random(len(X)) < 0.002] = X[0]
    found = contents(seen_of(X, None, 50).sample)
    assert found[X[0].tobytes()] == (X[:, 0] == X[0, 0]).sum()
    assert max(held) < 5000


def test_every_distinct_row_has_the_same_chance():
    """Of 64 samples, each of other values, how many rows come from each tenth of the ranks."""
    counts = np.zeros(10)
    for seed in range(64):
        X = np.sort(np.random.default_rng(seed).standard_normal(2000))[:, None]
        ranks = np.searchsorted(X[:, 0], seen_of(X, None, 100).sample.rows[:, 0])
        counts += np.bincount(ranks * 10 // 2000, minlength=10)
    expected = 64 * 10
    assert counts.sum() == 64 * 100
    # Drawn without replacement: a little less than χ² of 9 degrees, whose 99.9 % point is 27.9.
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


@pytest.mark.parametrize(
    "X", [np.arange(4000.0), np.arange(4000.0) * 2.0**40, 1 / np.arange(1, 4001)]
)
def test_numbers_of_a_pattern_are_drawn_as_any_others(X):
    sample = seen_of(X[:, None], None, 400).sample
    ranks = np.searchsorted(np.sort(X), sample.rows[:, 0])
    counts = np.bincount(ranks * 10 // 4000, minlength=10)
    assert ((counts - 40) ** 2 / 40).sum() < 27.9


def prints(X, weights=None):
    extent = extent_of(Block(X, weights))
    return extent.describe(X.dtype)


def test_fingerprints_know_rows_and_weights_but_not_their_order():
    X, rng = table(gaps=0.1), np.random.default_rng(8)
    weights = rng.gamma(1, size=len(X))
    order = rng.permutation(len(X))
    assert prints(X[order], weights[order]) == prints(X, weights)
    assert prints(X)["sample_weight"] == "none"
    for power in (-1060, -3, 1, 900):
        assert prints(X, np.ldexp(np.ones(len(X)), power)) == prints(X, np.ones(len(X)))
    for power in (-900, -3, 1, 900):
        assert prints(X, np.ldexp(weights, power)) == prints(X, weights)
    swapped = weights.copy()
    swapped[[1, 2]] = weights[[2, 1]]
    tripled = 3 * weights
    more = weights.copy()
    more[5] *= 2
    nudged = weights.copy()
    nudged[5] = np.nextafter(nudged[5], 1)
    for other in (swapped, tripled, more, nudged):
        found = prints(X, other)
        assert found["data"] == prints(X)["data"]
        assert found["sample_weight"] != prints(X, weights)["sample_weight"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_changed_value_is_another_fingerprint(dtype):
    X = table(n=50, dtype=dtype)
    known = {prints(X)["data"]}
    for place in np.ndindex(X.shape):
        for value in (np.nextafter(X[place], dtype(9)), -X[place], dtype(np.nan), dtype(np.inf)):
            other = X.copy()
            other[place] = value
            known.add(prints(other)["data"])
    assert len(known) == 1 + 4 * X.size
    swapped = X.copy()
    swapped[[0, 1], 2] = X[[1, 0], 2]
    for other in (swapped, X[:, [1, 0, 2]], X[1:], np.concatenate([X, X[:1]])):
        assert prints(np.ascontiguousarray(other))["data"] not in known


def test_zeros_of_both_signs_are_one_value_and_so_are_all_nan():
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    hashes = row_hashes(np.array([[0.0, np.nan], [-0.0, odd[0]], [0.0, odd[1]]]))
    assert len(set(hashes.tolist())) == 1


def test_fingerprints_add_up():
    X, weights = table(), np.random.default_rng(9).gamma(1, size=1000)
    whole = extent_of(Block(X, weights)).fingerprint
    parts = [
        extent_of(Block(X[i : i + 7], weights[i : i + 7])).fingerprint for i in range(0, 1000, 7)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert astuple(total) == astuple(whole)
