"""Weights beside rows: read in step with them, and checked."""

import os

import numpy as np
import pandas as pd
import pytest

from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.files import NpyRows
from biglearn_core.rows.weighted import WeightedRows
from tests.rows.small import assert_same_blocks, table

X = table()
WEIGHTS = np.random.default_rng(1).random(len(X))
WEIGHTS[3] = 0


@pytest.mark.parametrize("kind", ["array", "list", "series", "map", "file", "float32", "integers"])
def test_weights_in_step_with_the_rows(tmp_path, kind):
    np.save(tmp_path / "w.npy", WEIGHTS)
    weights = {
        "array": WEIGHTS,
        "list": WEIGHTS.tolist(),
        "series": pd.Series(WEIGHTS),
        "map": np.load(tmp_path / "w.npy", mmap_mode="r"),
        "file": tmp_path / "w.npy",
        "float32": WEIGHTS.astype(np.float32),
        "integers": np.arange(len(X)),
    }[kind]
    expected = WEIGHTS if kind == "file" else np.asarray(weights, dtype=np.float64)
    np.save(tmp_path / "x.npy", X)
    source = WeightedRows(NpyRows(tmp_path / "x.npy"), weights)
    assert_same_blocks(source, X, expected)
    assert next(source.blocks(3)).weights.dtype == np.float64


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (WEIGHTS[1:], r"one finite number a row: its shape is \(22,\), expected \(23,\)"),
        (WEIGHTS[:, None], r"its shape is \(23, 1\)"),
        (2.0, r"its shape is \(\)"),
        (np.where(WEIGHTS, WEIGHTS, np.nan), "one finite number a row: 1 of 23"),
        (np.where(WEIGHTS, WEIGHTS, np.inf), "one finite number a row: 1 of 23"),
        (-WEIGHTS, "Negative values in data passed to sample_weight: 22 of 23"),
        (np.ma.array(WEIGHTS, mask=WEIGHTS == 0), "1 masked entries"),
        (["x"] * 23, "one finite number a row: could not convert"),
        (WEIGHTS + 0j, "complex"),
    ],
)
def test_weights_that_are_none(tmp_path, weights, text):
    with pytest.raises(ValueError, match=text):
        WeightedRows(ArrayRows(X), weights)
    if isinstance(weights, np.ndarray) and not np.ma.isMaskedArray(weights):
        np.save(tmp_path / "w.npy", weights)
        with pytest.raises(ValueError, match=text):
            WeightedRows(ArrayRows(X), tmp_path / "w.npy")


def test_a_file_of_weights_that_is_not_there_or_changes(tmp_path):
    path = tmp_path / "w.npy"
    with pytest.raises(FileNotFoundError, match=r"no file .*w.npy"):
        WeightedRows(ArrayRows(X), path)
    np.save(path, WEIGHTS)
    source = WeightedRows(ArrayRows(X), str(path))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"w.npy was changed"):
        list(source.blocks(4))
    path.write_text("1, 2, 3")
    with pytest.raises(ValueError, match=r"w.npy is no readable .npy"):
        WeightedRows(ArrayRows(X), path)


def test_weights_twice_are_refused():
    with pytest.raises(ValueError, match="has weights already"):
        WeightedRows(WeightedRows(ArrayRows(X), WEIGHTS), WEIGHTS)
