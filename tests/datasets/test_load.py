"""Real-world sets: the committed files, the readers, the protocols, the download."""

import bz2
import csv
import functools
import gzip
import hashlib
import http.server
import json
import lzma
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

from biglearn_core.datasets import (
    dataset_names,
    download_dataset,
    downloads,
    is_available,
    load as datasets,
    load_dataset,
    registry as dataset_registry,
)
from biglearn_core.datasets.__main__ import main
from biglearn_core.datasets.downloads import DownloadError, download
from biglearn_core.datasets.protocols import min_max_scale, stratified_split
from biglearn_core.datasets.readers.table import read_csv, read_libsvm, read_mat
from biglearn_core.datasets.registry import Source
from biglearn_core.system import paths
from tests.helpers import ROOT

COMMITTED = {  # rows, features, classes, training rows
    "glass": (214, 9, {1, 2, 3, 5, 6, 7}, None),
    "letter": (20000, 16, set(range(1, 27)), 15000),
    "pendigits": (10992, 16, set(range(10)), 7494),
    "satimage": (6435, 36, {1, 2, 3, 4, 5, 7}, 4435),
    "vehicle": (846, 18, {1, 2, 3, 4}, None),
}


@pytest.fixture(autouse=True)
def _no_other_root(monkeypatch):
    monkeypatch.delenv("BIGLEARN_DATA", raising=False)


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@functools.cache
def rows_by_hand(name):
    """Parse a committed file without the code under test."""
    with open(ROOT / "dataset" / f"{name}.csv", newline="") as stream:
        _, *rows = csv.reader(stream)
    table = np.array([[float(cell) for cell in row] for row in rows])
    table.flags.writeable = False  # tests share it
    return table[:, 1:], table[:, 0].astype(int)


def libsvm_text(X, y):
    lines = []
    for row, label in zip(X, y, strict=True):
        pairs = [f"{j + 1}:{float(v)!r}" for j, v in enumerate(row) if v != 0]
        lines.append(" ".join([f"{label:+d}", *pairs]))
    return ("\n".join(lines) + "\n").encode()


def small_table(n=40, d=4, n_classes=3, seed=0):
    generator = np.random.default_rng(seed)
    X = np.round(generator.normal(size=(n, d)), 3) * (generator.random((n, d)) < 0.7)
    X[0] = 1.5  # so that every column occurs in LIBSVM's sparse text
    return X, np.arange(n) % n_classes - 1


# --- the committed files


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_file_is_the_documented_one(name):
    n_rows, n_features, classes, n_train = COMMITTED[name]
    record = json.loads((ROOT / "dataset/checksums.json").read_text())[name]
    content = (ROOT / "dataset" / record["file"]).read_bytes()
    X, y = rows_by_hand(name)
    assert hashlib.sha256(content).hexdigest() == record["sha256"]
    assert record["sha256"] in (ROOT / "dataset/README.md").read_text()
    assert b"\r" not in content
    assert X.shape == (n_rows, n_features) == (record["n_rows"], record["n_features"])
    assert set(y) == classes
    assert record["n_classes"] == len(classes)
    assert record["n_train"] == n_train


def test_official_splits_have_the_class_counts_that_uci_documents():
    _, y = rows_by_hand("pendigits")
    assert np.bincount(y[:7494]).tolist() == [780, 779, 780, 719, 780, 720, 720, 778, 719, 719]
    assert np.bincount(y[7494:]).tolist() == [363, 364, 364, 336, 364, 335, 336, 364, 336, 336]
    _, y = rows_by_hand("satimage")
    assert np.bincount(y[:4435]).tolist() == [0, 1072, 479, 961, 415, 470, 0, 1038]
    assert np.bincount(y[4435:]).tolist() == [0, 461, 224, 397, 211, 237, 0, 470]


def test_first_rows_are_ucis():
    first = {name: (rows_by_hand(name)[1][0], rows_by_hand(name)[0][0]) for name in COMMITTED}
    glass = [1.52101, 13.64, 4.49, 1.1, 71.78, 0.06, 8.75, 0.0, 0.0]
    assert first["glass"][0] == 1
    assert first["glass"][1].tolist() == glass
    assert first["letter"][0] == 26  # LIBSVM's order begins with a Z, UCI's with a T
    assert first["letter"][1].tolist() == [2, 4, 4, 3, 2, 7, 8, 2, 9, 11, 7, 7, 1, 8, 5, 6]
    assert first["pendigits"][1][:6].tolist() == [47, 100, 27, 81, 57, 37]
    assert first["satimage"][1][:4].tolist() == [92, 115, 120, 94]
    assert first["vehicle"][1][:6].tolist() == [95, 48, 83, 178, 72, 10]


