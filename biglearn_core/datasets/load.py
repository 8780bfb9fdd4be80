"""Real-world sets for clustering: found, verified, split and scaled by a named protocol.

Five sets lie in dataset/, and in the wheel. The others are read from LIBSVM text files that
`python -m biglearn_core.datasets` downloads, or that the user drops into dataset/<name>/; in the
place of dataset/ an installed wheel has a cache folder of the user's.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from biglearn_core.datasets.downloads import DownloadError, download, hash_file
from biglearn_core.datasets.protocols import PROTOCOLS, min_max_scale, stratified_split
from biglearn_core.datasets.readers.archives import COMPRESSIONS, MAX_BYTES
from biglearn_core.datasets.readers.table import read_csv, read_libsvm, read_table
from biglearn_core.datasets.registry import (
    LIBSVM_PAGE,
    REGISTRY,
    Source,
    canonical_name,
    find_source,
)
from biglearn_core.system.paths import DATASETS, DOWNLOADS, data_root
from biglearn_core.system.persistence import write_text

__all__ = ["Dataset", "dataset_names", "download_dataset", "is_available", "load_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set divided into a training and a test part.

    Attributes
    ----------
    name : str
    X_train, X_test : ndarrays of shape (N, D) and (M, D), float64
    y_train, y_test : ndarrays of shape (N,) and (M,), int64
        The classes as the source numbers them: not always 0, 1, 2, …
    n_classes : int
        Number of distinct classes in both parts together.
    origin : str
        Where the data come from.
    """

    name: str
    X_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    X_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    n_classes: int
    origin: str


@dataclass(frozen=True, eq=False)
class _Table:
    """All rows of a set as its source has them; `n_train` where the source has a test part."""

    name: str
    X: np.ndarray
    y: np.ndarray
    n_train: int | None
    origin: str
    source: str  # "uci", "libsvm" (some of whose files are scaled already) or "own"


