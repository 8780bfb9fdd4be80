"""Data that are ordinary for users and once had a wrong answer without a word."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from biglearn_core import (
    BigLearnEM,
    JointEM,
    MixtureClassifier,
    MixtureOutlierDetector,
    MixtureRegressor,
    MixtureSelection,
)
from tests.helpers import blobs


@pytest.mark.parametrize("estimator", [BigLearnEM, JointEM])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_one_gaussian_has_the_moments_of_rare_indicators(share, estimator):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=2000), rng.random(2000) < share])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = estimator(1).fit(X)
    np.testing.assert_allclose(model.covariances_[0], np.cov(X.T, bias=True), rtol=1e-6, atol=1e-9)


def test_a_target_of_few_values_keeps_what_is_left_of_its_variance():
    iris = load_iris()
    regressor = MixtureRegressor().fit(iris.data, iris.target)
    mean, deviation = regressor.predict(iris.data, return_std=True)
    np.testing.assert_allclose(deviation, (iris.target - mean).std(), rtol=1e-3)


@pytest.mark.parametrize("others", ["constant", "copy", "both"])
def test_features_that_say_nothing_do_not_change_the_clusters(others):
    X, classes = load_iris(return_X_y=True)
    added = {"constant": np.full((150, 1), 7.0), "copy": 2 * X[:, :1] + 1}
    added["both"] = np.concatenate(list(added.values()), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more = BigLearnEM(3, random_state=0).fit_predict(np.concatenate([X, added[others]], axis=1))
    alone = BigLearnEM(3, random_state=0).fit_predict(X)
    assert adjusted_rand_score(alone, more) == 1
    assert adjusted_rand_score(classes, more) > 0.89


@pytest.mark.parametrize("covariance_type", ["EEV", "VVE", "EVE", "VEV", "full"])
@pytest.mark.parametrize(
    ("dtype", "ratio"), [(np.float32, 1e4), (np.float32, 1e7), (np.float64, 1e7)]
)
def test_units_of_features_far_apart_blur_none(covariance_type, dtype, ratio):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 3)) @ [[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]]
    X = (Z * [ratio**-0.5, 1, ratio**0.5]).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = BigLearnEM(1, covariance_type=covariance_type).fit(X)
    assert model.means_.dtype == dtype
    deviations = np.sqrt(np.diagonal(model.covariances_[0]))
    np.testing.assert_allclose(deviations, X.astype(float).std(axis=0), rtol=1e-3)


def test_what_even_float64_blurs_is_told():
    X = np.random.default_rng(0).normal(size=(500, 2)) * [1e-6, 1e6]
    with pytest.warns(ConvergenceWarning, match="rounding in float64 leaves them no standard dev"):
        BigLearnEM(1, covariance_type="EEV").fit(X)


def test_one_row_far_out_does_not_blur_single_precision():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    y = 2 * X[:, 0] + 0.1 * rng.normal(size=500)
    X[0, 1] = 999999
    regressor = MixtureRegressor().fit(X.astype(np.float32), y.astype(np.float32))
    assert regressor.score(X[1:].astype(np.float32), y[1:]) > 0.99


def test_the_warning_of_the_floor_names_the_feature():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs(), columns=list("abc")[: blobs().shape[1]]).assign(same=1.0)
    with pytest.warns(ConvergenceWarning, match="most along feature same"):
        BigLearnEM(2, random_state=0).fit(frame)


def two_normals(seed=0):
    """Draw two clusters of 300 in one feature, of which 40 in 100 are missing."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(30, 3, 300), rng.normal(60, 5, 300)])
    x[rng.random(600) < 0.4] = np.nan
    return x


@pytest.mark.parametrize("seed", range(3))
def test_equal_rows_with_gaps_are_filled_each_by_itself(seed):
    x = two_normals()
    model = BigLearnEM(2, random_state=seed).fit(x[:, None])
    known = x[~np.isnan(x), None]
    expected = BigLearnEM(2, random_state=seed).fit(known)
    np.testing.assert_allclose(
        np.sort(model.means_[:, 0]), np.sort(expected.means_[:, 0]), rtol=1e-3
    )


@pytest.mark.parametrize("seed", range(3))
def test_counts_beside_a_feature_with_gaps(seed):
    X = np.column_stack([two_normals(), np.random.default_rng(1).integers(1, 4, 600)])
    model = BigLearnEM(2, random_state=seed).fit(X)
    truth = JointEM(2, init=np.array([[30.0, 2.0], [60.0, 2.0]])).fit(X[~np.isnan(X[:, 0])])
    assert np.abs(np.sort(model.means_[:, 0]) - np.sort(truth.means_[:, 0])).max() < 0.5


