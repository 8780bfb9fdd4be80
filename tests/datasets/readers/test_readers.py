"""Readers of files of one's own: what they take, and what they refuse rather than shift."""

import bz2
import csv
import gzip
import io
import lzma
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy.io import savemat

from biglearn_core.datasets import load_dataset
from biglearn_core.datasets.protocols import min_max_scale
from biglearn_core.datasets.readers.table import read_csv, read_libsvm

ROWS = [[3, 0.5, -1.25], [1, 2.5, 4.0], [3, 1e-3, 7.5]]
X = np.array(ROWS)[:, 1:]
Y = [3, 1, 3]


def write(tmp_path, content, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset(path, split=False, protocol="raw", **options)
    assert str(path) in str(caught.value)


def assert_is_read(path):
    data = load_dataset(path, split=False, protocol="raw")
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.y_train, Y)


# --- CSV: what is read


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("header", ["", "class|a|b", "k|x;y|z", "label|0|1", '"target"|"a"|"b"'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_is_read_whatever_separates_its_cells(tmp_path, delimiter, header, encoding):
    lines = [header.replace("|", delimiter)] if header else []
    lines += [delimiter.join(map(repr, row)) for row in ROWS]
    text = "\r\n".join(["", *lines, "", ""])
    if ";" in header and delimiter == ";":
        return  # an unquoted name that holds the separator
    for name in ("mine.csv", "mine.tsv"):
        assert_is_read(write(tmp_path, text.encode(encoding), name))


def test_quoted_cells_are_read(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["class", "a,b", "c"])
    frame.to_csv(tmp_path / "mine.csv", index=False, quoting=csv.QUOTE_ALL)
    assert_is_read(tmp_path / "mine.csv")
    np.savetxt(tmp_path / "n.csv", ROWS, delimiter=",", header="class,a,b")
    assert_is_read(tmp_path / "n.csv")


def test_a_frame_written_without_index_and_with_names_is_read(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["class", "a", "b"]).astype({"class": int})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    assert_is_read(tmp_path / "mine.csv")
    frame.to_csv(tmp_path / "mine.csv", index=False, header=False, sep=";")
    assert_is_read(tmp_path / "mine.csv")


def test_integer_rows_that_do_not_count_are_data(tmp_path):
    for text in ("3,1,7\n3,2,4\n", "1,1,2\n2,0,1\n", "1,2,3\n4,5,6\n1,2,3\n"):
        expected = np.array([[float(c) for c in line.split(",")] for line in text.splitlines()])
        data, classes = read_csv(write(tmp_path, text))
        np.testing.assert_array_equal(np.column_stack([classes, data]), expected)


# --- CSV: what is refused


@pytest.mark.parametrize(
    ("columns", "index", "message"),
    [
        (None, True, r"header begins with '': the first column is an index.*index=False"),
        (["class", "a", "b"], True, r"header begins with '': the first column is an index"),
        (None, False, r"first line, '0,1,2', counts: .* header=False.*class,x1,x2"),
        ([2, 0, 1], False, r"first line, '2,0,1', counts"),
        ([1, 2, 3], False, r"first line, '1,2,3', counts"),
        ([0, 2019, 2020], False, r"holds integers where all features below have decimals"),
        (["a", "b", "class"], False, r"calls column 3 'class', but the class is expected in the f"),
        (["id", "label", "b"], False, r"calls column 2 'label'.*here 'id'; put the class first"),
    ],
)
def test_a_frame_whose_class_would_be_mistaken_is_refused(tmp_path, columns, index, message):
    frame = pd.DataFrame(ROWS, columns=columns)
    frame.to_csv(tmp_path / "mine.csv", index=index)
    refused(tmp_path / "mine.csv", message)


def test_a_frame_of_integers_without_names_is_refused(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).integers(0, 9, (30, 5)))
    frame.to_csv(tmp_path / "mine.csv", index=False)
    refused(tmp_path / "mine.csv", r"first line, '0,1,2,3,4', counts")
    frame[[4, 0, 1, 2, 3]].to_csv(tmp_path / "mine.csv", index=False)
    refused(tmp_path / "mine.csv", r"first line, '4,0,1,2,3', counts")


@pytest.mark.parametrize("first", [range(5), range(1, 6), (40, 12, 9, 31, 2)])
def test_an_index_is_not_taken_for_the_class(tmp_path, first):
    rows = [[i, i % 2, 0.5 * i] for i in first]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    for content in (text, "id,a,b\n" + text, "Unnamed: 0,a,b\n" + text):
        refused(write(tmp_path, content), r"index")
    savemat(tmp_path / "mine.mat", {"table": np.array(rows)})
    refused(tmp_path / "mine.mat", r"first column holds 5 different integers in 5 rows \(")


def test_an_index_that_begins_anew_is_known_by_its_empty_name(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["class", "a", "b"])
    pd.concat([frame, frame]).to_csv(tmp_path / "mine.csv")
    refused(tmp_path / "mine.csv", "the first column is an index")


@pytest.mark.parametrize(
    "marker", ["", "NA", "NaN", "nan", "null", "NULL", "None", "?", "N/A", "#N/A", "<NA>", " "]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_missing_value_is_named_and_never_a_header(tmp_path, marker, place):
    for bad in range(3):
        rows = [list(map(str, row)) for row in ROWS]
        rows[bad][place] = marker
        what = "(the )?class" if place == 0 else f"(column {place + 1}|feature {place})"
        where = f"(line {bad + 1}|data row {bad + 1})"
        text = "\n".join(map(",".join, rows))
        refused(write(tmp_path, text), f"({where}: {what}|{what} of {where}).*(missing|nan)")
    everything = "\n".join([",".join([marker] * 3), *(",".join(map(str, row)) for row in ROWS)])
    refused(write(tmp_path, everything), r"(line 1: the class is|class of data row 1 is nan)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class;a\n1;2,5\n2;3,5\n", r"line 2: column 2 is '2,5', .*decimals with a point"),
        ("1;2,5\n2;3,5\n", r"line 1: the class is '1;2', .*not decimal commas"),
        ("1\t2,5\t3,5\n2\t3,5\t1,5\n", r"decimal commas"),
        ('1,"1,000"\n2,"2,000"\n', r"line 1: column 2 is '1,000'.*thousands without a mark"),
        ("a,b\n1,2,3\n1,3,4\n", r"header has 2 cells, the rows have 3.*row\.names=FALSE"),
        ("# a table\n1,2,3\n1,3,4\n", r"header has 1 cells, the rows have 3"),
        ("class,a,b\n1,2,3\n1,2,3,4\n", r"line 3: the number of columns changed from 3 to 4"),
        ("1,2,3\n\n1,2\n", r"line 3: the number of columns changed from 3 to 2"),
        ("1\t2\t3\n\t\t\n", r"line 2: the class is '', not a number but a missing value"),
        ("1,2,3,\n1,2,4,\n", r"line 1: column 4 is '', not a number but a missing value"),
        ("class,a\n1,2\nclass,a\n1,2\n", r"line 3: the class is 'class', not a number"),
        ("1 2 3\n1 2 4\n", r"the class is '1 2 4', .*separated by spaces are not read"),
        ("1\t2,5\n2\t3,5\n", r"line 1: the class is '1\\t2', "),
        ("1,1_0\n1,2\n", r"line 1: column 2 is '1_0', not a number"),
        ("1,２\n1,2\n", r"line 1: column 2 is '２', not a number"),
        ("1,0x10\n1,2\n", r"line 1: column 2 is '0x10', not a number"),
        ("1,2\x0c1,3\n", r"line 1 holds the character '\\x0c', which is no part of a number"),
        ("c\x0c,a\n1,2\n1,\x1d3\n", r"line 3 holds the character '\\x1d'"),
        ("x" * 200_000, r"holds no rows"),
        ("\n\n", r"holds no rows"),
    ],
)
def test_a_csv_that_is_none_is_refused_with_its_line(tmp_path, text, message):
    refused(write(tmp_path, text), message)


