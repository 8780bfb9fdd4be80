"""Rows of Parquet files are those of the table that was written, or a clear error."""

import datetime
import decimal
import os
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biglearn_core.rows.parquet import ParquetRows
from tests.rows.small import assert_same_blocks, table


def written(path, X, *, names="abc", group=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: X[:, j] for j, name in enumerate(names)}
    pq.write_table(pa.table({**arrays, **columns}), path, row_group_size=group)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("group", [None, 1, 4])
def test_a_file(tmp_path, dtype, group):
    X = table(dtype=dtype)
    source = ParquetRows(written(tmp_path / "x.parquet", X, group=group))
    assert_same_blocks(source, X)
    assert source.feature_names == ("a", "b", "c")
    assert source.label == str(tmp_path / "x.parquet")


def test_a_folder_by_name_without_what_is_hidden(tmp_path):
    X = table(n=31)
    cuts = {"a/2.parquet": (0, 7), "a/10.pq": (7, 7), "b.parquet": (7, 20), "c/x.parquet": (20, 31)}
    ends = iter(sorted(cuts, key=lambda name: name.split("/")))
    rows = iter([(0, 7), (7, 7), (7, 20), (20, 31)])
    for name, (first, end) in zip(ends, rows, strict=True):
        written(tmp_path / "all" / name, X[first:end], group=5)
    for name in ("_metadata.parquet", ".hidden.parquet", "_temporary/x.parquet", "notes.txt"):
        path = tmp_path / "all" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("no table")
    assert_same_blocks(ParquetRows(tmp_path / "all"), X)
    (tmp_path / "all" / "c" / "none").mkdir()
    with pytest.raises(ValueError, match=r"no .parquet or .pq file in .*c/none"):
        ParquetRows(tmp_path / "all" / "c" / "none")


def test_linked_folders_are_read_once(tmp_path):
    X = table()
    folder = tmp_path / "all"
    written(folder / "a.parquet", X[:9])
    written(tmp_path / "other" / "deep" / "x.parquet", X[9:])
    (folder / "b").symlink_to(tmp_path / "other")
    assert_same_blocks(ParquetRows(folder), X)
    again = tmp_path / "other" / "again"
    for target in (folder, tmp_path / "other" / "deep"):
        again.symlink_to(target)
        with pytest.raises(ValueError, match=r"are the same folder, by a link.*remove the link"):
            ParquetRows(folder)
        again.unlink()


def test_a_link_to_nowhere_is_named(tmp_path):
    written(tmp_path / "a.parquet", table())
    (tmp_path / "_notes").symlink_to("none")
    ParquetRows(tmp_path)
    for name in ("b.parquet", "folder"):
        (tmp_path / name).symlink_to("none")
        with pytest.raises(FileNotFoundError, match=f"{name} is a link to none, which is not"):
            ParquetRows(tmp_path)
        (tmp_path / name).unlink()


def test_a_list_of_files_in_its_order(tmp_path):
    X = table()
    late, early = (
        written(tmp_path / "1.parquet", X[9:]), written(tmp_path / "2.parquet", X[:9])
    )  # fmt: skip
    assert_same_blocks(ParquetRows([early, late]), X)


def test_numbers_of_all_kinds(tmp_path):
    columns = {
        "i": pa.array([1, None, -(2**62)], pa.int64()),
        "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "b": pa.array([True, False, None]),
        "h": pa.array(np.array([0.5, 2, 3], dtype=np.float16)),
        "f": pa.array([0.1, None, np.inf], pa.float32()),
        "d": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3.50")]),
        "n": pa.nulls(3),
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    nan = np.nan
    X = [
        [1, 2.0**64, 1, 0.5, np.float32(0.1), 1.25, nan],
        [nan, 0, 0, 2, nan, nan, nan],
        [-(2.0**62), nan, nan, 3, np.inf, -3.5, nan],
    ]
    assert_same_blocks(ParquetRows(tmp_path / "x.parquet"), np.array(X))
    single = ParquetRows(tmp_path / "x.parquet", columns=["f"])
    assert_same_blocks(single, np.array([[0.1], [nan], [np.inf]], dtype=np.float32))


def test_columns_in_the_order_that_is_asked_for(tmp_path):
    X = table(D=4)
    path = written(tmp_path / "x.parquet", X, names=["a", "a.b", "c", "d"], word=["w"] * len(X))
    source = ParquetRows(path, columns=["c", "a"])
    assert_same_blocks(source, np.ascontiguousarray(X[:, [2, 0]]))
    assert source.feature_names == ("c", "a")


def test_a_column_of_weights(tmp_path):
    X, weights = table(), np.arange(23.0)
    path = written(tmp_path / "x.parquet", X, group=6, w=np.arange(23))
    source = ParquetRows(path, weight="w")
    assert_same_blocks(source, X, weights)
    assert source.feature_names == ("a", "b", "c")
    assert_same_blocks(ParquetRows(path, columns=["b"], weight="w"), X[:, 1:2].copy(), weights)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, r"'w' of .*x.parquet must hold one finite number a row: 1 or more"),
        (np.nan, "one finite number a row"),
        (np.inf, "one finite number a row"),
        (-1.0, r"Negative values in weight column 'w' of .*x.parquet"),
    ],
)
def test_weights_that_are_none(tmp_path, value, text):
    weights = pa.array([1.0] * 22 + [value], from_pandas=False)
    source = ParquetRows(written(tmp_path / "x.parquet", table(), w=weights), weight="w")
    with pytest.raises(ValueError, match=text):
        list(source.blocks(5))


