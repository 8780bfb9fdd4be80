"""Reader of CSV: numbers, the class first, and nothing in the first line or column mistaken.

A header or an index that passes for data shifts a table without a word. What can be read in two
ways is therefore refused, and the message names both readings and the remedy.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from biglearn_core.datasets.readers.archives import MAX_BYTES, open_binary
from biglearn_core.datasets.readers.checks import split_class

__all__ = ["read_csv"]

DELIMITERS = (",", ";", "\t", "|")
# What pandas reads or writes for a missing value, and what else stands for one in public tables.
_MISSING = re.compile(
    r"#?n/?a|#n/a n/a|<na>|-?nan|-?1\.#(ind|qnan)|nat|none|null|missing|[?.-]?", re.IGNORECASE
)
CLASS_NAMES = frozenset(("class", "classes", "label", "labels", "target"))
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.I)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_COMMA_IN_NUMBER = re.compile(r"[+-]?\d+(,\d+)+", re.ASCII)
# numpy takes them for spaces, although a damaged minus sign may be one of them. Spelled out they
# are found three times as fast as by \s; the last one is U+3000.
_STRANGE_SPACE = re.compile(
    "[" + "".join(c for c in map(chr, range(0x3001)) if c.isspace() and c not in " \t\n") + "]"
)
_AS_COLUMNS = (
    "every cell must be a number, the class first, as an integer, cells separated by commas "
    "(or semicolons or tabs), rows equally long"
)


def read_csv(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    r"""Read a table of numbers, the class in the first column, with or without a header.

    Cells are separated by commas, or by the semicolons, tabs or bars that split the first two
    lines into equally many cells; they may be quoted. The text is UTF-8, with or without a BOM.
    The first line is a header where some of its cells are words and none is a number, or where
    it begins with the word class, label or target.

    Parameters
    ----------
    path : Path
        Plain, or compressed with bzip2, gzip or xz.
    max_bytes : int
        Bound on the size of the text, decompressed.

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64

    Raises
    ------
    ValueError
        Naming line and column of what is missing or no number, and the line of another length;
        for an index in the place of the class; for a first line of integers that may be the names
        of the columns; for a header that does not fit the rows, or names another column the class.
    """
    text = _read_text(path, max_bytes)
    lines = text.split("\n")
    filled = (number for number, line in enumerate(lines) if not _is_blank(line))
    start, second = next(filled, len(lines)), next(filled, None)
    if start == len(lines):
        raise _no_rows(path)
    delimiter = _delimiter(lines[start], "" if second is None else lines[second])
    first = _cells(lines[start], delimiter)
    has_header = _is_header(path, first)
    if has_header and second is None:
        raise _no_rows(path)
    body = start + has_header
    if strange := _STRANGE_SPACE.search(text, sum(len(line) + 1 for line in lines[:body])):
        raise ValueError(
            f"{path}: line {text.count(chr(10), 0, strange.start()) + 1} holds the character "
            f"{strange.group()!a}, which is no part of a number; {_AS_COLUMNS}"
        )
    try:
        table = np.loadtxt(
            [line for line in lines[body:] if line.strip(" ")],
            delimiter=delimiter,
            dtype=np.float64,
            ndmin=2,
            comments=None,
            quotechar='"',
        )
    except ValueError as error:
        fault = _fault(lines, body, delimiter) or f"{error} (the first row is row 0)"
        raise ValueError(f"{path}: {fault}; {_AS_COLUMNS}") from error
    if has_header and len(first) != table.shape[1]:
        raise ValueError(
            f"{path}: the header has {len(first)} cells, the rows have {table.shape[1]}; a column "
            "without a name may be an index (in R write with row.names=FALSE); name every column"
        )
    X, y = split_class(path, table)
    if not has_header:
        below = (_cells(x, delimiter) for x in lines[start + 1 :] if not _is_blank(x))
        _refuse_names(path, first, below)
    return X, y


def _read_text(path: Path, max_bytes: int) -> str:
    stream = open_binary(path, max_bytes=max_bytes)
    with io.TextIOWrapper(stream, encoding="utf-8-sig") as text:
        try:
            return text.read()  # all ends of lines are \n in it
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not a text file in UTF-8: {error}") from error


def _no_rows(path: Path) -> ValueError:
    return ValueError(f"{path} holds no rows; expected lines such as 1,0.5,2.0 (class first)")


def _is_blank(line: str) -> bool:
    return not line.strip(" ")  # of tabs alone it is a row of empty cells


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter))
    except csv.Error:  # a cell of more than 128 KiB
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def _delimiter(first: str, second: str) -> str:
    """Choose what splits both lines into equally many cells; else what occurs in the first."""
    for delimiter in DELIMITERS:
        width = len(_cells(first, delimiter))
        if width > 1 and (not second or len(_cells(second, delimiter)) == width):
            return delimiter
    return next((delimiter for delimiter in DELIMITERS if delimiter in first), ",")


def _is_missing(cell: str) -> bool:
    return _MISSING.fullmatch(cell) is not None


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None and not _is_missing(cell)


def _are_integers(cells: list[str]) -> bool:
    """Say whether the cells are distinct integers without a sign, as columns are numbered."""
    return len(set(cells)) == len(cells) and all(c.isascii() and c.isdigit() for c in cells)


def _is_header(path: Path, cells: list[str]) -> bool:
    """Say whether the first line names the columns; refuse names that put the class elsewhere."""
    names = [cell.lower().lstrip("# ") for cell in cells]
    words = any(not _is_number(cell) and not _is_missing(cell) for cell in cells)
    has_header = names[0] in CLASS_NAMES or (words and not any(map(_is_number, cells)))
    unnamed = not names[0] or names[0].startswith("unnamed:")
    if unnamed and (has_header or (len(cells) > 1 and _are_integers(cells[1:]))):
        raise ValueError(
            f"{path}: the header begins with {cells[0]!r}: the first column is an index, where the "
            "class is expected; write the file without it (in pandas df.to_csv(path, index=False), "
            "in R row.names=FALSE), or name the column class if it holds the class"
        )
    if has_header and names[0] not in CLASS_NAMES:
        column = next((i for i, name in enumerate(names, 1) if name in CLASS_NAMES), None)
        if column is not None:
            raise ValueError(
                f"{path}: the header calls column {column} {cells[column - 1]!r}, but the class is "
                f"expected in the first column, here {cells[0]!r}; put the class first"
            )
    return has_header


def _refuse_names(path: Path, first: list[str], below: Iterator[list[str]]) -> None:
    """Refuse a first line of integers that may be names, as pandas gives them, or a row of data."""
    if not _are_integers(first):
        return
    numbers, width = sorted(map(int, first)), len(first)
    rows = list(below)
    # pandas counts from 0. From 1 it counts where the column 0 was dropped; that such names occur
    # among the rows again is not to be feared.
    reason = None
    if numbers == list(range(width)) or (
        numbers == list(range(1, width + 1)) and first not in rows
    ):
        reason = "counts"
    elif rows and not any(_INTEGER.fullmatch(cell) for row in rows for cell in row[1:]):
        reason = "holds integers where all features below have decimals"
    if reason is not None:
        raise ValueError(
            f"{path}: the first line, {','.join(first)[:60]!r}, {reason}: it may be the names that "
            "pandas gives to columns, or a row of data. If it is names, write the file without "
            "them (df.to_csv(path, index=False, header=False)); if it is data, put a line such as "
            "class,x1,x2 above it"
        )


def _fault(lines: list[str], body: int, delimiter: str) -> str | None:
    """Say in words which line or cell is at fault; None where every cell is a number."""
    width = None
    for number, line in enumerate(lines[body:], start=body + 1):
        if _is_blank(line):
            continue
        cells = _cells(line, delimiter)
        if width not in (None, len(cells)):
            return f"line {number}: the number of columns changed from {width} to {len(cells)}"
        width = len(cells)
        for column, cell in enumerate(cells, start=1):
            if not _is_number(cell):
                what = "the class" if column == 1 else f"column {column}"
                return f"line {number}: {what} is {cell[:40]!r}, not a number{_hint(cell)}"
    return None


def _hint(cell: str) -> str:
    if _is_missing(cell):
        return " but a missing value (remove such rows or fill in the missing values first)"
    if _COMMA_IN_NUMBER.fullmatch(cell):
        return " (a comma in a number: write decimals with a point, thousands without a mark)"
    if any(delimiter in cell for delimiter in DELIMITERS):
        return " (cells between other marks than commas need decimal points, not decimal commas)"
    if len(cell.split()) > 1:
        return " (cells separated by spaces are not read)"
    return ""
