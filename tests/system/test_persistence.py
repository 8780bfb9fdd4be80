"""Files are whole or absent; what is damaged, or was never ours, is a clear error."""

import contextlib
import copy
import os
import zipfile

import numpy as np
import pytest

from biglearn_core import GMM
from biglearn_core.system import persistence
from biglearn_core.system.persistence import (
    load_arrays,
    save_arrays,
    take_columns,
    write_atomically,
)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with write_atomically(path) as file:
            file.write(b"half")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="choose another output folder"):
        save_arrays(tmp_path / "file" / "x.npz", {"x": np.zeros(2)})


def test_pickle_is_neither_written_nor_read(tmp_path):
    with pytest.raises(TypeError, match="Python objects"):
        save_arrays(tmp_path / "x.npz", {"x": np.array([object()])})
    np.savez(tmp_path / "evil.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="delete it"):
        load_arrays(tmp_path / "evil.npz")


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    """Most flips in a zip's directory break it; some would hide an array if nobody counted."""
    path = tmp_path / "x.npz"
    arrays = {"one": np.arange(3.0), "two": np.arange(4), "three": np.array("word")}
    save_arrays(path, arrays)
    whole, refused = path.read_bytes(), 0
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        found = None
        with contextlib.suppress(ValueError):
            found = load_arrays(path)
        if found is None:
            refused += 1
            continue
        assert set(found) == set(arrays), position
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert refused > 4 * len(whole)  # dates and the like may be anything


def test_an_archive_of_numpy_alone_is_read(tmp_path):
    np.savez(tmp_path / "x.npz", one=np.arange(3))
    np.testing.assert_array_equal(load_arrays(tmp_path / "x.npz")["one"], np.arange(3))


@pytest.mark.parametrize("offset", [6, 8])  # flags, compression method
def test_a_damaged_zip_header_is_a_clear_error(tmp_path, offset):
    path = tmp_path / "state.npz"
    save_arrays(path, {"x": np.arange(4.0)})
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + offset + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="delete it"):
        load_arrays(path)


# Files that are damaged, or were never ours


