"""Reader of LIBSVM text, ``label index:value index:value …``, into a dense matrix."""

from __future__ import annotations

import codecs
import io
import itertools
from pathlib import Path

import numpy as np

from biglearn_core.datasets.readers.archives import MAX_BYTES, ContentError, open_binary
from biglearn_core.datasets.readers.checks import check_labels

__all__ = ["read_libsvm"]

LARGEST_INDEX = 2**31 - 1  # the parser's


def read_libsvm(
    path: Path,
    *,
    n_features: int | None = None,
    zero_based: bool | str = "auto",
    max_bytes: int = MAX_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Read LIBSVM text, ``label index:value index:value …``; absent indices are zeros.

    A BOM, blank lines, comments (from a # to the end of the line) and the ``qid:…`` of ranking
    sets after the label are passed over.

    Parameters
    ----------
    path : Path
        Plain, or compressed with bzip2, gzip or xz.
    n_features : int, optional
        Number of columns; the largest index in the file where it is None.
    zero_based : bool or "auto"
        Whether indices count from 0; "auto" means: if an index 0 occurs.
    max_bytes : int
        Bound on the size of the text, decompressed, and of the matrix, 8 bytes a value.

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64

    Raises
    ------
    ValueError
        Naming the line that is no LIBSVM text, or whose index makes the matrix too large.
    """
    from sklearn.datasets import load_svmlight_file  # not above: the package loads faster so

    with open_binary(path, max_bytes=max_bytes) as stream:
        lines = _Lines(stream)
        try:
            features, labels = load_svmlight_file(lines, zero_based=zero_based, dtype=np.float64)
        except ContentError:
            raise
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}: line {lines.number}: {_fault(lines.line, zero_based, error)}; expected "
                "LIBSVM text such as '2 1:0.5 3:-1' (a download that failed is often an HTML page)"
            ) from error
    n_rows, width = features.shape
    n_features = width if n_features is None else n_features
    if width > n_features:
        raise ValueError(f"{path}: {_largest_index(path)}, expected are {n_features} features")
    if n_rows * n_features * 8 > max_bytes:
        raise ValueError(
            f"{path}: {_largest_index(path)}: {n_rows} rows of {n_features} features take "
            f"{n_rows * n_features * 8} bytes, more than max_bytes = {max_bytes}; correct the "
            "index, drop the features that are rarely there, or raise the bound"
        )
    features.resize((n_rows, n_features))
    X = features.toarray()
    return X, check_labels(path, X, labels)


class _Lines(io.BufferedReader):
    """The lines without a BOM, of which the last one read is remembered."""

    number = 0
    line = b""

    def __next__(self) -> bytes:
        self.line = super().__next__()
        self.number += 1
        if self.number == 1:
            self.line = self.line.removeprefix(codecs.BOM_UTF8)
        if b"_" in self.line.split(b"#", 1)[0]:
            # Python's int and float, which parse the line, take 1_0 for 10.
            raise ValueError("an underscore is no part of a number")
        return self.line


def _fault(line: bytes, zero_based: bool | str, error: Exception) -> str:
    """Say in words what is wrong with the line that the parser stopped at."""
    label, *pairs = _tokens(line)
    if not _is_number(label):
        found = f"the class is {label.decode(errors='replace')[:40]!r}, not an integer"
        if b"," in label:
            found += " (one class a row is read)" if pairs else " (a CSV file must be named .csv)"
        return found
    parts = [pair.partition(b":") for pair in pairs]
    if not all(index.isdigit() and _is_number(value) for index, _, value in parts):
        return f"not of the form index:value: {line.decode(errors='replace').strip()[:60]!r}"
    indices = [index.lstrip(b"0") or b"0" for index, _, _ in parts]
    for index in indices:
        if len(index) > len(str(LARGEST_INDEX)) or int(index) > LARGEST_INDEX:
            return f"the index {index.decode()[:40]} is larger than {LARGEST_INDEX}"
    if any(int(b) <= int(a) for a, b in itertools.pairwise(indices)):
        return "the indices do not increase"
    if zero_based is False and b"0" in indices:
        return "an index is 0, where they count from 1"
    return str(error)


def _tokens(line: bytes) -> list[bytes]:
    """Split a line into the class and its pairs, without a comment and without a query's id."""
    tokens = line.split(b"#", 1)[0].split()
    if len(tokens) > 1 and tokens[1].startswith(b"qid:"):
        del tokens[1]
    return tokens


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text


def _largest_index(path: Path) -> str:
    """Name the line with the largest index; the file is known to be sound."""
    largest, place = -1, 0
    with open_binary(path) as stream:
        for number, line in enumerate(stream, start=1):
            _, *pairs = _tokens(line) or [b""]
            if pairs and (index := int(pairs[-1].partition(b":")[0])) > largest:
                largest, place = index, number
    return f"line {place} has the index {largest}"
