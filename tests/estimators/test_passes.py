"""Estimators on rows that are read in passes."""

import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from biglearn_core import BigLearnEM, JointEM, MixtureSelection
from biglearn_core.estimators import blocks, given
from biglearn_core.rows import source as rows_source
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.weighted import WeightedRows
from tests.helpers import assert_same_model, load_script

K, D = 3, 2


@pytest.fixture(autouse=True)
def _rows_are_too_many(monkeypatch):
    monkeypatch.setattr(given, "HELD_NUMBERS", 500)
    monkeypatch.setattr(blocks, "HELD_NUMBERS", 500)
    monkeypatch.setattr(given, "_SAMPLED_ROWS", 300)
    monkeypatch.setattr(given, "_SAMPLED_TO_A_COORDINATE", 20)
    monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", 400)
    monkeypatch.setattr(blocks, "_ANSWERED", 500)


@pytest.fixture
def held(monkeypatch):
    """Run something as if rows were few enough to be held."""

    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(given, "HELD_NUMBERS", 10**6)
            patch.setattr(blocks, "HELD_NUMBERS", 10**6)
            patch.setattr(blocks, "_ANSWERED", 10**6)
            return function()

    return run


def table(seed=0, *, n=1200, dtype=np.float64, gaps=0.0):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [9, 1], [-3, 8]])
    X = (centres[rng.integers(K, size=n)] + rng.standard_normal((n, D))).astype(dtype)
    X[rng.random(X.shape) < gaps] = np.nan
    return X


def mapped(path, X, mode="r"):
    np.save(path, X)
    return np.load(path, mmap_mode=mode)


def estimators():
    return [
        BigLearnEM(K, random_state=0),
        JointEM(K, random_state=0),
        BigLearnEM(K, covariance_type="diag", random_state=0),
        JointEM(K, covariance_type="tied", covariance_prior="conjugate", random_state=0),
        BigLearnEM(K, preset="paper", max_iter=25, random_state=0),
        JointEM(K, preset="paper", max_iter=25, random_state=0),
        MixtureSelection(covariance_type=("full", "tied"), max_components=4, random_state=0),
    ]


def known(estimator):
    """All that a fit sets, comparable."""
    return {
        "lower_bound_": estimator.lower_bound_,
        "n_iter_": estimator.n_iter_,
        "converged_": estimator.converged_,
        **{name: array.tobytes() for name, array in estimator.mixture_.arrays().items()},
    }


@pytest.mark.filterwarnings("ignore:EM has not converged")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", range(7))
def test_holders_of_the_same_rows_lead_to_the_same_bits(tmp_path, number, dtype):
    X = table(dtype=dtype)
    ways = [mapped(tmp_path / "X.npy", X), X, ArrayRows(X), np.asfortranarray(X)]
    ways = ways[: 2 if number == 6 else 4]
    found = [known(estimators()[number].fit(data)) for data in ways]
    assert found == [found[0]] * len(ways)


@pytest.mark.filterwarnings("ignore:EM has not converged")
@pytest.mark.parametrize("number", range(7))
def test_the_fit_is_near_to_that_of_rows_in_memory(held, number):
    X = table()
    one, passed = estimators()[number], estimators()[number].fit(X)
    held(lambda: one.fit(X))
    assert passed.lower_bound_ == pytest.approx(one.lower_bound_, abs=1e-3)
    assert passed.lower_bound_ == pytest.approx(passed.score(X), rel=1e-9)
    if number < 6:
        assert passed.n_components == K
    else:
        assert passed.n_components_ == one.n_components_ == K
    order = [np.argsort(e.means_[:, 0]) for e in (one, passed)]
    np.testing.assert_allclose(passed.means_[order[1]], one.means_[order[0]], atol=0.02)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_order_does_not_matter_and_a_weight_is_so_many_copies(number, weighted):
    X, rng = table(), np.random.default_rng(1)
    weights = rng.integers(0, 3, len(X)).astype(float) if weighted else np.ones(len(X))
    one = estimators()[number].fit(X, sample_weight=weights if weighted else None)
    rows = rng.permutation(np.repeat(X, weights.astype(int), axis=0))
    other = estimators()[number].fit(rows)
    assert_same_model(one.mixture_, other.mixture_, rtol=1e-9, atol=1e-9)
    scale = 1 if one.covariance_prior else 4  # beside a prior it counts how many rows there are
    inside = estimators()[number].fit(WeightedRows(ArrayRows(X), scale * weights))
    assert_same_model(one.mixture_, inside.mixture_, rtol=1e-9, atol=1e-9)
    assert one.lower_bound_ == pytest.approx(other.lower_bound_, rel=1e-10)


