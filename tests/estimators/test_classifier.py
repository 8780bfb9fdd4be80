"""Classification by one mixture a class."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from biglearn_core import BigLearnEM, JointEM, MixtureClassifier
from tests.helpers import check_convention

FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


def stripes(seed, N=800):
    """Two classes of two clusters each, which no quadric parts."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 4, N)
    centres = np.array([[0, 0], [8, 0], [4, 0], [12, 0]])
    return centres[z] + 0.7 * rng.standard_normal((N, 2)), np.array(["even", "odd"])[z // 2]


@parametrize_with_checks([MixtureClassifier(), MixtureClassifier(JointEM(2))])
def test_scikit_learn_conventions(estimator, check):
    check_convention(estimator, check)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_one_component_is_quadratic_discriminant_analysis(load):
    X, y = load(return_X_y=True)
    # Their rank is judged in the units of the data, their variances have N − 1 below.
    theirs = QuadraticDiscriminantAnalysis(tol=1e-15)
    ours = cross_val_predict(MixtureClassifier(), X, y, cv=FOLDS)
    assert (ours == cross_val_predict(theirs, X, y, cv=FOLDS)).mean() > 0.99
    assert (ours == y).mean() > 0.95


def test_digits_are_read_as_well():
    X, y = load_digits(return_X_y=True)
    X, y = X[:900], y[:900]
    with pytest.warns(ConvergenceWarning, match="covariance floor"):
        ours = cross_val_predict(MixtureClassifier(), X, y, cv=FOLDS)
    theirs = cross_val_predict(QuadraticDiscriminantAnalysis(reg_param=0.01), X, y, cv=FOLDS)
    assert (ours == y).mean() > (theirs == y).mean() - 0.02


def test_several_components_part_what_no_quadric_does():
    X, y = stripes(0)
    X_test, y_test = stripes(1)
    assert MixtureClassifier().fit(X, y).score(X_test, y_test) < 0.7
    model = MixtureClassifier(BigLearnEM(2), random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.98
    search = GridSearchCV(model, {"mixture__n_components": [1, 2]}, cv=3).fit(X, y)
    assert search.best_params_ == {"mixture__n_components": 2}


def test_probabilities_are_bayes_rule_on_the_densities_of_the_classes():
    X, y = stripes(0)
    model = MixtureClassifier(BigLearnEM(2), random_state=0).fit(X, y)
    shares = np.array([(y == c).mean() for c in model.classes_])
    np.testing.assert_allclose(model.priors_, shares)
    columns = []
    for c, mixture in zip(model.classes_, model.mixture_estimators_, strict=True):
        fitted = GaussianMixture(2, random_state=0, n_init=3, tol=1e-9, reg_covar=0).fit(X[y == c])
        np.testing.assert_allclose(mixture.score(X[y == c]), fitted.score(X[y == c]), atol=1e-4)
        columns.append(mixture.score_samples(X))
    joint = np.column_stack(columns) + np.log(shares)
    log_density = logsumexp(joint, axis=1)
    np.testing.assert_allclose(model.score_samples(X), log_density)
    np.testing.assert_allclose(model.predict_log_proba(X), joint - log_density[:, None], atol=1e-9)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba, np.exp(joint - log_density[:, None]), atol=1e-12)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict(X), model.classes_[joint.argmax(axis=1)])
    np.testing.assert_allclose(model.decision_function(X), joint[:, 1] - joint[:, 0])
    iris, species = load_iris(return_X_y=True)
    assert MixtureClassifier().fit(iris, species).decision_function(iris).shape == (150, 3)


def test_priors_by_class_are_taken_by_class():
    X, y = load_iris(return_X_y=True)
    X, names = X[20:], np.array(["b", "c", "a"])[y][20:]
    ordered = MixtureClassifier(priors=[0.5, 0.2, 0.3]).fit(X, names)
    for priors in (
        {"b": 0.2, "c": 0.3, "a": 0.5},
        pd.Series({"c": 0.3, "a": 0.5, "b": 0.2}),
        pd.Series([0.5, 0.2, 0.3]),
    ):
        model = MixtureClassifier(priors=priors).fit(X, names)
        np.testing.assert_array_equal(model.priors_, ordered.priors_)
    shares = pd.Series(names).value_counts(normalize=True)
    assert list(shares.index) != sorted(shares.index)
    model = MixtureClassifier(priors=shares).fit(X, names)
    np.testing.assert_allclose(model.priors_, MixtureClassifier().fit(X, names).priors_)
    for wrong in ({"a": 0.5, "b": 0.5}, pd.Series({"a": 0.5, "b": 0.2, "d": 0.3})):
        with pytest.raises(ValueError, match=r"but the classes are \['a', 'b', 'c'\]"):
            MixtureClassifier(priors=wrong).fit(X, names)


