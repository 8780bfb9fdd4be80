"""Gaps filled in a pipeline."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from biglearn_core import BigLearnEM, MixtureImputer, MixtureSelection
from tests.helpers import check_convention


def hide(X, seed, share=0.2):
    hidden = np.random.default_rng(seed).random(X.shape) < share
    return np.where(hidden, np.nan, X), hidden


@parametrize_with_checks(
    [MixtureImputer(), MixtureImputer(BigLearnEM(2), sample_posterior=True, random_state=0)]
)
def test_scikit_learn_conventions(estimator, check):
    check_convention(estimator, check)


def test_of_one_gaussian_a_gap_gets_the_regression_on_the_rest():
    X, _ = hide(load_iris().data, 0)
    imputer = MixtureImputer(random_state=0).fit(X)
    mean, covariance = (
        imputer.mixture_estimator_.means_[0],
        imputer.mixture_estimator_.covariances_[0],
    )
    for row, filled in zip(X, imputer.transform(X), strict=True):
        known, gap = ~np.isnan(row), np.isnan(row)
        within, across = covariance[np.ix_(known, known)], covariance[np.ix_(known, gap)]
        slope = np.linalg.lstsq(within, across, rcond=None)[0]
        expected = mean[gap] + (row[known] - mean[known]) @ slope
        np.testing.assert_allclose(filled[gap], expected, rtol=1e-6)
        np.testing.assert_array_equal(filled[known], row[known])


@pytest.mark.parametrize(("load", "n_components"), [(load_iris, 3), (load_wine, 1)])
def test_rows_never_seen_are_filled_better_than_by_column_means(load, n_components):
    X = load().data
    order = np.random.default_rng(1).permutation(len(X))
    seen, _ = hide(X[order[::2]], 3)
    fresh = X[order[1::2]]
    gaps, hidden = hide(fresh, 2)

    def error(imputer):
        misses = (imputer.fit(seen).transform(gaps) - fresh) / X.std(axis=0)
        return np.mean(misses[hidden] ** 2)

    mixture = MixtureImputer(BigLearnEM(n_components), random_state=0)
    assert error(mixture) < 0.75 * error(SimpleImputer())


def test_draws_vary_as_the_data_do_and_expectations_less():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, 1))
    X = np.hstack([z, z]) + 0.8 * rng.standard_normal((4000, 2))
    gaps, hidden = hide(X, 1, share=0.3)
    spread = {
        drawn: MixtureImputer(sample_posterior=drawn, random_state=0)
        .fit_transform(gaps)[hidden]
        .std()
        for drawn in (False, True)
    }
    assert spread[True] == pytest.approx(X.std(), rel=0.04)
    assert spread[False] < 0.7 * X.std()


def test_an_integer_seed_repeats_the_draws():
    X, hidden = hide(load_iris().data, 0)
    imputer = MixtureImputer(sample_posterior=True, random_state=3).fit(X)
    np.testing.assert_array_equal(imputer.transform(X), imputer.transform(X))
    other = MixtureImputer(sample_posterior=True, random_state=4).fit_transform(X)
    assert (imputer.transform(X) != other)[hidden].mean() > 0.9


def test_frames_come_back_as_frames():
    X = load_iris(as_frame=True).data
    gaps = X.mask(hide(X.to_numpy(), 0)[1])
    imputer = MixtureImputer(BigLearnEM(3), random_state=0).set_output(transform="pandas")
    filled = imputer.fit_transform(gaps)
    assert isinstance(filled, pd.DataFrame)
    assert list(filled.columns) == list(X.columns) == list(imputer.get_feature_names_out())
    assert filled.index.equals(X.index)
    assert not filled.isna().any().any()
    np.testing.assert_allclose(filled, imputer.mixture_estimator_.impute(gaps.to_numpy()))


def test_the_number_of_components_can_be_searched_in_a_pipeline():
    X, y = load_iris(return_X_y=True)
    gaps, _ = hide(X, 0, share=0.1)
    imputer = MixtureImputer(BigLearnEM(), random_state=0)
    pipeline = make_pipeline(imputer, LinearDiscriminantAnalysis())
    search = GridSearchCV(pipeline, {"mixtureimputer__mixture__n_components": [1, 2]}, cv=2)
    assert search.fit(gaps, y).best_score_ > 0.85


def test_a_mixture_may_be_chosen_by_a_criterion():
    X, _ = hide(load_iris().data, 0, share=0.1)
    selection = MixtureSelection(max_components=3, covariance_type="full", random_state=0)
    imputer = MixtureImputer(selection).fit(X)
    chosen = imputer.mixture_estimator_.best_estimator_
    np.testing.assert_array_equal(imputer.transform(X), chosen.impute(X))


def test_weights_are_copies():
    X, _ = hide(load_iris().data, 0)
    weights = np.random.default_rng(0).integers(1, 4, len(X))
    weighted = MixtureImputer(random_state=0).fit(X, sample_weight=weights).transform(X)
    copied = MixtureImputer(random_state=0).fit(np.repeat(X, weights, axis=0)).transform(X)
    np.testing.assert_allclose(weighted, copied, rtol=1e-4)


def test_what_cannot_be_is_refused():
    X, _ = hide(load_iris().data, 0)
    with pytest.raises(NotFittedError):
        MixtureImputer().transform(X)
    with pytest.raises(TypeError, match="sample_posterior must be True or False, got 'yes'"):
        MixtureImputer(sample_posterior="yes").fit(X)
    with pytest.raises(TypeError, match="mixture must be a mixture estimator"):
        MixtureImputer(SimpleImputer()).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        MixtureImputer(BigLearnEM(2, preset="paper")).fit(X)
    with pytest.raises(ValueError, match="features"):
        MixtureImputer().fit(X).transform(X[:, :2])