def load_dataset(
    name: str | os.PathLike,
    *,
    protocol: str = "fair",
    split: bool = True,
    seed: int = 0,
    root: str | os.PathLike | None = None,
    max_bytes: int = MAX_BYTES,
) -> Dataset:
    """Load one of the nine registered sets, or a file of one's own.

    Parameters
    ----------
    name : str or path
        Connect-4, Covtype, Glass, Letter, Pendigits, Satimage, Seismic, Svmguide2 or Vehicle,
        whatever the case and hyphens; or the path of a LIBSVM, CSV (.csv, .tsv) or .mat file, plain
        or compressed (.bz2, .gz, .xz). CSV and .mat hold the class, an integer, in the first
        column.
    protocol : {"fair", "paper", "raw"}
        The parts are the official ones where the source has a test part, else 80/20 stratified
        by class and seed; they are the same in all three protocols.

        - "fair": columns scaled to [0, 1] by the minimum and maximum of the training part.
        - "paper": as in the published runs. An official test part is scaled by itself; without
          one, all data are scaled together before they are split. Vehicle is cast to uint8 first,
          so that values above 255 wrap.
        - "raw": as the source has them, for a scaling of one's own.
    split : bool
        False puts all rows into the training part (an official test part last), which then
        gives the scale in every protocol, and leaves the test part empty.
    seed : int
        Seed of the 80/20 split. A class with one member goes to the training part.
    root : path, optional
        Folder searched before dataset/ (of a checkout) or the user's cache folder (of an installed
        wheel); the environment variable BIGLEARN_DATA where None. Files lie in it directly or in a
        folder named after the set.
    max_bytes : int
        Bound on the size of a file of one's own, decompressed, and of its dense matrix (8 bytes a
        value): 4 GiB. A registered set has bounds of its own.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        Where the set is absent; the message has the command and the address that get it.
    ValueError
        For an unknown name or protocol; for a file that is truncated or changed, has classes that
        are not integers, or values that are missing or not finite, an index in the place of the
        class or a first line that may be a header or not; for one beyond `max_bytes`; for too few
        rows to split; for columns too wide to scale.

    Examples
    --------
    >>> from biglearn_core import load_dataset
    >>> data = load_dataset("pendigits")
    >>> data.X_train.shape, data.X_test.shape, data.n_classes
    ((7494, 16), (3498, 16), 10)
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    if isinstance(name, str) and not _looks_like_path(name):
        table = _registered_table(find_source(name), root)
    else:
        table = _own_table(Path(name), max_bytes)

    X, y = table.X, table.y
    if protocol == "paper" and table.name == "vehicle" and table.source != "own":
        if table.source != "uci":
            raise ValueError(
                "the paper's protocol casts Vehicle's original values to uint8, and LIBSVM's "
                f"vehicle.scale has them no more; restore {DATASETS / 'vehicle.csv'}"
            )
        X = X.astype(np.int64).astype(np.uint8).astype(np.float64)

    has_test = table.n_train is not None
    if protocol == "paper" and split and not has_test:
        min_max_scale(X)
    train: slice | np.ndarray
    test: slice | np.ndarray
    if not split:
        train, test = slice(None), slice(0, 0)
    elif has_test:
        train, test = slice(table.n_train), slice(table.n_train, None)
    else:
        train, test = stratified_split(y, seed=seed)
    X_train, X_test = X[train], X[test]
    if protocol == "fair" or (protocol == "paper" and not split):
        min_max_scale(X_train, X_test)
    elif protocol == "paper" and has_test:
        min_max_scale(X_train)
        min_max_scale(X_test)

    return Dataset(
        name=table.name,
        X_train=X_train,
        y_train=y[train],
        X_test=X_test,
        y_test=y[test],
        n_classes=np.unique(y).size,
        origin=table.origin,
    )


def dataset_names() -> tuple[str, ...]:
    """Return the names of the nine registered sets."""
    return tuple(source.name for source in REGISTRY.values())


def is_available(name: str, *, root: str | os.PathLike | None = None) -> bool:
    """Say whether a registered set can be loaded without a download.

    Parameters
    ----------
    name : str
    root : path, optional
        As for `load_dataset`.
    """
    source = find_source(name)
    roots = _roots(root)
    return _find_csv(source, roots) is not None or _find_libsvm(source, roots) is not None


def download_dataset(
    name: str, *, root: str | os.PathLike | None = None, page: str = LIBSVM_PAGE
) -> Path:
    """Download a registered set's LIBSVM files, checked, into a folder named after the set.

    Each file appears only when it is whole and has the rows, features and classes that the LIBSVM
    page states; that page has no checksums, so its sha256 is recorded beside it and verified
    whenever the set is loaded.

    Parameters
    ----------
    name : str
    root : path, optional
        As for `load_dataset`; the folder of the set is made in it.
    page : str
        Address that the files' names are appended to.

    Returns
    -------
    Path
        The folder of the set.

    Raises
    ------
    DownloadError
        Naming the address, the cause, and where to put a file fetched by other means.
    """
    source = find_source(name)
    folder = _roots(root)[0] / source.name
    for file, n_rows in source.files:
        if _find_file(source, file, [folder]) is not None:
            continue
        target = folder / Path(file).name
        check = functools.partial(_check_download, source, target, n_rows, file)
        try:
            download(f"{page}/{file}", target, check=check, max_bytes=source.max_bytes(n_rows))
        except DownloadError as error:
            raise DownloadError(
                f"{error}\nFetch the file by other means, a browser for instance, and put it into "
                f"{folder}"
            ) from error
    return folder


def _check_download(source: Source, target: Path, n_rows: int, file: str, path: Path) -> None:
    """Raise ValueError where a finished download is not the file; record its sha256 otherwise."""
    is_train = file == source.train_file
    # The training file shows its own width; a test file may lack the last columns.
    n_features = None if is_train else source.n_features
    bound = source.max_bytes(n_rows)
    X, y = read_libsvm(path, n_features=n_features, zero_based=False, max_bytes=bound)
    _require_size(source, path, X, y, n_rows=n_rows, is_train=is_train)
    write_text(_sha256_file(target), f"{hash_file(path)}  {target.name}\n")


def _roots(root: str | os.PathLike | None) -> list[Path]:
    """Return the folders to search, in order: the one asked for, downloads, the five sets."""
    first = (data_root() or DOWNLOADS) if root is None else Path(root).expanduser()
    return list(dict.fromkeys(folder.resolve() for folder in (first, DOWNLOADS, DATASETS)))


def _looks_like_path(name: str) -> bool:
    if canonical_name(name) in REGISTRY and "/" not in name and os.sep not in name:
        return False
    return os.sep in name or "/" in name or "." in name or Path(name).is_file()


def _own_table(path: Path, max_bytes: int) -> _Table:
    X, y = read_table(path.expanduser(), max_bytes=max_bytes)
    return _Table(path.name.split(".")[0], X, y, None, f"the user's file {path.name}", "own")


def _registered_table(source: Source, root: str | os.PathLike | None) -> _Table:
    roots = _roots(root)
    if (csv := _find_csv(source, roots)) is not None:
        return _read_committed(source, csv)
    if (files := _find_libsvm(source, roots)) is not None:
        return _read_downloaded(source, files)
    searched = ", ".join(f"{r}{'' if r.is_dir() else ' (no such folder)'}" for r in roots)
    raise FileNotFoundError(
        f"{source.name} ({source.size}) is not here; searched {searched}. Run\n"
        f"    python -m biglearn_core.datasets {source.name}\n"
        f"or put {' and '.join(Path(file).name for file, _ in source.files)} from\n"
        + "".join(f"    {LIBSVM_PAGE}/{file}\n" for file, _ in source.files)
        + f"into {roots[0] / source.name}"
    )


def _find_csv(source: Source, roots: list[Path]) -> Path | None:
    """Find a committed set: its CSV beside the checksums.json that names it."""
    for folder in roots:
        path = folder / f"{source.name}.csv"
        if path.is_file() and (folder / "checksums.json").is_file():
            return path
    return None


def _read_committed(source: Source, path: Path) -> _Table:
    checksums = path.parent / "checksums.json"
    try:
        record = json.loads(checksums.read_text(encoding="utf-8"))[source.name]
        expected, n_train, origin = (record[key] for key in ("sha256", "n_train", "origin"))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{checksums} does not describe {source.name}: {error!r}; restore it with "
            f"`git checkout -- {checksums}`, or install biglearn-em anew"
        ) from error
    found = hash_file(path)
    if found != expected:
        raise ValueError(
            f"{path} was changed or cut: its sha256 is {found}, expected {expected}; "
            f"restore it with `git checkout -- {path}`, or install biglearn-em anew"
        )
    X, y = read_csv(path)
    return _Table(source.name, X, y, n_train, origin, "uci")


def _find_file(source: Source, file: str, roots: list[Path]) -> Path | None:
    """Find one LIBSVM file, compressed or not, in a root or in the root's folder for the set."""
    plain = Path(file).name
    for ending in COMPRESSIONS:
        plain = plain.removesuffix(ending)
    for root in roots:
        for folder in (root / source.name, root):
            for ending in ("", *COMPRESSIONS):
                if (path := folder / f"{plain}{ending}").is_file():
                    return path
    return None


