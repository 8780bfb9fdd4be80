"""Tables drawn at random: an answer of the right kind, or the library's word."""

import numpy as np
import pytest
from hypothesis import event, given, strategies as st

from biglearn_core import BigLearnEM
from tests.fuzz.checks import assert_law, assert_numbers, cases, must_fit, of_table
from tests.fuzz.tables import CONTAINERS, NAMED, Refusal, Table, answer, sample_weights, tables

# Components on the floor, empty ones and few steps are told by a warning, rightly.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ABSURD = (1e30, -1e200, 1e308, 5e-324, -3e38)

estimators = st.builds(
    of_table,
    st.sampled_from(["default", "default", "joint", "joint", "paper"]),
    st.integers(1, 4),
    st.integers(0, 5),
)


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


def assert_draws(model, table):
    X, z = model.sample(7)
    assert X.shape == (7, table.values.shape[1])
    assert X.dtype == table.dtype
    assert np.isfinite(X).all()
    assert ((z >= 0) & (z < model.n_components)).all()


@cases(450)
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
        share = sample_weight / sample_weight.max()
        assert (share < 2 * np.finfo(table.dtype).tiny).any()
        assert "1e308 scales" in answers.message
        return
    assert answers[2].dtype == table.dtype
    assert_row_by_row(model, table, answers, rng)
    assert_filled(model, table, rng)
    assert_numbers(model, table, X, sample_weight)
    assert_draws(model, table)