def npy_header(shape, dtype="<f8"):
    """Write the header of an array of any shape, without the array."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def archive(path, members, *, compress=False):
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)


FOREIGN = {
    "a shape of 8 TB": [("x.npy", npy_header((10**12,)) + bytes(80))],
    "a shape beyond 64 bits": [("x.npy", npy_header((10**30,)) + bytes(80))],
    "nothing of a huge shape": [("x.npy", npy_header((0, 10**30)))],
    "items of no size": [("x.npy", npy_header((2**60,), "|V0"))],
    "a negative shape": [("x.npy", npy_header((-1, -1)) + bytes(8))],
    "a shape of words": [("x.npy", npy_header("('a',)") + bytes(8))],
    "a type that is none": [("x.npy", npy_header((1,), "<q9") + bytes(8))],
    "fewer numbers than announced": [("x.npy", npy_header((4,)) + bytes(16))],
    "more numbers than announced": [("x.npy", npy_header((4,)) + bytes(48))],
    "a member that is no array": [("x.npy", npy_header((4,)) + bytes(32)), ("y.npy", b"hello")],
    "a text": [("readme.txt", b"hello")],
    "an empty member": [("x.npy", b"")],
    "an unknown version": [("x.npy", b"\x93NUMPY\x09\x00" + bytes(40))],
    "half a header": [("x.npy", npy_header((4,))[:30])],
    "brackets without end": [("x.npy", npy_header("(" * 60) + bytes(8))],
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("compress", [False, True])
def test_an_archive_of_something_else_is_a_clear_error(tmp_path, kind, compress):
    path = tmp_path / "x.npz"
    archive(path, FOREIGN[kind], compress=compress)
    for load in (load_arrays, GMM.load):
        with pytest.raises(ValueError, match=r"x\.npz is not a readable .npz file .*delete it"):
            load(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", npy_header((3,)) + bytes(24), b"PK\x03\x04" + bytes(50)]
)
def test_a_file_that_is_no_archive_is_a_clear_error(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    for load in (load_arrays, GMM.load):
        with pytest.raises(ValueError, match=r"x\.npz is not a readable .npz file .*delete it"):
            load(tmp_path / "x.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(tmp_path / "x.npz", [("x.npy", npy_header((1,)) + bytes(8))] * 2)
    with pytest.raises(ValueError, match="two arrays of one name"):
        load_arrays(tmp_path / "x.npz")


def test_what_inflates_to_far_more_than_the_file_is_never_inflated(tmp_path, monkeypatch):
    """A hidden member of 1.5 GiB in a file of 1.5 MB, alone and beside a whole mixture."""
    bomb = tmp_path / "bomb.npz"
    n = 3 * 2**26
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as out:
        out.write(npy_header((n,)))
        for _ in range(n // 2**17):
            out.write(bytes(2**20))
    assert bomb.stat().st_size < 2 * 2**20
    monkeypatch.setattr(persistence, "_read_member", None)  # nothing is read at all
    with pytest.raises(ValueError, match=r"bomb\.npz is not .* bytes inflate to 1610612\d+"):
        load_arrays(bomb)
    ours = tmp_path / "ours.npz"
    save_arrays(ours, {"x": np.arange(3)})
    with zipfile.ZipFile(ours, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("more.npy", npy_header((8,)) + bytes(64))
    with pytest.raises(ValueError, match="not the one that was written"):
        load_arrays(ours)


def test_members_on_top_of_each_other_are_refused(tmp_path):
    """Forty members in the directory, all of them the same bytes of the file."""
    path = tmp_path / "x.npz"
    archive(path, [("00.npy", npy_header((2**18,)) + bytes(2**21))])
    with zipfile.ZipFile(path, "a") as file:
        (only,) = file.infolist()
        for number in range(1, 40):
            other = copy.copy(only)
            other.filename = f"{number:02}.npy"
            file.filelist.append(other)
        file._didModify = True
    with pytest.raises(ValueError, match=r"bytes inflate to|differ|delete it"):
        load_arrays(path)


def test_ordinary_archives_of_numpy_are_read_compressed_or_not(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "zeros": np.zeros((300, 2000)),  # compresses three-hundredfold
        "numbers": rng.standard_normal((20, 3)).astype(">f4"),
        "fortran": np.asfortranarray(rng.standard_normal((4, 5))),
        "word": np.array("word"),
        "empty": np.zeros((0, 3)),
        "none": np.array(""),
        "scalar": np.array(3),
        "flags": np.array([True, False]),
        "long_header": np.zeros(1, dtype=[(f"field_{i:04}", "i1") for i in range(400)]),
    }
    for save in (np.savez, np.savez_compressed, save_arrays):
        path = tmp_path / f"{save.__name__}.npz"
        save(path, arrays) if save is save_arrays else save(path, **arrays)
        found = load_arrays(path)
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def test_files_are_written_where_rights_cannot_be_set(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "fchmod")  # as on Windows
    save_arrays(tmp_path / "x.npz", {"x": np.arange(3)})
    np.testing.assert_array_equal(load_arrays(tmp_path / "x.npz")["x"], np.arange(3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.arange(3)}, "lacks b, c"),
        ({"a": np.arange(3), "b": np.arange(2), "c": np.arange(3)}, r"table \(a int64 \(3,\), b"),
        ({"a": np.arange(3), "b": np.zeros((3, 1)), "c": np.arange(3)}, "table"),
        ({"a": np.arange(3), "b": np.array(list("xyz")), "c": np.arange(3)}, "table"),
        ({"a": np.array(3), "b": np.array(3), "c": np.array(3)}, "table"),
    ],
)
def test_columns_that_make_no_table_are_told(arrays, message):
    with pytest.raises(ValueError, match=rf"file\.npz .*{message}.*delete it"):
        take_columns(arrays, "abc", source="file.npz")
