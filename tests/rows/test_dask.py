"""Rows of a Dask array: passes go to where the chunks lie, and find what they find in memory."""

import os
import pickle
import subprocess
import sys
from operator import add
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from biglearn_core import GMM, BigLearnEM, JointEM, MixtureSelection, fit_joint_em
from biglearn_core.rows import source as source_module
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.dask import DaskRows, is_dask
from biglearn_core.rows.opening import is_source, open_rows
from biglearn_core.rows.weighted import WeightedRows
from tests.helpers import ROOT
from tests.rows.small import MEANS, assert_same_blocks, clusters, table

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
Delayed = pytest.importorskip("dask.delayed").Delayed


@pytest.fixture
def local():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process with one thread."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def passes(monkeypatch):
    """Small data are read in passes, too, and no row may come here."""
    monkeypatch.setattr("biglearn_core.estimators.given.HELD_NUMBERS", 100)

    def refuse(self, *args):
        raise AssertionError("rows have come to the client")

    monkeypatch.setattr(DaskRows, "blocks", refuse)


class TestBlocks:
    pytestmark = pytest.mark.usefixtures("local")

    @pytest.mark.parametrize("chunks", [(23,), (5, 0, 17, 1), (7, 7, 9)])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_are_those_of_the_array(self, chunks, dtype):
        X, weights = table(dtype=dtype), np.arange(23.0)
        array = da.from_array(X, chunks=(chunks, 3))
        assert_same_blocks(DaskRows(array), X)
        for given in (weights, da.from_array(weights, chunks=11)):
            assert_same_blocks(DaskRows(array, weights=given), X, weights)

    @pytest.mark.parametrize("dtype", [int, bool, np.float16, np.uint8])
    def test_numbers_become_float64(self, dtype):
        X = np.arange(12).reshape(4, 3).astype(dtype)
        assert_same_blocks(DaskRows(da.from_array(X, chunks=(3, 3))), X)

    def test_only_the_chunks_that_are_asked_for_are_computed(self, tmp_path):
        def recorded(chunk, block_id):
            (tmp_path / str(block_id[0])).touch()
            return chunk

        array = da.from_array(table(), chunks=(5, 3)).map_blocks(
            recorded, dtype=float, meta=np.empty((0, 0))
        )
        (block,) = DaskRows(array).blocks(10, 6, 12)
        np.testing.assert_array_equal(block.rows, table()[6:12])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]

    def test_columns_of_a_data_frame_give_names(self):
        dd = pytest.importorskip("dask.dataframe")
        X = np.nan_to_num(table())
        frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(w=np.arange(23.0))
        parts = dd.from_pandas(frame, npartitions=4)
        source = open_rows(parts[["c", "a"]], sample_weight=parts["w"])
        assert source.feature_names == ("c", "a")
        assert_same_blocks(source, X[:, [2, 0]], np.arange(23.0))
        assert DaskRows(dd.from_pandas(pd.DataFrame(X), npartitions=2)).feature_names is None


class TestFolds:
    @pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
    def test_keep_the_order_under_every_scheduler(self, scheduler):
        X = table()
        source = DaskRows(da.from_array(X, chunks=((5, 0, 3, 3, 12), 3)), weights=np.arange(23.0))
        done = []
        with dask.config.set(scheduler=scheduler, num_workers=2):
            found = source.fold(lambda b: list(zip(b.rows, b.weights, strict=True)), add,
                                progress=done.append)  # fmt: skip
        np.testing.assert_array_equal([row for row, _ in found], X)
        np.testing.assert_array_equal([weight for _, weight in found], np.arange(23))
        assert done == [23]

    def test_go_through_a_chunk_in_blocks(self, local, monkeypatch):
        monkeypatch.setattr(source_module, "_BLOCK_NUMBERS", 12)
        source = DaskRows(da.from_array(table(), chunks=(10, 3)))
        assert source.fold(lambda block: [len(block)], add) == [4, 4, 2, 4, 4, 2, 3]

    def test_of_no_rows(self, local):
        assert DaskRows(da.zeros((0, 3))).fold(len, add) is None

    @pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
    def test_work_on_one_thread_in_the_modes_of_the_caller(self, scheduler):
        source = DaskRows(da.from_array(table(), chunks=(5, 3)))

        def modes(block):
            grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            return {(torch.get_num_threads(), grad, inference)}

        before = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            with dask.config.set(scheduler=scheduler):
                assert source.fold(modes, set.union) == {(1, True, False)}
                with torch.no_grad():
                    assert source.fold(modes, set.union) == {(1, False, False)}
                with torch.inference_mode():
                    assert source.fold(modes, set.union) == {(1, False, True)}
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(before)