def test_rows_without_any_value_change_no_fit():
    X = load_iris().data.copy()
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    more = np.concatenate([X, np.full((5, 4), np.nan)])
    alone, together = (BigLearnEM(3, random_state=0).fit(rows) for rows in (X, more))
    np.testing.assert_allclose(alone.means_, together.means_, rtol=1e-2)
    assert together.lower_bound_ * 155 == pytest.approx(alone.lower_bound_ * 150, rel=1e-4)


def test_values_of_other_columns_or_under_a_mask_are_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(load_iris().data, columns=list("abcd"))
    model = BigLearnEM(2, random_state=0).fit(frame)
    law = model.condition(["a"], frame[["a"]])
    assert np.isfinite(law.log_prob(frame[["b", "c", "d"]])).all()
    with pytest.raises(ValueError, match=r"columns \['c', 'b', 'd'\], expected \['b', 'c', 'd'\]"):
        law.log_prob(frame[["c", "b", "d"]])
    hidden = np.ma.array(frame[["b", "c", "d"]].to_numpy(), mask=False)
    hidden[0, 0] = np.ma.masked
    with pytest.raises(ValueError, match="not finite in 1 rows"):
        law.log_prob(hidden)
    with pytest.raises(ValueError, match="values must be finite"):
        model.mixture_.condition(["a", "b"], np.ma.array([1.0, 77.0], mask=[0, 1]))
    classes = np.ma.array(load_iris().target, mask=np.arange(150) == 3)
    with pytest.raises(ValueError, match="y is masked in 1 rows"):
        MixtureClassifier().fit(frame, classes)


@pytest.mark.parametrize("contamination", [0.05, 0.3, 0.5])
def test_contamination_beside_rows_without_any_value(contamination):
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[:60] = np.nan
    detector = MixtureOutlierDetector(BigLearnEM(1), contamination=contamination, random_state=0)
    outliers = detector.fit_predict(X) == -1
    assert outliers.mean() == pytest.approx(contamination)
    assert not outliers[:60].any()


@pytest.mark.parametrize("seed", range(3))
def test_a_poor_start_does_not_end_the_search(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 3)) @ (0.4 * rng.normal(size=(3, 3)) + np.eye(3))
    X[:80] += 4
    cold = BigLearnEM(2, covariance_type="tied", random_state=seed).fit(X)
    poor = BigLearnEM(2, covariance_type="tied", random_state=seed, init=np.arange(200) % 2).fit(X)
    assert poor.lower_bound_ > cold.lower_bound_ - 1e-3
    assert poor.history_.start.max() > 0


def test_weights_that_hardly_make_a_row_are_refused_by_a_criterion():
    X = blobs()
    with pytest.raises(ValueError, match=r"sample_weight sums to 1: .* Multiply them by n / sum"):
        MixtureSelection(covariance_type="full").fit(X, sample_weight=np.full(len(X), 1 / len(X)))


def test_targets_finer_than_the_features_dtype():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    for size, shift in ((1.0, 1.7e9), (1e-50, 0.0)):
        y = shift + size * (3 * x[:, 0] + 0.1 * rng.normal(size=300))
        regressor = MixtureRegressor().fit(x.astype(np.float32), y)
        mean, deviation = regressor.predict(x.astype(np.float32), return_std=True)
        assert np.abs(mean - y).std() < 0.1 * size
        np.testing.assert_allclose(deviation, 0.1 * size, rtol=0.1)


def test_one_feature_has_two_types_of_covariances():
    X = np.concatenate([np.random.default_rng(m).normal(m, 1, (100, 1)) for m in (0, 9)])
    selection = MixtureSelection(max_components=3, random_state=0).fit(X)
    assert selection.n_components_ == 2
    assert selection.results_["covariance_type"].nunique() == 2


