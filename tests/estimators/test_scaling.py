"""Unit scale and the default floor: what moves them, what may not, and what is refused."""

import numpy as np
import pytest

from biglearn_core.estimators.resolution import default_floor
from biglearn_core.estimators.scaling import UnitScale, to_unit_scale
from tests.helpers import blobs


def mixed_table(seed=0, n=200):
    """A normal feature, two that have few values, and one with many equal ones."""
    rng = np.random.default_rng(seed)
    X = np.stack([rng.normal(size=n), rng.integers(0, 2, n), rng.integers(0, 3, n)], axis=1)
    half = np.where(rng.random(n) < 0.3, 1.0, rng.normal(size=n))
    return np.column_stack([X, half])


def with_far_row(X, size):
    row = X[:1].copy()
    row[0, 0] = size
    return np.concatenate([X, row])


def assert_same_data(one, other, *, tolerance=0.0):
    np.testing.assert_allclose(one.Z, other.Z, rtol=tolerance, atol=tolerance)
    if one.sample_weight is None:
        assert other.sample_weight is None
    else:
        np.testing.assert_allclose(one.sample_weight, other.sample_weight)


@pytest.mark.parametrize("scale", [1e-147, 1e-100, 1e-25, 1.0, 1e30, 1e100, 1e147])
def test_scales_of_any_size_are_seen(scale):
    X = blobs()
    ours, unscaled = to_unit_scale(X * scale), to_unit_scale(X)
    np.testing.assert_allclose(ours.scale.scale, unscaled.scale.scale * scale)
    np.testing.assert_allclose(ours.Z, unscaled.Z, atol=1e-9)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        *((scale, np.float64) for scale in (5e-324, 1e-300, 1e-160, 1e-149, 1e149, 1e160, 1e300)),
        *((scale, np.float32) for scale in (1e-25, 1e-17, 1e17, 1e30)),
    ],
)
def test_scales_whose_squares_are_no_numbers_are_refused(scale, dtype):
    X = np.column_stack([blobs(D=1), blobs(D=1) * scale]).astype(dtype)
    text = rf"features \[1\] have the scales \[.*e[+-]\d+\].*leave {np.dtype(dtype)}.*Multiply"
    with pytest.raises(ValueError, match=text) as caught:
        to_unit_scale(X)
    assert ("or pass float64" in str(caught.value)) == (dtype == np.float32)


@pytest.mark.parametrize("size", [1e4, 1e5, 1e6, 1e9, 1e12, -1e100, 1e139])
@pytest.mark.parametrize("D", [1, 2, 5])
def test_one_row_far_out_does_not_set_the_scale(D, size):
    X = blobs(D=D)
    ours, without = to_unit_scale(with_far_row(X, size)), to_unit_scale(X)
    np.testing.assert_allclose(ours.scale.scale, without.scale.scale, rtol=0.1)
    assert np.abs(ours.scale.centre - without.scale.centre).max() < 6


@pytest.mark.parametrize("size", [1e141, 1e200, 1e300, -1.7e308])
def test_one_row_whose_square_is_no_number_is_refused(size):
    with pytest.raises(ValueError, match=r"1 of 121 distinct rows.*drop them$"):
        to_unit_scale(with_far_row(blobs(), size))
    with pytest.raises(ValueError, match=r"1 of 121 distinct rows.*or pass float64"):
        to_unit_scale(with_far_row(blobs().astype(np.float32), np.float32(1e30)))


def test_up_to_half_of_the_rows_may_lie_anywhere():
    X = blobs(gap=0.0)
    far = np.concatenate([X, np.random.default_rng(1).normal(size=(80, 2)) * 1e9])
    assert (to_unit_scale(far).scale.scale < 10).all()


@pytest.mark.parametrize("n", [2, 10, 300, 5000])
def test_the_scale_of_a_gaussian_is_its_standard_deviation(n):
    X = np.random.default_rng(0).normal(5, 3, (n, 1))
    data = to_unit_scale(X)
    assert data.scale.scale[0] <= X.std() * (1 + 1e-12)
    if n >= 300:
        assert data.scale.scale[0] == pytest.approx(3, rel=0.1)
        assert data.scale.centre[0] == pytest.approx(X.mean())


