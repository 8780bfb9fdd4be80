"""The laws of some columns given others: against one row at a time, and numerical integration."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.exceptions import NotFittedError

from biglearn_core import BigLearnEM, ConditionalLaw, JointEM
from biglearn_core.estimators.quantiles import mixture_quantile

UNITS, SHIFT = np.array([1e6, 1.0, 1e-3, 20.0]), np.array([0.0, 1e3, 5.0, -7.0])


def table(seed, *, N=300, D=4):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-3, 3, (3, D))
    mixing = rng.standard_normal((3, D, D))
    z = rng.integers(0, 3, N)
    noise = np.einsum("nij,nj->ni", mixing[z], rng.standard_normal((N, D)))
    return centres[z] + 0.5 * noise


def with_gaps(X, seed, share=0.3):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


@pytest.fixture(scope="module")
def model():
    return JointEM(3, random_state=0).fit(table(0))


def one_at_a_time(model, columns, x):
    """The library's own law of one row, of what it knows."""
    columns, known = np.asarray(columns), ~np.isnan(x)
    rest = [j for j in range(model.n_features_in_) if j not in columns]
    if not known.any():
        return model.mixture_.marginal(rest)
    kept = sorted([*columns[known], *rest])
    given = [kept.index(j) for j in columns[known]]
    return model.mixture_.marginal(kept).condition(given, x[known])


def moments(law):
    weights, means, covariances = (p.numpy() for p in (law.weights, law.means, law.covariances))
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances)
    second += np.einsum("k,ki,kj->ij", weights, means, means)
    return mean, second - np.outer(mean, mean)


