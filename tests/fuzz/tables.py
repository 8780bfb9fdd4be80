"""Tables drawn at random, as people have them: what the fuzz tests feed to the library.

Hypothesis draws what a table is like (kinds of columns, scales, gaps, dtype, container); its
numbers follow from a drawn seed, so that a case is cheap and shrinks to one easily described.
"""

from __future__ import annotations

import dis
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from hypothesis import strategies as st

__all__ = [
    "CONTAINERS", "NAMED", "Refusal", "Table", "answer", "names", "sample_weights", "tables",
]  # fmt: skip

_LARGEST = 1.7e308


@dataclass(frozen=True)
class Refusal:
    """The message of an error that the library raises itself."""

    message: str


def answer(call: Callable[[], Any]) -> Any:
    """Return what a call answers, or its refusal; any other error goes on as a failure.

    A refusal is a ValueError or TypeError of a `raise` statement in this library or in
    scikit-learn's validation. An error that C code raises beneath them is none, although its
    traceback ends in the same frames.
    """
    try:
        return call()
    except (ValueError, TypeError) as error:
        frame, last = list(traceback.walk_tb(error.__traceback__))[-1][0], error.__traceback__
        while last.tb_next is not None:
            last = last.tb_next
        raised = frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]
        ours = frame.f_globals["__name__"].split(".")[0] in ("biglearn_core", "sklearn")
        if not (raised and ours and len(str(error)) > 20):
            raise
        return Refusal(str(error))


@dataclass(frozen=True)
class Table:
    """Numbers, gaps, and the object that holds them.

    Parameters
    ----------
    values : ndarray of shape (N, D)
        In the dtype of the table.
    missing : bool ndarray of shape (N, D)
    container : str
        A key of `CONTAINERS`.
    """

    values: np.ndarray
    missing: np.ndarray
    container: str

    @property
    def dtype(self) -> np.dtype:
        """What the library computes in, by the promise that float32 and float64 are kept."""
        kept = self.values.dtype == np.float32 and self.container not in _OF_PYTHON_NUMBERS
        return np.dtype(np.float32 if kept else np.float64)

    def plain(self) -> np.ndarray:
        """The same table as an ndarray with NaN, in the dtype of the answers."""
        return np.where(self.missing, np.nan, self.values.astype(np.float64)).astype(self.dtype)

    def written(self, rows: slice | np.ndarray = slice(None)) -> Any:
        """The table, or some of its rows, as its container has them."""
        values, missing = self.values[rows], self.missing[rows]
        if self.missing.any() and values.dtype.kind != "f" and self.container in _WITHOUT_GAPS:
            values = values.astype(np.float64)
        return CONTAINERS[self.container](values, missing)

    def within(self, container: str) -> Table:
        """The same numbers in another container."""
        return replace(self, container=container)


