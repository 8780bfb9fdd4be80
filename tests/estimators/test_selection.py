import inspect

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from biglearn_core import BigLearnEM, MixtureSelection
from tests.helpers import blobs


def grid(side, n, seed):
    rng = np.random.default_rng(seed)
    means = 2.0 * np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    return means[rng.integers(len(means), size=n)] + np.sqrt(0.1) * rng.normal(size=(n, 2))


def test_a_grid_has_as_many_components_as_it_has_places():
    X = grid(4, 1600, seed := 0)
    chosen = MixtureSelection(covariance_type="full", random_state=seed).fit(X)
    assert chosen.n_components_ == 16
    # Not worse than a loop over the numbers.
    loop = min(GaussianMixture(K, n_init=3, random_state=0).fit(X).bic(X) for K in (14, 15, 16, 17))
    assert chosen.criterion_ <= loop + 1e-3 * len(X)


@pytest.mark.parametrize("D", [1, 2, 8])
def test_one_gaussian_is_one_component(D):
    rng = np.random.default_rng(D)
    X = rng.normal(size=(400, D)) @ rng.normal(size=(D, D))
    chosen = MixtureSelection(covariance_type=("full", "tied"), random_state=0).fit(X)
    assert chosen.n_components_ == 1


def test_names_of_columns_are_kept_without_a_warning():
    pandas = pytest.importorskip("pandas")
    X = blobs()
    chosen = MixtureSelection(covariance_type="full", max_components=3, random_state=0)
    named = chosen.fit(pandas.DataFrame(X, columns=["a", "b"]))
    assert named.mixture_.feature_names == ("a", "b")
    assert named.criterion_ == pytest.approx(named.bic(pandas.DataFrame(X, columns=["a", "b"])))


def test_parallel_classes_are_told_apart():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 3)) * [0.15, 9, 4]
    X[:, 0] += rng.integers(3, size=900)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    chosen = MixtureSelection(covariance_type=("full", "tied", "EEV"), random_state=0).fit(X @ turn)
    assert (chosen.n_components_, chosen.covariance_type_) == (3, "tied")


def test_the_reference_on_iris_is_reached():
    # mclust 6.0.0: VEV with two components, 561.7; of full covariances two, 574.0.
    X = load_iris().data
    chosen = MixtureSelection(covariance_type=("full", "VEV"), random_state=0).fit(X)
    assert (chosen.covariance_type_, chosen.n_components_) == ("VEV", 2)
    assert chosen.criterion_ <= 561.8
    table = chosen.results_
    of_full = table[table.covariance_type == "full"]
    assert of_full.criterion.min() <= 574.1
    assert of_full.loc[of_full.criterion.idxmin(), "n_components"] == 2


def test_the_table_holds_what_the_estimators_say():
    X = blobs()
    chosen = MixtureSelection(max_components=3, covariance_type="diag", random_state=0).fit(X)
    best = chosen.best_estimator_
    assert isinstance(best, BigLearnEM)
    row = chosen.results_.sort_values("criterion").iloc[0]
    assert row.n_components == chosen.n_components_ == best.n_components
    for name in ("aic", "bic", "icl"):
        assert row[name] == pytest.approx(getattr(best, name)(X))
    assert row.log_likelihood == pytest.approx(best.score(X))
    assert row.n_parameters == best.mixture_.n_parameters
    assert set(chosen.results_.n_components) == {1, 2, 3}


def test_it_answers_as_the_mixture_that_was_chosen():
    X = blobs()
    chosen = MixtureSelection(max_components=3, covariance_type="full", random_state=0).fit(X)
    best = chosen.best_estimator_
    for name in ("predict", "predict_proba", "score_samples"):
        np.testing.assert_array_equal(getattr(chosen, name)(X), getattr(best, name)(X))
    np.testing.assert_array_equal(chosen.means_, best.means_)
    assert chosen.bic(X) == best.bic(X) == chosen.criterion_
    gaps = X.copy()
    gaps[0, 0] = np.nan
    np.testing.assert_array_equal(chosen.impute(gaps), best.impute(gaps))


def test_criteria():
    X = np.concatenate([blobs(n=150, D=2, seed=0), blobs(n=150, D=2, seed=1) + 1.5])
    weights = np.ones(len(X))
    by_name = MixtureSelection(
        max_components=4, covariance_type="full", criterion="icl", random_state=0
    ).fit(X)
    asked = []

    def criterion(estimator, data, sample_weight):
        asked.append((estimator, data is X, sample_weight is weights))
        return estimator.icl(data, sample_weight)

    by_call = MixtureSelection(
        max_components=4, covariance_type="full", criterion=criterion, random_state=0
    ).fit(X, sample_weight=weights)
    assert by_call.n_components_ == by_name.n_components_
    assert by_call.criterion_ == pytest.approx(by_name.criterion_, abs=1e-4)
    assert all(same and weighted for _, same, weighted in asked)


def test_weights_are_copies():
    X = blobs(n=60)
    copies = np.random.default_rng(0).integers(1, 4, len(X))
    options = {"max_components": 3, "covariance_type": ("full", "diag"), "random_state": 0}
    weighted = MixtureSelection(**options).fit(X, sample_weight=copies)
    repeated = MixtureSelection(**options).fit(np.repeat(X, copies, axis=0))
    assert weighted.n_components_ == repeated.n_components_
    assert weighted.covariance_type_ == repeated.covariance_type_
    assert weighted.criterion_ == pytest.approx(repeated.criterion_, rel=1e-6)


def test_thin_components_do_not_win():
    # Rounded values: components that shrink onto ties gain without end.
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(m, 1, (100, 3)) for m in (0, 6)]).round(1)
    chosen = MixtureSelection(covariance_type=("diag", "VVE"), random_state=0).fit(X)
    assert chosen.n_components_ == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_components": 0}, "min_components"),
        ({"max_components": 2, "min_components": 3}, "max_components"),
        ({"covariance_type": "round"}, "covariance_type must be one of"),
        ({"covariance_type": ()}, "covariance_type is empty"),
        ({"covariance_type": 3}, "covariance_type must be"),
        ({"criterion": lambda *_: np.nan}, "criterion gave nan for 1 components of type"),
        ({"criterion": "cv"}, "criterion must be callable or one of bic, icl, aic"),
        ({"min_components": 1000}, "exceeds the number of rows"),
        ({"min_components": 2.5}, "min_components"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MixtureSelection(**options).fit(blobs(n=30))


def test_options_of_the_fits_are_those_of_the_estimator():
    shared = inspect.signature(BigLearnEM).parameters.keys()
    own = inspect.signature(MixtureSelection).parameters.keys()
    assert own - shared == {"min_components", "max_components", "criterion"}


def test_a_lower_floor_is_no_gain():
    # An indicator is constant in both classes: types in the units of the data may go far lower.
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 150)
    X = np.column_stack([5 * classes + rng.normal(size=300), classes, 0.01 * rng.normal(size=300)])
    with pytest.warns(ConvergenceWarning, match="floor"):
        chosen = MixtureSelection(
            max_components=2, covariance_type=("full", "VVE"), random_state=0
        ).fit(X)
    least = chosen.results_.groupby("covariance_type")[["criterion", "bic"]].min()
    assert least.bic["VVE"] < least.bic["full"] - 300
    assert least.criterion["VVE"] > least.criterion["full"] - 100
