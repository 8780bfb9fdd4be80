"""Starts that a caller gives, and fits that go on from the last one."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from biglearn_core import GMM, BigLearnEM, JointEM
from biglearn_core.estimators.scaling import UnitScale
from biglearn_core.estimators.starts import Start
from biglearn_core.search.search import MOVES, search_mixture

ESTIMATORS = [BigLearnEM, JointEM]


def clusters(seed, *, sizes=(70, 90, 60), D=2, sd=0.6):
    """Rows of clusters that overlap little, and the cluster of each."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = rng.uniform(-6, 6, (len(sizes), D))
    return centres[labels] + sd * rng.standard_normal((len(labels), D)), labels


def moments(X, labels, weights=None):
    """Shares, means and covariances of labelled rows."""
    weights = np.ones(len(X)) if weights is None else weights
    K = labels.max() + 1
    shares = np.bincount(labels, weights) / weights.sum()
    means = np.array([np.average(X[labels == k], 0, weights[labels == k]) for k in range(K)])
    covariances = [
        np.cov(X[labels == k].T, bias=True, aweights=weights[labels == k]) for k in range(K)
    ]
    return shares, means, np.array(covariances)


def start(init, X, K, *, weights=None, scale=None):
    scale = scale or UnitScale(np.full(2, 2.0), np.array([3.0, 0.5]), np.array([1, 0]))
    given = Start.of(init, X, K)
    return scale.undo_mixture(given.at_unit_scale(scale, X, weights, K))


