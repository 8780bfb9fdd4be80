"""Tables, mixtures and weights drawn at random: an answer of the right kind, or the library's word.

The cases are the same in every run. For more of them, and others each time,

    BIGLEARN_FUZZ=20 pytest tests/fuzz

runs twenty times as many from fresh seeds; hypothesis prints how to repeat one that fails.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings, strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from biglearn_core import GMM, BigLearnEM, JointEM
from tests.fuzz.tables import CONTAINERS, NAMED, Refusal, Table, answer, sample_weights, tables

# Components on the floor, empty ones and few steps are told by a warning, rightly.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MORE = int(os.environ.get("BIGLEARN_FUZZ", "1"))

ABSURD = (1e30, -1e200, 1e308, 5e-324, -3e38)


def cases(n):
    return settings(
        max_examples=n * MORE,
        derandomize=MORE == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def of_table(kind, n_components, seed):
    if kind == "default":
        return BigLearnEM(n_components, max_iter=20, tol=1e-3, random_state=seed)
    if kind == "paper":
        return BigLearnEM(n_components, preset="paper", max_iter=3, random_state=seed)
    init = ("kmeans", "k-means++", "random")[seed % 3]
    return JointEM(n_components, init=init, max_iter=50, random_state=seed)


estimators = st.builds(
    of_table,
    st.sampled_from(["default", "default", "joint", "joint", "paper"]),
    st.integers(1, 4),
    st.integers(0, 5),
)


def must_fit(model, table, sample_weight):
    """Whether there is no reason to refuse the table, by what the README promises."""
    X = table.plain()
    if sample_weight is not None:
        X = X[sample_weight / sample_weight.max() > np.finfo(X.dtype).tiny]
    incomplete = np.isnan(table.plain()).any()
    if len(table.values) < model.n_components or np.isnan(X).all(axis=0).any():
        return False
    if incomplete and (isinstance(model, JointEM) or model.preset == "paper"):
        return False
    sizes = np.abs(X[np.isfinite(X) & (X != 0)])
    edge = 1e6 if model.preset == "paper" else 1e12 if X.dtype == np.float32 else 1e100
    return len(sizes) == 0 or (sizes.max() < edge and sizes.min() > 1 / edge)


def assert_law(model, table):
    K, D = model.n_components, table.values.shape[1]
    law = model.mixture_
    for array, shape in (
        (model.weights_, (K,)),
        (model.means_, (K, D)),
        (model.covariances_, (K, D, D)),
    ):
        assert array.shape == shape
        assert array.dtype == table.dtype
        assert np.isfinite(array).all()
    GMM(law.weights, law.means, law.covariances)
    assert np.isfinite(model.lower_bound_)
    again = GMM.from_arrays(law.arrays())
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(again, name), getattr(law, name))


def assert_answers(model, table, X):
    """Answers about a table, of the right kind; returns what each row got."""
    n, K = len(table.values), model.n_components
    labels, shares, scores = model.predict(X), model.predict_proba(X), model.score_samples(X)
    assert labels.shape == scores.shape == (n,)
    assert shares.shape == (n, K)
    assert labels.dtype == np.int64
    assert shares.dtype == scores.dtype
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.astype(np.float64).sum(axis=1), 1, atol=1e-6)
    assert (shares[np.arange(n), labels] >= shares.max(axis=1) - 1e-6).all()
    assert not np.isnan(scores).any()
    assert (scores < np.inf).all()
    return labels, shares, scores


def assert_same_answers(some, others, dtype):
    """Equal to rounding, which the forms of the density keep below a millionth of a nat.

    A label may differ where two components have equal shares.
    """
    (labels, shares, scores), (others_labels, others_shares, others_scores) = some, others
    tolerance = 1e-5 if dtype == np.float32 else 2e-6
    np.testing.assert_allclose(shares, others_shares, atol=tolerance)
    np.testing.assert_allclose(scores, others_scores, rtol=tolerance / 100, atol=tolerance)
    rows = np.arange(len(labels))
    tied = np.abs(shares[rows, labels] - shares[rows, others_labels]) <= 2 * tolerance
    assert (tied | (labels == others_labels)).all()


def assert_row_by_row(model, table, answers, rng):
    """A row's answer is its own: alone, in another container, beside a row that is absurd."""
    n = len(table.values)
    chosen = rng.integers(0, n, 3)
    for row in chosen:
        alone = assert_answers(model, table_of(table, [row]), table.written([row]))
        assert_same_answers(alone, [a[[row]] for a in answers], table.dtype)
    alike = [c for c in CONTAINERS if (c in NAMED) == (table.container in NAMED)]
    other = table.within(rng.choice(alike))
    if other.dtype == table.dtype:
        assert_same_answers(assert_answers(model, other, other.written()), answers, table.dtype)
    X = table.plain()
    absurd = X[[0]].copy()
    absurd[0, rng.integers(X.shape[1])] = np.clip(
        rng.choice(ABSURD), np.finfo(X.dtype).min, np.finfo(X.dtype).max
    )
    batch = as_named(table, np.concatenate([X, absurd]))
    together = answer(lambda: assert_answers(model, table_of(table, [*range(n), 0]), batch))
    if not isinstance(together, Refusal):
        assert_same_answers([a[:n] for a in together], answers, table.dtype)


