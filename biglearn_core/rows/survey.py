"""What one pass over all rows tells: their extent, their fingerprint, and a sample of them.

Nothing here depends on the order of the rows, on how they are divided into blocks, or on which
process holds them: a row is drawn by its content. The sample are the distinct rows of the least
fingerprints, with the weight of all their copies (Z. Bar-Yossef et al., "Counting distinct elements
in a data stream", RANDOM 2002), and every row that makes up a thousandth of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import partial

import numpy as np

from biglearn_core.rows.hashing import Fingerprint, mixed, row_hashes
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.system.processes import ALONE, Processes

__all__ = ["Extent", "RowSample", "Survey", "extent_of", "survey"]

# Share of all weight from which on a row is in the sample, whatever its fingerprint.
_HEAVY = 2**-10

# Rows that may be so heavy, at most: more than can be, such that few others are among them.
_KEPT = 2**11

# Of a power of two whose inverse is a number.
_LEAST_EXPONENT = -1023

# Of sums of weights, in their own size.
_ROUNDING = 1e-9

# Bits of a sample weight: sums of different order agree in so many.
_BITS = 40


@dataclass(frozen=True)
class Extent:
    """Numbers, bounds and sums of the rows that have weight.

    Parameters
    ----------
    n_rows : int
    total, largest : float
        Sum of the weights, and the largest.
    low, high : float64 ndarray of shape (D,)
        Bounds of the values; infinite where there is none.
    known : float64 ndarray of shape (D,)
        Weight of the rows that have a value.
    sums : float64 ndarray of shape (D,)
        Σ_n w_n x_n over these.
    n_incomplete, n_infinite : int
        Rows with a missing value, and rows with an infinite one.
    fingerprint : Fingerprint
    is_weighted : bool
        Whether weights were given.
    """

    n_rows: int
    total: float
    largest: float
    low: np.ndarray
    high: np.ndarray
    known: np.ndarray
    sums: np.ndarray
    n_incomplete: int
    n_infinite: int
    fingerprint: Fingerprint
    is_weighted: bool

    @classmethod
    def empty(cls, n_features: int) -> Extent:
        """Give that of no rows."""
        zero = np.zeros(n_features)
        infinite = np.full(n_features, np.inf)
        return cls(0, 0.0, 0.0, infinite, -infinite, zero, zero, 0, 0, Fingerprint(), False)

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.n_rows + other.n_rows,
            self.total + other.total,
            max(self.largest, other.largest),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.known + other.known,
            self.sums + other.sums,
            self.n_incomplete + other.n_incomplete,
            self.n_infinite + other.n_infinite,
            self.fingerprint + other.fingerprint,
            self.is_weighted or other.is_weighted,
        )

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean of the values, shape (D,)."""
        return self.sums / np.where(self.known > 0, self.known, 1.0)

    @property
    def weight_unit(self) -> float:
        """Power of two that brings the largest weight near one, as far as that is a number."""
        if not self.is_weighted:
            return 1.0
        return float(np.ldexp(1.0, -max(int(np.frexp(self.largest)[1]), _LEAST_EXPONENT)))

    def describe(self, dtype: np.dtype) -> dict[str, str]:
        """Tell which rows and weights these are, for a file that depends on them.

        Parameters
        ----------
        dtype : numpy.dtype
            Of the rows.

        Returns
        -------
        words : dict of str to str
        """
        weights = self.fingerprint.of_weights(self.largest) if self.is_weighted else "none"
        shape = self.n_rows, len(self.low)
        data = f"{np.dtype(dtype)} {shape} {self.fingerprint.rows:016x}"
        return {"data": data, "sample_weight": weights}

    def of_all(self, processes: Processes) -> Extent:
        """Add those of all processes up."""
        floats = np.concatenate(
            [[self.total, self.largest], self.low, self.high, self.known, self.sums]
        )
        counts = np.array([self.n_rows, self.n_incomplete, self.n_infinite, self.is_weighted])
        prints = np.array(astuple(self.fingerprint), dtype=np.uint64)
        found = Extent.empty(len(self.low))
        for numbers, integers, words in zip(
            *map(processes.gather, (floats, counts, prints)), strict=True
        ):
            n_rows, n_incomplete, n_infinite, is_weighted = integers.tolist()
            found += Extent(
                n_rows,
                *numbers[:2].tolist(),
                *np.split(numbers[2:], 4),
                n_incomplete,
                n_infinite,
                Fingerprint(*words.tolist()),
                bool(is_weighted),
            )
        return found


