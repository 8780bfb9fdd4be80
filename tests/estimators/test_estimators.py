"""The estimators as scikit-learn's users meet them."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from biglearn_core import GMM, BigLearnEM, JointEM, MixtureSelection, fit_biglearn_em
from biglearn_core.init import paper_start
from biglearn_core.search.missing import IncompletePoints, incomplete_em_step
from tests.helpers import check_convention

ESTIMATORS = [BigLearnEM, JointEM]


def blobs(seed, *, sizes=(60, 80, 100, 40), D=3, sd=0.6):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-8, 8, (len(sizes), D))
    X = np.concatenate(
        [c + sd * rng.standard_normal((n, D)) for c, n in zip(centres, sizes, strict=True)]
    )
    return X[rng.permutation(len(X))]


@parametrize_with_checks(
    [
        BigLearnEM(),
        JointEM(n_components=2),
        BigLearnEM(preset="paper", max_iter=5),
        MixtureSelection(max_components=2, covariance_type=("tied", "diag")),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check_convention(estimator, check)


@pytest.mark.parametrize("seed", range(3))
def test_single_steps_agree_with_scikit_learn(seed):
    X = blobs(seed)
    start = JointEM(4, random_state=seed).fit(X)
    ours = JointEM(4, init=start.mixture_, covariance_floor=1e-9, tol=1e-8).fit(X)
    theirs = GaussianMixture(
        4,
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=start.precisions_,
        reg_covar=0,
        tol=1e-8,
        max_iter=500,
    ).fit(X)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, atol=1e-5)
    np.testing.assert_allclose(ours.means_, theirs.means_, atol=1e-4)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, atol=1e-4)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), atol=1e-3)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    assert ours.bic(X) == pytest.approx(theirs.bic(X), abs=1e-2)
    assert ours.aic(X) == pytest.approx(theirs.aic(X), abs=1e-2)
    assert ours.lower_bound_ == pytest.approx(theirs.score(X), abs=1e-6)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("seed", range(2))
def test_clusters_do_not_depend_on_the_layout_of_the_data(Estimator, seed):
    X = blobs(seed)
    rng = np.random.default_rng(seed)
    model = Estimator(4, random_state=seed).fit(X)
    labels = model.predict(X)
    scaled = X * [1e6, 1.0, 1e-3]
    columns, rows = rng.permutation(3), rng.permutation(len(X))
    for Y, back in (
        (scaled, slice(None)),
        (X + np.array([0, 1e8, 0]), slice(None)),
        (X[:, columns], slice(None)),
        (X[rows], np.argsort(rows)),
    ):
        other = Estimator(4, random_state=seed).fit(Y)
        np.testing.assert_array_equal(other.predict(Y)[back], labels)
    moved = Estimator(4, random_state=seed).fit(scaled)
    np.testing.assert_allclose(moved.means_, model.means_ * [1e6, 1.0, 1e-3], rtol=1e-6)
    assert moved.lower_bound_ == pytest.approx(model.lower_bound_ - np.log(1e3), abs=1e-8)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_attributes_are_those_of_the_mixture(Estimator):
    X = blobs(0)
    model = Estimator(4, random_state=0).fit(X)
    assert isinstance(model.mixture_, GMM)
    GMM(model.mixture_.weights, model.mixture_.means, model.mixture_.covariances)
    expected = model.mixture_.log_prob(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(model.score_samples(X), expected, atol=1e-9)
    assert model.lower_bound_ == pytest.approx(expected.mean(), abs=1e-9)
    assert model.score(X) == pytest.approx(expected.mean())
    product = model.precisions_ @ model.covariances_
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-8)
    assert model.converged_
    assert model.n_iter_ > 0
    again = Estimator(4, random_state=0).fit_predict(X)
    np.testing.assert_array_equal(again, model.predict(X))


def test_sample_weights_in_score_and_fit():
    X = blobs(1)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    model = BigLearnEM(4, random_state=0).fit(X, sample_weight=weights)
    copies = np.repeat(X, weights, axis=0)
    np.testing.assert_allclose(
        model.means_, BigLearnEM(4, random_state=0).fit(copies).means_, atol=1e-9
    )
    assert model.score(X, sample_weight=weights) == pytest.approx(model.score(copies))
    assert model.score(copies) == pytest.approx(model.lower_bound_)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_float32_stays_float32(Estimator):
    X = blobs(2).astype(np.float32)
    model = Estimator(4, random_state=0).fit(X)
    for value in (
        model.means_,
        model.covariances_,
        model.weights_,
        model.precisions_,
        model.score_samples(X),
        model.predict_proba(X),
        model.sample(5)[0],
        model.impute(X),
    ):
        assert value.dtype == np.float32
    assert model.mixture_.dtype == torch.float32
    double = Estimator(4, random_state=0).fit(X.astype(np.float64))
    assert adjusted_rand_score(model.predict(X), double.predict(X)) > 0.99


def test_frames_pipelines_grids_clones_and_pickles():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs(3), columns=["a", "b", "c"])
    model = BigLearnEM(4, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["c", "b", "a"]])
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(frame), model.predict(frame))
    assert clone(model).get_params() == model.get_params()
    pipeline = make_pipeline(StandardScaler(), BigLearnEM(4, random_state=0)).fit(frame)
    assert adjusted_rand_score(pipeline.predict(frame), model.predict(frame)) > 0.99
    search = GridSearchCV(BigLearnEM(random_state=0), {"n_components": [1, 4]}, cv=2).fit(frame)
    assert search.best_params_ == {"n_components": 4}


def test_polars_frames():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(blobs(3), schema=["a", "b", "c"])
    model = BigLearnEM(4, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    from_array = BigLearnEM(4, random_state=0).fit(frame.to_numpy())
    np.testing.assert_array_equal(model.predict(frame), from_array.predict(frame.to_numpy()))


def test_paper_preset_is_the_papers_loop():
    X = blobs(0).astype(np.float32)
    with pytest.warns(ConvergenceWarning):
        model = BigLearnEM(
            4, preset="paper", max_iter=30, covariance_floor=0.5, random_state=3
        ).fit(X)
    seed = np.random.RandomState(3).randint(2**31 - 1)
    start = paper_start(4, 3, generator=torch.Generator().manual_seed(int(seed)))
    result = fit_biglearn_em(
        torch.from_numpy(X),
        start,
        n_iter=30,
        n_local_steps=5,
        p_joint=0.4,
        p_marginal=0.1,
        covariance_floor=0.5,
        weight_smoothing=0.5,
        seed=int(seed),
    )
    np.testing.assert_array_equal(model.means_, result.model.means.numpy())
    np.testing.assert_array_equal(model.history_.task, result.history.task)
    assert not model.converged_


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("X", "error", "text"),
    [
        (np.ones(5), ValueError, "reshape"),
        (np.array([[1.0, np.inf], [0, 1], [2, 3]]), ValueError, "drop these rows"),
        (np.array([["a", "b"], ["c", "d"]], dtype=object), ValueError, "encode categorical"),
        (np.ones((1, 2)), ValueError, "minimum of 2"),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), ValueError, "use fewer components or more data"),
    ],
)
def test_bad_data_name_the_remedy(Estimator, X, error, text):
    with pytest.raises(error, match=text):
        Estimator(3).fit(X)


@pytest.mark.parametrize("estimator", [JointEM(2), BigLearnEM(2, preset="paper")])
def test_nan_where_not_allowed_names_the_remedy(estimator):
    X = blobs(0)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="default preset, which fits and imputes"):
        estimator.fit(X)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (-np.ones(280), "must be non-negative"),
        (np.zeros(280), "at least one row"),
        (np.ones(3), "sample_weight"),
        (np.full(280, np.nan), "NaN"),
    ],
)
def test_bad_weights_name_the_remedy(Estimator, weights, text):
    with pytest.raises(ValueError, match=text):
        Estimator(2).fit(blobs(0), sample_weight=weights)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_predict_before_fit_and_with_other_features(Estimator):
    X = blobs(0)
    for method in ("predict", "score_samples", "impute", "predict_proba"):
        with pytest.raises(NotFittedError, match="fit"):
            getattr(Estimator(2), method)(X)
    with pytest.raises(NotFittedError, match="fit"):
        Estimator(2).sample()
    with pytest.raises(ValueError, match="expecting 3 features"):
        Estimator(2, random_state=0).fit(X).predict(X[:, :2])


@pytest.mark.parametrize(
    "parameters",
    [{"n_components": 0}, {"preset": "best"}, {"covariance_floor": 0.0}, {"device": "tpu"}],
)
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_parameters_out_of_range_are_refused(Estimator, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        Estimator(**parameters).fit(blobs(0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_cuda_device_names_the_remedy():
    with pytest.raises(ValueError, match='use "auto"'):
        BigLearnEM(2, device="cuda").fit(blobs(0))


def test_floor_and_emptiness_are_warned_of():
    X = np.c_[blobs(0), np.ones(280)]
    with pytest.warns(ConvergenceWarning, match=r"covariance floor.*drop constant"):
        model = BigLearnEM(4, random_state=0).fit(X)
    without = BigLearnEM(4, random_state=0).fit_predict(X[:, :3])
    assert adjusted_rand_score(model.predict(X), without) == 1


def test_fewer_distinct_rows_than_components_are_warned_of():
    X = np.repeat(np.array([[0.0, 0.0], [5.0, 5.0]]), 10, axis=0)
    with pytest.warns(ConvergenceWarning) as caught:
        model = BigLearnEM(4, random_state=0).fit(X)
    text = " ".join(str(warning.message) for warning in caught)
    assert "covariance floor" in text
    assert "use fewer components" in text
    assert {warning.filename for warning in caught} == {__file__}
    assert np.isfinite(model.lower_bound_)


def test_stopping_early_is_warned_of_and_told():
    X = np.random.default_rng(0).standard_normal((400, 4))
    with pytest.warns(ConvergenceWarning, match="raise max_iter") as caught:
        model = JointEM(6, max_iter=2, tol=0.0, random_state=0).fit(X)
    assert caught[0].filename == __file__
    assert not model.converged_
    assert model.n_iter_ == 2


@pytest.mark.parametrize("init", ["kmeans", "k-means++"])
def test_starts_of_plain_em_take_weights_as_copies(init):
    X = np.random.default_rng(0).standard_normal((300, 2))
    weights = np.random.default_rng(1).integers(0, 4, 300)
    weighted = JointEM(3, init=init, random_state=0).fit(X, sample_weight=weights)
    copies = JointEM(3, init=init, random_state=0).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.means_, copies.means_, atol=1e-8)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random"])
def test_starts_of_plain_em(init):
    X = blobs(0)
    once, best = (JointEM(4, init=init, n_init=n, random_state=0).fit(X) for n in (1, 5))
    assert best.lower_bound_ >= once.lower_bound_ - 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_default_is_at_the_optimum_where_clusters_are_apart(seed):
    rng = np.random.default_rng(seed)
    at = 3.0 * np.arange(4)
    centres = np.array([(a, b) for a in at for b in at])
    z = rng.integers(0, 16, 800)
    X = centres[z] + 0.4 * rng.standard_normal((800, 2))
    theirs = GaussianMixture(16, means_init=centres, reg_covar=0, random_state=0).fit(X).score(X)
    assert BigLearnEM(16, random_state=seed).fit(X).lower_bound_ > theirs - 1e-4


def test_random_state_is_honoured_and_the_global_one_untouched():
    X = blobs(0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two = (BigLearnEM(6, random_state=1).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.means_, two.means_)
    np.testing.assert_array_equal(one.sample(4)[0], two.sample(4)[0])
    BigLearnEM(4).fit(X).sample(3)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_verbose_shows_progress(capsys):
    BigLearnEM(2, verbose=1, random_state=0).fit(blobs(0))
    assert "log-likelihood" in capsys.readouterr().err


def test_samples_follow_the_mixture():
    model = BigLearnEM(4, random_state=0).fit(blobs(0))
    X, z = model.sample(20_000)
    np.testing.assert_allclose(np.bincount(z) / len(z), model.weights_, atol=0.02)
    for k in range(4):
        np.testing.assert_allclose(X[z == k].mean(axis=0), model.means_[k], atol=0.06)


def two_clusters(D, size, seed=0):
    """Two clusters eight deviations apart, and one row far out; and where the rows belong."""
    z = np.repeat([0, 1], 60)
    X = np.random.default_rng(seed).normal(size=(121, D))
    X[:120, 0] += 8 * z
    X[120] = 0
    X[120, -1] = size
    return X, z


def best_of_scikit_learn(X, z, n_components, **parameters):
    models = [
        GaussianMixture(n_components, random_state=seed, **parameters).fit(X) for seed in range(3)
    ]
    return max(adjusted_rand_score(z, model.predict(X[: len(z)])) for model in models)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("size", [1e4, 1e5, 1e6, 1e9])
@pytest.mark.parametrize("D", [1, 2, 5])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_one_row_far_out_does_not_melt_the_clusters(Estimator, D, size):
    X, z = two_clusters(D, size)
    for n_components, least in ((2, best_of_scikit_learn(X, z, 2)), (3, 1.0)):
        model = Estimator(n_components, random_state=0).fit(X)
        assert adjusted_rand_score(z, model.predict(X[:120])) >= least
    single = Estimator(3, random_state=0).fit(X.astype(np.float32))
    assert adjusted_rand_score(z, single.predict(X[:120])) == 1
    expected = GaussianMixture(2, random_state=0).fit(X[:120]).score(X[:120])
    assert model.score(X[:120]) == pytest.approx(expected, abs=0.05)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("D", "size"), [(2, 1e5), (2, 1e9), (5, 1e7), (130, 1e6)])
@pytest.mark.parametrize("n_components", [2, 3])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_several_rows_far_out_do_not_break_a_fit(Estimator, n_components, D, size, dtype):
    X, _ = two_clusters(D, 0.0)
    X = np.concatenate([X, size * np.random.default_rng(1).normal(size=(5, D))]).astype(dtype)
    model = Estimator(n_components, random_state=0, max_iter=50).fit(X)
    assert np.isfinite(model.lower_bound_)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("K", [3, 4, 6])
@pytest.mark.parametrize(("sd", "dtype"), [(0.1, "f"), (0.01, "f"), (0.1, "d"), (1e-4, "d")])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_tight_clusters_far_apart_get_their_deviations(Estimator, sd, dtype, K):
    rng = np.random.default_rng(2)
    z = np.repeat(np.arange(K), 60)
    X = rng.uniform(-10, 10, (K, 2))[z] + sd * rng.normal(size=(60 * K, 2))
    model = Estimator(K, random_state=0).fit(X.astype(dtype))
    assert adjusted_rand_score(z, model.predict(X)) == 1
    deviations = np.sqrt(np.linalg.eigvalsh(model.covariances_)) / sd
    assert 0.7 < deviations.min() <= deviations.max() < 1.4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_rare_indicator_does_not_hide_the_clusters(Estimator, K, seed):
    rng = np.random.default_rng(seed)
    z = np.repeat(np.arange(K), 450 // K)
    X = 8 * np.eye(K, 2)[z] + rng.normal(size=(len(z), 2))
    X = np.column_stack([X, np.arange(len(z)) == rng.integers(len(z))])
    model = Estimator(K, random_state=0).fit(X)
    assert adjusted_rand_score(z, model.predict(X)) >= best_of_scikit_learn(X, z, K) - 0.02


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_twenty_one_hot_columns_do_not_hide_the_clusters(Estimator, seed):
    rng = np.random.default_rng(seed)
    z = np.repeat([0, 1], 225)
    X = 8 * np.eye(2)[z] + rng.normal(size=(450, 2))
    X = np.column_stack([X, np.eye(20)[rng.integers(0, 20, 450)]])
    model = Estimator(2, random_state=0).fit(X)
    assert adjusted_rand_score(z, model.predict(X)) >= best_of_scikit_learn(X, z, 2) - 0.02


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_any_scale_that_the_dtype_holds_gives_the_same_clusters(Estimator, scale):
    X = blobs(0)
    model = Estimator(4, random_state=0).fit(X * scale)
    np.testing.assert_array_equal(
        model.predict(X * scale), Estimator(4, random_state=0).fit_predict(X)
    )
    assert np.isfinite(model.precisions_).all()


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e160, "d"), (1e-160, "d"), (1e300, "d"), (1e30, "f"), (1e-25, "f")]
)
def test_a_scale_that_the_dtype_cannot_hold_is_refused(Estimator, scale, dtype):
    with pytest.raises(ValueError, match=r"features \[0, 1, 2\] have the scales.*Multiply these"):
        Estimator(4).fit((blobs(0) * scale).astype(dtype))
    X = np.concatenate([blobs(0), np.full((1, 3), 1e300)])
    with pytest.raises(ValueError, match=r"1 of 281 distinct rows.*drop them"):
        Estimator(4).fit(X)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("unit", [1e308, 1e-308, 5e-324])
def test_weights_of_any_size_are_relative(Estimator, preset, unit):
    X = blobs(0)
    fitted = [
        Estimator(1, preset=preset, max_iter=20, random_state=0).fit(X, sample_weight=weights)
        for weights in (None, np.full(len(X), unit))
    ]
    np.testing.assert_allclose(fitted[1].means_, fitted[0].means_)
    assert fitted[1].score(X, sample_weight=np.full(len(X), unit)) == pytest.approx(
        fitted[0].score(X)
    )


@pytest.mark.parametrize(
    ("init", "text"),
    [
        (3, "init has 3 components over 3 features, but n_components=4 and X has 3 features"),
        ((4, 2), "init has 4 components over 2 features, but n_components=4 and X has 3 features"),
        (None, "init"),
        ("best", "init"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(init, text):
    if isinstance(init, int | tuple):
        K, D = init if isinstance(init, tuple) else (init, 3)
        init = JointEM(K, random_state=0).fit(blobs(0)[:, :D]).mixture_
    with pytest.raises(ValueError, match=text):
        JointEM(4, init=init).fit(blobs(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_start_of_another_dtype_is_taken(dtype):
    start = JointEM(4, random_state=0).fit(blobs(0)).mixture_
    model = JointEM(4, init=start.to(dtype=dtype), random_state=0).fit(blobs(0))
    np.testing.assert_allclose(np.sort(model.weights_), np.sort(start.weights), atol=1e-4)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ["n_components", "max_iter", "n_init"])
@pytest.mark.parametrize("value", [True, 1.5, "2", np.nan])
def test_counts_are_checked_by_name(Estimator, name, value):
    with pytest.raises(ValueError, match=name):
        Estimator(**{name: value}).fit(blobs(0))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("state", [-1, 2**40, "a", 1.5])
def test_random_states_are_checked_by_name(Estimator, state):
    with pytest.raises(ValueError, match=r"random_state|[Ss]eed"):
        Estimator(2, random_state=state).fit(blobs(0))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ["weights_", "means_", "covariances_", "precisions_", "mixture_"])
def test_what_fit_has_found_cannot_be_changed(Estimator, name):
    X = blobs(0)
    model = Estimator(4, random_state=0).fit(X)
    before, labels = model.score_samples(X), model.predict(X)
    value = getattr(model, name)
    with pytest.raises(AttributeError, match=f"{name} is what fit has found.*init="):
        setattr(model, name, value)
    if name != "mixture_":
        for array in (value, value.ravel()):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        array = value.copy()
        array[...] = 0
    np.testing.assert_array_equal(model.score_samples(X), before)
    np.testing.assert_array_equal(model.predict(X), labels)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(X), before)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("X", "parameters", "weights"),
    [
        (blobs(0)[:, :2] * [1, np.nan], {}, None),
        (blobs(0)[:, :2] * [1, np.inf], {}, None),
        (blobs(0)[:3, :2], {}, None),
        (blobs(0)[:, :2], {}, -np.ones(280)),
        (blobs(0)[:, :2] * 1e200, {}, None),
        (blobs(0)[:, :2], {"n_components": 0}, None),
        (blobs(0)[:, :2], {"device": "tpu"}, None),
    ],
)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_refused_refit_leaves_everything_as_it_was(Estimator, X, parameters, weights, named):
    pandas = pytest.importorskip("pandas")
    first = pandas.DataFrame(blobs(1), columns=list("abc")) if named else blobs(1)
    model = Estimator(4, random_state=0).fit(first)
    before, answers = dict(vars(model)), model.score_samples(first)
    model.set_params(**parameters)
    with pytest.raises(ValueError, match=r"X|weight|features|n_components|device"):
        model.fit(X, sample_weight=weights)
    model.set_params(n_components=4, device="auto")
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in ("_mixture", "_scale", "history_"))
    assert model.n_features_in_ == 3
    np.testing.assert_array_equal(model.score_samples(first), answers)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_refused_first_fit_leaves_nothing(Estimator):
    model = Estimator(4)
    with pytest.raises(ValueError, match="exceeds the number of rows"):
        model.fit(blobs(0)[:3])
    assert not hasattr(model, "n_features_in_")
    assert not hasattr(model, "means_")


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_criteria_take_weights_as_copies(Estimator):
    X = blobs(0)
    model = Estimator(4, random_state=0).fit(X)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    copies = np.repeat(X, counts, axis=0)
    for criterion in (model.aic, model.bic):
        assert criterion(X, sample_weight=counts) == pytest.approx(criterion(copies))
        assert criterion(X, sample_weight=np.ones(len(X))) == pytest.approx(criterion(X))
    assert model.score(X, sample_weight=counts) == pytest.approx(model.score(copies))
    for bad, text in ((-counts, "non-negative"), (0 * counts, "zero everywhere"), ([1.0], "shape")):
        with pytest.raises(ValueError, match=text):
            model.bic(X, sample_weight=bad)


def test_rows_of_weight_zero_are_absent_from_scores():
    X = blobs(0)
    model = BigLearnEM(4, random_state=0).fit(X)
    far = np.concatenate([X, np.full((1, 3), 1e200)])
    weights = np.append(np.ones(len(X)), 0.0)
    for score in (model.score, model.aic, model.bic):
        assert score(far, sample_weight=weights) == pytest.approx(score(X))
    assert model.score(far) == -np.inf


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_histogram_chooses_the_number_of_clusters_of_its_rows(Estimator):
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(m, 1, 2000) for m in (0, 6, 12)])
    counts, edges = np.histogram(rows, bins=40)
    middles = ((edges[1:] + edges[:-1]) / 2)[counts > 0, None]
    counts = counts[counts > 0]
    models = {
        K: Estimator(K, random_state=0).fit(middles, sample_weight=counts) for K in (1, 2, 3, 4)
    }
    chosen = min(models, key=lambda K: models[K].bic(middles, sample_weight=counts))
    assert chosen == 3


@pytest.mark.filterwarnings("ignore:components.*sit on the covariance floor")
def test_convergence_is_judged_by_the_values_that_are_there():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 4000)
    X = 6 * z[:, None] + rng.normal(size=(4000, 3))
    X[rng.random(X.shape) > 0.01] = np.nan
    model = BigLearnEM(2, covariance_floor=1e-4, random_state=0, max_iter=2000).fit(X)
    assert model.converged_
    points = IncompletePoints(torch.from_numpy(model._scale.apply(X)))
    step = incomplete_em_step(points, model._unit_mixture, covariance_floor=1e-4)
    after = incomplete_em_step(points, step.model, covariance_floor=1e-4)
    gain_per_value = (after.log_likelihood - step.log_likelihood) / (~np.isnan(X)).mean()
    assert 0 <= gain_per_value < 1.01 * model.tol


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "fit",
    [
        lambda model, X: model.fit(X),
        lambda model, X: model.fit_predict(X),
        lambda model, X: make_pipeline(StandardScaler(), model).fit(X),
    ],
)
def test_a_warning_names_the_line_that_called(Estimator, fit, preset):
    X = np.c_[blobs(0), np.ones(280)]
    with pytest.warns(ConvergenceWarning) as caught:
        fit(Estimator(4, preset=preset, max_iter=3, random_state=0), X)
    assert {warning.filename for warning in caught} == {__file__}