def _array(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    values = values.copy()
    if missing.any():
        values[missing] = np.nan
    return values


def _strided(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    wide = np.repeat(np.repeat(_array(values, missing), 2, axis=0), 3, axis=1)
    return np.ascontiguousarray(wide[:, ::-1])[::2, ::-3]


def _read_only(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    array = _array(values, missing)
    array.flags.writeable = False
    return array


def _other_endian(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    array = _array(values, missing)
    return array.astype(array.dtype.newbyteorder())


def _cells(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Python's numbers, with every way to write that there is none."""
    cells = values.astype(object)
    marks = (None, np.nan, pd.NA, pd.NaT)
    for n, place in enumerate(zip(*np.nonzero(missing), strict=True)):
        cells[place] = marks[n % len(marks)]
    return cells


def _masked(values: np.ndarray, missing: np.ndarray) -> np.ma.MaskedArray:
    values = values.copy()
    values[missing] = 77  # what lies under the mask is nobody's business
    return np.ma.array(values, mask=missing, fill_value=0)


def _pandas(values: np.ndarray, missing: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(_array(values, missing), index=np.arange(len(values))[::-1] * 2)


def names(n_features: int) -> list[str]:
    """Column names of the containers that have some."""
    return [f"feature {i}" for i in range(n_features)]


def _named(values: np.ndarray, missing: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(_array(values, missing), columns=names(values.shape[1]))


def _nullable(values: np.ndarray, missing: np.ndarray) -> pd.DataFrame:
    name = {"f": "Float", "i": "Int", "u": "UInt", "b": "boolean"}[values.dtype.kind]
    bits = "" if name == "boolean" else 8 * values.dtype.itemsize
    if values.dtype == np.float16:  # pandas has no such nullable type
        values, bits = values.astype(np.float64), 64
    columns = {
        i: pd.Series(values[:, i].copy()).astype(f"{name}{bits}").mask(missing[:, i])
        for i in range(values.shape[1])
    }
    return pd.DataFrame(columns)


def _polars(values: np.ndarray, missing: np.ndarray) -> pl.DataFrame:
    if values.dtype == np.float16:
        values = values.astype(np.float64)
    frame = pl.DataFrame(values, schema=names(values.shape[1]))
    gaps = pl.DataFrame(missing, schema=frame.columns)
    return frame.with_columns(
        pl.when(~gaps[name]).then(pl.col(name)).alias(name) for name in frame.columns
    )


CONTAINERS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "array": _array,
    "Fortran order": lambda values, missing: np.asfortranarray(_array(values, missing)),
    "strided": _strided,
    "read-only": _read_only,
    "other endianness": _other_endian,
    "masked array": _masked,
    "tensor": lambda values, missing: torch.from_numpy(_array(values, missing)),
    "list": lambda values, missing: _cells(values, missing).tolist(),
    "tuples": lambda values, missing: tuple(map(tuple, _cells(values, missing))),
    "objects": _cells,
    "pandas": _pandas,
    "pandas with names": _named,
    "pandas nullable": _nullable,
    "pandas objects": lambda values, missing: pd.DataFrame(_cells(values, missing), dtype=object),
    "polars": _polars,
}
NAMED = ("pandas with names", "polars")
_OF_PYTHON_NUMBERS = ("list", "tuples", "objects", "pandas objects")
_WITHOUT_GAPS = (
    "array", "Fortran order", "strided", "read-only", "other endianness", "tensor", "pandas",
    "pandas with names",
)  # fmt: skip

_KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "integers": lambda rng, n: rng.integers(-9, 10, n),
    "boolean": lambda rng, n: rng.integers(0, 2, n),
    "few values": lambda rng, n: rng.choice([-1.5, 0.1, 3.25], n),
    "constant": lambda rng, n: np.ones(n),
    "rare indicator": lambda rng, n: rng.random(n) < 2 / n,
    "clusters": lambda rng, n: 8.0 * rng.integers(0, 3, n) + rng.standard_normal(n),
    "tight clusters": lambda rng, n: 1.0 * rng.integers(0, 2, n) + 1e-6 * rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_t(1, n),
}
_DTYPES = ["float64"] * 6 + ["float32"] * 3 + ["float16", "int8", "uint8", "int64", "bool"]

_usual = st.one_of(st.just(0), st.just(0), st.integers(-3, 3), st.integers(-12, 12))
_exponents = st.one_of(_usual, _usual, _usual, _usual, st.integers(-300, 300))
_shifts = st.one_of(st.just(None), st.just(None), st.integers(0, 12))


@st.composite
def tables(draw: Any, *, most_rows: int = 60, gaps: bool = True) -> Table:
    """Draw a table.

    Parameters
    ----------
    most_rows : int, default 60
    gaps : bool, default True
        Whether entries may be missing.
    """
    n = draw(st.integers(2, most_rows))
    columns = draw(
        st.lists(
            st.tuples(st.sampled_from([*_KINDS, "copy"]), _exponents, _shifts, st.booleans()),
            min_size=1,
            max_size=5,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = np.empty((n, len(columns)))
    for j, (kind, exponent, shift, plain) in enumerate(columns):
        if kind == "copy":
            X[:, j] = X[:, rng.integers(j)] if j else 1.0
            continue
        column = _KINDS[kind](rng, n).astype(np.float64)
        if not plain:
            column += 0.0 if shift is None else 10.0**shift
            with np.errstate(over="ignore"):
                column *= 10.0**exponent
        X[:, j] = column
    for far in draw(st.lists(st.one_of(st.integers(1, 20), st.integers(1, 308)), max_size=3)):
        row, column = rng.integers(n), rng.integers(len(columns))
        X[row, column] = rng.choice([-1, 1]) * 10.0 ** (far - 1) * rng.uniform(1, 9)
    X = X[rng.integers(0, n, n)] if draw(st.sampled_from([False] * 5 + [True])) else X
    rate = draw(st.sampled_from([0, 0, 0, 0.02, 0.1, 0.3, 0.6, 0.9])) if gaps else 0
    return Table(
        _cast(X.clip(-_LARGEST, _LARGEST), draw(st.sampled_from(_DTYPES))),
        rng.random(X.shape) < rate,
        draw(st.sampled_from(list(CONTAINERS))),
    )


def _cast(X: np.ndarray, name: str) -> np.ndarray:
    dtype = np.dtype(name)
    if dtype.kind == "b":
        return np.median(X, axis=0) < X
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)
    if dtype.kind != "f":
        high = math.nextafter(high, 0) if dtype.itemsize == 8 else high
        return np.rint(X.clip(low, high)).astype(dtype)
    return X.clip(low, high).astype(dtype)


@st.composite
def sample_weights(draw: Any, n: int, *, none: bool = True) -> np.ndarray | None:
    """Draw weights for n rows, not all of them zero; or None, unless that is ruled out."""
    kinds = ["counts", "zeros", "any", "wild"] + ["none", "none"] * none
    kind = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "none":
        return None
    if kind == "counts":
        weights = rng.integers(0, 4, n).astype(np.float64)
    elif kind == "zeros":
        weights = rng.random(n) * (rng.random(n) < 0.5)
    elif kind == "any":
        weights = rng.uniform(0.1, 3, n) * 10.0 ** draw(st.integers(-320, 307))
    else:
        weights = 10.0 ** rng.uniform(-320, 308, n)
    weights[rng.integers(n)] += 10.0 ** draw(st.integers(-3, 3)) if not weights.any() else 0
    return weights