def table_of(table, rows):
    return Table(table.values[rows], table.missing[rows], table.container)


def as_named(table, X):
    """X, with the names that the table has, if any."""
    return CONTAINERS["pandas with names"](X, np.isnan(X)) if table.container in NAMED else X


def assert_filled(model, table, rng):
    """Gaps are filled, what is there stays, and no row's filling depends on the others."""
    X = table.plain()
    gaps = np.isnan(X) | (rng.random(X.shape) < 0.3)
    holey = np.where(gaps, np.nan, X).astype(X.dtype)
    filled = answer(lambda: model.impute(as_named(table, holey)))
    drawn = answer(lambda: model.sample_conditional(as_named(table, holey)))
    for full in (filled, drawn):
        if isinstance(full, Refusal):
            continue
        assert full.shape == X.shape
        assert full.dtype == X.dtype
        assert np.isfinite(full).all()
        np.testing.assert_array_equal(full[~gaps], X[~gaps])
    if not isinstance(filled, Refusal):
        row = rng.integers(len(X))
        alone = model.impute(as_named(table, holey[[row]]))
        scale = np.abs(filled).max(axis=0)
        assert (np.abs(alone[0] - filled[row]) <= 1e-6 * scale).all()


def assert_numbers(model, table, X, sample_weight):
    score = model.score(X, sample_weight=sample_weight)
    scores = model.score_samples(X)
    if not np.isfinite(scores if sample_weight is None else scores[sample_weight > 0]).all():
        return
    tolerance = 1e-2 if table.dtype == np.float32 else 1e-6
    assert score == pytest.approx(model.lower_bound_, rel=tolerance, abs=tolerance)
    assert np.isfinite(model.aic(X)) == np.isfinite(scores).all()
    assert np.isfinite(model.bic(X)) == np.isfinite(scores).all()
    if sample_weight is not None and sample_weight.max() < 1e100:
        assert np.isfinite(model.aic(X, sample_weight=sample_weight))
        assert np.isfinite(model.bic(X, sample_weight=sample_weight))


def assert_draws(model, table):
    X, z = model.sample(7)
    assert X.shape == (7, table.values.shape[1])
    assert X.dtype == table.dtype
    assert np.isfinite(X).all()
    assert ((z >= 0) & (z < model.n_components)).all()