def test_other_encodings_are_refused(tmp_path):
    refused(write(tmp_path, "class,a\n1,2\n".encode("utf-16")), "not a text file in UTF-8")
    refused(write(tmp_path, "größe,a\n1,2\n".encode("latin-1")), "not a text file in UTF-8")


# --- LIBSVM


@pytest.mark.parametrize(
    "text",
    [
        "3 1:0.5 2:-1.25\n1 1:2.5 2:4\n3 1:1e-3 2:7.5\n",
        "\ufeff3 1:0.5 2:-1.25\n1 1:2.5 2:4\n3 1:1e-3 2:7.5",
        "# a comment\n\n3 1:0.5 2:-1.25 # and 5:6 another\n1 1:2.5 2:4\n   \n3 1:.001 2:7.5\r\n#",
        "\ufeff# a BOM before a comment\n+3 1:.5 2:-1.25\n+1.0 1:2.5 2:4\n3 1:1e-3 2:7.5\n",
        "3 qid:1 1:0.5 2:-1.25\n1 qid:1 1:2.5 2:4\n3 qid:2 1:1e-3 2:7.5\n",
        "3 0:0.5 1:-1.25\n1 0:2.5 1:4\n3 0:1e-3 1:7.5\n",
    ],
)
def test_libsvm_text_is_read(tmp_path, text):
    assert_is_read(write(tmp_path, text, "mine"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 qid:1 1:2\n1 qid:1 1:2 x\n", r"line 2: not of the form index:value"),
        ("1 qid:1 1:2\n# x\n\n1 qid:1 2:1 1:2\n", r"line 4: the indices do not increase"),
        ("1 1:2 qid:3\n", r"line 1: not of the form index:value"),
        ("1 1:2\n2,3 1:2\n", r"line 2: the class is '2,3', .*one class a row"),
        ("1,0.5,2\n1,0.5,3\n", r"line 1: the class is '1,0\.5,2', .*must be named \.csv"),
        ("1 1:2\n1 3000000000:2\n", r"line 2: the index 3000000000 is larger than 2147483647"),
        (f"1 1:2\n1 {'9' * 5000}:2\n", r"line 2: the index 9+ is larger than"),
        ("1 1:2\n1 1_0:2\n", r"line 2: not of the form index:value"),
        ("1 1:2\n1 1:1_0\n", r"line 2: not of the form index:value"),
        ("1 1:2\n1_0 1:2\n", r"line 2: the class is '1_0', not an integer"),
        ("1 1:2\n1 -1:2\n", r"line 2: not of the form index:value"),
        ("1 1:2\n1 1:\n", r"line 2: not of the form index:value"),
    ],
)
def test_libsvm_text_that_is_none_is_refused_with_its_line(tmp_path, text, message):
    refused(write(tmp_path, text, "mine"), message)


