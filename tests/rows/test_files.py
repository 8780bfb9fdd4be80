"""Rows of .npy and .npz files are those of the arrays that were saved, or a clear error."""

import os
import sys
import tracemalloc
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from biglearn_core.rows.files import NpyRows
from tests.rows.small import assert_same_blocks, table


def saved(path, X, **options):
    if path.suffix == ".npz":
        (np.savez_compressed if options.get("compressed") else np.savez)(path, X=X)
    else:
        np.save(path, X)
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", ">f4", "f2", "i8", ">i2", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_number_in_either_order(tmp_path, name, dtype, order):
    rng = np.random.default_rng(0)
    X = np.array(rng.integers(-3, 4, size=(23, 3)), dtype=dtype, order=order)
    single = np.dtype(dtype).newbyteorder("=") == np.float32
    expected = X.astype(np.float32 if single else np.float64, order="C")
    assert_same_blocks(NpyRows(saved(tmp_path / name, X)), expected)


def test_a_compressed_archive(tmp_path):
    X = table()
    assert_same_blocks(NpyRows(saved(tmp_path / "x.npz", X, compressed=True)), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_of_all_kinds_one_behind_the_other(tmp_path, dtype):
    X = table(n=31, dtype=dtype)
    cuts = [0, 0, 9, 10, 10, 24, 31]
    files = []
    for i, (first, end) in enumerate(pairwise(cuts)):
        path = tmp_path / f"{i}.{('npy', 'npz')[i % 2]}"
        files.append(saved(path, np.asfortranarray(X[first:end]) if i > 2 else X[first:end]))
    source = NpyRows(files)
    assert_same_blocks(source, X)
    assert source.label == f"{files[0]} and 5 more"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=5),
    st.integers(1, 10),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_any_division_into_files(tmp_path_factory, lengths, size, start, stop):
    folder = tmp_path_factory.mktemp("files")
    X = table(n=sum(lengths))
    ends = np.cumsum(lengths)
    files = [
        saved(folder / f"{i}.np{'yz'[i % 2]}", X[end - n : end])
        for i, (end, n) in enumerate(zip(ends, lengths, strict=True))
    ]
    found = [block.rows for block in NpyRows(files).blocks(size, start, stop)]
    stop = min(stop, len(X))
    assert [len(rows) for rows in found] == [
        min(size, stop - first) for first in range(start, stop, size)
    ]
    together = np.concatenate([X[:0], *found])
    assert together.tobytes() == X[start : max(start, stop)].tobytes()


def test_files_without_rows(tmp_path):
    source = NpyRows(saved(tmp_path / "x.npy", np.empty((0, 4))))
    assert (source.n_rows, source.n_features, list(source.blocks(3))) == (0, 4, [])


def test_integers_and_booleans_go_with_float64(tmp_path):
    one = saved(tmp_path / "1.npy", np.arange(6).reshape(3, 2))
    two = saved(tmp_path / "2.npy", np.array([[0.5, np.nan]]))
    three = saved(tmp_path / "3.npy", np.array([[True, False]]))
    X = np.array([[0, 1], [2, 3], [4, 5], [0.5, np.nan], [1, 0]])
    assert_same_blocks(NpyRows([one, two, three]), X)


def test_the_array_named_x_of_several(tmp_path):
    X = table()
    np.savez(tmp_path / "x.npz", y=np.arange(3), X=X)
    assert_same_blocks(NpyRows(tmp_path / "x.npz"), X)
    np.savez(tmp_path / "one.npz", anything=X)
    assert_same_blocks(NpyRows(tmp_path / "one.npz"), X)


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (np.zeros(3), r"shape \(3,\), expected \(N, D\): reshape\(-1, 1\)"),
        (np.zeros((3, 2, 2)), r"reshape\(len\(X\), -1\)"),
        (np.float64(3), r"shape \(\), expected"),
        (np.zeros((3, 0)), "without a feature"),
        (np.zeros((3, 2), dtype=complex), "complex numbers"),
        (np.array([["a", "b"]]), "<U1, which are no numbers; encode"),
        (np.zeros((3, 2), dtype="M8[s]"), "no numbers; encode"),
        (np.zeros(3, dtype=[("a", "f8"), ("b", "f8")]), "fields a, b; .*structured_to_unstr"),
        (np.array([[None, 1]]), "Python objects .*pickle"),
    ],
)
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_what_is_no_table_of_numbers_is_refused(tmp_path, name, X, text):
    saved(tmp_path / name, X)
    with pytest.raises(ValueError, match=rf"{name}.* {text}"):
        NpyRows(tmp_path / name)