@pytest.mark.parametrize("columns", [[0], [3, 1], [0, 1, 2], [2, 3, 0]])
@pytest.mark.parametrize("gaps", [False, True])
def test_every_row_is_as_asked_alone_of_the_mixture(model, columns, gaps):
    X = table(1, N=60)[:, columns]
    X = with_gaps(X, 0) if gaps else X
    law = model.condition(columns, X)
    assert law.columns.tolist() == [j for j in range(4) if j not in columns]
    assert law.feature_names is None
    covariances, component_means = law.covariances, law.component_means
    component_covariances = law.component_covariances
    for n, x in enumerate(X):
        one = one_at_a_time(model, columns, x)
        mean, covariance = moments(one)
        np.testing.assert_allclose(law.weights[n], one.weights, atol=1e-9)
        np.testing.assert_allclose(law.means[n], mean, atol=1e-8)
        np.testing.assert_allclose(covariances[n], covariance, atol=1e-8)
        np.testing.assert_allclose(law.standard_deviations[n] ** 2, np.diag(covariance), atol=1e-8)
        np.testing.assert_allclose(component_means[n], one.means, atol=1e-8)
        np.testing.assert_allclose(component_covariances[n], one.covariances, atol=1e-8)


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical", "VVE"])
def test_covariances_of_every_type(covariance_type):
    X = table(0) * [1, 30, 0.1, 1]
    model = BigLearnEM(3, covariance_type=covariance_type, random_state=0).fit(X)
    law = model.condition([2, 0], X[:9, [2, 0]])
    covariances = law.covariances
    for n in range(9):
        mean, covariance = moments(one_at_a_time(model, [2, 0], X[n, [2, 0]]))
        np.testing.assert_allclose(law.means[n], mean, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(covariances[n], covariance, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n", range(4))
def test_moments_and_quantiles_by_numerical_integration(model, n):
    x = with_gaps(table(2, N=4)[:, :3], 1)[n]
    law = model.condition([0, 1, 2], x[None])
    joint = model.mixture_.marginal([*np.flatnonzero(~np.isnan(x)), 3])

    def density(y):
        point = np.append(x[~np.isnan(x)], y)
        return joint.log_prob(torch.from_numpy(point[None])).exp().item()

    mean, sd = law.means[0, 0], law.standard_deviations[0, 0]
    centres = law.component_means[0, :, 0]
    widths = np.sqrt(law.component_covariances[0, :, 0, 0])
    ends = (centres - 12 * widths).min(), (centres + 12 * widths).max()
    options = {"points": centres, "limit": 400, "epsabs": 0.0}
    total = quad(density, *ends, **options)[0]
    assert quad(lambda y: y * density(y), *ends, **options)[0] / total == pytest.approx(mean)
    square = quad(lambda y: (y - mean) ** 2 * density(y), *ends, **options)[0] / total
    assert np.sqrt(square) == pytest.approx(sd, rel=1e-6)
    for q in (0.05, 0.5, 0.9):
        y = law.quantile(q)[0, 0]
        below = {**options, "points": centres[centres < y]}
        assert quad(density, ends[0], y, **below)[0] / total == pytest.approx(q, abs=1e-6)
        assert law.log_prob([[y]])[0] == pytest.approx(np.log(density(y) / total), abs=1e-6)


def test_densities_are_those_of_the_whole_less_those_of_what_is_given(model):
    X = table(3)
    law = model.condition([1, 2], X[:, [1, 2]])
    evidence = model.mixture_.marginal([1, 2]).log_prob(torch.from_numpy(X[:, [1, 2]])).numpy()
    expected = model.score_samples(X) - evidence
    np.testing.assert_allclose(law.log_prob(X[:, [0, 3]]), expected, atol=1e-8)


def test_draws_follow_the_law(model):
    X = with_gaps(table(4, N=3)[:, [0, 2]], 3, share=0.4)
    law = model.condition([0, 2], X)
    draws = law.sample(40_000, random_state=0)
    assert draws.shape == (40_000, 3, 2)
    for n in range(3):
        sd = law.standard_deviations[n]
        np.testing.assert_allclose(draws[:, n].mean(axis=0), law.means[n], atol=0.03 * sd.max())
        covariance = np.cov(draws[:, n].T)
        np.testing.assert_allclose(covariance, law.covariances[n], atol=0.06 * sd.max() ** 2)
        below = (draws[:, n] < law.quantile(0.25)[n]).mean(axis=0)
        np.testing.assert_allclose(below, 0.25, atol=0.01)
    np.testing.assert_array_equal(law.sample(3, random_state=0), draws[:3])
    assert not (law.sample(2)[0] == law.sample(2)[1]).any()
    assert (law.sample(random_state=1) != law.sample(random_state=2)).all()


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_solve_for_the_level(seed):
    rng = np.random.default_rng(seed)
    K, shape = 4, (50, 3)
    weights = rng.dirichlet(np.full(K, 0.3), shape).transpose(2, 0, 1)
    means = rng.normal(size=(K, *shape)) * 10.0 ** rng.integers(-3, 5, shape)
    deviations = 10.0 ** rng.uniform(-4, 3, (K, *shape))
    tensors = [torch.from_numpy(a) for a in (weights, means, deviations)]
    before = None
    for q in (1e-12, 1e-3, 0.3, 0.5, 0.8, 0.999):
        y = mixture_quantile(q, *tensors).numpy()
        level = (weights * norm.cdf(y, means, deviations)).sum(axis=0)
        # One unit in the last place of y moves F by no more than this.
        density = (weights * norm.pdf(y, means, deviations)).sum(axis=0)
        slack = 1e-13 * (np.abs(y) + deviations.min(axis=0)) * density
        assert (np.abs(level - q) <= 1e-12 * q + slack * 10 + 1e-15 * (q > 0.1)).all()
        assert before is None or (y >= before).all()
        before = y
        mirrored = mixture_quantile(1 - q, tensors[0], -tensors[1], tensors[2]).numpy()
        if q > 0.5:
            np.testing.assert_array_equal(mirrored, -y)
        alone = mixture_quantile(q, *(t[:, 7:8, 1:2] for t in tensors)).numpy()
        np.testing.assert_array_equal(alone, y[7:8, 1:2])


def test_quantiles_of_one_gaussian_are_its_own():
    model = JointEM(1).fit(table(0))
    law = model.condition([0], table(1)[:, [0]])
    levels = [1e-9, 0.1, 0.5, 0.999]
    expected = norm.ppf(np.reshape(levels, (-1, 1, 1)), law.means, law.standard_deviations)
    np.testing.assert_allclose(law.quantile(levels), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(law.quantile(0.1), law.quantile([0.1])[0])


def test_columns_may_be_positions_names_or_a_mask():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table(0), columns=["a", "b", "c", "d"])
    model = BigLearnEM(3, random_state=0).fit(frame)
    given = frame[["d", "b"]]
    law = model.condition(["d", "b"], given)
    assert law.feature_names.tolist() == ["a", "c"]
    assert repr(law) == "ConditionalLaw(columns=['a', 'c'], n_rows=300, n_components=3)"
    others = [
        model.condition([3, 1], given),
        model.condition(np.array([3, 1]), given),
        model.condition(given.columns, given),
        model.condition(("b", "d"), frame[["b", "d"]]),
        model.condition([False, True, False, True], frame[["b", "d"]]),
        model.condition(np.array([0, 1, 0, 1], dtype=bool), frame[["b", "d"]]),
    ]
    for other in others:
        np.testing.assert_allclose(other.means, law.means)
    one = model.condition("b", frame[["b"]])
    np.testing.assert_array_equal(one.means, model.condition(1, frame[["b"]]).means)
    with pytest.raises(ValueError, match="feature names should match"):
        model.condition(["b", "d"], given)
    with pytest.warns(UserWarning, match="BigLearnEM was fitted with feature names"):
        bare = model.condition([3, 1], given.to_numpy())
    np.testing.assert_array_equal(bare.means, law.means)


@pytest.mark.parametrize(
    ("columns", "error", "text"),
    [
        ([], ValueError, "columns is empty"),
        ([0, 1, 2, 3], ValueError, "leave at least one out"),
        ([True] * 4, ValueError, "leave at least one out"),
        ([False] * 4, ValueError, "mark at least one"),
        ([True, False], ValueError, "mask of 2 entries.*4 features"),
        ([0, 4], ValueError, r"columns \[4\] are not there.*0 to 3"),
        ([-1], ValueError, r"columns \[-1\]"),
        ([1, 1], ValueError, r"repeats \[1\]"),
        (["a"], ValueError, "had no column names"),
        ([0, "a"], TypeError, "all of one kind"),
        ([0.0], TypeError, "positions"),
        (None, TypeError, "positions"),
    ],
)
def test_columns_that_cannot_be_are_refused(model, columns, error, text):
    with pytest.raises(error, match=text):
        model.condition(columns, table(0)[:, :1])


def test_a_misspelt_name_is_told():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table(0), columns=["width", "height", "c", "d"])
    model = JointEM(1).fit(frame)
    with pytest.raises(ValueError, match=r"\['heigth'\].*did you mean 'height'"):
        model.condition(["heigth"], frame[["height"]])
    with pytest.raises(ValueError, match="known are"):
        model.condition(["zzz"], frame[["height"]])


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (np.zeros(2), r"(?s)Expected 2D array, got 1D array.*reshape"),
        ([1.0, 2.0], r"(?s)Expected 2D array, got 1D array.*reshape"),
        (np.zeros((5, 3)), r"X has 3 columns, but 2 are named, \[0, 2\]: pass these alone"),
        ([[1.0, 2.0, 3.0]], "3 features"),
        (np.full((5, 2), np.inf), "infinity"),
        (np.zeros((0, 2)), "minimum of 1"),
    ],
)
def test_rows_that_cannot_be_are_refused(model, X, text):
    with pytest.raises(ValueError, match=text):
        model.condition([0, 2], X)