@dataclass(frozen=True)
class RowSample:
    """Distinct rows.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
    weights : float64 ndarray of shape (n,)
        That of all copies of a row, of all rows together in the sum.
    """

    rows: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Survey:
    """What is known of all rows.

    Parameters
    ----------
    extent : Extent
    sample : RowSample
    """

    extent: Extent
    sample: RowSample


@dataclass(frozen=True)
class _Frequent:
    """Distinct rows that may be heavy, each with a weight that it has at least.

    What it weighs beyond that, and what any other row weighs, is at most `missed`: less than a part
    in `_KEPT` of all (J. Misra and D. Gries, "Finding repeated elements", Science of Computer
    Programming 2, 1982; P. Agarwal et al., "Mergeable summaries", PODS 2012).
    """

    hashes: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    missed: float

    @classmethod
    def of(
        cls, hashes: np.ndarray, rows: np.ndarray, weights: np.ndarray, missed: float = 0.0
    ) -> _Frequent:
        if len(hashes) <= _KEPT:
            return cls(hashes, rows, weights, missed)
        less = float(np.partition(weights, -_KEPT - 1)[-_KEPT - 1])
        some = weights > less
        return cls(hashes[some], rows[some], weights[some] - less, missed + less)

    def __add__(self, other: _Frequent) -> _Frequent:
        hashes = np.concatenate([self.hashes, other.hashes])
        distinct, first, of_row = np.unique(hashes, return_index=True, return_inverse=True)
        weights = np.concatenate([self.weights, other.weights])
        weights = _added(of_row, weights, len(distinct))
        rows = np.concatenate([self.rows, other.rows])[first]
        return _Frequent.of(distinct, rows, weights, self.missed + other.missed)

    def above(self, least: float) -> _Frequent:
        """Leave out what weighs less than that in any case."""
        some = self.weights + self.missed >= least * (1 - _ROUNDING)
        return _Frequent(self.hashes[some], self.rows[some], self.weights[some], self.missed)


@dataclass(frozen=True)
class _Sketch:
    """Distinct rows of the least fingerprints, in their order, and those that may be heavy."""

    hashes: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    frequent: _Frequent

    @classmethod
    def of(cls, rows: np.ndarray, weights: np.ndarray, hashes: np.ndarray, n: int) -> _Sketch:
        distinct, first, of_row = np.unique(hashes, return_index=True, return_inverse=True)
        mass = _added(of_row, weights, len(distinct))
        frequent = _Frequent.of(distinct, first, mass)
        frequent = replace(frequent, rows=rows[frequent.rows])
        return cls(distinct[:n], rows[first[:n]], mass[:n], frequent)

    def add(self, other: _Sketch, n: int) -> _Sketch:
        if len(self.hashes) == n:  # most rows of a block are known not to be in the sample
            other = other.below(self.hashes[-1])
        hashes = np.concatenate([self.hashes, other.hashes])
        weights = np.concatenate([self.weights, other.weights])
        distinct, first, of_row = np.unique(hashes, return_index=True, return_inverse=True)
        mass = _added(of_row, weights, len(distinct))[:n]
        rows = np.concatenate([self.rows, other.rows])[first[:n]]
        return _Sketch(distinct[:n], rows, mass, self.frequent + other.frequent)

    def below(self, most: np.uint64) -> _Sketch:
        """Leave out what is above a fingerprint."""
        end = int(np.searchsorted(self.hashes, most, side="right"))
        return _Sketch(self.hashes[:end], self.rows[:end], self.weights[:end], self.frequent)

    def of_all(self, processes: Processes, n: int) -> _Sketch:
        """Combine those of all processes, of which each sends what may be in the sample."""
        known = np.unique(np.concatenate(processes.gather(self.hashes)))
        own = self.below(known[:n][-1]) if len(known) else self
        frequent, missed = own.frequent, np.array([own.frequent.missed])
        fields = (own.hashes, own.rows, own.weights)
        fields += (frequent.hashes, frequent.rows, frequent.weights, missed)
        first, *others = (
            _Sketch(*parts[:3], _Frequent(*parts[3:6], float(parts[6][0])))
            for parts in zip(*map(processes.gather, fields), strict=True)
        )
        for other in others:
            first = first.add(other, n)
        return first


