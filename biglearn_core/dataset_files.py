"""Readers of LIBSVM, CSV and MATLAB files: a class column and a matrix of features, checked.

Every reader returns ``(X, y)``: float64 of shape (N, D) and int64 of shape (N,), or raises
ValueError naming the file, the place, the value seen and a remedy.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from sklearn.datasets import load_svmlight_file

__all__ = ["COMPRESSIONS", "open_binary", "read_csv", "read_libsvm", "read_mat", "read_table"]

COMPRESSIONS = (".bz2", ".gz", ".xz")
_MAGIC = {b"BZh": bz2.open, b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open}
# What decompressors and scipy raise for a file that ends early or is damaged; gzip.BadGzipFile,
# bz2's and scipy's errors are OSErrors, told from those of the system by having no errno.
_BROKEN = (EOFError, OSError, lzma.LZMAError, zlib.error)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, decompressing bzip2, gzip and xz, known by their first bytes."""
    with path.open("rb") as stream:
        head = stream.read(6)
    for magic, opener in _MAGIC.items():
        if head.startswith(magic):
            # Reading lines from the decompressor itself goes through Python for each of them.
            return io.BufferedReader(opener(path, "rb"), buffer_size=1 << 20)
    return path.open("rb")


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file by its ending: .csv, .mat, and LIBSVM for all others; .bz2, .gz, .xz may follow.

    Parameters
    ----------
    path : Path

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the content is not what its format demands.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file; give the path of a LIBSVM, CSV or .mat file"
        )
    name = path.name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    if name.endswith(".csv"):
        return read_csv(path)
    return read_mat(path) if name.endswith(".mat") else read_libsvm(path)