# --- protocols


@pytest.mark.parametrize("name", COMMITTED)
def test_raw_protocol_gives_the_file(name):
    X, y = rows_by_hand(name)
    n_train = COMMITTED[name][3]
    data = load_dataset(name, protocol="raw", split=False)
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.y_train, y)
    assert data.X_train.dtype == np.float64
    assert data.y_train.dtype == np.int64
    assert data.X_test.shape == (0, X.shape[1])
    assert data.y_test.shape == (0,)
    assert data.n_classes == len(COMMITTED[name][2])
    assert "UCI" in data.origin
    if n_train is not None:
        split = load_dataset(name, protocol="raw")
        np.testing.assert_array_equal(split.X_train, X[:n_train])
        np.testing.assert_array_equal(split.X_test, X[n_train:])
        np.testing.assert_array_equal(split.y_train, y[:n_train])
        np.testing.assert_array_equal(split.y_test, y[n_train:])


@pytest.mark.parametrize("name", ["pendigits", "satimage", "letter"])
def test_scaling_with_an_official_test_part(name):
    X, _ = rows_by_hand(name)
    train, test = X[: COMMITTED[name][3]], X[COMMITTED[name][3] :]
    scaler = MinMaxScaler().fit(train)
    fair, paper = load_dataset(name), load_dataset(name, protocol="paper")
    np.testing.assert_allclose(fair.X_train, scaler.transform(train), atol=1e-14)
    np.testing.assert_allclose(fair.X_test, scaler.transform(test), atol=1e-14)
    np.testing.assert_allclose(paper.X_train, scaler.transform(train), atol=1e-14)
    np.testing.assert_allclose(paper.X_test, MinMaxScaler().fit_transform(test), atol=1e-14)


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("name", ["glass", "vehicle"])
def test_scaling_and_split_without_a_test_part(name, seed):
    X, y = rows_by_hand(name)
    a, b = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=seed)
    scaler = MinMaxScaler().fit(X[a])
    fair = load_dataset(name, seed=seed)
    np.testing.assert_allclose(fair.X_train, scaler.transform(X[a]), atol=1e-14)
    np.testing.assert_allclose(fair.X_test, scaler.transform(X[b]), atol=1e-14)
    np.testing.assert_array_equal(fair.y_test, y[b])
    if name == "vehicle":
        X = np.mod(X, 256)
    together = MinMaxScaler().fit_transform(X)
    paper = load_dataset(name, protocol="paper", seed=seed)
    np.testing.assert_allclose(paper.X_train, together[a], atol=1e-14)
    np.testing.assert_allclose(paper.X_test, together[b], atol=1e-14)
    np.testing.assert_array_equal(paper.y_train, y[a])


def test_other_seeds_give_other_splits():
    assert not np.array_equal(load_dataset("glass").y_test, load_dataset("glass", seed=1).y_test)


def test_paper_cast_wraps_the_806_values_that_exceed_a_byte():
    X, _ = rows_by_hand("vehicle")
    assert int((X > 255).sum()) == 806
    paper = load_dataset("vehicle", protocol="paper", split=False).X_train
    np.testing.assert_allclose(paper, MinMaxScaler().fit_transform(X % 256), atol=1e-14)


@pytest.mark.parametrize("protocol", ["fair", "paper"])
def test_unsplit_data_are_scaled_together(protocol):
    X, y = rows_by_hand("pendigits")
    data = load_dataset("pendigits", protocol=protocol, split=False)
    np.testing.assert_allclose(data.X_train, MinMaxScaler().fit_transform(X), atol=1e-14)
    np.testing.assert_array_equal(data.y_train, y)
    assert data.X_test.shape == (0, 16)