def test_clusters_that_are_tight_and_far_apart_set_the_scale():
    X = np.concatenate([m + 0.1 * np.random.default_rng(m).normal(size=(100, 2)) for m in (0, 50)])
    assert (to_unit_scale(X).scale.scale < 0.3).all()


@pytest.mark.parametrize("ones", [1, 3, 100])
def test_the_default_floor_of_an_indicator_is_what_rounding_leaves_or_part_of_its_variance(ones):
    X = np.column_stack([blobs(n=225, D=1), np.arange(450) < ones])
    data = to_unit_scale(X)
    floor = default_floor(data, 2) * data.scale.scale[1] ** 2
    most = min(1 / 12, X[:, 1].var())
    assert 0.45 * most < floor <= most


@pytest.mark.parametrize("weight", [1e-300, 1e-60, 1e-40])
def test_values_of_next_to_no_weight_set_no_scale(weight):
    X = np.column_stack([blobs(n=25, D=1), np.arange(50) < 5])
    weights = np.where(X[:, 1] > 0, weight, 1.0)
    data = to_unit_scale(X, sample_weight=weights)
    assert data.scale.scale[1] == pytest.approx(100 / np.sqrt(12))
    assert default_floor(data, 2) == 1e-4


def test_a_feature_that_is_constant_but_for_rounding_sets_no_floor():
    rounded = np.where(np.arange(120) % 3, 0.3, 0.1 + 0.2)
    assert len(np.unique(rounded)) == 2
    data = to_unit_scale(np.column_stack([blobs(), rounded]))
    assert default_floor(data, 2) == 1e-4


def test_one_hot_columns_have_scales_by_their_shares():
    X = np.eye(20)[np.random.default_rng(0).integers(0, 20, 450)]
    np.testing.assert_allclose(
        to_unit_scale(X).scale.scale, np.minimum(100 / np.sqrt(12), 100 * X.std(axis=0))
    )


@pytest.mark.parametrize("value", [0.0, 1.0, 1e12, -1e-20])
def test_a_constant_feature_spreads_over_nothing(value):
    X = np.column_stack([blobs(D=1), np.full(120, value)])
    data = to_unit_scale(X)
    assert np.abs(data.Z[:, data.scale.order == 1]).max() < 1e-9


@pytest.mark.parametrize("unit", [1e308, 1e-308, 5e-324])
def test_weights_count_relative_to_each_other(unit):
    X, counts = blobs(), np.arange(120) % 3
    expected = to_unit_scale(X, sample_weight=counts)
    with np.errstate(under="ignore"):
        weights = np.where(counts > 0, unit, 0.0) if unit == 1e308 else counts * unit
    if unit == 1e308:
        expected = to_unit_scale(X, sample_weight=(counts > 0).astype(float))
    assert_same_data(to_unit_scale(X, sample_weight=weights), expected, tolerance=1e-12)


# Neither a row far out, nor equal values, make a fit depend on how a table is written.
far_rows = pytest.mark.parametrize("size", [None, 1e6, 1e12, 1e17, 1e30, 1e100])


def table(size):
    return mixed_table() if size is None else with_far_row(mixed_table(), size)


@far_rows
@pytest.mark.parametrize("seed", range(3))
def test_rows_may_be_permuted(seed, size):
    X = np.repeat(table(size), 2, axis=0)
    rows = np.random.default_rng(seed).permutation(len(X))
    assert_same_data(to_unit_scale(X[rows]), to_unit_scale(X), tolerance=1e-12)


@far_rows
@pytest.mark.parametrize("seed", range(3))
def test_columns_may_be_permuted(seed, size):
    X, columns = table(size), np.random.default_rng(seed).permutation(4)
    assert_same_data(to_unit_scale(X[:, columns]), to_unit_scale(X), tolerance=1e-12)


@far_rows
def test_features_may_be_rescaled_and_shifted(size):
    moved = table(size) * [2.0**10, 1, 2.0**-20, 3] + [2.0**10, 5, 0, 0]
    assert_same_data(to_unit_scale(moved), to_unit_scale(table(size)), tolerance=1e-9)


