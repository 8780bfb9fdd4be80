"""Regression by a mixture of features and targets."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from biglearn_core import BigLearnEM, JointEM, MixtureRegressor
from tests.helpers import check_convention


def kink(seed, N=600):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (N, 2))
    return X, np.abs(X[:, 0]) - 0.5 * X[:, 1] + 0.05 * rng.standard_normal(N)


@parametrize_with_checks([MixtureRegressor(), MixtureRegressor(JointEM(2))])
def test_scikit_learn_conventions(estimator, check):
    check_convention(estimator, check)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_targets", [0, 1, 2])
def test_one_component_is_linear_regression(weighted, n_targets):
    X, y = load_diabetes(return_X_y=True)
    Y = np.column_stack([y, X[:, 0] + 0.05 * np.sin(np.arange(len(y)))])[:, :n_targets]
    X, y = X[:, 1:], y if n_targets == 0 else Y
    weights = np.random.default_rng(0).integers(0, 4, len(X)) if weighted else np.ones(len(X))
    model = MixtureRegressor().fit(X, y, sample_weight=weights if weighted else None)
    linear = LinearRegression().fit(X, y, sample_weight=weights)
    expected = linear.predict(X)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape
    np.testing.assert_allclose(mean, expected, atol=1e-9 * np.abs(y).max())
    np.testing.assert_array_equal(model.predict(X), mean)
    residuals = y - expected
    deviation = np.sqrt(np.average(residuals**2, axis=0, weights=weights))
    np.testing.assert_allclose(std, np.broadcast_to(deviation, std.shape), rtol=1e-9)
    _, covariance = model.predict(X, return_cov=True)
    residuals = residuals.reshape(len(X), -1)
    expected = np.cov(residuals.T, ddof=0, fweights=weights.astype(int)).reshape(
        residuals.shape[1], -1
    )
    np.testing.assert_allclose(
        covariance, np.broadcast_to(expected, (len(X), *expected.shape)), rtol=1e-8
    )
    assert model.n_outputs_ == residuals.shape[1]


def test_what_is_linear_in_pieces_is_found():
    X, y = kink(0)
    X_test, y_test = kink(1)
    model = MixtureRegressor(BigLearnEM(4), random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.99
    assert LinearRegression().fit(X, y).score(X_test, y_test) < 0.7
    mean, std = model.predict(X_test, return_std=True)
    z = (y_test - mean) / std
    assert 0.7 < np.std(z) < 1.3
    low, high = model.predict_quantiles(X_test, [0.05, 0.95]).T
    assert ((low < y_test) & (y_test < high)).mean() == pytest.approx(0.9, abs=0.05)


def test_two_branches_are_seen_in_quantiles_and_draws():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 1000)
    sign = rng.choice([-1, 1], 1000)
    y = sign * (2 + x) + 0.1 * rng.standard_normal(1000)
    model = MixtureRegressor(BigLearnEM(2), random_state=0).fit(x[:, None], y)
    at = np.array([[0.0], [0.5]])
    mean, std = model.predict(at, return_std=True)
    np.testing.assert_allclose(mean, 0, atol=0.2)
    np.testing.assert_allclose(std, [2, 2.5], rtol=0.05)
    quantiles = model.predict_quantiles(at, [0.2, 0.8])
    np.testing.assert_allclose(quantiles, [[-2, 2], [-2.5, 2.5]], atol=0.1)
    np.testing.assert_array_equal(model.predict_quantiles(at, 0.8), quantiles[:, 1])
    draws = model.sample_y(at, 500, random_state=0)
    assert draws.shape == (2, 500)
    np.testing.assert_allclose(np.abs(draws).mean(axis=1), [2, 2.5], atol=0.05)
    np.testing.assert_array_equal(draws, model.sample_y(at, 500))
    assert (model.sample_y(at, random_state=1) != model.sample_y(at, random_state=2)).all()


def test_shapes_follow_the_targets():
    X, y = kink(0, N=100)
    for targets, tail in ((y, ()), (y[:, None], (1,)), (np.c_[y, X[:, 0] ** 2], (2,))):
        model = MixtureRegressor(random_state=0).fit(X, targets)
        assert model.predict(X[:7]).shape == (7, *tail)
        assert model.predict(X[:7], return_std=True)[1].shape == (7, *tail)
        assert model.predict(X[:7], return_cov=True)[1].shape == (7, *(tail * 2 or (1, 1)))
        assert model.predict_quantiles(X[:7], 0.5).shape == (7, *tail)
        assert model.predict_quantiles(X[:7], [0.1, 0.5, 0.9]).shape == (7, *tail, 3)
        assert model.sample_y(X[:7], 5).shape == (7, *tail, 5)
        assert model.condition(X[:7]).means.shape == (7, *(tail or (1,)))
        model.predict(X[:7])[...] = 0  # nothing that is handed out is shared


def test_missing_features_are_integrated_out():
    X, y = kink(0)
    gaps = X.copy()
    gaps[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = MixtureRegressor(BigLearnEM(4), random_state=0).fit(gaps, y)
    assert get_tags(model).input_tags.allow_nan
    X_test, y_test = kink(1)
    assert model.score(X_test, y_test) > 0.9
    X_test[:, 1] = np.nan
    mean, std = model.predict(X_test, return_std=True)
    assert np.corrcoef(mean, np.abs(X_test[:, 0]))[0, 1] > 0.95
    # What the missing feature would have told is in the spread: 0.5 × the deviation of U(−2, 2).
    assert np.median(std) == pytest.approx(0.5 * 2 / np.sqrt(3), rel=0.15)
    plain = MixtureRegressor(JointEM(2), random_state=0)
    assert not get_tags(plain).input_tags.allow_nan
    for broken in (lambda: plain.fit(gaps, y), lambda: plain.fit(X, y).predict(X_test)):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            broken()


def test_units_do_not_matter():
    X, y = kink(0, N=300)
    model = MixtureRegressor(BigLearnEM(3), random_state=0).fit(X, y)
    other = MixtureRegressor(BigLearnEM(3), random_state=0).fit(X * [1e5, 1e-4] + 3, 1e6 * y - 4)
    mean, std = model.predict(X, return_std=True)
    moved, wide = other.predict(X * [1e5, 1e-4] + 3, return_std=True)
    np.testing.assert_allclose(moved, 1e6 * mean - 4, rtol=1e-6)
    np.testing.assert_allclose(wide, 1e6 * std, rtol=1e-6)


def test_dtypes_frames_clones_pickles_and_grids():
    pandas = pytest.importorskip("pandas")
    X, y = kink(0, N=200)
    single = MixtureRegressor(random_state=0).fit(X.astype(np.float32), y)
    assert single.mixture_estimator_.means_.dtype == np.float32
    assert single.predict(X.astype(np.float32)).dtype == np.float32
    frame = pandas.DataFrame(X, columns=["a", "b"])
    model = MixtureRegressor(BigLearnEM(2), random_state=0).fit(frame, pandas.Series(y, name="y"))
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(frame), model.predict(frame))
    assert repr(clone(model)) == repr(model)
    assert model.mixture_estimator_ is not model.mixture
    assert not hasattr(model.mixture, "n_features_in_")
    again = MixtureRegressor(BigLearnEM(2), random_state=0).fit(frame, y)
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    search = GridSearchCV(model, {"mixture__n_components": [1, 4]}, cv=3).fit(X, y)
    assert search.best_params_ == {"mixture__n_components": 4}


def test_the_random_state_of_the_mixture_is_left_alone_or_set():
    X, y = kink(0, N=100)
    kept = MixtureRegressor(JointEM(2, random_state=7)).fit(X, y)
    assert kept.mixture_estimator_.random_state == 7
    one, two = (
        MixtureRegressor(JointEM(2, random_state=7), random_state=s).fit(X, y) for s in (0, 1)
    )
    assert one.mixture_estimator_.random_state not in (7, two.mixture_estimator_.random_state)


@pytest.mark.parametrize(
    ("mixture", "X", "y", "error", "text"),
    [
        (None, np.ones((5, 2)), None, ValueError, "requires y to be passed"),
        (None, np.ones((5, 2)), np.ones(4), ValueError, "inconsistent numbers of samples"),
        (None, np.ones((5, 2)), np.array([1, 2, 3, 4, np.nan]), ValueError, "Input y contains NaN"),
        (None, np.ones((5, 2)), np.ones((5, 1, 1)), ValueError, "y must have one axis or two"),
        (BigLearnEM, np.ones((5, 2)), np.ones(5), TypeError, "got the class BigLearnEM"),
        (LinearRegression(), np.ones((5, 2)), np.ones(5), TypeError, "got LinearRegression"),
        (3, np.ones((5, 2)), np.ones(5), TypeError, "BigLearnEM.3., or None, got 3 of type int"),
        (JointEM(9), np.eye(5), np.ones(5), ValueError, "exceeds the number of rows"),
    ],
)
def test_what_cannot_be_fitted_is_refused_and_leaves_all_as_it_was(mixture, X, y, error, text):
    with pytest.raises(error, match=text):
        MixtureRegressor(mixture).fit(X, y)
    model = MixtureRegressor().fit(*kink(0, N=50))
    before = dict(vars(model))
    model.set_params(mixture=mixture)
    with pytest.raises(error, match=text):
        model.fit(X, y)
    assert vars(model) == {**before, "mixture": mixture}


def test_questions_before_fit_and_two_at_once():
    for method in ("predict", "sample_y", "condition"):
        with pytest.raises(NotFittedError, match="fit"):
            getattr(MixtureRegressor(), method)([[1.0]])
    X, y = kink(0, N=50)
    model = MixtureRegressor().fit(X, y)
    with pytest.raises(RuntimeError, match="cannot both"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="q must be"):
        model.predict_quantiles(X, 1.0)


def test_real_data_are_predicted_as_well_as_by_linear_regression():
    X, y = load_diabetes(return_X_y=True)
    linear = cross_val_score(LinearRegression(), X, y).mean()
    assert cross_val_score(MixtureRegressor(), X, y).mean() == pytest.approx(linear, abs=1e-9)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    assert cross_val_score(MixtureRegressor(), X, y).mean() > linear - 0.05