def test_the_index_of_a_frame_is_no_feature(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2, 3], "b": [4.0, 5, 6]})
    frame[frame.a > 1].to_parquet(tmp_path / "x.parquet")
    source = ParquetRows(tmp_path / "x.parquet")
    assert source.feature_names == ("a", "b")
    assert_same_blocks(source, np.array([[2.0, 5], [3, 6]]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["x", "y"], "string"),
        (pa.array(["x", "y"]).dictionary_encode(), "dictionary"),
        ([datetime.date(2020, 1, 1)] * 2, "date32"),
        ([datetime.datetime(2020, 1, 1)] * 2, "timestamp"),
        ([[1.0], [2.0]], "list"),
        ([{"x": 1.0}] * 2, "struct"),
    ],
)
def test_a_column_that_holds_no_numbers(tmp_path, values, kind):
    path = written(tmp_path / "x.parquet", np.zeros((2, 1)), names="a", odd=values)
    with pytest.raises(ValueError, match=rf"'odd' of .*x.parquet is of type {kind}.*columns="):
        ParquetRows(path)
    assert ParquetRows(path, columns=["a"]).n_features == 1


def test_files_of_different_columns(tmp_path):
    one = written(tmp_path / "1.parquet", table())
    for X, names, text in (
        (table(dtype=np.float32), "abc", r"'a' of .*2.parquet is of type float, and of type doub"),
        (table(D=2), "ab", r"2.parquet has no column 'c'; it has 'a', 'b'"),
        (table(D=4), "abcd", r"2.parquet has a column 'd' that .*1.parquet has not"),
    ):
        two = written(tmp_path / "2.parquet", X, names=names)
        with pytest.raises(ValueError, match=text):
            ParquetRows([one, two])
    assert ParquetRows([one, two], columns=["a"]).n_rows == 46


def test_columns_that_make_no_sense(tmp_path):
    path = written(tmp_path / "x.parquet", table())
    for options, text in (
        ({"columns": ["a", "z"]}, "has no column 'z'; it has 'a', 'b', 'c'"),
        ({"weight": "z"}, r"has no column 'z'.*weight="),
        ({"columns": ["a", "b", "a"]}, "'a' more than once"),
        ({"columns": ["a"], "weight": "a"}, "no feature"),
        ({"columns": []}, "no column of .* left"),
    ):
        with pytest.raises(ValueError, match=text):
            ParquetRows(path, **options)
    for columns in ("abc", [0, 1]):
        with pytest.raises(TypeError, match="columns must be a list of names"):
            ParquetRows(path, columns=columns)
    twice = pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    pq.write_table(twice, path)
    with pytest.raises(ValueError, match="several columns named 'a'"):
        ParquetRows(path)


@pytest.mark.parametrize("damage", ["footer", "cut", "text", "empty"])
def test_a_damaged_footer(tmp_path, damage):
    path = written(tmp_path / "x.parquet", table())
    whole = path.read_bytes()
    footer = bytearray(whole)
    footer[-60:-20] = bytes(40)
    path.write_bytes(
        {"footer": bytes(footer), "cut": whole[:-9], "text": b"no table", "empty": b""}[damage]
    )
    with pytest.raises(ValueError, match=r"x.parquet is no readable Parquet file .* copy it again"):
        ParquetRows(path)


def test_damaged_pages(tmp_path):
    path = tmp_path / "x.parquet"
    X = table(n=200)
    pq.write_table(pa.table({"a": X[:, 0]}), path, write_page_checksum=True, use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    damaged[400] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"x.parquet is no readable Parquet file .*CRC"):
        list(ParquetRows(path).blocks(10))


def test_files_that_change_between_passes(tmp_path):
    path = written(tmp_path / "x.parquet", table())
    source = ParquetRows(path)
    list(source.blocks(5))
    written(path, table(n=30))
    with pytest.raises(ValueError, match=r"x.parquet was changed since it was opened"):
        list(source.blocks(5))
    source = ParquetRows(path)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"x.parquet was changed since it was opened"):
        list(source.blocks(5))
    source = ParquetRows(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"x.parquet has gone since it was opened"):
        list(source.blocks(5))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*x.parquet"):
        ParquetRows(path)


def test_a_file_that_is_written_to_during_a_pass(tmp_path):
    path = written(tmp_path / "x.parquet", table(n=5000), group=1000)
    for spoil in (lambda: os.utime(path, ns=(0, 0)), lambda: os.truncate(path, 20_000)):
        blocks = ParquetRows(path).blocks(1000)
        next(blocks)
        spoil()
        with pytest.raises(ValueError, match=r"x.parquet was changed"):
            list(blocks)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = written(tmp_path / "x.parquet", table())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install 'biglearn-em\[parquet\]'"):
        ParquetRows(path)


def test_row_groups_before_the_start_are_not_read(tmp_path, monkeypatch):
    path = written(tmp_path / "x.parquet", table(), group=5)
    asked = []

    class Watched(pq.ParquetFile):
        def iter_batches(self, size, *, row_groups, columns):
            asked.append((size, row_groups))
            return super().iter_batches(size, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    source = ParquetRows(path)
    list(source.blocks(4, 11, 16))
    list(source.part(1, 2).blocks(100))
    assert asked == [(4, [2, 3]), (100, [2, 3, 4])]


def test_memory_is_that_of_a_few_blocks(tmp_path):
    """One row group, whose columns have pages of a MiB."""
    path = tmp_path / "x.parquet"
    columns = {"a": np.random.default_rng(0).normal(size=2_000_000)}
    columns["b"] = columns["a"]
    pq.write_table(pa.table(columns), path, row_group_size=2_000_000, use_dictionary=False)
    source = ParquetRows(path)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    most = 0
    for block in source.blocks(5000):
        most = max(most, pool.bytes_allocated() - before)
        assert len(block) == 5000
    assert 0 < most < 8_000_000  # of 32 million