@far_rows
def test_copies_are_weights(size):
    X = table(size)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    counts[-1] = 1
    copies = to_unit_scale(np.repeat(X, counts, axis=0))
    assert_same_data(copies, to_unit_scale(X, sample_weight=counts), tolerance=1e-12)
    assert len(copies.Z) == len(np.unique(X[counts > 0], axis=0))


def test_far_rows_in_every_feature_leave_their_order_alone():
    X = np.concatenate([mixed_table(), np.full((1, 4), 1e9)])
    for seed in range(6):
        columns = np.random.default_rng(seed).permutation(4)
        assert_same_data(to_unit_scale(X[:, columns]), to_unit_scale(X), tolerance=1e-12)


def test_rows_with_gaps_are_merged_and_zeros_have_no_sign():
    X = np.array([[np.nan, 1.0], [0.0, 2.0], [np.nan, 1.0], [-0.0, 2.0], [3.0, np.nan]])
    data = to_unit_scale(X)
    assert len(data.Z) == 3
    np.testing.assert_allclose(sorted(data.sample_weight), [0.6, 1.2, 1.2])


@pytest.mark.parametrize("value", [1e300, 1.7e308])
def test_queries_are_mapped_or_refused(value):
    scale = UnitScale(np.zeros(2), np.array([1.0, 0.01]), np.array([1, 0]))
    np.testing.assert_array_equal(scale.apply(np.array([[value, np.nan]])), [[np.nan, value]])
    with pytest.raises(ValueError, match=r"1 of 2 rows, row 1 the first.*drop them"):
        scale.apply(np.array([[0.0, 0.0], [0.0, 1.7e308]]))


def tight_clusters(K, sd, dtype=np.float64, n=60):
    rng = np.random.default_rng(2)
    centres = rng.uniform(-10, 10, (K, 2))
    return np.concatenate([c + sd * rng.normal(size=(n, 2)) for c in centres]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sd", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("K", [3, 4, 6])
def test_the_floor_stays_below_tight_clusters(K, sd, dtype):
    from biglearn_core.estimators.resolution import default_floor, local_variance

    data = to_unit_scale(tight_clusters(K, sd, dtype))
    variance = (sd / data.scale.scale) ** 2
    assert 0.2 * variance.mean() < local_variance(data.Z, K) < 2 * variance.mean()
    assert default_floor(data, K) <= max(0.15 * variance.mean(), 1e-8)


@pytest.mark.parametrize("K", [1, 2, 5])
def test_the_floor_of_ordinary_data_is_a_hundredth_of_a_deviation(K):
    from biglearn_core.estimators.resolution import default_floor

    rng = np.random.default_rng(0)
    for X in (blobs(), rng.normal(size=(300, 6)), rng.integers(1, 6, (300, 5)).astype(float)):
        assert default_floor(to_unit_scale(X), K) == 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_rows_that_agree_wherever_both_have_values_set_no_floor(share, dtype):
    from biglearn_core.estimators.resolution import default_floor

    for seed in range(10):
        rng = np.random.default_rng(seed)
        ratings = rng.integers(1, 6, (300, 5)) * rng.uniform(0.1, 3) + rng.uniform(-1, 1)
        ratings[rng.random(ratings.shape) < share] = np.nan
        assert default_floor(to_unit_scale(ratings.astype(dtype)), 4) == 1e-4


@pytest.mark.parametrize("sd", [1e-2, 1e-3, 1e-4])
def test_the_floor_stays_below_tight_clusters_with_gaps(sd):
    from biglearn_core.estimators.resolution import default_floor

    X = tight_clusters(4, sd)
    X[np.random.default_rng(0).random(X.shape) < 0.15] = np.nan
    data = to_unit_scale(X)
    assert default_floor(data, 4) <= 0.15 * ((sd / data.scale.scale) ** 2).mean()


def test_few_rows_far_out_and_few_twins_set_no_floor():
    from biglearn_core.estimators.resolution import default_floor

    X = blobs(n=150)
    twins = X[:4] + 1e-9
    far = 1e6 * np.random.default_rng(0).normal(size=(4, 2))
    for table in (np.concatenate([X, twins]), np.concatenate([X, far])):
        assert default_floor(to_unit_scale(table), 2) == 1e-4
