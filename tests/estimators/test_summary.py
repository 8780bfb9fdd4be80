"""The table of components, and the criterion that counts how sure they are."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from biglearn_core import BigLearnEM, JointEM

pandas = pytest.importorskip("pandas")


def clusters(seed, *, D=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, D)) + 2 * rng.standard_normal((3, D))[rng.integers(3, size=300)]
    return X.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("Estimator", [BigLearnEM, JointEM])
def test_the_table_tells_what_the_mixture_holds(Estimator, dtype):
    X = clusters(0, dtype=dtype)
    model = Estimator(3, random_state=0).fit(X)
    table = model.summary(X)
    assert list(table.columns) == [
        "weight", "rows", "mean x0", "mean x1", "mean x2", "sd x0", "sd x1", "sd x2",
        "volume", "uncertainty",
    ]  # fmt: skip
    assert list(table.index) == [0, 1, 2]
    np.testing.assert_allclose(table["weight"], model.weights_)
    np.testing.assert_allclose(table[[f"mean x{i}" for i in range(3)]], model.means_)
    covariances = model.covariances_.astype(np.float64)
    deviations = np.sqrt(covariances.diagonal(axis1=1, axis2=2))
    np.testing.assert_allclose(table[[f"sd x{i}" for i in range(3)]], deviations)
    volumes = 0.5 * np.linalg.slogdet(covariances).logabsdet
    np.testing.assert_allclose(table["volume"], volumes, rtol=1e-6)
    labels, proba = model.predict(X), model.predict_proba(X).astype(np.float64)
    for k in range(3):
        assert table["rows"][k] == (labels == k).sum()
        uncertain = 1 - proba[labels == k].max(axis=1)
        assert table["uncertainty"][k] == pytest.approx(uncertain.mean(), abs=1e-6)


def test_without_rows_none_are_counted():
    model = BigLearnEM(3, random_state=0).fit(clusters(0))
    whole, table = model.summary(clusters(0)), model.summary()
    pandas.testing.assert_frame_equal(table, whole.drop(columns=["rows", "uncertainty"]))
    few = model.summary(clusters(0)[:1])
    assert few["rows"].sum() == 1
    np.testing.assert_array_equal(few["uncertainty"].isna(), few["rows"] == 0)


def test_features_go_by_their_names():
    frame = pandas.DataFrame(clusters(1), columns=["length", "width", "mass"])
    frame.iloc[::7, 1] = np.nan
    model = BigLearnEM(2, random_state=0).fit(frame)
    table = model.summary(frame)
    np.testing.assert_allclose(table["sd mass"] ** 2, model.covariances_[:, 2, 2])
    assert table["rows"].sum() == len(frame)
    assert model.mixture_.feature_names == ("length", "width", "mass")
    np.testing.assert_allclose(
        model.mixture_.marginal(["mass"]).log_prob(frame),
        model.score_samples(frame.assign(length=np.nan, width=np.nan)),
        atol=1e-9,
    )


def test_names_are_forgotten_with_the_data_that_had_them():
    X = clusters(1)
    model = JointEM(2, random_state=0).fit(pandas.DataFrame(X, columns=["a", "b", "c"]))
    model.fit(X)
    assert model.mixture_.feature_names is None
    assert "mean x0" in model.summary()


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
def test_the_table_of_other_covariances(covariance_type):
    X = clusters(2)
    model = BigLearnEM(2, covariance_type=covariance_type, random_state=0).fit(X)
    full = model.mixture_.covariances.numpy()
    np.testing.assert_allclose(model.summary()["sd x1"] ** 2, full[:, 1, 1])


def test_before_fit_there_is_no_table():
    with pytest.raises(NotFittedError):
        BigLearnEM().summary()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_icl_is_bic_and_twice_the_log_of_certainty(seed, weighted):
    X = clusters(seed)
    weights = np.random.default_rng(seed).integers(0, 4, len(X)) if weighted else np.ones(len(X))
    model = JointEM(3, random_state=0, covariance_floor=1e-9, tol=1e-9, max_iter=5000).fit(X)
    theirs = GaussianMixture(
        3,
        weights_init=model.weights_,
        means_init=model.means_,
        precisions_init=model.precisions_,
        reg_covar=0,
        tol=1e-9,
    ).fit(X)
    rows = np.repeat(X, weights.astype(int), axis=0)
    expected = theirs.bic(rows) - 2 * np.log(theirs.predict_proba(rows).max(axis=1)).sum()
    assert model.icl(X, weights if weighted else None) == pytest.approx(expected, abs=1e-2)
    assert model.icl(X) >= model.bic(X)


def test_icl_prefers_clusters_that_are_apart():
    rng = np.random.default_rng(0)
    bent = rng.uniform(0, np.pi, 500)
    X = np.stack([np.cos(bent), np.sin(bent)], axis=1) + 0.05 * rng.standard_normal((500, 2))
    models = [BigLearnEM(K, random_state=0).fit(X) for K in (1, 6)]
    assert models[1].bic(X) < models[0].bic(X)
    gains = [getattr(models[0], c)(X) - getattr(models[1], c)(X) for c in ("bic", "icl")]
    assert gains[1] < gains[0]
    assert models[0].icl(X) == pytest.approx(models[0].bic(X))