class TestRefusals:
    pytestmark = pytest.mark.usefixtures("local")

    @pytest.mark.parametrize(
        ("array", "error", "message"),
        [
            (np.zeros((3, 2)), TypeError, "takes a Dask array or data frame, got ndarray"),
            (da.zeros(3), ValueError, r"of shape \(N, D\), got a Dask array of shape \(3,\)"),
            (da.zeros((3, 0)), ValueError, r"got a Dask array of shape \(3, 0\)"),
            (da.zeros((4, 4), chunks=(4, 2)), ValueError, r"into 2 chunks: .* rechunk\(\{1: -1\}"),
            (da.zeros((4, 2), dtype=complex), TypeError, "got ndarray of complex128"),
            (da.ma.masked_equal(da.zeros((4, 2)), 1), TypeError, "got MaskedArray of float64"),
        ],
    )
    def test_of_arrays(self, array, error, message):
        with pytest.raises(error, match=message):
            DaskRows(array)

    def test_of_unknown_lengths(self):
        array = da.from_array(table(), chunks=(5, 3))
        unknown = array[array[:, 0] > 0]
        with pytest.raises(ValueError, match=r"call compute_chunk_sizes\(\)"):
            DaskRows(unknown)
        assert_same_blocks(DaskRows(unknown.compute_chunk_sizes()), table()[table()[:, 0] > 0])

    @pytest.mark.parametrize(
        ("weights", "error", "message"),
        [
            (np.ones(4), ValueError, r"their shape is \(4,\), expected \(23,\)"),
            (da.ones((23, 1)), ValueError, r"their shape is \(23, 1\)"),
            (["1"] * 23, TypeError, "must be real numbers, got <U1"),
            (Path("w.npy"), TypeError, "must be an array, got PosixPath"),
        ],
    )
    def test_of_weights(self, weights, error, message):
        source = DaskRows(da.from_array(table(), chunks=(5, 3)))
        with pytest.raises(error, match=message):
            source.with_weights(weights)

    def test_of_weights_where_they_lie(self):
        source = DaskRows(da.from_array(table(), chunks=(5, 3)))
        for value, message in ((-1.0, "Negative values"), (np.nan, "NaN or infinite")):
            weights = da.where(da.arange(23) == 7, value, 1.0)
            with pytest.raises(ValueError, match=message):
                source.with_weights(weights).fold(len, add)
            with pytest.raises(ValueError, match=message):
                list(source.with_weights(weights).blocks(4))

    def test_of_weights_in_two_places(self):
        source = DaskRows(da.zeros((3, 1)), weights=np.ones(3))
        with pytest.raises(ValueError, match="has weights already"):
            open_rows(source, sample_weight=np.ones(3))

    @pytest.mark.parametrize("change", [lambda x: x[1:], lambda x: x.astype("f4")])
    def test_of_chunks_that_are_not_what_the_array_says(self, change):
        array = da.from_array(table(), chunks=(5, 3)).map_blocks(
            change, dtype=float, meta=np.empty((0, 0)), chunks=((5, 5, 5, 5, 3), 3)
        )
        with pytest.raises(ValueError, match="of another kind than the array says"):
            DaskRows(array).fold(len, add)


def recorded_rows(folder, block_info):
    """Make a chunk, and leave a note of who has made it."""
    Path(folder, str(os.getpid())).touch()
    (first, stop), _ = block_info[None]["array-location"]
    return clusters()[first:stop]