def test_rows_with_gaps_are_fitted(held):
    X = table(gaps=0.15)
    X[5] = np.nan
    passed = BigLearnEM(K, random_state=0).fit(X)
    one = BigLearnEM(K, random_state=0)
    held(lambda: one.fit(X))
    assert passed.lower_bound_ == pytest.approx(one.lower_bound_, abs=1e-3)
    assert passed.lower_bound_ == pytest.approx(passed.score(X), rel=1e-9)
    assert np.isfinite(passed.impute(X[:20])).all()
    with pytest.raises(ValueError, match=r"contains NaN in .* rows; drop them, or use BigLearnEM"):
        JointEM(K).fit(X)
    with pytest.raises(ValueError, match="contains NaN"):
        BigLearnEM(K, preset="paper", max_iter=2).fit(X)


def test_a_gap_that_the_sample_does_not_show_is_found():
    X = table()
    X[777, 1] = np.nan
    one = BigLearnEM(K, random_state=0).fit(X)
    assert one.lower_bound_ == pytest.approx(one.score(X), rel=1e-9)
    other = BigLearnEM(K, random_state=0).fit(np.delete(X, 777, axis=0))
    np.testing.assert_allclose(
        one.means_[np.argsort(one.means_[:, 0])],
        other.means_[np.argsort(other.means_[:, 0])],
        atol=0.02,
    )


@pytest.mark.filterwarnings("ignore:components")
@pytest.mark.parametrize(
    ("weights", "some"),
    [(None, "2 of 1200 rows"), (np.full(1200, 2.0), "rows of weight 4, of 2400 in all")],
)
def test_a_feature_of_which_the_sample_has_no_value_is_told_as_such(held, weights, some):
    X = np.column_stack([table(), np.full(1200, np.nan)])
    model = BigLearnEM(K, random_state=0)
    with pytest.raises(ValueError, match=r"features \[2\] have no value in any row"):
        model.fit(X, sample_weight=weights)
    X[[5, 701], 2] = 1.0, 2.0  # neither is among the 300 of the sample
    with pytest.raises(ValueError, match=rf"features \[2\] have values in {some}, .* 166 at most"):
        model.fit(X, sample_weight=weights)
    held(lambda: model.fit(X, sample_weight=weights))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_answers_in_blocks_are_those_at_once(tmp_path, held, dtype, gaps):
    X = table(dtype=dtype, gaps=gaps)
    model = BigLearnEM(K, random_state=0).fit(X)
    pages = mapped(tmp_path / "X.npy", X)
    asked = ("predict", "predict_proba", "score_samples")
    for name in asked:
        answer = getattr(model, name)
        whole = held(lambda answer=answer: answer(X))
        for data in (X, pages, ArrayRows(X)):
            np.testing.assert_allclose(
                answer(data), whole, rtol=1e-6 if dtype == np.float32 else 1e-12
            )
        out = np.lib.format.open_memmap(
            tmp_path / "out.npy", mode="w+", dtype=whole.dtype, shape=whole.shape
        )
        assert answer(pages, out=out) is out
        out.flush()
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), answer(X))
        assert answer(X).dtype == whole.dtype
    weights = np.random.default_rng(3).integers(0, 3, len(X)).astype(float)
    weights[:600] = 0
    for name in ("score", "bic", "aic", "icl"):
        ask = getattr(model, name)
        for more in ({}, {"sample_weight": weights}):
            once = held(lambda ask=ask, more=more: ask(X, **more))
            assert ask(pages, **more) == pytest.approx(
                once, rel=1e-6 if dtype == np.float32 else 1e-12
            )
        inside = WeightedRows(ArrayRows(X), weights)
        assert ask(inside) == ask(X, sample_weight=weights)
    pytest.importorskip("pandas")
    once = held(lambda: model.summary(X))
    assert model.summary(pages)["rows"].tolist() == once["rows"].tolist()
    np.testing.assert_allclose(model.summary(pages), once, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("predict", np.empty(1199, int), r"shape \(1200,\)"),
        ("predict", [0] * 1200, r"shape \(1200,\)"),
        ("predict", np.empty(1200), "integers up to 2, got float64"),
        ("predict", np.empty(1200, bool), "integers up to 2, got bool"),
        ("predict_proba", np.empty((1200, 2)), r"shape \(1200, 3\)"),
        ("predict_proba", np.empty((1200, 3), int), "floating-point numbers, got int64"),
        ("score_samples", np.empty((1200, 1)), r"shape \(1200,\)"),
        ("score_samples", np.empty(1200, int), "floating-point numbers, got int64"),
        ("score_samples", np.broadcast_to(0.0, 1200), "read-only"),
    ],
)
def test_what_cannot_take_the_answers_is_refused(name, out, message):
    X = table()
    model = JointEM(K, random_state=0).fit(X)
    with pytest.raises(ValueError, match=f"out .*{message}"):
        getattr(model, name)(X, out=out)


