"""Compressed files: known by content, whole, alone, and of a bounded size."""

import bz2
import gzip
import lzma
import tracemalloc

import numpy as np
import pytest

from biglearn_core.datasets import load_dataset
from biglearn_core.datasets.readers.archives import ContentError, open_binary

COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
CSV = b"class,a\n" + b"".join(b"%d,%d\n" % (i % 3, i * i) for i in range(5000))


def content_of(path, **options):
    with open_binary(path, **options) as stream:
        return stream.read()


@pytest.fixture(params=COMPRESS)
def compress(request):
    return COMPRESS[request.param]


@pytest.mark.parametrize("name", ["a", "a.gz", "a.bz2", "a.csv", "a.idx3-ubyte"])
def test_the_content_tells_the_compression_whatever_the_name(tmp_path, compress, name):
    path = tmp_path / name
    for packed in (CSV, compress(CSV)):
        path.write_bytes(packed)
        assert content_of(path) == CSV
        with open_binary(path) as stream:
            assert list(stream) == CSV.splitlines(keepends=True)


def test_members_and_padding_with_zeros_are_read_on(tmp_path, compress):
    path = tmp_path / "a"
    for padding in (b"", b"\0" * 4, b"\0" * 3_000_000):
        path.write_bytes(compress(CSV) + padding + compress(b"") + compress(b"more") + padding)
        assert content_of(path) == CSV + b"more"


@pytest.mark.parametrize("garbage", [b"x", b"BZ", b"BZhx", b"\0\0x", b"<html>" * 999, CSV])
def test_what_follows_an_archive_is_refused(tmp_path, compress, garbage):
    path = tmp_path / "mine.csv"
    path.write_bytes(compress(CSV) + garbage)
    with pytest.raises(ContentError, match=r"mine\.csv is truncated or damaged"):
        content_of(path)
    with pytest.raises(ValueError, match=r"mine\.csv is truncated or damaged"):
        load_dataset(path)


def test_every_truncation_is_refused(tmp_path, compress):
    packed = compress(CSV[:200])
    path = tmp_path / "mine.csv"
    for length in range(8, len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(ContentError, match=r"mine\.csv is truncated or damaged"):
            content_of(path)


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, compress):
    path = tmp_path / "mine.csv"
    path.write_bytes(compress(bytes(40_000_000)))
    for read in (content_of, load_dataset):
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"mine\.csv holds more than max_bytes = 999999 bytes"):
            read(path, max_bytes=999_999)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16_000_000  # an xz dictionary takes 8 MiB of them


def test_the_bound_is_the_first_size_that_is_let_through(tmp_path, compress):
    for packed in (CSV, compress(CSV)):
        (tmp_path / "a").write_bytes(packed)
        assert content_of(tmp_path / "a", max_bytes=len(CSV)) == CSV
        with pytest.raises(ContentError, match=f"more than max_bytes = {len(CSV) - 1} bytes"):
            content_of(tmp_path / "a", max_bytes=len(CSV) - 1)


@pytest.mark.parametrize("name", ["mine", "mine.csv", "mine.mat"])
def test_every_format_keeps_its_bound(tmp_path, compress, name):
    (tmp_path / name).write_bytes(compress(bytes(10_000)))
    with pytest.raises(ValueError, match=rf"{name} holds more than max_bytes = 9999 bytes"):
        load_dataset(tmp_path / name, max_bytes=9999)


def test_errors_of_the_system_keep_their_own_words(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_binary(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        open_binary(tmp_path)


def test_an_archive_is_read_in_small_steps_too(tmp_path, compress):
    path = tmp_path / "a"
    noise = np.random.default_rng(0).integers(0, 256, 300_000).astype(np.uint8).tobytes()
    path.write_bytes(compress(noise))
    with open_binary(path) as stream:
        assert b"".join(iter(lambda: stream.read(777), b"")) == noise
