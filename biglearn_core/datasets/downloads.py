"""Fetching a file so that it is either whole and checked, or not there."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

__all__ = ["DownloadError", "download", "hash_file", "staging_folder"]

CHUNK = 1 << 18
MAX_BYTES = 1 << 30
TOTAL_SECONDS = 1800.0
_STAGING_PREFIX = ".part-"
_STALE_SECONDS = 24 * 3600
_FAILURES = (OSError, ValueError, http.client.HTTPException)


class DownloadError(OSError):
    """A file could not be fetched, or what was fetched is not what was expected."""


class _TooLargeError(OSError):
    """The server has more bytes than were asked for, and will have them at another attempt, too."""


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Give an empty hidden folder inside `folder`, removed at the end whatever happens.

    It lies on the same file system as the destination, so that a finished file moves there in one
    step. What a killed process left behind more than a day ago is removed first.

    Parameters
    ----------
    folder : Path
        The destination, created when absent, and removed again when nothing came to lie in it.

    Yields
    ------
    Path
    """
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_STAGING_PREFIX}*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=_STAGING_PREFIX) as stage:
            yield Path(stage)
    finally:
        if not existed:
            with suppress(OSError):  # not empty: something was put there, as it should be
                folder.rmdir()


def download(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], None] | None = None,
    attempts: int = 3,
    timeout: float = 30.0,
    total_time: float = TOTAL_SECONDS,
    max_bytes: int = MAX_BYTES,
    pause: float = 1.0,
) -> None:
    """Fetch `url` to `target` with a progress bar; `target` appears only when whole and checked.

    Parameters
    ----------
    url : str
        An http or https address; redirections to others are refused, too.
    target : Path
        Replaced in one step when the download has passed `check`.
    check : callable, optional
        Called with the path of the finished download; raises ValueError where the content is wrong.
    attempts : int
        How often a broken transfer or wrong content is fetched again from the start.
    timeout : float
        Seconds without an answer after which an attempt counts as failed.
    total_time : float
        Seconds after which an attempt counts as failed although the server still sends.
    max_bytes : int
        Bound on the size of the file.
    pause : float
        Seconds before the second attempt; doubled for each further one.

    Raises
    ------
    DownloadError
        After the last attempt, naming the address and the cause. At once where another attempt
        cannot help: the server refuses the address (HTTP 4xx), redirects to one that is not
        fetched, cannot be reached, or has a file beyond `max_bytes`.
    ValueError
        For an address that is neither http nor https.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is not fetched: give an address of http:// or https://")
    with staging_folder(target.parent) as stage:
        partial = stage / target.name
        for attempt in range(1, attempts + 1):
            try:
                _transfer(url, partial, timeout=timeout, total_time=total_time, max_bytes=max_bytes)
                if check is not None:
                    check(partial)
                os.replace(partial, target)
                return
            except _FAILURES as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()  # it holds the connection
                if attempt == attempts or _is_final(error):
                    raise DownloadError(f"{url} could not be fetched: {error}") from error
                print(f"{url}: {error}; trying again", file=sys.stderr)
                time.sleep(pause * 2 ** (attempt - 1))


def _is_final(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500
    return isinstance(error, (urllib.error.URLError, http.client.InvalidURL, _TooLargeError))


def _transfer(
    url: str, partial: Path, *, timeout: float, total_time: float, max_bytes: int
) -> None:
    """Stream `url` into `partial`; OSError where it ends early or goes beyond a bound."""
    with _Watchdog(total_time) as watchdog:
        opened = _web(watchdog).open(url, timeout=timeout)
        with opened as response, partial.open("wb") as stream:
            length = response.headers.get("Content-Length", "")
            announced = int(length) if length.isdecimal() else None
            _require_size(announced or 0, max_bytes)
            received = 0
            with tqdm(total=announced, unit="B", unit_scale=True, desc=partial.name) as bar:
                # Not read, which waits for the whole chunk, however slowly it comes.
                while received != announced and (chunk := response.read1(CHUNK)):
                    received += len(chunk)
                    _require_size(received, max_bytes)
                    stream.write(chunk)
                    bar.update(len(chunk))
    if announced is not None and received != announced:
        raise OSError(f"the transfer broke off after {received} of {announced} bytes")


def _require_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise _TooLargeError(f"the server sends more than max_bytes = {max_bytes} bytes")


class _Watchdog:
    """Shuts the sockets of a transfer when its time is over, so that no read waits beyond it.

    A socket's own timeout begins anew with every byte. To the reader it looks like the end of the
    file, or like an error; at the end of the with statement it becomes a TimeoutError.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._bite)
        self._timer.daemon = True

    def __enter__(self) -> _Watchdog:
        self._timer.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._timer.cancel()
        if self._is_over and (error is None or isinstance(error, _FAILURES)):
            raise TimeoutError(
                f"the transfer was not over after total_time = {self._seconds:g} s"
            ) from error

    def watch(self, connected: socket.socket) -> None:
        self._sockets.append(connected)
        if self._is_over:
            self._bite()

    def _bite(self) -> None:
        self._is_over = True
        for connected in self._sockets:
            with suppress(OSError):  # closed already
                connected.shutdown(socket.SHUT_RDWR)


def _web(watchdog: _Watchdog) -> urllib.request.OpenerDirector:
    """Return an opener of http and https alone (urllib's own takes ftp, file and data, too)."""

    def watched(connection: type[http.client.HTTPConnection]) -> type:
        class Watched(connection):
            def connect(self) -> None:
                super().connect()
                watchdog.watch(self.sock)

        return Watched

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(watched(http.client.HTTPConnection), request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(watched(http.client.HTTPSConnection), request)

    class Redirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(
            self, request: urllib.request.Request, response: http.client.HTTPResponse, *rest: object
        ) -> urllib.request.Request | None:
            response.close()  # the caller would read its body into memory, of whatever size
            return super().redirect_request(request, response, *rest)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        Http,
        Https,
        urllib.request.HTTPDefaultErrorHandler,
        Redirect,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
