"""What is a source of rows, and how it is opened."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.chunks import ChunkRows
from biglearn_core.rows.files import NpyRows
from biglearn_core.rows.opening import is_source, open_rows
from biglearn_core.rows.parquet import ParquetRows
from tests.rows.small import assert_same_blocks, table

X = table()


class Giver:
    def chunks(self):
        return iter([X[:5], X[5:]])


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "1.npy", X[:9])
    np.savez(tmp_path / "2.npz", X=X[9:])
    return tmp_path


def add_parquet(folder, name="1.parquet", rows=X, **more):
    columns = {name: rows[:, j] for j, name in enumerate("abc")}
    pq.write_table(pa.table({**columns, **more}), folder / name)
    return folder / name


def test_what_is_a_source(folder):
    loader = DataLoader(TensorDataset(torch.from_numpy(X)))
    for data in ("x", folder, ["a", folder], (folder,), loader, ArrayRows(X), Giver()):
        assert is_source(data) is True
    frames = (pd.DataFrame({"chunks": [1.0]}), pl.DataFrame({"chunks": [1.0]}))
    arrays = (X, X.tolist(), torch.from_numpy(X), np.ma.array(X), pa.table(frames[0]))
    for data in (*frames, *arrays, [], (), [X], ["a", 1], None, 3, Giver, pa.chunked_array([[1]])):
        assert is_source(data) is False


def test_names_of_files_and_folders(folder):
    for data in (folder, str(folder), [folder / "1.npy", str(folder / "2.npz")], (folder,)):
        source = open_rows(data)
        assert isinstance(source, NpyRows)
        assert_same_blocks(source, X)
    path = add_parquet(folder)
    for data in (folder, path, [str(path)]):
        source = open_rows(data)
        assert isinstance(source, ParquetRows)
        assert_same_blocks(source, X)
    assert open_rows(path, columns=["b"]).feature_names == ("b",)
    (folder / "X.NPY").write_bytes((folder / "1.npy").read_bytes())
    assert_same_blocks(open_rows(folder / "X.NPY"), X[:9])


def test_objects():
    assert isinstance(open_rows(Giver()), ChunkRows)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=4)
    assert_same_blocks(open_rows(loader), X)
    source = ArrayRows(X)
    assert open_rows(source) is source


def test_links_to_arrays(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (folder / "2.npz").rename(other / "2.npz")
    (folder / "3").symlink_to(other)
    assert_same_blocks(open_rows(folder), X)
    (folder / "4.npy").symlink_to(other / "none.npy")
    with pytest.raises(FileNotFoundError, match=r"4.npy is a link to .*none.npy, which is not"):
        open_rows(folder)


def test_weights(folder):
    weights = np.arange(23.0)
    np.save(folder / "w.npy", weights)
    for given in (weights, folder / "w.npy"):
        assert_same_blocks(open_rows(Giver(), sample_weight=given), X, weights)
    path = add_parquet(folder, w=weights)
    assert_same_blocks(open_rows(path, weight="w"), X, weights)
    with pytest.raises(ValueError, match="weight='w' and sample_weight are both given"):
        open_rows(path, weight="w", sample_weight=weights)


def test_what_cannot_be_opened(folder):
    with pytest.raises(TypeError, match=r"rows cannot be opened from ndarray: readable are"):
        open_rows(X)
    with pytest.raises(FileNotFoundError, match=r"no file .*none.npy"):
        open_rows([folder / "1.npy", folder / "none.npy"])
    (folder / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"x.csv has the suffix '.csv': readable are .npy"):
        open_rows(folder / "x.csv")
    with pytest.raises(ValueError, match="is one folder among several"):
        open_rows([folder, folder / "1.npy"])
    with pytest.raises(ValueError, match=r"1.npy and .*1.parquet are of two kinds"):
        open_rows([folder / "1.npy", add_parquet(folder)])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"folder .*empty holds nothing to read: readable are"):
        open_rows(folder / "empty")


def test_columns_are_those_of_parquet_files_alone(folder):
    for data in (folder, Giver(), ArrayRows(X)):
        with pytest.raises(ValueError, match=r"columns=\['a'\] names columns of Parquet files"):
            open_rows(data, columns=["a"])
        with pytest.raises(ValueError, match="weight='a' names columns of Parquet files"):
            open_rows(data, weight="a")


def test_sources_of_files_can_be_sent_to_another_process(folder):
    for source in (open_rows(folder), open_rows(add_parquet(folder))):
        assert_same_blocks(pickle.loads(pickle.dumps(source)), X)