def test_before_fit_and_far_out():
    with pytest.raises(NotFittedError, match="fit"):
        JointEM(2).condition([0], [[1.0]])
    model = JointEM(2, random_state=0).fit((table(0) * [1, 1e5, 1e5, 1e5]).astype(np.float32))
    far = np.array([[3e38], [0.0]], dtype=np.float32)
    with pytest.raises(ValueError, match=r"no number of float32.*pass float64"):
        model.condition([0], far)
    assert np.isfinite(model.condition([0], far.astype(np.float64)).means).all()


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, np.nan, [0.5, 1.0], [[0.5]]])
def test_levels_outside_are_refused(model, bad):
    with pytest.raises(ValueError, match=r"\bq must"):
        model.condition([0], [[0.0]]).quantile(bad)


def test_values_asked_for_are_checked(model):
    law = model.condition([0, 1, 2], table(1)[:5, :3])
    with pytest.raises(ValueError, match=r"shape \(5,\), expected \(5, 1\)"):
        law.log_prob(np.zeros(5))
    with pytest.raises(ValueError, match="not finite in 5 rows"):
        law.log_prob(np.full((5, 1), np.nan))
    for bad in (0, -1):
        with pytest.raises(ValueError, match="n_samples must be at least 1"):
            law.sample(bad)


def test_units_and_the_order_of_features_do_not_matter():
    X = table(0)
    one = BigLearnEM(3, random_state=0).fit(X)
    other = BigLearnEM(3, random_state=0).fit(X * UNITS + SHIFT)
    here, there = (
        one.condition([0, 1], X[:, :2]),
        other.condition([0, 1], (X * UNITS + SHIFT)[:, :2]),
    )
    units, shift = UNITS[2:], SHIFT[2:]
    np.testing.assert_allclose(there.means, here.means * units + shift, rtol=1e-6)
    np.testing.assert_allclose(
        there.standard_deviations, here.standard_deviations * units, rtol=1e-6
    )
    np.testing.assert_allclose(there.quantile(0.2), here.quantile(0.2) * units + shift, rtol=1e-6)
    np.testing.assert_allclose(
        there.log_prob(X[:, 2:] * units + shift),
        here.log_prob(X[:, 2:]) - np.log(units).sum(),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        there.covariances, here.covariances * np.outer(units, units), rtol=1e-5
    )
    order = np.array([2, 0, 3, 1])
    permuted = BigLearnEM(3, random_state=0).fit(X[:, order])
    law = permuted.condition([1, 3], X[:, [0, 1]])
    np.testing.assert_allclose(law.means, here.means, atol=1e-8)