class TestOnACluster:
    @pytest.fixture
    def rows(self, client, tmp_path):
        """Rows that exist on workers only."""
        yield da.map_blocks(
            recorded_rows, str(tmp_path), chunks=((170, 130, 300), 3), dtype=float,
            meta=np.empty((0, 0)),
        )  # fmt: skip
        makers = {int(path.name) for path in tmp_path.iterdir()}
        assert makers
        assert os.getpid() not in makers

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(
        "estimator",
        [
            JointEM(3, random_state=0),
            JointEM(3, preset="paper", max_iter=4, random_state=0),
            BigLearnEM(3, covariance_type="tied", random_state=0),
        ],
        ids=["joint", "paper", "biglearn"],
    )
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_fits_are_those_of_the_array(self, rows, passes, estimator, weighted):
        weights = np.random.default_rng(1).integers(0, 4, 600) if weighted else None
        given = da.from_array(weights, chunks=250) if weighted else None
        expected = estimator.fit(ArrayRows(clusters()), sample_weight=weights).mixture_
        found = estimator.fit(rows, sample_weight=given).mixture_
        assert_same_mixture(found, expected)

    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_a_selection(self, rows, passes):
        weights = np.random.default_rng(1).integers(0, 4, 600)
        selection = MixtureSelection(
            covariance_type="full", max_components=2, max_iter=2, random_state=0
        )
        expected = selection.fit(ArrayRows(clusters()), sample_weight=weights)
        mixture, criterion = expected.mixture_, expected.criterion_
        found = selection.fit(rows, sample_weight=da.from_array(weights, chunks=250))
        assert_same_mixture(found.mixture_, mixture)
        assert found.criterion_ == pytest.approx(criterion, rel=1e-12)

    def test_rows_with_gaps(self, rows, passes):
        model = BigLearnEM(3, random_state=0)
        X = clusters()
        X[X > 8] = np.nan
        expected = model.fit(ArrayRows(X)).mixture_
        holed = da.where(rows > 8, np.nan, rows)
        assert_same_mixture(model.fit(holed).mixture_, expected)
        with pytest.raises(ValueError, match="Input X contains NaN in"):
            JointEM(3).fit(holed)

    def test_training_loops(self, rows, passes):
        weights = np.random.default_rng(1).random(600)
        start = GMM(torch.ones(3).double() / 3, torch.tensor(MEANS) + 1, identities(3, 3))
        expected, found = (
            fit_joint_em(source, start, n_iter=5, covariance_floor=1e-4)
            for source in (
                WeightedRows(ArrayRows(clusters()), weights),
                DaskRows(rows, weights=weights),
            )
        )
        assert_same_mixture(found.model, expected.model)

    def test_little_comes_back(self, client, passes, monkeypatch):
        array = da.random.default_rng(0).normal(size=(100_000, 4), chunks=(10_000, 4)).persist()
        sizes, compute = [], Delayed.compute

        def measured(self, **kwargs):
            result = compute(self, **kwargs)
            sizes.append(len(pickle.dumps(result)))
            return result

        monkeypatch.setattr(Delayed, "compute", measured)
        start = GMM(torch.ones(2).double() / 2, torch.eye(4)[:2].double(), identities(2, 4))
        fit_joint_em(DaskRows(array), start, n_iter=5, covariance_floor=1e-4)
        assert len(sizes) >= 7  # a survey, a radius, five steps
        assert sum(sizes) < array.nbytes / 20

    def test_answers_are_arrays_here(self, rows):
        X = clusters()
        model = BigLearnEM(3, random_state=0).fit(rows)
        assert_same_mixture(model.mixture_, model.fit(X).mixture_)
        for ask in (model.predict, model.predict_proba, model.score_samples):
            assert type(ask(rows)) is np.ndarray
            np.testing.assert_array_equal(ask(rows), ask(X))
        weights = np.arange(600.0)
        found = model.score(rows, sample_weight=da.from_array(weights, chunks=100))
        assert found == pytest.approx(model.score(X, sample_weight=weights), rel=1e-12)
        mapped = rows.map_blocks(model.predict, drop_axis=1, dtype=int, meta=np.empty(0, int))
        np.testing.assert_array_equal(mapped.compute(), model.predict(X))


def identities(n_components, n_features):
    return torch.eye(n_features, dtype=torch.float64).repeat(n_components, 1, 1)


def in_order(mixture):
    order = mixture.means[:, 0].argsort()
    return (values[order] for values in (mixture.weights, mixture.means, mixture.covariances))


def assert_same_mixture(found, expected):
    """Up to the order of the components, which rounding may decide."""
    found, expected = (m.with_parameters(*in_order(m)) for m in (found, expected))
    for name in ("weights", "means", "covariances"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-10
        )


def test_what_is_of_dask():
    array = da.zeros((3, 2))
    assert is_dask(array)
    assert is_source(array)
    assert isinstance(open_rows(array), DaskRows)
    for data in (np.zeros((3, 2)), "x", None, [array], da.Array, da):
        assert not is_dask(data)


def test_nothing_else_needs_dask(monkeypatch):
    code = "import sys; sys.modules['dask'] = None; from biglearn_core import JointEM\n"
    code += "JointEM().fit([[0.0], [1.0]]).predict([[0.0]])"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.delitem(sys.modules, "dask.array")
    with pytest.raises(ImportError, match=r"pip install 'biglearn-em\[dask\]'"):
        DaskRows(None)
