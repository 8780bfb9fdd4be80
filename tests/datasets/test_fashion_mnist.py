"""Fashion-MNIST: the IDX format, where the files are found, and what is done where they are not."""

import bz2
import gzip
import hashlib
import lzma
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from biglearn_core.datasets import downloads, fashion_mnist
from biglearn_core.datasets.downloads import DownloadError
from biglearn_core.datasets.fashion_mnist import MD5, load_fashion_mnist, parse_idx


def idx(array):
    """Write the IDX format by hand."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Take a small set for Fashion-MNIST, and hide the one that may lie in the repository."""
    generator = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": generator.integers(0, 256, (6, 28, 28)),
        "train-labels-idx1-ubyte": np.array([3, 1, 4, 1, 5, 9]),
        "t10k-images-idx3-ubyte": generator.integers(0, 256, (2, 28, 28)),
        "t10k-labels-idx1-ubyte": np.array([2, 6]),
    }
    contents = {name: idx(array) for name, array in arrays.items()}
    for name, content in contents.items():
        monkeypatch.setitem(MD5, name, hashlib.md5(content).hexdigest())
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", tmp_path / "own")
    monkeypatch.delenv("BIGLEARN_DATA", raising=False)
    return arrays, contents


def put(root, contents, compress=False):
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in contents.items():
        if compress:
            (raw / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (raw / name).write_bytes(content)
    return raw


def assert_is_small(data, arrays):
    expected = [*arrays["train-images-idx3-ubyte"], *arrays["t10k-images-idx3-ubyte"]]
    np.testing.assert_array_equal(data.images, np.array(expected).reshape(8, 784))
    np.testing.assert_array_equal(data.labels, [3, 1, 4, 1, 5, 9, 2, 6])
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert data.n_train == 6


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 7)])
def test_idx_round_trip(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    parsed = parse_idx(idx(array))
    np.testing.assert_array_equal(parsed, array)
    assert parsed.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not IDX data of unsigned bytes"),
        (b"\x00\x00\x0d\x01" + bytes(8), r"begins with '00 00 0d 01', expected 00 00 08"),
        (idx(np.arange(5))[:6], r"header is 6 of 8 bytes"),
        (idx(np.arange(5))[:-1], r"12 bytes, expected 13 for the shape \(5,\)"),
        (idx(np.arange(5)) + b"x", r"14 bytes, expected 13"),
        # Shapes whose product is a multiple of 2**64, and is 0 in numpy's int64.
        (bytes([0, 0, 8, 4]) + b"\0\1\0\0" * 4, r"20 bytes, expected 18446744073709551636"),
        (bytes([0, 0, 8, 2]) + b"\x80\0\0\0" * 2, r"12 bytes, expected 4611686018427387916"),
        (bytes([0, 0, 8, 99]) + b"\0\0\0\1" * 99 + b"x", r"no array: its shape is .*dimension"),
    ],
)
def test_bad_idx(content, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(content)


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_there_is_used(small, tmp_path, monkeypatch, compress):
    arrays, contents = small
    put(tmp_path / "root", contents, compress)
    assert_is_small(load_fashion_mnist(root=tmp_path / "root", download=False), arrays)
    monkeypatch.setenv("BIGLEARN_DATA", str(tmp_path / "root"))
    assert_is_small(load_fashion_mnist(download=False), arrays)
    monkeypatch.setenv("BIGLEARN_DATA", str(tmp_path / "empty"))
    os.replace(tmp_path / "root", tmp_path / "own")
    assert_is_small(load_fashion_mnist(download=False), arrays)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_the_content_counts_and_not_the_name(small, tmp_path, compress, ending, dotted):
    arrays, contents = small
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in contents.items():
        stem = name.replace("-idx", ".idx") if dotted else name
        (raw / f"{stem}{ending}").write_bytes(compress(content))
    assert_is_small(load_fashion_mnist(root=tmp_path, download=False), arrays)


def test_a_dotted_name_is_verified_too(small, tmp_path):
    raw = put(tmp_path, small[1])
    os.replace(raw / "train-labels-idx1-ubyte", raw / "train-labels.idx1-ubyte")
    (raw / "train-labels.idx1-ubyte").write_bytes(idx(np.array([3, 1, 4, 1, 5, 8])))
    with pytest.raises(
        ValueError, match=r"train-labels\.idx1-ubyte is truncated or changed: .* md5"
    ):
        load_fashion_mnist(root=tmp_path, download=False)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_what_exceeds_the_largest_file_is_not_unpacked(small, tmp_path, compress):
    assert fashion_mnist.MAX_BYTES == 16 + 60000 * 784
    raw = put(tmp_path, small[1])
    (raw / "train-images-idx3-ubyte").write_bytes(compress(bytes(fashion_mnist.MAX_BYTES + 1)))
    with pytest.raises(ValueError, match=r"images-idx3-ubyte holds more than max_bytes = 47040016"):
        load_fashion_mnist(root=tmp_path)


def test_the_download_is_bounded(small, tmp_path, monkeypatch):
    asked = []

    def transfer(url, partial, **bounds):
        asked.append(bounds)
        raise downloads.urllib.error.URLError("no network")

    monkeypatch.setattr(downloads, "_transfer", transfer)
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: None)
    with pytest.raises(DownloadError):
        load_fashion_mnist(root=tmp_path)
    assert asked == [{"timeout": 10.0, "total_time": 1800.0, "max_bytes": 47040016}]