def read_libsvm(
    path: Path, *, n_features: int | None = None, zero_based: bool | str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Read LIBSVM text, ``label index:value index:value …``; absent indices are zeros.

    Parameters
    ----------
    path : Path
        Plain, or compressed with bzip2, gzip or xz.
    n_features : int, optional
        Number of columns; the largest index in the file where it is None.
    zero_based : bool or "auto"
        Whether indices count from 0; "auto" means: if an index 0 occurs.

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64
    """
    try:
        with open_binary(path) as stream:
            features, labels = load_svmlight_file(
                stream, n_features=n_features, zero_based=zero_based, dtype=np.float64
            )
    except _BROKEN as error:
        raise _truncated(path, error) from error
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{path}: {_first_bad_line(path, error)}") from error
    X = features.toarray()
    return X, _checked(path, X, labels)


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read comma-separated numbers, the class in the first column, with or without a header.

    The first line is a header when none of its cells is a number.

    Parameters
    ----------
    path : Path

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64
    """
    try:
        with open_binary(path) as stream:
            lines = stream.read().decode("utf-8-sig").splitlines()
    except _BROKEN as error:
        raise _truncated(path, error) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from error
    cells = lines[0].split(",") if lines else []
    has_header = bool(cells) and not any(map(_is_number, cells))
    body = lines[has_header:]
    if not any(line.strip() for line in body):
        raise ValueError(f"{path} holds no rows; expected lines such as 1,0.5,2.0 (class first)")
    try:
        table = np.loadtxt(body, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        row = "the header is row 0" if has_header else "the first row is row 0"
        raise ValueError(
            f"{path}: {_bad_cell(body, has_header) or f'{error} ({row})'}; every cell must be a "
            "number, the class first, as an integer, cells separated by commas, rows equally long"
        ) from error
    return _split_class(path, table)


def read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a MATLAB file (version 4 to 7.2) that holds one matrix, the class in its first column.

    Where it holds several matrices, the one named like the file is taken.

    Parameters
    ----------
    path : Path

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64
    """
    try:
        with open_binary(path) as stream:
            variables = loadmat(stream)
    except NotImplementedError as error:
        raise ValueError(f"{path} is a MATLAB 7.3 file; save it again with -v7") from error
    except _BROKEN as error:
        raise _truncated(path, error) from error
    except (ValueError, TypeError, MatReadError) as error:
        raise ValueError(f"{path} cannot be read as a .mat file: {error}") from error
    matrices = {
        name: value
        for name, value in variables.items()
        if not name.startswith("__")
        and isinstance(value, np.ndarray)
        and value.ndim == 2
        and value.dtype.kind in "biuf"
        and value.size > 1
    }
    name = path.name.split(".")[0]
    if len(matrices) == 1:
        (name,) = matrices
    if name not in matrices:
        raise ValueError(
            f"{path} holds the matrices {sorted(matrices)}; expected one real matrix, "
            f"or one named {name!r}, with the class in its first column"
        )
    return _split_class(path, matrices[name].astype(np.float64))


def _split_class(path: Path, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if table.shape[1] < 2:
        raise ValueError(
            f"{path} has {table.shape[1]} column; expected the class, then at least one feature "
            "(cells are separated by commas)"
        )
    X = np.ascontiguousarray(table[:, 1:])
    return X, _checked(path, X, table[:, 0])


def _checked(path: Path, X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels as int64 after checking labels and features."""
    if X.size == 0:
        raise ValueError(f"{path} holds {X.shape[0]} rows of {X.shape[1]} features: nothing to fit")
    # 2**53: beyond it float64 no longer holds every integer.
    whole = np.isfinite(labels) & (np.abs(labels) < 2**53)
    whole &= np.rint(np.where(whole, labels, 0)) == labels
    if not whole.all():
        row = int(np.argmin(whole))
        raise ValueError(
            f"{path}: the class of data row {row + 1} is {labels[row]}, not an integer; "
            "the first column must hold the class: number the classes, or reorder the columns"
        )
    finite = np.isfinite(X)
    if not finite.all():
        row, column = np.unravel_index(np.argmin(finite), X.shape)
        raise ValueError(
            f"{path}: feature {column + 1} of data row {row + 1} is {X[row, column]}; "
            "remove such rows or fill in the missing values first"
        )
    return labels.astype(np.int64)


def _is_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bad_cell(body: list[str], has_header: bool) -> str | None:
    """Say in words which cell is not a number; None where every cell is one."""
    for number, line in enumerate(body, start=1 + has_header):
        for column, cell in enumerate(line.split(","), start=1):
            if line.strip() and not _is_number(cell):
                what = "the class" if column == 1 else f"column {column}"
                return f"line {number}: {what} is {cell.strip()!r}, not a number"
    return None


def _first_bad_line(path: Path, error: Exception) -> str:
    """Find the line the LIBSVM parser stopped at, whose own message does not name it."""
    with open_binary(path) as stream:
        for number, line in enumerate(stream, start=1):
            tokens = line.split(b"#", 1)[0].split()
            pairs = [token.split(b":") for token in tokens[1:]]
            sound = all(len(p) == 2 and p[0].isdigit() and _is_number(p[1]) for p in pairs)
            indices = [int(p[0]) for p in pairs] if sound else []
            if tokens and not _is_number(tokens[0]):
                found = f"the class is {tokens[0].decode(errors='replace')[:40]!r}, not an integer"
            elif not sound:
                found = (
                    f"not of the form index:value: {line.decode(errors='replace').strip()[:60]!r}"
                )
            elif any(b <= a for a, b in itertools.pairwise(indices)):
                found = "the indices do not increase"
            else:
                continue
            return (
                f"line {number}: {found}; expected LIBSVM text such as '2 1:0.5 3:-1' "
                "(a download that failed is often an HTML page)"
            )
    return str(error)


def _truncated(path: Path, error: Exception) -> Exception:
    if getattr(error, "errno", None) is not None:
        return error
    return ValueError(
        f"{path} is truncated or damaged ({error}); delete it and fetch or copy it again"
    )