def test_a_huge_index_is_refused_before_the_matrix_is_made(tmp_path):
    path = write(tmp_path, "1 1:2\n# x\n2 1:3 2000000000:1 # y\n", "mine")
    refused(path, r"line 3 has the index 2000000000: 2 rows of 2000000000 features take 320{9} b")
    path = write(tmp_path, "1 qid:1 1:2\n2 qid:1 1:3 200:1\n", "mine")
    message = r"line 2 has the index 200: .* 3200 bytes, more than max_bytes = 3000"
    refused(path, message, max_bytes=3000)
    assert load_dataset(path, split=False, max_bytes=3200).X_train.shape == (2, 200)


def test_an_index_beyond_the_known_width_is_named_with_its_line(tmp_path):
    path = write(tmp_path, "1 1:2\n2 7:3\n", "mine")
    with pytest.raises(ValueError, match=r"mine: line 2 has the index 7, expected are 4 features"):
        read_libsvm(path, n_features=4)
    assert read_libsvm(path, n_features=9)[0].shape == (2, 9)
    write(tmp_path, "1 1:2\n2 0:3\n", "mine")
    with pytest.raises(ValueError, match=r"line 2: an index is 0, where they count from 1"):
        read_libsvm(path, zero_based=False)


# --- MATLAB


def mat4(rows, columns, content):
    """Write a version 4 file by hand: little-endian doubles under the name x."""
    return struct.pack("<5i", 0, rows, columns, 0, 2) + b"x\0" + content


def test_a_mat_file_that_declares_more_than_it_may_is_refused(tmp_path):
    path = write(tmp_path, mat4(3, 3, np.array(ROWS).T.tobytes()), "mine.mat")
    assert_is_read(path)
    write(tmp_path, mat4(2**17, 2**13, bytes(72)), "mine.mat")
    refused(path, r"declares matrices of 8589934592 bytes \(\{'x': \(131072, 8192\)\}\), more than")
    savemat(path, {"x": np.zeros((1000, 600), np.uint8)}, do_compression=True)
    assert path.stat().st_size < 2000
    refused(path, r"declares matrices of 4800000 bytes .* max_bytes = 1000000", max_bytes=1_000_000)
    refused(path, "holds more than max_bytes = 99 bytes", max_bytes=99)


@pytest.mark.parametrize("byte", range(4))
def test_a_mat_file_of_an_unknown_type_does_not_crash_python(tmp_path, byte):
    stream = io.BytesIO()
    savemat(stream, {"x": np.array(ROWS)})
    whole = stream.getvalue()
    place = whole.index(struct.pack("<2I", 9, 72)) + byte  # doubles, 72 bytes of them
    for code in (0, 8, 14, 15, 20, 100, 200, 255):
        if whole[place] != code:
            damaged = whole[:place] + bytes([code]) + whole[place + 1 :]
            refused(write(tmp_path, damaged, "mine.mat"), "cannot be read as a .mat file: ")


def test_what_a_mat_file_holds_beside_the_matrix_does_not_matter(tmp_path):
    beside = {"s": {"a": 1}, "c": np.array([[1, "x"]], object), "z": np.eye(2) * 1j, "n": 5}
    savemat(tmp_path / "mine.mat", {"table": np.array(ROWS), **beside})
    assert_is_read(tmp_path / "mine.mat")