def test_absent_files_are_named(small, tmp_path):
    raw = put(tmp_path, small[1])
    (raw / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"absent: t10k-labels-idx1-ubyte\); call load_"):
        load_fashion_mnist(root=tmp_path, download=False)


@pytest.mark.parametrize("compress", [False, True])
def test_truncated_and_changed_files_are_refused(small, tmp_path, compress):
    raw = put(tmp_path, small[1], compress)
    path = raw / f"train-images-idx3-ubyte{'.gz' if compress else ''}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.* is truncated"):
        load_fashion_mnist(root=tmp_path)
    good = small[1]["train-images-idx3-ubyte"]
    changed = good[:-1] + bytes([good[-1] ^ 1])
    path.write_bytes(gzip.compress(changed) if compress else changed)
    with pytest.raises(ValueError, match=r"md5 of its 4720 decompressed bytes is [0-9a-f]{32}"):
        load_fashion_mnist(root=tmp_path)


@pytest.fixture
def offline(monkeypatch):
    """Let the original's address fail as it does without a network, at once."""
    asked = []

    def transfer(url, partial, **bounds):
        asked.append(url)
        raise downloads.urllib.error.URLError("no network")

    monkeypatch.setattr(downloads, "_transfer", transfer)
    return asked


def test_original_address_comes_first(small, tmp_path, monkeypatch):
    arrays, contents = small
    raw = put(tmp_path, {"train-labels-idx1-ubyte": contents["train-labels-idx1-ubyte"]})
    asked = []

    def transfer(url, partial, **bounds):
        asked.append(url)
        name = url.rsplit("/", 1)[1].removesuffix(".gz")
        partial.write_bytes(gzip.compress(contents[name]))

    monkeypatch.setattr(downloads, "_transfer", transfer)
    assert_is_small(load_fashion_mnist(root=tmp_path), arrays)
    page = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    names = ("train-images-idx3", "t10k-images-idx3", "t10k-labels-idx1")
    assert asked == [f"{page}/{name}-ubyte.gz" for name in names]
    assert sorted(p.name for p in raw.iterdir()) == sorted(MD5)


def test_debian_package_comes_next(small, tmp_path, monkeypatch, offline, capsys):
    arrays, contents = small

    def run(command, folder):
        if command[0] == "apt-get":
            (folder / "dataset-fashion-mnist_0_all.deb").write_bytes(b"")
            return
        target = Path(command[-1])
        unpacked = target / "usr/share/datasets/fashion-mnist"
        unpacked.mkdir(parents=True)
        for name, content in contents.items():
            (unpacked / f"{name}.gz").write_bytes(gzip.compress(content))
        os.utime(target, (0, 0))  # dpkg-deb gives it the package's date
        with downloads.staging_folder(raw):  # as another process that fetches does
            pass

    raw = tmp_path / "FashionMNIST" / "raw"
    monkeypatch.setattr(fashion_mnist, "_run_with_progress", run)
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert_is_small(load_fashion_mnist(root=tmp_path), arrays)
    assert len(offline) == 1
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == 1
    assert messages[0].endswith("trying the Debian package dataset-fashion-mnist")
    assert sorted(p.name for p in raw.iterdir()) == sorted(MD5)


def test_no_source_names_every_cause(small, tmp_path, monkeypatch, offline):
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: None)
    with pytest.raises(DownloadError) as caught:
        load_fashion_mnist(root=tmp_path)
    message = str(caught.value)
    assert "no network" in message
    assert "there is no apt-get here" in message
    assert f"into {tmp_path / 'FashionMNIST' / 'raw'}" in message
    assert not (tmp_path / "FashionMNIST" / "raw").exists()


def test_wrong_downloads_are_not_installed(small, tmp_path, monkeypatch):
    def transfer(url, partial, **bounds):
        partial.write_bytes(gzip.compress(b"something else"))

    monkeypatch.setattr(downloads, "_transfer", transfer)
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: None)
    with pytest.raises(DownloadError, match="truncated or changed"):
        load_fashion_mnist(root=tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_failing_command_is_reported(tmp_path):
    with pytest.raises(DownloadError, match=r"sh -c .* failed: no such package"):
        fashion_mnist._run_with_progress(["sh", "-c", "echo no such package >&2; exit 3"], tmp_path)


def test_a_command_that_hangs_is_ended(tmp_path):
    command = ["sh", "-c", "echo $$ > pid; exec sleep 1000"]
    with pytest.raises(DownloadError, match=r"sleep 1000 was not over after 0\.2 s"):
        fashion_mnist._run_with_progress(command, tmp_path, total_time=0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_real_data():
    try:
        data = load_fashion_mnist(download=False)
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not here; load_fashion_mnist() fetches it")
    assert data.images.shape == (70000, 784)
    assert data.n_train == 60000
    assert np.bincount(data.labels[:60000]).tolist() == [6000] * 10
    assert np.bincount(data.labels[60000:]).tolist() == [1000] * 10
    # The mean of the training pixels that is commonly used to normalise the set.
    mean = data.images[:60000].mean(dtype=np.float64) / 255
    assert mean == pytest.approx(0.2860, abs=5e-5)
