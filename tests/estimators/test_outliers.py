"""Outliers by the density of a mixture."""

import pickle

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from biglearn_core import BigLearnEM, JointEM, MixtureOutlierDetector
from biglearn_core.estimators.outliers import _threshold
from tests.helpers import check_convention


def clusters(seed, N=600):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 2, N)
    return np.array([[0, 0, 0], [9, 9, 0]])[z] + rng.standard_normal((N, 3)) * [1, 0.5, 2]


def gaps(X, seed, share=0.2):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


# By one Gaussian, none of the checks' rows (three clusters) is an outlier, and they ask for some:
# with contamination="auto" they need a mixture that fits.
@parametrize_with_checks(
    [
        MixtureOutlierDetector(BigLearnEM(3)),
        MixtureOutlierDetector(contamination=0.1),
        MixtureOutlierDetector(JointEM(2), contamination=0.2),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check_convention(estimator, check)


@pytest.mark.parametrize("D", [1, 3, 10])
def test_the_level_of_one_gaussian_is_that_of_chi_square(D):
    X = np.random.default_rng(D).standard_normal((500, D))
    model = MixtureOutlierDetector(random_state=0).fit(X)
    peak = model.score_samples(model.mixture_estimator_.means_)[0]
    outside = chi2.sf(2 * (peak - model.offset_), D)
    assert outside == pytest.approx(0.025, abs=4 * np.sqrt(0.025 * 0.975 / 20_000))


@pytest.mark.parametrize("seed", range(3))
def test_auto_calls_one_row_of_forty_of_the_mixture_an_outlier(seed):
    X = clusters(seed)
    model = MixtureOutlierDetector(BigLearnEM(2), random_state=seed).fit(X)
    fresh = clusters(100 + seed, N=20_000)
    assert (model.predict(fresh) == -1).mean() == pytest.approx(0.025, abs=0.012)
    assert model.predict([[0, 0, 0], [9, 9, 0], [4.5, 4.5, 0]]).tolist() == [1, 1, -1]


def test_scores_decisions_and_labels_belong_together():
    X = clusters(0)
    for contamination in ("auto", 0.1):
        model = MixtureOutlierDetector(
            BigLearnEM(2), contamination=contamination, random_state=0
        ).fit(X)
        scores, decision = model.score_samples(X), model.decision_function(X)
        np.testing.assert_array_equal(scores, model.mixture_estimator_.score_samples(X))
        np.testing.assert_allclose(decision, scores - model.offset_, atol=1e-9)
        np.testing.assert_array_equal(model.predict(X), np.where(decision < 0, -1, 1))
        np.testing.assert_array_equal(clone(model).fit_predict(X), model.predict(X))


@pytest.mark.parametrize("contamination", [1e-6, 0.01, 0.1, 0.37, 0.5])
@pytest.mark.parametrize("N", [100, 101])
def test_contamination_is_the_share_of_the_training_rows(contamination, N):
    X = clusters(0, N=N)
    model = MixtureOutlierDetector(JointEM(1), contamination=contamination).fit(X)
    scores = np.sort(model.score_samples(X))
    n_outliers = (model.predict(X) == -1).sum()
    assert n_outliers == np.ceil(contamination * N - 1e-9)
    assert scores[n_outliers - 1] < model.offset_ < scores[n_outliers]
    theirs = np.quantile(scores, contamination)
    assert scores[n_outliers - 1] <= theirs <= scores[n_outliers]


def test_weights_are_copies_and_relative():
    X = clusters(1, N=200)
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    copies = np.repeat(X, weights, axis=0)
    for contamination in ("auto", 0.1):
        model = MixtureOutlierDetector(JointEM(2), contamination=contamination, random_state=0)
        weighted = clone(model).fit(X, sample_weight=weights)
        repeated = clone(model).fit(copies)
        tiny = clone(model).fit(X, sample_weight=weights * 1e-300)
        np.testing.assert_allclose(weighted.offset_, repeated.offset_, atol=1e-6)
        np.testing.assert_allclose(weighted.offset_, tiny.offset_, atol=1e-6)
        np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))
    far = np.concatenate([X, [[1e6, 1e6, 1e6]]])
    model = MixtureOutlierDetector(JointEM(1), contamination=0.1).fit(
        far, sample_weight=np.append(np.ones(len(X)), 0)
    )
    assert (model.predict(X) == -1).sum() == 20


def test_rows_that_are_all_equal_are_no_outliers():
    X = np.repeat([[1.0, 2.0], [3.0, 5.0]], [20, 60], axis=0)
    with pytest.warns(ConvergenceWarning, match="covariance floor"):
        model = MixtureOutlierDetector(contamination=0.1).fit(X)
    assert (model.predict(X) == -1).sum() in (20, 60)
    with pytest.warns(ConvergenceWarning, match="covariance floor"):
        model = MixtureOutlierDetector(contamination=0.1).fit(X[:20])
    assert (model.predict(X[:20]) == 1).all()


