"""Fashion-MNIST without torchvision: found, downloaded or unpacked, always verified.

The files lie in torchvision's layout, so that either finds what the other has fetched.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from biglearn_core.datasets.downloads import DownloadError, download, staging_folder
from biglearn_core.datasets.readers.archives import open_binary
from biglearn_core.system.paths import FASHION_MNIST, data_root

__all__ = ["FashionMNIST", "load_fashion_mnist", "parse_idx"]

PAGE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_SECONDS = 1800.0

# md5 of the decompressed files: repacked .gz files differ in their headers, their data do not.
MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
# The largest of the four, decompressed: a header, and 60000 images.
MAX_BYTES = 16 + 60_000 * 28 * 28


@dataclass(frozen=True, eq=False)
class FashionMNIST:
    """Fashion-MNIST, the training images first, then the test images.

    Attributes
    ----------
    images : ndarray of shape (70000, 784), uint8
        Rows of 28×28 pixels, row by row.
    labels : ndarray of shape (70000,), int64
        Classes 0 to 9.
    n_train : int
        Number of training images: 60000.
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    n_train: int


def load_fashion_mnist(
    *, root: str | os.PathLike | None = None, download: bool = True
) -> FashionMNIST:
    """Load Fashion-MNIST, fetching it first where it is absent.

    What is there is used; then the original's address is tried; then the Debian package
    dataset-fashion-mnist, unpacked without installing it, where apt-get exists.

    Parameters
    ----------
    root : path, optional
        Folder that holds FashionMNIST/raw, as in torchvision; the environment variable
        BIGLEARN_DATA where None, else BL_vs_deepClustering/dataset, or the user's cache folder
        where there is no checkout. The four files are known by their content: named
        train-images-idx3-ubyte or train-images.idx3-ubyte, with .gz or without, each may be
        compressed or not. They are written decompressed.
    download : bool
        False raises an error instead of fetching what is absent.

    Returns
    -------
    FashionMNIST

    Raises
    ------
    FileNotFoundError
        Where the data are absent and `download` is False.
    DownloadError
        Where no source could be had, naming each cause.
    ValueError
        Where a file that is there is truncated or changed.
    """
    raws = [base / "FashionMNIST" / "raw" for base in _roots(root)]
    raw = next((r for r in raws if all(_find(r, name) for name in MD5)), None)
    if raw is None:
        raw = raws[0]
        if not download:
            absent = ", ".join(name for name in MD5 if not _find(raw, name))
            raise FileNotFoundError(
                f"Fashion-MNIST is not in {raw} (absent: {absent}); call "
                f"load_fashion_mnist(download=True), or put the four .gz files of {PAGE} there"
            )
        _fetch(raw)
    parts = {name: parse_idx(_read_verified(_find(raw, name), MD5[name]), name) for name in MD5}
    train, test = parts["train-images-idx3-ubyte"], parts["t10k-images-idx3-ubyte"]
    labels = [parts["train-labels-idx1-ubyte"], parts["t10k-labels-idx1-ubyte"]]
    return FashionMNIST(
        images=np.concatenate([train.reshape(len(train), -1), test.reshape(len(test), -1)]),
        labels=np.concatenate(labels).astype(np.int64),
        n_train=len(train),
    )