def test_labels_go_into_small_integers():
    X = table()
    model = JointEM(K, random_state=0).fit(X)
    out = np.empty(len(X), np.uint8)
    np.testing.assert_array_equal(model.predict(X, out=out), model.predict(X))


def test_starts_that_are_no_labels_are_taken():
    X = table()
    model = JointEM(K, random_state=0).fit(X)
    for estimator in (JointEM, BigLearnEM):
        for init in (model.mixture_, model.means_):
            again = estimator(K, init=init, random_state=0).fit(X)
            assert again.lower_bound_ == pytest.approx(model.lower_bound_, abs=1e-4)
        with pytest.raises(ValueError, match="init cannot be labels where the rows are too many"):
            estimator(K, init=model.predict(X)).fit(X)


def test_a_warm_start_goes_on():
    X = table()
    model = JointEM(5, warm_start=True, random_state=0, max_iter=1, tol=1e-12)
    found = []
    for _ in range(3):
        with pytest.warns(ConvergenceWarning, match="has not converged in 1 steps"):
            found.append(model.fit(X).lower_bound_)
    assert found[0] < found[1] < found[2]


def test_components_that_are_more_than_rows_are_refused():
    X = table(n=300)
    with pytest.raises(ValueError, match=r"n_components=301 exceeds the number of rows.*300"):
        JointEM(301).fit(X)
    with pytest.raises(ValueError, match=r"n_components=200 exceeds the number of rows.*150"):
        JointEM(200).fit(X, sample_weight=np.arange(300) % 2)


@pytest.mark.filterwarnings("ignore:components")
def test_fewer_distinct_rows_than_components_are_fitted():
    X = np.repeat(np.array([[0.0, 1.0], [5.0, 2.0]]), 400, axis=0)
    model = JointEM(3, random_state=0).fit(X)
    assert model.weights_.sum() == pytest.approx(1)


class Twitching(ArrayRows):
    """Rows that cannot be read any more in some pass."""

    def __init__(self, X, breaks=-1):
        super().__init__(X)
        self.passes, self._breaks = 0, breaks

    def blocks(self, size, start=0, stop=None):
        self.passes += 1
        for number, block in enumerate(super().blocks(size, start, stop)):
            if self.passes == self._breaks and number == 2:
                raise OSError("the disk has gone")
            yield block


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("estimator", [BigLearnEM, JointEM])
def test_wherever_a_pass_fails_the_next_fit_goes_on(tmp_path, monkeypatch, estimator, gaps):
    if gaps and estimator is JointEM:
        pytest.skip("takes no gaps")
    X, options = table(gaps=gaps), {"random_state": 0, "tol": 1e-4}
    source = Twitching(X)
    whole = known(estimator(K, **options).fit(source))
    n_survey = 2 if gaps else 1  # more than a thousandth of the rows has no value at all
    assert source.passes > 4
    for breaks in range(1, source.passes + 1):
        path, model = tmp_path / f"{breaks}.npz", estimator(K, **options)
        with pytest.raises(OSError, match="the disk has gone"):
            model.fit(Twitching(X, breaks), checkpoint=path)
        assert vars(model).keys() == vars(estimator()).keys()
        assert path.exists() == (breaks > n_survey)
        with monkeypatch.context() as patch:
            if path.exists():
                patch.setattr(estimator, "_fit_default", lambda *_: pytest.fail("searched again"))
            assert known(model.fit(X, checkpoint=path)) == whole
            again = estimator(K, **options)
            if path.exists():  # what has ended is told as it ended
                patch.setattr(estimator, "_fit_default", lambda *_: pytest.fail("searched again"))
                assert known(again.fit(X, checkpoint=path)) == whole


