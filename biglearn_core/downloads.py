"""Where data lie, and fetching a file so that it is either whole and checked, or not there."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

__all__ = ["DownloadError", "data_root", "download", "hash_file", "staging_folder", "write_text"]

REPOSITORY = Path(__file__).resolve().parents[1]

CHUNK = 1 << 18
_STAGING_PREFIX = ".part-"
_STALE_SECONDS = 24 * 3600


class DownloadError(OSError):
    """A file could not be fetched, or what was fetched is not what was expected."""


def data_root() -> Path | None:
    """Return the folder that the environment variable BIGLEARN_DATA names, None where it is unset.

    A relative path counts from the working directory or, where that gives no folder, from the
    repository: a notebook runs in its own folder, but `make` was started in the repository.
    """
    value = os.environ.get("BIGLEARN_DATA")
    if not value:
        return None
    here = Path(value).expanduser()
    return here if here.is_dir() or not (REPOSITORY / here).is_dir() else REPOSITORY / here


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


def write_text(path: Path, text: str) -> None:
    """Write a small text file in one step: readers see the old content or the new, never half."""
    with staging_folder(path.parent) as stage:
        partial = stage / path.name
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)


def download(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], None] | None = None,
    attempts: int = 3,
    timeout: float = 30.0,
    pause: float = 1.0,
) -> None:
    """Fetch `url` to `target` with a progress bar; `target` appears only when whole and checked.

    Parameters
    ----------
    url : str
    target : Path
        Replaced in one step when the download has passed `check`.
    check : callable, optional
        Called with the path of the finished download; raises ValueError where the content is wrong.
    attempts : int
        How often a broken transfer or wrong content is fetched again from the start.
    timeout : float
        Seconds without an answer after which an attempt counts as failed.
    pause : float
        Seconds before the second attempt; doubled for each further one.

    Raises
    ------
    DownloadError
        After the last attempt, naming the address and the cause. At once where another attempt
        cannot help: the server refuses the address (HTTP 4xx) or cannot be reached.
    """
    with staging_folder(target.parent) as stage:
        partial = stage / target.name
        for attempt in range(1, attempts + 1):
            try:
                _transfer(url, partial, timeout=timeout)
                if check is not None:
                    check(partial)
                os.replace(partial, target)
                return
            except (OSError, ValueError, http.client.HTTPException) as error:
                if attempt == attempts or _is_final(error):
                    raise DownloadError(f"{url} could not be fetched: {error}") from error
                print(f"{url}: {error}; trying again", file=sys.stderr)
                time.sleep(pause * 2 ** (attempt - 1))


def _is_final(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return 400 <= error.code < 500
    return isinstance(error, urllib.error.URLError)


def _transfer(url: str, partial: Path, *, timeout: float) -> None:
    """Stream `url` into `partial`, raising OSError when fewer bytes came than were announced."""
    with urllib.request.urlopen(url, timeout=timeout) as response, partial.open("wb") as stream:
        announced = int(response.headers.get("Content-Length", 0)) or None
        received = 0
        with tqdm(total=announced, unit="B", unit_scale=True, desc=partial.name) as bar:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if announced is not None and received != announced:
        raise OSError(f"the transfer broke off after {received} of {announced} bytes")
