"""Tables written and read again in every format, and what is wrong with bad ones."""

import bz2
import gzip
import lzma

import numpy as np
import pytest
from scipy.io import savemat

from biglearn_core.datasets import (
    load_dataset,
)
from biglearn_core.datasets.readers.table import read_csv, read_libsvm, read_mat
from tests.datasets.small import libsvm_text, small_table


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("", bytes), (".bz2", bz2.compress), (".gz", gzip.compress), (".xz", lzma.compress)],
)
def test_libsvm_round_trip(tmp_path, ending, compress):
    X, y = small_table()
    path = tmp_path / f"mine{ending}"
    path.write_bytes(compress(libsvm_text(X, y)))
    data = load_dataset(path, protocol="raw", split=False)
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.y_train, y)
    assert data.name == "mine"
    if ending:
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ValueError, match="truncated or damaged"):
            load_dataset(path)


@pytest.mark.parametrize("header", [False, True])
def test_csv_and_mat_round_trip(tmp_path, header):
    X, y = small_table()
    table = np.column_stack([y, X])
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    if header:
        lines.insert(0, "class,a,b,c,d")
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    as_on_windows = "\r\n".join(lines).encode("utf-8-sig")
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(as_on_windows))
    savemat(tmp_path / "mine.mat", {"anything": table, "note": "text", "k": 3})
    savemat(tmp_path / "two.mat", {"two": table, "other": table[:5]})
    for name in ("mine.csv", "mine.csv.gz", "mine.mat", "two.mat"):
        data = load_dataset(str(tmp_path / name), protocol="raw", split=False)
        np.testing.assert_array_equal(data.X_train, X)
        np.testing.assert_array_equal(data.y_train, y)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\nx,3\n", r"line 2: the class is 'x', not a number"),
        ("T,2,8\nI,5,12\n", r"line 1: the class is 'T', not a number"),
        ("c,a\n1,2\n1.5,3\n", r"class of data row 2 is 1\.5, not an integer"),
        ("nan,2\n", r"class of data row 1 is nan, not an integer"),
        ("1,2,3\n1,nan,3\n", r"feature 1 of data row 2 is nan"),
        ("1,2,3\n1,2,inf\n", r"feature 2 of data row 2 is inf"),
        ("1,2,3\n1,,3\n", r"line 2: column 2 is '', not a number"),
        ("1,2,3\n1,2\n", r"number of columns changed.*rows equally long"),
        ("1\n2\n", r"has 1 column; expected the class"),
        ("", r"holds no rows"),
        ("class,a\n", r"holds no rows"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1:2 2:3\n1 1:2 nonsense\n", r"line 2: not of the form index:value"),
        ("1 1:2\n1 1:2 3\n", r"line 2: not of the form index:value"),
        ("1 1:2 3:4\n2 3:4 1:2\n", r"line 2: the indices do not increase"),
        ("<!DOCTYPE html>\n", r"line 1: the class is '<!DOCTYPE', not an integer.*HTML"),
        ("1,2 1:5\n", r"line 1: the class is '1,2', not an integer"),
        ("1.5 1:2\n", r"class of data row 1 is 1\.5, not an integer"),
        ("1 1:2\n2 1:nan\n", r"feature 1 of data row 2 is nan"),
        ("", r"holds 0 rows"),
    ],
)
def test_bad_libsvm(tmp_path, text, message):
    path = tmp_path / "bad"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_libsvm(path)
    assert str(path) in str(caught.value)


def test_bad_mat(tmp_path):
    savemat(tmp_path / "a.mat", {"x": np.eye(3), "y": np.eye(2)})
    with pytest.raises(ValueError, match=r"holds the matrices \['x', 'y'\]"):
        read_mat(tmp_path / "a.mat")
    (tmp_path / "b.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:150])
    with pytest.raises(ValueError, match=r"b\.mat (cannot be read|is truncated)"):
        read_mat(tmp_path / "b.mat")
    (tmp_path / "c.mat").write_bytes(b"")
    with pytest.raises(ValueError, match=r"c\.mat cannot be read"):
        read_mat(tmp_path / "c.mat")
    savemat(tmp_path / "d.mat", {"x": np.array([[0.5, 1.0]])})
    with pytest.raises(ValueError, match=r"class of data row 1 is 0\.5"):
        read_mat(tmp_path / "d.mat")
