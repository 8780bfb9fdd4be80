"""Downloads from a server that drips, never ends, lies about sizes, or sends one elsewhere."""

import contextlib
import socket
import threading
import time

import pytest

from biglearn_core.datasets.downloads import DownloadError, download

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def serve(monkeypatch):
    """Start a server on the loopback address that answers by a function of the connection."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        threads = []

        def start(answer):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            asked = []

            def handle(connection):
                with connection, contextlib.suppress(OSError):
                    if request := connection.recv(65536):
                        asked.append(request)
                        answer(connection)

            def accept():
                with contextlib.suppress(OSError):
                    while True:
                        threads.append(threading.Thread(target=handle, args=listener.accept()[:1]))
                        threads[-1].start()

            threads.append(threading.Thread(target=accept))
            threads[-1].start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"http://127.0.0.1:{listener.getsockname()[1]}", asked

        start.over = over
        yield start
        over.set()
    for thread in threads:
        thread.join(10)


def whole(content):
    def answer(connection):
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(content) + content)

    return answer


def dripping(head, over):
    """Send `head`, then a byte every hundredth of a second until the client is gone."""

    def answer(connection):
        connection.sendall(head)
        while not over.wait(0.01):
            connection.sendall(b"x")

    return answer


def endless(connection):
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(bytes(1 << 16))


def fetch(address, tmp_path, **options):
    download(f"{address}/f", tmp_path / "f", **{"pause": 0, "attempts": 1, **options})


@pytest.mark.parametrize(
    "head",
    [
        OK + b"Content-Length: 1000000\r\n\r\n",
        OK + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n",
        OK + b"X-Endless: ",
        b"HTTP/1.1 ",
        b"HTTP/1.1 302 Found\r\nLocation: /g\r\nX-Endless: ",
        b"HTTP/1.1 503 Busy\r\nX-Endless: ",
    ],
)
def test_a_server_that_drips_is_left_when_the_time_is_over(serve, tmp_path, head, capsys):
    address, asked = serve(dripping(head, serve.over))
    message = r"the transfer was not over after total_time = 0\.2 s"
    with pytest.raises(DownloadError, match=message):
        fetch(address, tmp_path, total_time=0.2, attempts=2)
    assert len(asked) >= 2
    assert message.replace("\\", "") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_second_attempt_has_the_time_anew(serve, tmp_path):
    drip = dripping(OK + b"Content-Length: 1000000\r\n\r\n", serve.over)
    answers = iter([drip, whole(b"abc")])
    address, _ = serve(lambda connection: next(answers)(connection))
    fetch(address, tmp_path, total_time=1, attempts=2)
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_the_watchdog_does_not_outlive_the_transfer(serve, tmp_path):
    address, _ = serve(whole(b"abc"))
    before = threading.active_count()
    fetch(address, tmp_path, total_time=1000)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_file_beyond_the_bound_is_left_at_once(serve, tmp_path):
    message = r"/f could not be fetched: the server sends more than max_bytes = 1000 bytes"
    for answer in (endless, whole(bytes(1001))):
        address, asked = serve(answer)
        with pytest.raises(DownloadError, match=message):
            fetch(address, tmp_path, max_bytes=1000, attempts=3)
        assert len(asked) == 1
        assert list(tmp_path.iterdir()) == []
    address, _ = serve(whole(bytes(1000)))
    fetch(address, tmp_path, max_bytes=1000)
    assert (tmp_path / "f").read_bytes() == bytes(1000)


def test_a_server_that_announces_too_much_is_not_read_at_all(serve, tmp_path):
    address, _ = serve(dripping(OK + b"Content-Length: 99999999999999\r\n\r\n", serve.over))
    with pytest.raises(DownloadError, match="more than max_bytes"):
        fetch(address, tmp_path)


@pytest.mark.parametrize("length", [b"-5", b"many", b""])
def test_a_senseless_length_is_no_length(serve, tmp_path, length):
    address, _ = serve(lambda c: c.sendall(OK + b"Content-Length: " + length + b"\r\n\r\nabc"))
    fetch(address, tmp_path)
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_a_chunked_transfer_is_read_and_its_end_missed(serve, tmp_path):
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    address, _ = serve(lambda connection: connection.sendall(head + b"2\r\nde\r\n0\r\n\r\n"))
    fetch(address, tmp_path)
    assert (tmp_path / "f").read_bytes() == b"abcde"
    address, _ = serve(lambda connection: connection.sendall(head + b"9\r\nde"))
    with pytest.raises(DownloadError, match="IncompleteRead"):
        fetch(address, tmp_path)
    assert (tmp_path / "f").read_bytes() == b"abcde"


@pytest.mark.parametrize("scheme", ["file://", "ftp://127.0.0.1", "data:,", "", "FILE://"])
def test_addresses_of_other_schemes_are_refused(tmp_path, scheme):
    secret = tmp_path / "secret"
    secret.write_text("s")
    with pytest.raises(ValueError, match=r"is not fetched: give an address of http:// or https://"):
        download(f"{scheme}{secret}", tmp_path / "new" / "f")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1:9/f", "data:,abc"])
def test_redirections_to_other_schemes_are_refused(serve, tmp_path, target):
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target.encode()
    address, asked = serve(lambda connection: connection.sendall(answer))
    with pytest.raises(DownloadError, match=r"not allowed|unknown url type"):
        fetch(address, tmp_path, attempts=3)
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_redirection_is_followed_and_its_body_left_unread(serve, tmp_path):
    address, asked = serve(
        lambda connection: endless(connection) if len(asked) > 1 else connection.sendall(answer)
    )
    target, _ = serve(whole(b"abc"))
    answer = b"HTTP/1.1 301 Moved\r\nLocation: %s/g\r\n\r\n" % target.encode() + bytes(1 << 20)
    fetch(address, tmp_path)
    assert (tmp_path / "f").read_bytes() == b"abc"
    loop, asked_again = serve(lambda c: c.sendall(b"HTTP/1.1 302 Found\r\nLocation: /f\r\n\r\n"))
    with pytest.raises(DownloadError, match="infinite loop"):
        fetch(loop, tmp_path, attempts=3)
    assert len(asked_again) < 12