def _find_libsvm(source: Source, roots: list[Path]) -> list[Path] | None:
    """Find all LIBSVM files of a set; None where one of them is absent."""
    paths = [path for file, _ in source.files if (path := _find_file(source, file, roots))]
    return paths if len(paths) == len(source.files) else None


def _read_downloaded(source: Source, paths: list[Path]) -> _Table:
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for path, (_, n_rows) in zip(paths, source.files, strict=True):
        _require_recorded_hash(path)
        X, y = read_libsvm(
            path,
            n_features=source.n_features,
            zero_based=False,
            max_bytes=source.max_bytes(n_rows),
        )
        _require_size(source, path, X, y, n_rows=n_rows, is_train=not parts)
        parts.append((X, y))
    X, y = (
        parts[0] if len(parts) == 1 else (np.concatenate(both) for both in zip(*parts, strict=True))
    )
    n_train = parts[0][1].size if source.test_file else None
    origin = f"LIBSVM data, {LIBSVM_PAGE}/{source.train_file}"
    return _Table(source.name, X, y, n_train, origin, "libsvm")


def _require_size(
    source: Source, path: Path, X: np.ndarray, y: np.ndarray, *, n_rows: int, is_train: bool
) -> None:
    n_classes = np.unique(y).size
    sound = X.shape == (n_rows, source.n_features) and (
        n_classes == source.n_classes if is_train else n_classes <= source.n_classes
    )
    if not sound:
        raise ValueError(
            f"{path} holds {X.shape[0]} rows, {X.shape[1]} features, {n_classes} classes; expected "
            f"{n_rows}, {source.n_features}, {source.n_classes}: it is cut or not {source.name}; "
            f"delete it and run `python -m biglearn_core.datasets {source.name}`"
        )


def _sha256_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _require_recorded_hash(path: Path) -> None:
    """Compare a file with the sha256 recorded when it was downloaded, where there is one."""
    record = _sha256_file(path)
    if not record.is_file():
        return
    expected = record.read_text(encoding="utf-8", errors="replace").partition("  ")[0].strip()
    found = hash_file(path)
    if found != expected:
        raise ValueError(
            f"{path} changed since it was downloaded: its sha256 is {found}, recorded is "
            f"{expected}; delete it and fetch it again, or delete {record.name} if the change "
            "was meant"
        )