@pytest.mark.parametrize("weighted", [False, True])
def test_labels_become_the_moments_of_their_rows(weighted):
    X, labels = clusters(0)
    weights = np.random.default_rng(0).uniform(0.1, 2, len(X)) if weighted else None
    found = start(labels, X, 3, weights=weights)
    for mine, theirs in zip(
        (found.weights, found.means, found.covariances), moments(X, labels, weights), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_means_label_the_rows_by_the_nearest_at_unit_scale():
    X, labels = clusters(1)
    scale = UnitScale(np.zeros(2), np.array([1e3, 1e-3]), np.array([0, 1]))
    wide = X * scale.scale
    _, means, _ = moments(wide, labels)
    nearest = ((X[:, None] - means / scale.scale) ** 2).sum(axis=2).argmin(axis=1)
    found = start(means, wide, 3, scale=scale)
    np.testing.assert_allclose(found.means, moments(wide, nearest)[1], rtol=1e-9)


def test_gaps_count_as_the_mean_with_the_variance_of_the_feature():
    X, labels = clusters(2)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    X[0] = np.nan
    found = start(labels, X, 3)
    for k in range(3):
        rows = X[(labels == k) & ~np.isnan(X).all(axis=1)]
        np.testing.assert_allclose(found.means[k], np.nanmean(rows, axis=0), rtol=1e-9)
        variances = found.covariances[k].diagonal()
        np.testing.assert_allclose(variances, np.nanvar(rows, axis=0), rtol=1e-9)
        both = rows[~np.isnan(rows).any(axis=1)] - np.nanmean(rows, axis=0)
        cross = both[:, 0] @ both[:, 1] / len(rows)
        assert found.covariances[k][0, 1].item() == pytest.approx(cross, rel=1e-9)


def test_a_feature_that_a_label_never_has_is_taken_from_all_rows():
    X, labels = clusters(3)
    X[labels == 1, 0] = np.nan
    found = start(labels, X, 3)
    assert found.means[1, 0].item() == pytest.approx(np.nanmean(X[:, 0]))
    assert found.covariances[1, 0, 0].item() == pytest.approx(np.nanvar(X[:, 0]), rel=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_plain_em_from_labels_is_that_of_scikit_learn_from_their_moments(seed):
    X, labels = clusters(seed)
    labels = np.where(np.random.default_rng(seed).random(len(X)) < 0.2, 0, labels)
    shares, means, covariances = moments(X, labels)
    options = {"tol": 1e-9, "max_iter": 2000}
    ours = JointEM(3, init=labels, covariance_floor=1e-9, **options).fit(X)
    theirs = GaussianMixture(
        3,
        weights_init=shares,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        reg_covar=0,
        **options,
    ).fit(X)
    np.testing.assert_allclose(ours.means_, theirs.means_, atol=1e-4)
    assert ours.lower_bound_ == pytest.approx(theirs.score(X), abs=1e-7)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("form", ["labels", "means", "mixture"])
def test_components_stand_in_the_order_of_the_start(Estimator, form):
    X, labels = clusters(0)
    for order in ([0, 1, 2], [2, 0, 1]):
        given = np.argsort(order)[labels]
        shares, means, covariances = moments(X, given)
        init = {"labels": given, "means": means, "mixture": GMM(shares, means, covariances)}
        model = Estimator(3, init=init[form], random_state=0).fit(X)
        np.testing.assert_array_equal(model.predict(X), given)


def test_the_search_begins_at_the_start_and_ends_no_lower():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 60)
    X = 20 * np.stack([labels, labels % 2], axis=1) + rng.standard_normal((240, 2))
    stuck = np.array([0, 2, 3, 3])[labels]  # two clusters share a component, one is cut in two
    stuck[:30] = 1
    climbed = JointEM(4, init=stuck, max_iter=2000).fit(X)
    searched = BigLearnEM(4, init=stuck, random_state=0).fit(X)
    assert searched.history_.move[0] == MOVES.index("start")
    first = searched.history_.log_likelihood[0] + searched.lower_bound_
    assert first - searched.history_.log_likelihood[-1] == pytest.approx(
        climbed.lower_bound_, abs=1e-2
    )
    truth = JointEM(4, init=labels).fit(X)
    assert truth.lower_bound_ > climbed.lower_bound_ + 0.1
    for found in (searched, BigLearnEM(4, init=labels, random_state=0).fit(X)):
        assert found.lower_bound_ == pytest.approx(truth.lower_bound_, abs=1e-4)


@pytest.mark.parametrize("form", ["labels", "means", "mixture"])
def test_a_start_of_data_with_gaps(form):
    X, labels = clusters(4, sizes=(80, 80, 80), D=3)
    shares, means, covariances = moments(X, labels)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    order = np.array([1, 2, 0])
    place = np.argsort(order)
    init = {
        "labels": place[labels],
        "means": means[order],
        "mixture": GMM(shares[order], means[order], covariances[order]),
    }
    model = BigLearnEM(3, init=init[form], random_state=0).fit(X)
    assert model.history_.move[0] == MOVES.index("start")
    assert model.history_.accepted[0]
    np.testing.assert_allclose(model.means_, means[order], atol=0.5)
    plain = BigLearnEM(3, random_state=0).fit(X)
    assert model.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-3)


def test_the_first_search_alone_of_data_with_gaps_begins_at_the_start(monkeypatch):
    X, labels = clusters(4)
    X[::5, 0] = np.nan
    begun = []

    def search(*data, init, **options):
        begun.append(init)
        return search_mixture(*data, init=init, **options)

    monkeypatch.setattr("biglearn_core.search.incomplete.search_mixture", search)
    model = BigLearnEM(3, init=labels, random_state=0).fit(X)
    assert [init is None for init in begun] == [False, True]
    np.testing.assert_allclose(model._scale.undo_mixture(begun[0]).means, model.means_, atol=0.1)
    begun.clear()
    BigLearnEM(3, random_state=0).fit(X)
    assert begun == [None, None, None]  # the rows without gaps are many: they are searched, too