def test_a_criterion_of_ones_own_gets_the_names_of_the_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(load_iris().data, columns=list("abcd"))
    selection = MixtureSelection(
        covariance_type="full", max_components=2, criterion=lambda e, X, w: e.bic(X)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert selection.fit(frame).n_components_ == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_without_any_value_are_no_rows_to_a_criterion(weighted):
    rng = np.random.default_rng(0)
    X = blobs(0, n=150)
    weights = rng.integers(1, 4, 300) if weighted else None
    more = np.concatenate([X, np.full((3000, X.shape[1]), np.nan)])
    more_weights = np.concatenate([weights, np.ones(3000)]) if weighted else None
    model = BigLearnEM(2, random_state=0).fit(X)
    for criterion in (model.aic, model.bic, model.icl):
        expected = criterion(X, sample_weight=weights)
        assert criterion(more, sample_weight=more_weights) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="no row has a value"):
        model.bic(more[300:])


def with_indicator(seed=0, N=400):
    """An indicator, a number, and a target that is linear in both."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.random(N) < 0.3, rng.normal(size=N)])
    return X, 3 * X[:, 0] + X[:, 1] + 0.1 * rng.normal(size=N)


@pytest.mark.parametrize("gap", ["one value", "one row", "a fifth"])
def test_gaps_do_not_blur_indicators(gap):
    X, y = with_indicator()
    gaps = X.copy()
    if gap == "a fifth":
        gaps[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    elif gap == "one value":
        gaps[0, 1] = np.nan
    else:
        gaps, y = np.r_[gaps, [[np.nan, np.nan]]], np.append(y, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor = MixtureRegressor(BigLearnEM(1)).fit(gaps[: len(X)], y[: len(X)])
        joint = BigLearnEM(1).fit(np.column_stack([gaps, y]))
    mean, deviation = regressor.predict([[0, 0], [1, 0.0]], return_std=True)
    np.testing.assert_allclose(mean, [0, 3], atol=0.03)
    np.testing.assert_allclose(deviation, 0.1, rtol=0.15)
    complete = np.column_stack([X, y[: len(X)]])
    if gap != "a fifth":
        best = BigLearnEM(1).fit(complete).score(complete)
        assert joint.score(complete) == pytest.approx(best, abs=1e-2)


def test_one_hot_columns_that_sum_to_one_do_not_blur_each_other():
    rng = np.random.default_rng(0)
    x, city = rng.normal(size=300), rng.integers(0, 3, 300)
    dummies = np.eye(3)[city]
    y = x + dummies @ [0, 5, 9] + 0.1 * rng.normal(size=300)
    errors = []
    for columns in (dummies, dummies[:, 1:]):
        X = np.column_stack([x, columns])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the columns that are redundant
            mean, deviation = MixtureRegressor(BigLearnEM(1)).fit(X, y).predict(X, return_std=True)
        errors.append(np.sqrt(np.mean((mean - y) ** 2)))
        np.testing.assert_allclose(deviation, errors[-1], rtol=0.05)
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_columns_that_repeat_others_add_little_to_the_variance_of_an_indicator():
    X, _ = with_indicator()
    b, x = X.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = BigLearnEM(1).fit(np.column_stack([x, b, 1 - b, x + b]))
    assert b.var() <= model.covariances_[0][1, 1] < 1.15 * b.var()


@pytest.mark.parametrize(
    ("noise", "dtype", "gap"),
    [
        (1e-2, np.float32, False),
        (3e-3, np.float32, False),
        (1e-3, np.float32, False),
        (3e-3, np.float64, True),
        (1e-4, np.float64, True),
        (1e-6, np.float64, False),
    ],
)
def test_a_close_relation_keeps_its_deviation(noise, dtype, gap):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    y = X @ [2, 1] + noise * rng.normal(size=500)
    if gap:
        X[0, 1] = np.nan
    _, deviation = (
        MixtureRegressor(BigLearnEM(1))
        .fit(X.astype(dtype), y.astype(dtype))
        .predict(X[1:2].astype(dtype), return_std=True)
    )
    assert deviation[0] == pytest.approx(noise, rel=0.1)


def test_tables_of_few_values_have_the_moments_of_all_their_rows():
    X = (np.random.default_rng(0).random((2000, 2)) < [0.02, 0.3]).astype(float)
    model = BigLearnEM(1).fit(X)
    np.testing.assert_allclose(model.covariances_[0], np.cov(X.T, bias=True), rtol=1e-6)


def test_one_component_gains_nothing_by_its_floor_where_numbers_are_compared():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(300, 2)), np.eye(3)[rng.integers(0, 3, 300)]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the columns that are redundant
        alone = BigLearnEM(1).fit(X)
        selection = MixtureSelection(covariance_type="full", max_components=1).fit(X)
    assert selection.n_components_ == 1
    assert selection.covariance_floor_ > 2 * alone.covariance_floor_