def parse_idx(content: bytes, name: str = "IDX data") -> np.ndarray:
    """Parse the IDX format for unsigned bytes, in which MNIST and its kin are stored.

    Two zero bytes, the type (8), the number of axes, each axis as a big-endian uint32, the data.

    Parameters
    ----------
    content : bytes
    name : str
        What an error calls the data.

    Returns
    -------
    ndarray of uint8
        A read-only view of `content`.

    Raises
    ------
    ValueError
        Where the header is another one, or the length is not the one that the header states, or
        there are more axes or elements than an array can have.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] == 0:
        raise ValueError(
            f"{name} is not IDX data of unsigned bytes: it begins with {content[:4].hex(' ')!r}, "
            "expected 00 00 08 and the number of axes; delete the file and fetch it again"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{name} is truncated: its header is {len(content)} of {start} bytes")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise ValueError(
            f"{name} is truncated or overlong: {len(content)} bytes, expected {expected} for the "
            f"shape {shape}; delete the file and fetch it again"
        )
    try:
        return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
    except ValueError as error:
        raise ValueError(f"{name} is no array: its shape is {shape}: {error}") from error


def _roots(root: str | os.PathLike | None) -> list[Path]:
    """Return the folders to search: the one asked for alone, else BIGLEARN_DATA, then our own."""
    if root is not None:
        return [Path(root).expanduser()]
    other = data_root()
    return [FASHION_MNIST] if other is None else [other, FASHION_MNIST]


def _find(raw: Path, name: str) -> Path | None:
    """Find one of the four files; many mirrors write a dot before idx."""
    stems = (name, name.replace("-idx", ".idx"))
    paths = (raw / f"{stem}{ending}" for stem in stems for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _read_verified(path: Path, md5: str) -> bytes:
    """Read a file, decompressed where its content is compressed, and compare it with its md5."""
    with open_binary(path, max_bytes=MAX_BYTES) as stream:
        content = stream.read()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"{path} is truncated or changed: the md5 of its {len(content)} decompressed bytes is "
            f"{found}, expected {md5}; delete it and run again"
        )
    return content


def _fetch(raw: Path) -> None:
    """Put the absent files into `raw`, decompressed, from the first source that has them."""
    causes = []
    sources = ((PAGE, _from_original), (f"the Debian package {DEBIAN_PACKAGE}", _from_debian))
    for description, fetch in sources:
        if causes:
            print(f"Fashion-MNIST: {causes[-1]}; trying {description}", file=sys.stderr)
        try:
            with staging_folder(raw) as stage:
                fetch(stage, [name for name in MD5 if not _find(raw, name)])
            return
        except DownloadError as error:
            causes.append(str(error))
    raise DownloadError(
        "Fashion-MNIST could not be had:\n  "
        + "\n  ".join(causes)
        + f"\nPut the four .gz files of {PAGE} into {raw}"
    )


def _install(archive: Path, raw: Path, name: str) -> None:
    """Verify a fetched .gz and move its decompressed content into place in one step."""
    content = _read_verified(archive, MD5[name])
    partial = archive.with_suffix("")
    partial.write_bytes(content)
    os.replace(partial, raw / name)


def _from_original(stage: Path, names: list[str]) -> None:
    for name in names:
        archive = stage / f"{name}.gz"
        check = functools.partial(_read_verified, md5=MD5[name])
        url = f"{PAGE}/{name}.gz"
        download(url, archive, check=check, timeout=10.0, max_bytes=MAX_BYTES)
        _install(archive, stage.parent, name)


def _from_debian(stage: Path, names: list[str]) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise DownloadError("there is no apt-get here to take a Debian package with")
    # Without the option, apt warns that its own unprivileged user cannot write to a private folder.
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", DEBIAN_PACKAGE]
    _run_with_progress(apt, stage)
    package = next(stage.glob("*.deb"))
    # The folder that it is unpacked to takes the package's date: the stage itself would look like
    # what a killed process left, for others that fetch to clear away.
    unpacked = stage / "unpacked"
    _run_with_progress(["dpkg-deb", "-x", str(package), str(unpacked)], stage)
    for name in names:
        archive = unpacked / "usr/share/datasets/fashion-mnist" / f"{name}.gz"
        try:
            _install(archive, stage.parent, name)
        except (OSError, ValueError) as error:
            raise DownloadError(
                f"{package.name} does not hold {name} as expected: {error}"
            ) from None


def _run_with_progress(
    command: list[str], folder: Path, *, total_time: float = DEBIAN_SECONDS
) -> None:
    """Run a command in `folder`, showing how many bytes have arrived in it, for a bounded time."""
    deadline = time.monotonic() + total_time
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with tqdm(unit="B", unit_scale=True, desc=command[0]) as bar:
                while process.poll() is None:
                    if time.monotonic() > deadline:
                        raise DownloadError(
                            f"{' '.join(command)} was not over after {total_time:g} s"
                        )
                    time.sleep(0.1)
                    # A file may be renamed between being listed and being measured.
                    with contextlib.suppress(FileNotFoundError):
                        arrived = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
                        bar.update(arrived - bar.n)
        finally:
            process.kill()
        errors = process.stderr.read().strip()
    if process.returncode != 0:
        raise DownloadError(f"{' '.join(command)} failed: {errors} (`apt-get update` may help)")