def test_missing_values_in_a_mat_file_are_named(tmp_path):
    savemat(tmp_path / "mine.mat", {"x": np.array([[1, 2, 3], [1, np.nan, 3], [2, 2, 2]])})
    refused(tmp_path / "mine.mat", r"feature 1 of data row 2 is nan, a missing value")


# --- damaged files


def plain_csv(content):
    """Read a comma-separated text as it stands; its first row may hold letters."""
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    rows = [row for row in csv.reader(text.split("\n")) if "".join(row).strip()]
    named = any(character.isalpha() for character in "".join(rows[0]))
    return [[float(cell) for cell in row] for row in rows[named:]]


def plain_libsvm(content):
    """Read LIBSVM text as it stands: the class, and the values that are not 0 by their index."""
    rows = []
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        label, *pairs = line.split(b"#")[0].split() or [None]
        if label is not None:
            parts = [pair.split(b":") for pair in pairs if not pair.startswith(b"qid")]
            rows.append((float(label), {int(index): float(value) for index, value in parts}))
    first = min((index for _, values in rows for index in values), default=1) > 0
    return [(y, {i - first: v for i, v in values.items() if v != 0}) for y, values in rows]


TABLE = np.column_stack([np.arange(12) % 3, np.random.default_rng(0).normal(size=(12, 3)).round(3)])
CSV = b"class,a,b,c\n" + b"".join(b"%d,%r,%r,%r\n" % (r[0], *r[1:]) for r in TABLE.tolist())
LIBSVM = b"".join(b"%d 1:%r 2:%r 3:%r\n" % (r[0], *r[1:]) for r in TABLE.tolist())
COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def matlab(**options):
    stream = io.BytesIO()
    savemat(stream, {"z": TABLE[:3, :3] * 1j, "x": TABLE}, **options)
    return stream.getvalue()


FORMATS = {
    "a.csv": CSV,
    "a": LIBSVM,
    "x.mat": matlab(),
    "compressed.mat": matlab(do_compression=True),
    "version4.mat": matlab(format="4"),
}


@st.composite
def damages(draw, content):
    """Flip, cut, double or insert some bytes."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        to = min(len(content), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["flip", "cut", "truncate", "double", "insert"])):
            case "flip":
                flipped = bytes(b ^ draw(st.integers(1, 255)) for b in content[at : at + 1])
                content = content[:at] + flipped + content[at + 1 :]
            case "cut":
                content = content[:at] + content[to:]
            case "truncate":
                content = content[:at]
            case "double":
                content = content[:to] + content[at:]
            case "insert":
                content = content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def read_or_refused(path):
    """Load a file; None where it is refused by name."""
    try:
        return load_dataset(path, split=False, protocol="raw")
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    return None


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_damaged_file_is_refused_by_name_or_read_as_it_stands(folder, name, data):
    content = data.draw(damages(FORMATS[name]))
    path = folder / name
    path.write_bytes(content)
    found = read_or_refused(path)
    if found is None:
        return
    assert np.isfinite(found.X_train).all()
    assert found.y_train.dtype == np.int64
    if name == "a.csv":
        table = np.column_stack([found.y_train, found.X_train])
        np.testing.assert_array_equal(table, plain_csv(content))
    elif name == "a":
        rows = [
            (label, {j: v for j, v in enumerate(row) if v != 0})
            for row, label in zip(found.X_train, found.y_train, strict=True)
        ]
        assert rows == plain_libsvm(content)


@pytest.mark.parametrize("ending", COMPRESS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_damaged_archive_is_refused_by_name_or_read_as_before(folder, ending, data):
    path = folder / f"damaged.csv{ending}"
    path.write_bytes(data.draw(damages(COMPRESS[ending](CSV))))
    found = read_or_refused(path)
    if found is None:
        return
    np.testing.assert_array_equal(np.column_stack([found.y_train, found.X_train]), TABLE)


# --- scaling


def test_columns_too_wide_to_scale_are_refused(tmp_path):
    rows = ["0,-1e308,1", "1,1e308,2", "0,0,3"]
    path = write(tmp_path, "\n".join(rows))
    with pytest.raises(
        ValueError, match=r"feature 1 cannot be scaled to .* spans -1e\+308 to 1e\+"
    ):
        load_dataset(path, split=False)
    assert load_dataset(path, split=False, protocol="raw").X_train[1, 0] == 1e308
    train, test = np.array([[0.0], [1e-300]]), np.array([[1e300]])
    with pytest.raises(ValueError, match='protocol="raw"'):
        min_max_scale(train, test)