def test_constant_column_becomes_zero():
    X = np.array([[3.0, 1.0], [3.0, 2.0], [3.0, 5.0]])
    other = np.array([[7.0, 9.0]])
    min_max_scale(X, other)
    np.testing.assert_array_equal(X, [[0, 0], [0, 0.25], [0, 1]])
    np.testing.assert_array_equal(other, [[0, 2]])
    rounding = np.array([[0.1 + 0.2], [0.3]])
    min_max_scale(rounding)
    np.testing.assert_array_equal(rounding, [[0], [0]])


def test_constant_column_in_a_file(tmp_path):
    rows = "\n".join(f"{i % 2},4.5,{i}" for i in range(20))
    (tmp_path / "c.csv").write_text(rows)
    for protocol in ("fair", "paper"):
        data = load_dataset(tmp_path / "c.csv", protocol=protocol)
        assert not data.X_train[:, 0].any()
        assert not data.X_test[:, 0].any()
        assert np.isfinite(data.X_train).all()


def test_duplicate_rows_are_kept(tmp_path):
    X, y = rows_by_hand("glass")
    assert len({(*row, label) for row, label in zip(X, y, strict=True)}) == 213
    assert load_dataset("glass", split=False).X_train.shape == (214, 9)
    (tmp_path / "d.csv").write_text("1,2,3\n1,2,3\n1,2,3\n")
    assert load_dataset(tmp_path / "d.csv", split=False).X_train.shape == (3, 2)


@pytest.mark.parametrize("seed", range(5))
def test_class_with_one_member_goes_to_the_training_part(seed):
    y = np.array([0] * 20 + [1] * 10 + [7] + [9])
    train, test = stratified_split(y, seed=seed)
    assert sorted([*train, *test]) == list(range(32))
    assert {30, 31} <= set(train)
    assert Counter(y[test].tolist()) == {0: 4, 1: 2}


def test_one_member_class_in_a_file(tmp_path):
    rows = [f"{i % 2},{i},{i * i}" for i in range(20)] + ["5,1,1"]
    (tmp_path / "one.csv").write_text("\n".join(rows))
    data = load_dataset(tmp_path / "one.csv")
    assert data.n_classes == 3
    assert 5 in data.y_train
    assert 5 not in data.y_test


@pytest.mark.parametrize("y", [[1, 2, 3], [1, 1, 2, 2, 3, 3]])
def test_too_few_rows_to_split(y):
    with pytest.raises(ValueError, match=r"too few for an 80/20 split.*split=False"):
        stratified_split(np.array(y), seed=0)


def test_dataset_is_frozen():
    with pytest.raises(AttributeError):
        load_dataset("glass").n_classes = 3


# --- names and errors


@pytest.mark.parametrize("name", ["Glass", "GLASS", "glass", "Pen-digits", "PENDIGITS"])
def test_names_ignore_case_and_hyphens(name):
    assert load_dataset(name).name in ("glass", "pendigits")


def test_nine_names():
    assert dataset_names() == (
        *("connect-4", "covtype", "glass", "letter", "pendigits"),
        *("satimage", "seismic", "svmguide2", "vehicle"),
    )


def test_unknown_name_and_protocol():
    with pytest.raises(ValueError, match=r"unknown data set 'covtyp': did you mean 'covtype'\?"):
        load_dataset("covtyp")
    with pytest.raises(ValueError, match=r"unknown protocol 'fairest'; choose one of fair, paper"):
        load_dataset("glass", protocol="fairest")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv is not a file"):
        load_dataset("nowhere.csv")