def test_priors_may_be_given():
    X, y = load_iris(return_X_y=True)
    plain = MixtureClassifier().fit(X, y)
    model = MixtureClassifier(priors=[0.5, 0.5, 0]).fit(X, y)
    assert set(model.predict(X)) == {0, 1}
    assert (model.predict_proba(X)[:, 2] == 0).all()
    expected = plain.predict_log_proba(X)[:, 0] - plain.predict_log_proba(X)[:, 1]
    ours = model.predict_log_proba(X)[:, 0] - model.predict_log_proba(X)[:, 1]
    np.testing.assert_allclose(ours, expected, atol=1e-8)
    for priors, text in (
        ([0.5, 0.5], r"shape \(2,\), but there are 3 classes"),
        ([0.5, 0.6, 0.1], "sum to one"),
        ([1.5, -0.5, 0], "non-negative"),
        ([0.5, np.nan, 0.5], "non-negative"),
    ):
        with pytest.raises(ValueError, match=text):
            MixtureClassifier(priors=priors).fit(X, y)


def test_weights_are_copies_and_rows_without_weight_absent():
    X, y = stripes(2, N=300)
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    model = MixtureClassifier(JointEM(2), random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    copies = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.priors_, copies.priors_)
    np.testing.assert_allclose(weighted.predict_proba(X), copies.predict_proba(X), atol=1e-7)
    tiny = clone(model).fit(X, y, sample_weight=weights * 1e-300)
    np.testing.assert_allclose(tiny.predict_proba(X), weighted.predict_proba(X), atol=1e-7)
    other = clone(model).fit(X, y, sample_weight=y == "odd")
    assert other.classes_.tolist() == ["odd"]
    assert set(other.predict(X)) == {"odd"}


def test_missing_features_are_integrated_out():
    X, y = load_iris(return_X_y=True)
    gaps = X.copy()
    gaps[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    assert get_tags(MixtureClassifier()).input_tags.allow_nan
    model = MixtureClassifier().fit(gaps, y)
    assert model.score(X, y) > 0.95
    assert model.score(gaps, y) > 0.9
    nothing = np.full((1, 4), np.nan)
    np.testing.assert_allclose(model.predict_proba(nothing), model.priors_[None])
    plain = MixtureClassifier(JointEM(1))
    assert not get_tags(plain).input_tags.allow_nan
    for broken in (lambda: plain.fit(gaps, y), lambda: plain.fit(X, y).predict(gaps)):
        with pytest.raises(ValueError, match="NaN"):
            broken()


def test_neither_units_nor_other_rows_matter():
    X, y = load_wine(return_X_y=True)
    units = 10.0 ** np.random.default_rng(0).integers(-6, 6, X.shape[1])
    model = MixtureClassifier(random_state=0).fit(X, y)
    other = MixtureClassifier(random_state=0).fit(X * units + units, y)
    expected = model.predict_log_proba(X)
    np.testing.assert_allclose(other.predict_log_proba(X * units + units), expected, atol=1e-4)
    np.testing.assert_allclose(model.predict_log_proba(X[3:5]), expected[3:5], atol=1e-9)


def test_far_rows_have_a_class_as_long_as_a_density():
    X, y = load_iris(return_X_y=True)
    for dtype in (np.float32, np.float64):
        model = MixtureClassifier().fit(X.astype(dtype), y)
        far = np.full((2, 4), 1e30, dtype=dtype)
        proba = model.predict_proba(far)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        assert proba.dtype == np.float64
    with pytest.raises(ValueError, match="2 of 2 rows, row 0 the first, lie so far out"):
        model.predict(np.full((2, 4), 1e200))


def test_frames_clones_and_pickles():
    pandas = pytest.importorskip("pandas")
    X, y = stripes(0, N=200)
    frame = pandas.DataFrame(X, columns=["a", "b"])
    model = MixtureClassifier(BigLearnEM(2), random_state=0).fit(frame, pandas.Series(y))
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict_proba(frame), model.predict_proba(frame))
    again = clone(model).fit(frame, y)
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))


def test_a_class_of_few_rows_is_told_by_name():
    X, y = stripes(0, N=60)
    y[:3] = "rare"
    rest = y != "rare"
    model = MixtureClassifier(BigLearnEM(4))
    with pytest.raises(
        ValueError,
        match=r"class rare with 3 rows: n_components=4 exceeds .* fewer .* drop the class",
    ):
        model.fit(X, y)
    assert not hasattr(model, "classes_")
    model.fit(X[rest], y[rest])
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="class rare"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    y[1:3] = "even"
    with pytest.warns(ConvergenceWarning, match="covariance floor"):
        single = MixtureClassifier().fit(X, y)
    assert single.predict(X[:1]).tolist() == ["rare"]


@pytest.mark.parametrize(
    ("y", "error", "text"),
    [
        (None, ValueError, "requires y to be passed"),
        (np.arange(59), ValueError, "inconsistent numbers of samples"),
        (np.linspace(0, 1, 60), ValueError, "Unknown label type"),
        (np.full((60, 2), 1), ValueError, "y should be a 1d array"),
        (np.full(60, np.nan), ValueError, "NaN"),
    ],
)
def test_labels_that_cannot_be_are_refused(y, error, text):
    with pytest.raises(error, match=text):
        MixtureClassifier().fit(stripes(0, N=60)[0], y)


def test_before_fit_and_other_mixtures():
    for method in ("predict", "predict_proba", "decision_function", "score_samples"):
        with pytest.raises(NotFittedError, match="fit"):
            getattr(MixtureClassifier(), method)([[1.0]])
    X, y = stripes(0, N=60)
    with pytest.raises(TypeError, match="mixture must be"):
        MixtureClassifier(QuadraticDiscriminantAnalysis()).fit(X, y)