def test_labels_follow_their_rows_where_some_have_no_weight():
    X, labels = clusters(0)
    weights = (np.arange(len(X)) % 3 > 0).astype(float)
    wrong = np.where(weights > 0, labels, 0)
    model = JointEM(3, init=wrong).fit(X, sample_weight=weights)
    kept = weights > 0
    expected = JointEM(3, init=labels[kept]).fit(X[kept])
    np.testing.assert_allclose(model.means_, expected.means_, atol=1e-9)
    labels[weights > 0] %= 2
    with pytest.raises(ValueError, match=r"labels \[2\] are those of no row"):
        JointEM(3, init=labels).fit(X, sample_weight=weights)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_start_does_not_depend_on_units_and_order(Estimator):
    X, labels = clusters(5)
    _, means, _ = moments(X, labels)
    scale, shift = np.array([1e5, 1e-4]), np.array([3e5, -1.0])
    rows = np.random.default_rng(0).permutation(len(X))
    for init, moved in (
        (labels, labels[rows]),
        (means, (means * scale + shift)[:, ::-1]),
    ):
        one = Estimator(3, init=init, random_state=0).fit(X)
        other = Estimator(3, init=moved, random_state=0).fit((X * scale + shift)[rows][:, ::-1])
        np.testing.assert_allclose(
            other.means_[:, ::-1], one.means_ * scale + shift, rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_start_takes_the_dtype_of_the_data(dtype):
    X, labels = clusters(0)
    model = BigLearnEM(3, init=labels.tolist(), random_state=0).fit(X.astype(dtype))
    assert model.means_.dtype == dtype


K, D, N = 3, 2, 220
REFUSED = [
    (np.zeros(N - 1, dtype=int), "one label a row, 220 in all, got 219"),
    (np.r_[-1, np.arange(N - 1) % 3], r"labels in 0\.\.2.*1 are not, row 0 with -1 the first"),
    (np.arange(N) % 4, r"labels in 0\.\.2.*row 3 with 3"),
    (np.arange(N) % 2, r"labels \[2\] are those of no row"),
    (np.zeros(N), "must hold integer labels, got float64"),
    (np.zeros((2, D)), r"means must have shape \(3, 2\).*got \(2, 2\)"),
    (np.zeros((K, 5)), r"means must have shape \(3, 2\).*got \(3, 5\)"),
    (np.full((K, D), np.nan), "means must be finite"),
    (np.array([[0.0, 0.0], [0.0, 1.0], [1e3, 1e3]]), r"means \[2\] are nearest to no row"),
    (np.array(["a"] * N), "init must be a GMM, one integer label a row, or means"),
    (np.zeros((1, K, D)), "init must be a GMM"),
    (np.zeros(N, dtype=bool), "init must be a GMM"),
    ([[0, 1], [2]], "init must be a GMM"),
    (7, "init must be a GMM"),
    ("best", "init must be"),
    (GMM([1.0], [[0.0, 0.0]], [np.eye(2)]), "init has 1 components over 2 features"),
]


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(("init", "text"), REFUSED)
def test_a_start_that_does_not_go_with_the_data_is_refused(Estimator, init, text):
    X, _ = clusters(0)
    model = Estimator(K, init=init, random_state=0)
    with pytest.raises(ValueError, match=text):
        model.fit(X)
    assert not hasattr(model, "history_")


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_the_paper_has_its_own_start(Estimator):
    X, labels = clusters(0)
    for given in ({"init": labels}, {"warm_start": True}):
        with pytest.raises(ValueError, match=r'preset="paper" has its own start'):
            Estimator(3, preset="paper", max_iter=1, **given).fit(X)


def test_features_of_a_start_are_compared_by_name():
    pandas = pytest.importorskip("pandas")
    X, labels = clusters(0)
    frame = pandas.DataFrame(X, columns=["a", "b"])
    model = JointEM(3, init=pandas.Series(labels)).fit(frame)
    assert model.mixture_.feature_names == ("a", "b")
    again = JointEM(3, init=model.mixture_).fit(frame)
    np.testing.assert_allclose(again.means_, model.means_, atol=1e-2)
    swapped = model.mixture_.marginal(["b", "a"])
    with pytest.raises(ValueError, match=r"init has the features \['b', 'a'\], but X has \['a'"):
        JointEM(3, init=swapped).fit(frame)
    JointEM(3, init=swapped.marginal(["a", "b"])).fit(frame)
    means = pandas.DataFrame(moments(X, labels)[1], columns=["a", "b"])
    by_name = JointEM(3, init=means[["b", "a"]]).fit(frame)
    np.testing.assert_allclose(by_name.means_, JointEM(3, init=means.to_numpy()).fit(frame).means_)
    with pytest.raises(ValueError, match="init must have one column for each of the features"):
        JointEM(3, init=means[["a"]]).fit(frame)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_warm_start_goes_on_from_the_last_fit(Estimator):
    X, labels = clusters(0)
    model = Estimator(3, init=(labels + 1) % 3, warm_start=True, random_state=0).fit(X)
    before = model.predict(X)
    moved = X * [1e3, 1.0] + [5e3, 0.1]
    first = model.lower_bound_
    model.init = None if Estimator is BigLearnEM else "random"
    model.fit(X)
    assert model.lower_bound_ >= first - 1e-9
    np.testing.assert_array_equal(model.predict(X), before)
    model.fit(np.concatenate([X, X + 0.01]).astype(np.float32))
    np.testing.assert_array_equal(model.predict(X.astype(np.float32)), before)
    cold = clone(model)
    assert not hasattr(cold, "history_")
    assert cold.fit(moved).mixture_.n_components == 3


def test_a_warm_start_takes_fewer_steps():
    X, _ = clusters(0, sd=3.0)
    model = JointEM(3, warm_start=True, random_state=0, max_iter=5000).fit(X)
    assert model.n_iter_ > 10
    assert model.fit(X).n_iter_ <= 2
    half = JointEM(3, warm_start=True, random_state=0, max_iter=3)
    for _ in range(3):
        with pytest.warns(ConvergenceWarning):
            half.fit(X)
    with pytest.warns(ConvergenceWarning):
        whole = JointEM(3, random_state=0, max_iter=9).fit(X)
    np.testing.assert_allclose(half.means_, whole.means_, atol=1e-9)


def test_a_warm_start_of_another_size_is_refused():
    X, _ = clusters(0)
    model = BigLearnEM(3, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match="last fit, from which warm_start goes on, has 3 comp"):
        model.set_params(n_components=2).fit(X)
    assert model.means_.shape == (3, 2)
    with pytest.raises(ValueError, match="over 2 features, but n_components=3 and X has 1 feat"):
        model.set_params(n_components=3).fit(X[:, :1])
    with pytest.raises(ValueError, match="warm_start must be True or False, got 'yes'"):
        model.set_params(warm_start="yes").fit(X)


def test_a_start_is_not_written_to():
    X, labels = clusters(0)
    before = labels.copy()
    model = BigLearnEM(3, init=labels, random_state=0).fit(X)
    np.testing.assert_array_equal(labels, before)
    assert model.get_params()["init"] is labels
    mixture = model.mixture_
    kept = mixture.means.clone()
    BigLearnEM(3, init=mixture, random_state=0).fit(X + 1)
    assert torch.equal(mixture.means, kept)


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical", "VVE", "EEV"])
@pytest.mark.parametrize("gaps", [False, True])
def test_starts_of_other_covariances(covariance_type, gaps):
    X, labels = clusters(6)
    if gaps:
        X[::5, 0] = np.nan
    options = {"covariance_type": covariance_type, "random_state": 0, "warm_start": True}
    model = BigLearnEM(3, init=labels, **options).fit(X)
    assert model.mixture_.covariance_type == covariance_type
    first = model.lower_bound_
    assert model.fit(X).lower_bound_ >= first - 1e-9
    plain = BigLearnEM(3, **options).fit(X)
    assert model.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-3)