def test_files_that_do_not_go_together_are_refused(tmp_path):
    one = saved(tmp_path / "one.npy", np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"one.npy has 2 columns, .*wide.npy has 3"):
        NpyRows([one, saved(tmp_path / "wide.npy", np.zeros((0, 3)))])
    with pytest.raises(ValueError, match=r"one.npy holds float64, .*f.npy holds float32.*convert"):
        NpyRows([one, saved(tmp_path / "f.npy", np.zeros((1, 2), dtype=np.float32))])
    with pytest.raises(ValueError, match="no file is named"):
        NpyRows([])


def test_archives_of_several_or_no_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(ValueError, match=r"two.npz holds 2 arrays: a, b; .*named X"):
        NpyRows(tmp_path / "two.npz")
    zipfile.ZipFile(tmp_path / "none.npz", "w").close()
    with pytest.raises(ValueError, match=r"none.npz holds no array"):
        NpyRows(tmp_path / "none.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("note.txt", "no array")
    with pytest.raises(ValueError, match=r"text.npz is no readable"):
        NpyRows(tmp_path / "text.npz")


def test_columns_that_are_compressed_one_by_one_are_refused(tmp_path):
    saved(tmp_path / "x.npz", np.asfortranarray(table()), compressed=True)
    with pytest.raises(ValueError, match=r"X.npy compressed and column by column .*ascontig"):
        NpyRows(tmp_path / "x.npz")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*x.npy"):
        NpyRows(tmp_path / "x.npy")
    with pytest.raises(IsADirectoryError, match=r"cannot read .*give another one"):
        NpyRows(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 5, 64, 200])
def test_a_truncated_file_is_refused_at_once(tmp_path, n_bytes):
    path = saved(tmp_path / "x.npy", table())
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"x.npy is (truncated|no readable).* copy it again"):
        NpyRows(path)
    path = saved(tmp_path / "x.npz", table())
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"x.npz is no readable .* copy it again"):
        NpyRows(path)


def test_a_second_array_in_a_file_is_not_overlooked(tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        np.save(file, table())
        np.save(file, table())
    with pytest.raises(ValueError, match="bytes behind its array"):
        NpyRows(tmp_path / "x.npy")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_in_an_archive_is_found(tmp_path, compressed):
    path = saved(tmp_path / "x.npz", table(), compressed=compressed)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"x.npz is no readable .*(CRC|decompress)"):
        list(NpyRows(path).blocks(100))


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_files_that_change_between_passes(tmp_path, name):
    path = saved(tmp_path / name, table())
    source = NpyRows(path)
    list(source.blocks(5))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=f"{name} was changed since it was opened"):
        list(source.blocks(5))
    source = NpyRows(path)
    saved(path, table(n=40))
    with pytest.raises(ValueError, match=f"{name} was changed since it was opened"):
        list(source.blocks(5))
    source = NpyRows(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} has gone since it was opened"):
        list(source.blocks(5))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_cut_during_a_pass(tmp_path, order):
    """A memory map would end the process here."""
    path = saved(tmp_path / "x.npy", np.zeros((5000, 3), order=order))
    blocks = NpyRows(path).blocks(1000)
    next(blocks)
    os.truncate(path, 9000)
    with pytest.raises(ValueError, match=r"x.npy was changed"):
        list(blocks)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_a_file_that_is_written_to_during_a_pass(tmp_path, name):
    path = saved(tmp_path / name, table())
    blocks = NpyRows(path).blocks(5)
    next(blocks)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ValueError, match=f"{name} was changed"):
        list(blocks)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are others there")
def test_a_file_of_somebody_else(tmp_path):
    path = saved(tmp_path / "x.npy", table())
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(PermissionError, match=r"cannot read .*x.npy: .* this user may read"):
            NpyRows(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("name", "compressed", "order"),
    [("x.npy", False, "C"), ("x.npy", False, "F"), ("x.npz", False, "C"), ("x.npz", True, "C"),
     ("x.npz", False, "F")],
)  # fmt: skip
def test_memory_is_that_of_a_few_blocks(tmp_path, name, compressed, order):
    X = np.random.default_rng(0).integers(0, 9, size=(100_000, 8)).astype(float, order=order)
    path = saved(tmp_path / name, X, compressed=compressed)
    del X
    tracemalloc.start()
    try:
        for block in NpyRows(path).blocks(2000, 50):
            assert block.rows.nbytes <= 128_000
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1_500_000  # of 6.4 million