@pytest.mark.parametrize(
    ("values", "weights", "share", "expected"),
    [
        ([3, 1, 2, 4], [1, 1, 1, 1], 0.25, 1.5),
        ([3, 1, 2, 4], [1, 1, 1, 1], 0.3, 2.5),
        ([3, 1, 2, 4], [1, 2, 1, 0], 0.5, 1.5),
        ([1, 1, 1, 4], [1, 1, 1, 1], 0.25, 2.5),
        ([1, 2, 4, 4, 4], [1, 1, 1, 1, 1], 0.5, 3.0),
        ([4, 4, 4], [1, 1, 1], 0.5, 3.0),
    ],
)
def test_thresholds_by_hand(values, weights, share, expected):
    values, weights = np.array(values, dtype=float), np.array(weights, dtype=float)
    assert _threshold(values, weights, share) == expected


@pytest.mark.parametrize("contamination", ["auto", 0.025])
def test_rows_with_gaps_are_held_against_their_like(contamination):
    X = gaps(clusters(0, N=2000), 0)
    X[0] = np.nan
    model = MixtureOutlierDetector(BigLearnEM(2), contamination=contamination, random_state=0).fit(
        X
    )
    fresh = gaps(clusters(9, N=20_000), 9)
    labels, n_gaps = model.predict(fresh), np.isnan(fresh).sum(axis=1)
    for n in range(3):
        assert (labels[n_gaps == n] == -1).mean() == pytest.approx(0.025, abs=0.015)
    assert (labels[n_gaps == 3] == 1).all()
    assert model.predict([[np.nan, 4.5, np.nan], [np.nan, 9, np.nan]]).tolist() == [-1, 1]
    plain = MixtureOutlierDetector(JointEM(2), random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        plain.fit(X)
    with pytest.raises(ValueError, match="NaN"):
        plain.fit(clusters(0)).predict(X)


def test_verdicts_depend_neither_on_units_nor_on_other_rows():
    X = gaps(clusters(0), 1)
    units, shift = np.array([1e5, 1, 1e-4]), np.array([0, 1e3, 5])
    for contamination in ("auto", 0.1):
        model = MixtureOutlierDetector(BigLearnEM(2), contamination=contamination, random_state=0)
        here = clone(model).fit(X)
        there = clone(model).fit(X * units + shift)
        decision = here.decision_function(X)
        np.testing.assert_allclose(there.decision_function(X * units + shift), decision, atol=1e-5)
        np.testing.assert_allclose(here.decision_function(X[5:9]), decision[5:9], atol=1e-9)


def test_seeds_dtypes_frames_and_pickles():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(clusters(0), columns=["a", "b", "c"])
    model = MixtureOutlierDetector(BigLearnEM(2), random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert clone(model).fit(frame).offset_ == model.offset_
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["c", "b", "a"]])
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.decision_function(frame), model.decision_function(frame))
    single = frame.to_numpy(np.float32)
    other = MixtureOutlierDetector(BigLearnEM(2), random_state=0).fit(single)
    assert other.score_samples(single).dtype == np.float32
    assert (other.predict(single) == model.predict(frame)).mean() > 0.99


@pytest.mark.parametrize("contamination", [0, 0.0, -0.1, 0.6, 1, "automatic", None, True, np.nan])
def test_shares_that_cannot_be_are_refused(contamination):
    model = MixtureOutlierDetector(contamination=contamination)
    with pytest.raises(
        ValueError, match=r'contamination must be.*give a share of the rows, or "auto"'
    ):
        model.fit(clusters(0))
    assert not hasattr(model, "offset_")


def test_before_fit_and_other_mixtures():
    for method in ("predict", "score_samples", "decision_function"):
        with pytest.raises(NotFittedError, match="fit"):
            getattr(MixtureOutlierDetector(), method)([[1.0]])
    with pytest.raises(TypeError, match="mixture must be"):
        MixtureOutlierDetector(EllipticEnvelope()).fit(clusters(0))


def test_real_outliers_are_found():
    X, y = load_breast_cancer(return_X_y=True)
    benign, malignant = X[y == 1], X[y == 0]
    model = MixtureOutlierDetector(random_state=0).fit(benign[:300])
    rest = np.concatenate([benign[300:], malignant])
    truth = np.repeat([1, 0], [len(benign) - 300, len(malignant)])
    assert roc_auc_score(truth, model.decision_function(rest)) > 0.9
    X, y = load_wine(return_X_y=True)
    model = MixtureOutlierDetector(random_state=0).fit(X[y != 2])
    assert (model.predict(X[y == 2]) == -1).mean() > 0.95
