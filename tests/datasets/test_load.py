"""Real-world sets: the committed files, the protocols, where files are found."""

import bz2
import csv
import functools
import hashlib
import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

from biglearn_core.datasets import (
    dataset_names,
    is_available,
    load_dataset,
)
from biglearn_core.datasets.__main__ import main
from biglearn_core.system import paths
from tests.datasets.small import libsvm_text
from tests.helpers import ROOT

COMMITTED = {  # rows, features, classes, training rows
    "glass": (214, 9, {1, 2, 3, 5, 6, 7}, None),
    "letter": (20000, 16, set(range(1, 27)), 15000),
    "pendigits": (10992, 16, set(range(10)), 7494),
    "satimage": (6435, 36, {1, 2, 3, 4, 5, 7}, 4435),
    "vehicle": (846, 18, {1, 2, 3, 4}, None),
}


@functools.cache
def rows_by_hand(name):
    """Parse a committed file without the code under test."""
    with open(ROOT / "dataset" / f"{name}.csv", newline="") as stream:
        _, *rows = csv.reader(stream)
    table = np.array([[float(cell) for cell in row] for row in rows])
    table.flags.writeable = False  # tests share it
    return table[:, 1:], table[:, 0].astype(int)


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


def test_one_member_class_in_a_file(tmp_path):
    rows = [f"{i % 2},{i},{i * i}" for i in range(20)] + ["5,1,1"]
    (tmp_path / "one.csv").write_text("\n".join(rows))
    data = load_dataset(tmp_path / "one.csv")
    assert data.n_classes == 3
    assert 5 in data.y_train
    assert 5 not in data.y_test


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


# --- registered sets in LIBSVM files


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


def test_listing_and_command(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "pendigits  here    7494+3498 rows, 16 features, 10 classes" in out
    assert len(out.splitlines()) == 9
    assert main(["Satimage", "letter"]) == 0
    assert capsys.readouterr().out == "Satimage: already here\nletter: already here\n"
    assert main(["nonsense"]) == 1
    assert "unknown data set 'nonsense'" in capsys.readouterr().err
