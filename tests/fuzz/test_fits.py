"""Tables and weights drawn at random: what must not change a fit, and what must be refused."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from biglearn_core import JointEM
from tests.fuzz.checks import assert_law, assert_numbers, cases, must_fit, of_table
from tests.fuzz.tables import CONTAINERS, Refusal, Table, answer, sample_weights, tables

# Components on the floor, empty ones and few steps are told by a warning, rightly.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@cases(200)
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


@cases(150)
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


@cases(120)
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