def test_a_row_does_not_depend_on_the_others_nor_on_batches(model, monkeypatch):
    X = with_gaps(table(5)[:, :3], 5)
    X[7] = 1e9
    law = model.condition([0, 1, 2], X)
    answers = lambda law: (  # noqa: E731
        law.weights, law.means, law.standard_deviations, law.covariances, law.component_means,
        law.component_covariances, law.quantile(0.3), law.log_prob(law.means),
    )  # fmt: skip
    whole = answers(law)
    rows = [3, 8, 200]
    for part, all_ in zip(answers(model.condition([0, 1, 2], X[rows])), whole, strict=True):
        np.testing.assert_allclose(part, all_[rows], rtol=1e-11, atol=1e-12)
    monkeypatch.setattr("biglearn_core.search.missing._BATCH_NUMBERS", 100)
    for part, all_ in zip(answers(model.condition([0, 1, 2], X)), whole, strict=True):
        np.testing.assert_allclose(part, all_, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(law.sample(2, random_state=0), model.condition(
        [0, 1, 2], X).sample(2, random_state=0), rtol=1e-11)  # fmt: skip


def test_results_have_the_dtype_of_the_rows_and_cannot_be_changed(model):
    X = table(1)[:, :2].astype(np.float32)
    law, double = model.condition([0, 1], X), model.condition([0, 1], X.astype(np.float64))
    values = {
        name: getattr(law, name)
        for name in ("weights", "means", "standard_deviations", "covariances", "component_means")
    } | {"quantile": law.quantile([0.5]), "sample": law.sample(2, 0)}
    for name, value in values.items():
        assert value.dtype == np.float32, name
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
    assert law.log_prob(X).dtype == np.float32
    np.testing.assert_allclose(law.means, double.means, rtol=1e-5, atol=1e-5)
    assert double.means.dtype == np.float64
    with pytest.raises(dataclasses.FrozenInstanceError):
        law.means = 0
    assert isinstance(law, ConditionalLaw)
    restored = pickle.loads(pickle.dumps(law))
    np.testing.assert_array_equal(restored.sample(2, 0), law.sample(2, 0))


def test_a_law_stays_when_its_estimator_is_fitted_anew():
    model = JointEM(3, random_state=0).fit(table(0))
    law = model.condition([0], table(1)[:, :1])
    before = law.covariances
    model.fit(table(9))
    np.testing.assert_array_equal(law.covariances, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_multiple_imputation_differs_as_much_as_gaps_leave_open(dtype):
    X = table(0).astype(dtype)
    model = BigLearnEM(3, random_state=0).fit(X)
    gaps = with_gaps(X, 1)
    draws = model.impute(gaps, n_draws=400)
    assert draws.shape == (400, *X.shape)
    assert draws.dtype == dtype
    known = ~np.isnan(gaps)
    np.testing.assert_array_equal(
        draws[:, known], np.broadcast_to(gaps[known], draws[:, known].shape)
    )
    np.testing.assert_array_equal(draws[0], model.sample_conditional(gaps))
    np.testing.assert_array_equal(model.impute(gaps, n_draws=2), draws[:2])
    assert (np.ptp(draws[:, ~known], axis=0) > 0).all()
    np.testing.assert_array_equal(model.impute(gaps, n_draws=None), model.impute(gaps))
    # One column missing: its law by condition.
    rows = (known == [True, True, True, False]).all(axis=1)
    law = model.condition([0, 1, 2], gaps[rows, :3])
    z = (draws[:, rows, 3].mean(axis=0) - law.means[:, 0]) / law.standard_deviations[:, 0]
    assert np.abs(z).max() < 5 / np.sqrt(400)
    for q in (0.1, 0.5, 0.9):
        below = (draws[:, rows, 3] < law.quantile(q)[:, 0]).mean(axis=0)
        assert np.abs(below - q).max() < 5 * np.sqrt(q * (1 - q) / 400)
    np.testing.assert_allclose(model.impute(gaps)[rows, 3], law.means[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("n_draws", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_numbers_of_draws_are_checked(model, n_draws, error):
    with pytest.raises(error, match="n_draws must be"):
        model.impute(table(0), n_draws=n_draws)