@pytest.mark.filterwarnings("ignore:EM has not converged", "ignore:components")
@pytest.mark.parametrize("estimator", [BigLearnEM, JointEM])
def test_the_paper_s_fit_goes_on_too(tmp_path, estimator):
    X, options = table(), {"preset": "paper", "max_iter": 10, "random_state": 0}
    path, source = tmp_path / "state.npz", Twitching(X)
    whole = known(estimator(K, **options).fit(source))
    with pytest.raises(OSError, match="the disk has gone"):
        estimator(K, **options).fit(Twitching(X, source.passes - 4), checkpoint=path)
    again = Twitching(X)
    assert known(estimator(K, **options).fit(again, checkpoint=path)) == whole
    assert again.passes < source.passes - 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"n_components": 4}, "n_components: 3 there, 4 now"),
        ({"random_state": 1}, "random_state: 0 there, 1 now"),
        ({"covariance_type": "diag"}, "covariance_type: "),
        ({"tol": 1e-3}, "tol: "),
        ({"covariance_floor": 0.1}, "covariance_floor: "),
        ({"init": table()[[0, 1, 5]]}, "init: "),
        ({"X": table(1)}, "data: "),
        ({"sample_weight": np.arange(1200)}, "sample_weight: "),
        ({"estimator": BigLearnEM}, "estimator: JointEM there, BigLearnEM now"),
    ],
)
def test_the_state_of_another_fit_is_refused(tmp_path, other, message):
    path, options = tmp_path / "state.npz", {"n_components": K, "random_state": 0}
    model = JointEM(**options).fit(table(), checkpoint=path)
    before, state = known(model), path.read_bytes()
    data = {"X": table(), "sample_weight": None}
    fit = data | {k: v for k, v in other.items() if k in data}
    estimator = other.get("estimator", JointEM)
    more = {k: v for k, v in other.items() if k not in data and k != "estimator"}
    again = estimator(**options | more)
    with pytest.raises(ValueError, match=rf"state\.npz .*{message}"):
        again.fit(**fit, checkpoint=path)
    assert path.read_bytes() == state
    assert not hasattr(again, "converged_")
    if estimator is JointEM:
        with pytest.raises(ValueError, match=message):
            model.set_params(**more).fit(**fit, checkpoint=path)
        assert known(model) == before


def test_a_fit_with_a_drawn_seed_goes_on_and_may_be_longer(tmp_path):
    path, X = tmp_path / "state.npz", table()
    with pytest.warns(ConvergenceWarning, match="not converged in 2"):
        JointEM(K, tol=1e-9, max_iter=2).fit(X, checkpoint=path)
    assert JointEM(K, tol=1e-9, max_iter=300).fit(X, checkpoint=path).converged_


def test_a_refused_fit_leaves_the_estimator_as_it_was():
    X = table()
    model = JointEM(K, random_state=0).fit(X)
    before = dict(vars(model))
    for bad in (np.where(X > 9, np.inf, X), np.where(X > 9, np.nan, X), X[:, :0]):
        with pytest.raises(ValueError, match=r"infinity|NaN|feature"):
            model.fit(bad)
        assert vars(model) == before