@cases(900)
@given(st.data())
def test_every_table_is_answered_or_refused_in_the_librarys_words(data):
    model = data.draw(estimators)
    fills_gaps = isinstance(model, BigLearnEM) and model.preset == "default"
    table = data.draw(tables(gaps=fills_gaps or data.draw(st.integers(0, 9)) == 0))
    sample_weight = data.draw(sample_weights(len(table.values)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X = table.written()
    fitted = answer(lambda: model.fit(X, sample_weight=sample_weight))
    event(f"{type(model).__name__} {'refused' if isinstance(fitted, Refusal) else 'fitted'}")
    if isinstance(fitted, Refusal):
        assert not must_fit(model, table, sample_weight), fitted.message
        assert not any(name.endswith("_") for name in vars(model))
        return
    assert_law(model, table)
    answers = answer(lambda: assert_answers(model, table, X))
    if isinstance(answers, Refusal):  # of a row that the fit did not see
        assert (sample_weight == 0).any()
        assert "1e308 scales" in answers.message
        return
    assert answers[2].dtype == table.dtype
    assert_row_by_row(model, table, answers, rng)
    assert_filled(model, table, rng)
    assert_numbers(model, table, X, sample_weight)
    assert_draws(model, table)


@cases(350)
@given(
    tables(most_rows=30),
    st.sampled_from(list(CONTAINERS)),
    st.sampled_from(["default", "joint", "joint"]),
    st.integers(1, 3),
)
def test_the_container_of_a_table_does_not_change_the_fit(table, container, kind, n_components):
    other = table.within(container)
    left, right = of_table(kind, n_components, 0), of_table(kind, n_components, 0)
    # Python's numbers have no float32.
    other = other if other.dtype == table.dtype else table.within("array")
    if other.dtype != table.dtype:
        other = Table(table.values.astype(np.float64), table.missing, "array")
    first = answer(lambda: left.fit(table.written()))
    second = answer(lambda: right.fit(other.written()))
    assert isinstance(first, Refusal) == isinstance(second, Refusal)
    if isinstance(first, Refusal):
        return
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    np.testing.assert_array_equal(left.predict(table.written()), right.predict(other.written()))


@cases(250)
@given(
    tables(most_rows=30),
    st.lists(st.integers(-30, 30), min_size=5, max_size=5),
    st.sampled_from(["default", "joint", "joint"]),
    st.integers(1, 3),
)
def test_features_times_powers_of_two_give_the_same_clusters(table, powers, kind, n_components):
    X = table.plain()
    powers = powers[: X.shape[1]]
    with np.errstate(over="ignore", under="ignore"):
        Y = np.ldexp(X, powers).astype(X.dtype)
    exact = np.isnan(X) | (X == 0) | (np.isfinite(Y) & (np.abs(Y) >= np.finfo(X.dtype).tiny))
    if not exact.all() or (np.abs(X[X != 0]) < np.finfo(X.dtype).tiny).any():
        return
    left, right = of_table(kind, n_components, 0), of_table(kind, n_components, 0)
    if isinstance(answer(lambda: left.fit(X)), Refusal):
        return
    if isinstance(answer(lambda: right.fit(Y)), Refusal):
        assert not must_fit(right, Table(Y, np.isnan(Y), "array"), None)
        return
    np.testing.assert_array_equal(left.predict(X), right.predict(Y))
    if not table.missing.any():  # where much is missing, rounding decides what is extrapolated
        sizes = np.abs(Y).max(axis=0)
        assert (np.abs(np.ldexp(left.means_, powers) - right.means_) <= 1e-5 * sizes).all()


BASE = np.random.default_rng(7).standard_normal((30, 2)) + 9 * (np.arange(30) % 2)[:, None]


@cases(200)
@given(
    st.data(),
    st.sampled_from(["default", "joint", "joint", "paper"]),
    st.integers(1, 2),
    st.integers(-40, 40),
    st.booleans(),
)
def test_sample_weights_of_any_size(data, kind, n_components, power, single):
    weights = data.draw(sample_weights(len(BASE), none=False))
    X = BASE.astype(np.float32) if single else BASE
    model = of_table(kind, n_components, 0)
    model.fit(X, sample_weight=weights)
    assert_law(model, Table(X, np.isnan(X), "array"))
    assert_numbers(model, Table(X, np.isnan(X), "array"), X, weights)
    inside = X[weights > 0]
    slack = 1e-4 * (1 + np.abs(inside).max())
    if kind != "paper":
        assert (model.means_ >= inside.min(axis=0) - slack).all()
        assert (model.means_ <= inside.max(axis=0) + slack).all()
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(weights, power)
    if np.isfinite(scaled).all() and (np.ldexp(scaled, -power) == weights).all():
        again = of_table(kind, n_components, 0).fit(X, sample_weight=scaled)
        np.testing.assert_array_equal(model.predict(X), again.predict(X))
        np.testing.assert_allclose(model.means_, again.means_, rtol=1e-5, atol=1e-5)
    if kind != "paper":
        kept = of_table(kind, n_components, 0)
        assert isinstance(
            answer(lambda: kept.fit(inside, sample_weight=weights[weights > 0])), Refusal
        ) == (len(inside) < max(2, n_components))
        if len(inside) >= max(2, n_components):
            np.testing.assert_array_equal(kept.predict(X), model.predict(X))


@cases(50)
@given(
    st.one_of(
        st.lists(st.floats(-1, 1), min_size=0, max_size=31),
        st.lists(st.sampled_from([0.0, -1e-320, np.nan, np.inf, "a", None]), min_size=30,
                 max_size=30),
        st.floats(-1, 2),
        st.just(np.ones((30, 2))),
        st.just("weights"),
        st.just([[1.0]] * 30),
        st.just(np.zeros(30, dtype="datetime64[D]")),
        st.just(np.ones(30, dtype=complex)),
    )
)  # fmt: skip
def test_weights_that_are_none_are_refused(weights):
    model = JointEM(2, random_state=0)
    fitted = answer(lambda: model.fit(BASE, sample_weight=weights))
    try:
        array = np.asarray(weights)
        array = array if array.dtype.kind == "b" else array.astype(np.float64, casting="same_kind")
        right = array.shape in ((), (30,)) and np.isfinite(array).all() and (array >= 0).all()
        right = bool(right and array.any())
    except (ValueError, TypeError):
        right = False
    assert isinstance(fitted, Refusal) != right
    if right:
        assert_law(model, Table(BASE, np.isnan(BASE), "array"))


@st.composite
def mixtures(draw):
    """Parameters of a mixture, each axis at a scale of its own; and the exponents of the scales."""
    K, D = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    widest = 150 if dtype == np.float64 else 17
    exponents = draw(
        st.one_of(st.just([0] * D), st.lists(st.integers(-widest, widest), min_size=D, max_size=D))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.dirichlet(np.full(K, 0.7))
    if draw(st.booleans()) and K > 1:
        weights[rng.integers(K)] = 0.0
    scales = 10.0 ** np.array(exponents, dtype=np.float64)
    means = 4 * rng.standard_normal((K, D)) * scales
    roots = rng.standard_normal((K, D, D)) + 2 * np.eye(D)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(D)  # so that float32 holds them
    covariances *= scales[:, None] * scales
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    parameters = [
        torch.from_numpy(p.astype(dtype)) for p in (weights / weights.sum(), means, covariances)
    ]
    return parameters, exponents, rng


def assert_valid(law):
    GMM(law.weights, law.means, law.covariances)
    GMM.from_arrays(law.arrays())


def assert_saved_and_loaded(law):
    with tempfile.TemporaryDirectory() as folder:
        law.save(Path(folder) / "law.npz")
        again = GMM.load(Path(folder) / "law.npz")
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(again, name), getattr(law, name))


@cases(250)
@given(mixtures(), st.integers(-300, 300))
def test_every_mixture_is_answered_or_refused_in_the_librarys_words(case, far):
    parameters, exponents, rng = case
    law = answer(lambda: GMM(*parameters))
    assert not isinstance(law, Refusal), law.message
    assert_valid(law)
    if far % 8 == 0:
        assert_saved_and_loaded(law)
    D = law.n_features
    scales = 10.0 ** np.array(exponents, dtype=np.float64)
    limits = np.finfo(np.float32 if law.dtype == torch.float32 else np.float64)
    near = (3 * rng.standard_normal((5, D)) + 1) * scales
    with np.errstate(over="ignore"):
        away = near[:3] * 10.0**far
    rows = np.concatenate([near, away.clip(limits.min, limits.max)]).clip(limits.min, limits.max)
    X = torch.from_numpy(rows).to(law.dtype)
    scores, shares, labels = law.log_prob(X), law.responsibilities(X), law.predict(X)
    assert scores.shape == labels.shape == (8,)
    assert not scores.isnan().any()
    assert torch.isfinite(scores[:5]).all()
    assert torch.isfinite(shares).all()
    torch.testing.assert_close(
        shares.double().sum(dim=1), torch.ones(8).double(), atol=1e-5, rtol=0
    )
    tolerance = 1e-4 if law.dtype == torch.float32 else 1e-9
    for row in range(8):
        torch.testing.assert_close(
            law.log_prob(X[[row]])[0], scores[row], rtol=tolerance, atol=tolerance
        )
        torch.testing.assert_close(
            law.responsibilities(X[[row]])[0], shares[row], rtol=0, atol=tolerance
        )
    expected = oracle(law, X[:5].double().numpy(), scales)
    np.testing.assert_allclose(
        scores[:5].double().numpy(),
        expected,
        rtol=1e-3 if tolerance > 1e-5 else 1e-7,
        atol=1e-3 if tolerance > 1e-5 else 1e-7,
    )

    sample, z = law.sample(6, torch.Generator().manual_seed(0))
    assert sample.shape == (6, D)
    assert torch.isfinite(sample).all()
    assert (law.weights[z] > 0).all()
    n_known = int(rng.integers(1, D + 1))
    index = rng.permutation(D)[:n_known]
    marginal = law.marginal(index.tolist())
    assert_valid(marginal)
    assert marginal.log_prob(X[:, index.tolist()]).isnan().sum() == 0
    A = torch.from_numpy(rng.standard_normal((n_known, D)) / scales)
    for derived in (
        answer(lambda: law.condition(index.tolist(), X[rng.integers(8)][index.tolist()])),
        answer(lambda: law.transform(A)),
        answer(lambda: law.to(dtype=torch.float32)),
        answer(lambda: law.to(dtype=torch.float64)),
    ):
        if not isinstance(derived, Refusal):
            assert_valid(derived)
    if law.dtype == torch.float32:
        assert not isinstance(answer(lambda: law.to(dtype=torch.float64)), Refusal)


def oracle(law, X, scales):
    """scipy's densities, in units of the scales."""
    logs = []
    for weight, mean, covariance in zip(
        law.weights.double().numpy(), law.means.double().numpy(), law.covariances.double().numpy(),
        strict=True,
    ):  # fmt: skip
        if weight > 0:
            normal = multivariate_normal(
                mean / scales, covariance / scales[:, None] / scales, allow_singular=True
            )
            logs.append(np.log(weight) + np.atleast_1d(normal.logpdf(X / scales)))
    return logsumexp(logs, axis=0) - np.log(scales).sum()