@pytest.fixture
def empty_repository(tmp_path, monkeypatch):
    """Hide the files in dataset/, so that what lies there does not matter."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(datasets, "DATASETS", own)
    monkeypatch.setattr(datasets, "DOWNLOADS", own)
    return own


def test_absent_set_names_the_command_and_the_address(empty_repository, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("Seismic", root=tmp_path / "none")
    message = str(caught.value)
    assert "python -m biglearn_core.datasets seismic" in message
    page = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
    assert f"{page}vehicle/seismic.bz2" in message
    assert f"{page}vehicle/seismic.t.bz2" in message
    assert "none (no such folder)" in message


def test_changed_committed_file_is_refused(tmp_path):
    for name in ("glass.csv", "checksums.json"):
        shutil.copy(ROOT / "dataset" / name, tmp_path)
    assert load_dataset("glass", root=tmp_path).X_train.shape == (171, 9)
    path = tmp_path / "glass.csv"
    path.write_bytes(path.read_bytes().replace(b"1.52101", b"1.52102", 1))
    with pytest.raises(ValueError, match=r"glass\.csv was changed or cut: its sha256 is [0-9a-f]"):
        load_dataset("glass", root=tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="changed or cut"):
        load_dataset("glass", root=tmp_path)


@pytest.mark.parametrize("record", ["", "[", "[]", "{}", '{"glass": 1}', '{"glass": {}}', "\\xff"])
def test_damaged_records_are_refused_by_name(tiny_set, tmp_path, record):
    shutil.copy(ROOT / "dataset/glass.csv", tmp_path)
    (tmp_path / "checksums.json").write_bytes(record.encode().replace(b"\\xff", b"\xff"))
    with pytest.raises(ValueError, match=r"checksums\.json does not describe glass: .*restore it"):
        load_dataset("glass", root=tmp_path)
    for name, content in tiny_set[2].items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "tiny.t.sha256").write_bytes(record.encode().replace(b"\\xff", b"\xff"))
    with pytest.raises(ValueError, match=r"tiny\.t changed since it was downloaded"):
        load_dataset("tiny", root=tmp_path)


# --- readers


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


# --- registered sets in LIBSVM files


@pytest.fixture
def tiny_set(monkeypatch, empty_repository):
    """Register a set with a training and a test file; return their contents."""
    source = Source(
        name="tiny",
        n_train=30,
        n_test=10,
        n_features=4,
        n_classes=3,
        train_file="sub/tiny.bz2",
        test_file="sub/tiny.t",
    )
    monkeypatch.setitem(dataset_registry.REGISTRY, "tiny", source)
    X, y = small_table()
    X[30:, 3] = 0  # the test file's last column occurs nowhere in its text
    files = {
        "tiny.bz2": bz2.compress(libsvm_text(X[:30], y[:30])),
        "tiny.t": libsvm_text(X[30:], y[30:]),
    }
    return X, y, files


@pytest.mark.parametrize("folder", [".", "tiny"])
def test_files_in_a_root_or_its_folder(tiny_set, tmp_path, monkeypatch, folder):
    X, y, files = tiny_set
    root = tmp_path / "root"
    (root / folder).mkdir(parents=True)
    (root / folder / "tiny").write_bytes(bz2.decompress(files["tiny.bz2"]))
    monkeypatch.setenv("BIGLEARN_DATA", str(root))
    assert not is_available("tiny")
    (root / folder / "tiny.t.xz").write_bytes(lzma.compress(files["tiny.t"]))
    assert is_available("tiny")
    data = load_dataset("Tiny", protocol="raw")
    np.testing.assert_array_equal(data.X_train, X[:30])
    np.testing.assert_array_equal(data.X_test, X[30:])
    np.testing.assert_array_equal(data.y_test, y[30:])
    assert data.n_classes == 3


def test_truncated_and_changed_libsvm_files(tiny_set, tmp_path):
    _, _, files = tiny_set
    (tmp_path / "tiny.t").write_bytes(files["tiny.t"])
    text = bz2.decompress(files["tiny.bz2"])
    (tmp_path / "tiny").write_bytes(b"".join(text.splitlines(keepends=True)[:20]))
    with pytest.raises(
        ValueError, match=r"holds 20 rows, 4 features, 3 classes; expected 30, 4, 3"
    ):
        load_dataset("tiny", root=tmp_path)
    (tmp_path / "tiny").write_bytes(text)
    (tmp_path / "tiny.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}  tiny\n")
    load_dataset("tiny", root=tmp_path)
    (tmp_path / "tiny").write_bytes(text.replace(b"1:1.5", b"1:1.6", 1))
    with pytest.raises(ValueError, match=r"changed since it was downloaded: its sha256 is"):
        load_dataset("tiny", root=tmp_path)


def test_scaled_vehicle_has_no_paper_protocol(empty_repository, tmp_path):
    X, y = rows_by_hand("vehicle")
    (tmp_path / "vehicle.scale").write_bytes(libsvm_text(MinMaxScaler().fit_transform(X), y))
    assert load_dataset("vehicle", root=tmp_path).X_train.shape == (676, 18)
    with pytest.raises(ValueError, match="casts Vehicle's original values to uint8"):
        load_dataset("vehicle", root=tmp_path, protocol="paper")


def test_committed_sets_are_found_whatever_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGLEARN_DATA", str(tmp_path))
    assert load_dataset("glass").X_train.shape == (171, 9)
    assert load_dataset("glass", root=tmp_path / "none").X_train.shape == (171, 9)


def test_the_paper_protocol_casts_only_the_registered_vehicle(tmp_path):
    (tmp_path / "vehicle.csv").write_text("\n".join(f"{i % 2},{100 * i}" for i in range(10)))
    data = load_dataset(tmp_path / "vehicle.csv", protocol="paper", split=False)
    np.testing.assert_allclose(data.X_train[:, 0], np.arange(10) / 9)


def test_a_relative_root_counts_from_the_repository_too(tmp_path, monkeypatch):
    (tmp_path / "repository/data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("BIGLEARN_DATA", "data")
    assert paths.data_root() == tmp_path / "repository/data"
    (tmp_path / "elsewhere/data").mkdir()
    assert paths.data_root() == Path("data")


# --- download


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `contents`; each path's first `failures` answers break off half-way."""

    contents: dict
    failures: dict
    requests: Counter

    def do_GET(self):
        self.requests[self.path] += 1
        content = self.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        broken = self.requests[self.path] <= self.failures.get(self.path, 0)
        self.wfile.write(content[: len(content) // 2] if broken else content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on this machine's loopback address: its handler class and its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("H", (Handler,), {"contents": {}, "failures": {}, "requests": Counter()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield handler, f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: None)


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_download_of_a_set(tiny_set, tmp_path, server, monkeypatch, capsys):
    X, _, files = tiny_set
    handler, address = server
    handler.contents = {f"/sub/{name}": content for name, content in files.items()}
    folder = download_dataset("tiny", root=tmp_path, page=address)
    assert folder == tmp_path / "tiny"
    expected = ["tiny.bz2", "tiny.bz2.sha256", "tiny.t", "tiny.t.sha256"]
    assert files_in(folder) == expected
    assert (folder / "tiny.bz2").read_bytes() == files["tiny.bz2"]
    recorded = (folder / "tiny.t.sha256").read_text().split()
    assert recorded == [hashlib.sha256(files["tiny.t"]).hexdigest(), "tiny.t"]
    assert "tiny.bz2: 100%" in capsys.readouterr().err
    np.testing.assert_array_equal(
        load_dataset("tiny", root=tmp_path, protocol="raw").X_train, X[:30]
    )
    assert main(["tiny", "glass", "--root", str(tmp_path)]) == 1  # dataset/ is hidden: no glass
    assert "tiny: already here" in capsys.readouterr().out
    assert handler.requests == {"/sub/tiny.bz2": 1, "/sub/tiny.t": 1}


def test_a_transfer_that_breaks_off_is_repeated(tmp_path, server, quick_retries, capsys):
    handler, address = server
    handler.contents = {"/f": b"abcd" * 1000}
    handler.failures = {"/f": 2}
    download(f"{address}/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"abcd" * 1000
    assert handler.requests["/f"] == 3
    assert "broke off after 2000 of 4000 bytes" in capsys.readouterr().err


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path, server):
    handler, address = server
    handler.contents = {"/f": b"new"}
    (tmp_path / "f").write_text("old")
    with open(tmp_path / "f") as reader:
        download(f"{address}/f", tmp_path / "f")
        assert reader.read() == "old"
    assert (tmp_path / "f").read_text() == "new"


def test_a_transfer_that_always_breaks_off_leaves_nothing(tmp_path, server, quick_retries):
    handler, address = server
    handler.contents = {"/f": b"abcd" * 1000}
    handler.failures = {"/f": 99}
    with pytest.raises(DownloadError, match=r"/f could not be fetched: the transfer broke off"):
        download(f"{address}/f", tmp_path / "new" / "f")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "f").write_text("old")
    with pytest.raises(DownloadError):
        download(f"{address}/f", tmp_path / "f")
    assert (tmp_path / "f").read_text() == "old"


def test_wrong_content_leaves_nothing(tiny_set, tmp_path, server, quick_retries):
    _, _, files = tiny_set
    handler, address = server
    short = b"".join(bz2.decompress(files["tiny.bz2"]).splitlines(keepends=True)[:7])
    for content, message in [
        (b"<html>moved</html>\n", "HTML page"),
        (files["tiny.bz2"][:-9], "truncated or damaged"),
        (short, "holds 7 rows"),
    ]:
        handler.contents = {"/sub/tiny.bz2": content, "/sub/tiny.t": files["tiny.t"]}
        with pytest.raises(DownloadError, match=message) as caught:
            download_dataset("tiny", root=tmp_path, page=address)
        assert f"put it into {tmp_path / 'tiny'}" in str(caught.value)
        assert not (tmp_path / "tiny").exists()


def test_a_set_is_not_downloaded_beyond_the_size_it_can_have(
    tiny_set, tmp_path, server, quick_retries
):
    handler, address = server
    handler.contents = {"/sub/tiny.bz2": bytes(30 * (16 + 4 * 32) + 1)}
    message = r"sends more than max_bytes = 4320 bytes\nFetch the file by other means"
    with pytest.raises(DownloadError, match=message):
        download_dataset("tiny", root=tmp_path, page=address)
    assert handler.requests == {"/sub/tiny.bz2": 1}
    handler.contents = {"/sub/tiny.bz2": bz2.compress(b"1 1:2\n" * 10_000)}
    with pytest.raises(DownloadError, match=r"tiny\.bz2 holds more than max_bytes = 4320 bytes"):
        download_dataset("tiny", root=tmp_path, page=address)
    with pytest.raises(ValueError, match="is not fetched: give an address of http"):
        download_dataset("tiny", root=tmp_path, page="file:///tmp")
    assert not (tmp_path / "tiny").exists()


def test_the_bound_of_every_set_leaves_room_for_its_longest_text():
    number = repr(-1.7976931348623157e308)
    for source in dataset_registry.REGISTRY.values():
        row = " ".join(f"{j + 1}:{number}" for j in range(source.n_features))
        assert source.max_bytes(7) >= 7 * len(f"-1 qid:123 {row}\r\n")


def test_what_cannot_help_is_not_repeated(tmp_path, server):
    handler, address = server
    with pytest.raises(DownloadError, match="404"):
        download(f"{address}/absent", tmp_path / "f")
    assert handler.requests["/absent"] == 1
    with pytest.raises(DownloadError, match="refused"):
        download("http://127.0.0.1:9/f", tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_nothing(tiny_set, tmp_path, server, monkeypatch, capsys):
    handler, address = server
    handler.contents = {"/sub/tiny.bz2": tiny_set[2]["tiny.bz2"]}
    monkeypatch.setattr(
        datasets.download_dataset, "__kwdefaults__", {"root": None, "page": address}
    )

    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "tqdm", interrupted)
    assert main(["tiny", "--root", str(tmp_path / "new")]) == 130
    assert "nothing half-written" in capsys.readouterr().err
    assert files_in(tmp_path) == []
    assert not (tmp_path / "new" / "tiny").exists()


def test_killed_download_leaves_no_file_under_the_name(tmp_path, server):
    handler, address = server
    sent = threading.Event()

    def stall(self):
        self.send_response(200)
        self.send_header("Content-Length", "4000000")
        self.end_headers()
        self.wfile.write(b"x" * 1000000)
        self.wfile.flush()
        sent.set()
        self.rfile.read(1)  # returns when the client is gone

    handler.do_GET = stall
    code = (
        "import sys; from pathlib import Path\n"
        "from biglearn_core.datasets.downloads import download; "
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code, f"{address}/f", str(tmp_path / "f")],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert sent.wait(120)
    finally:
        client.kill()
        client.wait()
    assert not (tmp_path / "f").exists()
    assert all(name.startswith(".part-") for name in files_in(tmp_path))


def test_listing_and_command(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "pendigits  here    7494+3498 rows, 16 features, 10 classes" in out
    assert len(out.splitlines()) == 9
    assert main(["Satimage", "letter"]) == 0
    assert capsys.readouterr().out == "Satimage: already here\nletter: already here\n"
    assert main(["nonsense"]) == 1
    assert "unknown data set 'nonsense'" in capsys.readouterr().err