@np.errstate(over="ignore", invalid="ignore")  # refused by those who need the sums
def survey(
    source: RowSource,
    n_sampled: int,
    processes: Processes = ALONE,
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Read all rows once; a second time where some may make up a thousandth of all.

    Parameters
    ----------
    source : RowSource
        The rows of this process.
    n_sampled : int
        Distinct rows of the sample, besides heavy ones.
    processes : Processes, optional
    progress : callable, optional
        As in `RowSource.fold`.

    Returns
    -------
    survey : Survey
        Of the rows of all processes; the same in each of them.
    """
    D = source.n_features
    function, combine = partial(_of_block, n=n_sampled), partial(_combined, n=n_sampled)
    found = processes.together(lambda: source.fold(function, combine, progress=progress))
    extent, sketch = found or (Extent.empty(D), _nothing(D, source.dtype))
    extent, sketch = extent.of_all(processes), sketch.of_all(processes, n_sampled)
    return Survey(extent, _sample(source, extent, sketch, n_sampled, processes))


@np.errstate(over="ignore", invalid="ignore")
def extent_of(block: Block) -> Extent:
    """Take the extent of some rows.

    Parameters
    ----------
    block : Block

    Returns
    -------
    extent : Extent
    """
    return _of_block(block, n=0)[0]


def _of_block(block: Block, *, n: int) -> tuple[Extent, _Sketch]:
    rows, weights = block.rows, block.weights
    if weights is None:
        weights = np.ones(len(rows))
    elif not (some := weights > 0).all():
        rows, weights = rows[some], weights[some]
    D = rows.shape[1]
    if len(rows) == 0:
        return Extent.empty(D), _nothing(D, rows.dtype)
    missing, infinite = np.isnan(rows), np.isinf(rows)
    incomplete = missing.any(axis=1)
    values, known = rows, np.full(D, weights.sum())
    low, high = rows.min(axis=0), rows.max(axis=0)
    if incomplete.any():
        values, known = np.where(missing, 0.0, rows), weights @ ~missing
        low = np.where(missing, np.inf, rows).min(axis=0)
        high = np.where(missing, -np.inf, rows).max(axis=0)
    sums = weights @ values.astype(np.float64, copy=False)
    prints = mixed(row_hashes(rows))
    extent = Extent(
        len(rows),
        float(weights.sum()),
        float(weights.max()),
        low.astype(np.float64),
        high.astype(np.float64),
        known,
        sums,
        int(incomplete.sum()),
        int(infinite.any(axis=1).sum()),
        Fingerprint.of(prints, weights),
        block.weights is not None,
    )
    return extent, _Sketch.of(rows, weights, prints, n)


def _combined(
    one: tuple[Extent, _Sketch], other: tuple[Extent, _Sketch], *, n: int
) -> tuple[Extent, _Sketch]:
    return one[0] + other[0], one[1].add(other[1], n)


def _nothing(n_features: int, dtype: np.dtype) -> _Sketch:
    hashes, rows = np.empty(0, dtype=np.uint64), np.empty((0, n_features), dtype=dtype)
    return _Sketch(hashes, rows, np.empty(0), _Frequent(hashes, rows, np.empty(0), 0.0))


def _sample(
    source: RowSource, extent: Extent, sketch: _Sketch, n: int, processes: Processes
) -> RowSample:
    """Weigh the rows such that they stand for all."""
    rows, weights = sketch.rows, sketch.weights
    if len(rows) == n:  # there may be other rows than these
        frequent = sketch.frequent.above(_HEAVY * extent.total)
        heavy = _heavy_weights(source, frequent.hashes, processes)
        chosen = heavy >= _HEAVY * extent.total
        hashes, heavy = frequent.hashes[chosen], heavy[chosen]
        light = ~np.isin(sketch.hashes, hashes)
        rows = np.concatenate([rows[light], frequent.rows[chosen]])
        rest, drawn = extent.total - heavy.sum(), weights[light].sum()
        if drawn > 0:
            weights = weights * (max(rest, 0.0) / drawn)
        weights = np.concatenate([weights[light], heavy])
    fractions, exponents = np.frexp(weights)
    return RowSample(rows, np.ldexp(np.round(np.ldexp(fractions, _BITS)), exponents - _BITS))


def _heavy_weights(source: RowSource, hashes: np.ndarray, processes: Processes) -> np.ndarray:
    """Weight of all copies of some rows."""
    if len(hashes) == 0:
        return np.empty(0)
    found = processes.together(lambda: source.fold(partial(_weights_of, hashes=hashes), np.add))
    weights = np.zeros(len(hashes)) if found is None else found
    return np.sum(processes.gather(weights), axis=0)


def _weights_of(block: Block, *, hashes: np.ndarray) -> np.ndarray:
    prints = mixed(row_hashes(block.rows))
    place = np.searchsorted(hashes, prints).clip(max=len(hashes) - 1)
    weights = np.ones(len(prints)) if block.weights is None else block.weights
    return _added(place, weights * (hashes[place] == prints), len(hashes))


def _added(places: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    """Add up the weights at each of n places."""
    # Without any place bincount counts in integers, whatever the weights are, and processes gather
    # arrays of one dtype.
    return np.bincount(places, weights, n).astype(np.float64, copy=False)