def test_weights_and_far_rows_are_refused_as_in_memory(held):
    X = table()
    with pytest.raises(ValueError, match="zero everywhere"):
        JointEM(K).fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="zero everywhere"):
        JointEM(K).fit(WeightedRows(ArrayRows(X), np.zeros(len(X))))
    with pytest.raises(ValueError, match=r"sums over the rows leave float64"):
        JointEM(K).fit(X, sample_weight=np.full(len(X), 1e308))
    with pytest.raises(ValueError, match="has weights already"):
        JointEM(K).fit(WeightedRows(ArrayRows(X), np.ones(len(X))), sample_weight=np.ones(len(X)))
    for dtype, far in ((np.float64, 1e300), (np.float32, 1e30)):
        wrong = X.astype(dtype)
        wrong[3, 1] = far
        with pytest.raises(ValueError, match=r"scales (of a feature )?away from the others"):
            JointEM(K).fit(wrong)


@pytest.mark.parametrize("question", ["score", "aic", "bic", "icl"])
def test_a_source_with_weights_takes_no_others(question):
    X = table()
    model = BigLearnEM(K, random_state=0).fit(X)
    source, weights = WeightedRows(ArrayRows(X), np.arange(len(X)) + 1.0), np.ones(len(X))
    ask = getattr(model, question)
    assert ask(source) != ask(X)
    with pytest.raises(ValueError, match="has weights already"):
        ask(source, sample_weight=weights)


def test_features_are_compared_with_those_of_the_fit():
    X = table()
    named = ArrayRows(X, feature_names=("a", "b"))
    model = JointEM(K, random_state=0).fit(named)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert model.mixture_.feature_names == ("a", "b")
    np.testing.assert_array_equal(model.predict(named), model.predict(ArrayRows(X)))
    with pytest.raises(ValueError, match="features of X are b, a, those of the fit a, b"):
        model.predict(ArrayRows(X, feature_names=("b", "a")))
    with pytest.raises(ValueError, match="X has 1 features, but JointEM is expecting 2"):
        model.predict(ArrayRows(X[:, :1]))
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_was_written_to_a_memory_map_is_kept_and_seen(tmp_path, mode):
    X, wide = table(), table() * 2
    pages = mapped(tmp_path / "X.npy", X, mode)
    pages[:] = wide
    model = JointEM(K, random_state=0).fit(pages)
    model.predict(pages)
    assert known(model) == known(JointEM(K, random_state=0).fit(wide))
    np.testing.assert_array_equal(pages, wide)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), wide if mode == "r+" else X)


@pytest.mark.parametrize("kind", ["i4", "u1", "f2", ">f8", ">f4"])
def test_numbers_of_any_kind_are_read(tmp_path, kind):
    X = (table() * 10 + 50).clip(0, 255).astype(kind)
    pages = mapped(tmp_path / "X.npy", X)
    model = JointEM(K, random_state=0).fit(pages)
    plain = X.astype(np.float32 if kind == ">f4" else np.float64)
    assert known(model) == known(JointEM(K, random_state=0).fit(plain))
    assert model.mixture_.dtype == (torch.float32 if kind == ">f4" else torch.float64)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(given, "HELD_NUMBERS", 2**23)
    monkeypatch.setattr(blocks, "HELD_NUMBERS", 2**23)
    monkeypatch.setattr(blocks, "_ANSWERED", 2**20)
    monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", 2**20)
    memory = load_script("benchmarks/memory.py")
    n, features = 3_200_000, 16
    pages = np.lib.format.open_memmap(
        tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=(n, features)
    )
    rng = np.random.default_rng(0)
    for start in range(0, n, 100_000):
        pages[start : start + 100_000] = rng.standard_normal((100_000, features), dtype=np.float32)
        pages[start : start + 50_000] += 4
    pages.flush()
    del pages
    pages = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert pages.nbytes > 200e6
    JointEM(2, random_state=0, tol=1e-2).fit(pages[:600_000])  # what is loaded once
    before = memory.restart_peak()
    model = JointEM(2, random_state=0, tol=1e-2)
    peak = memory.peak_bytes(lambda: model.fit(pages))
    assert model.converged_
    assert peak < 120e6
    out = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=np.int8, shape=(n,))
    assert memory.peak_bytes(lambda: model.predict(pages, out=out)) < 120e6
    assert memory.restart_peak() - before < 80e6  # without what the allocator keeps
