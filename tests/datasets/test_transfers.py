"""Downloads of files and sets: what is repeated, what is recorded, what a failure leaves."""

import bz2
import hashlib
import http.server
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest

from biglearn_core.datasets import (
    download_dataset,
    downloads,
    load as datasets,
    load_dataset,
    registry as dataset_registry,
)
from biglearn_core.datasets.__main__ import main
from biglearn_core.datasets.downloads import DownloadError, download
from tests.helpers import ROOT


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
