"""Fingerprints of rows, which do not depend on where a row stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Fingerprint", "mixed", "row_hashes"]

_ALL = 2**64


@dataclass(frozen=True)
class Fingerprint:
    """Of rows and weights, without regard to their order; those of two batches add up.

    Parameters
    ----------
    rows : int
        Sum of the hashes of the rows, modulo 2⁶⁴, as all of these sums.
    fractions, exponents : int
        Of the weights, in the form fraction times a power of two, each with its row.
    """

    rows: int = 0
    fractions: int = 0
    exponents: int = 0

    @classmethod
    def of(cls, hashes: np.ndarray, weights: np.ndarray) -> Fingerprint:
        """Take that of a batch.

        Parameters
        ----------
        hashes : uint64 ndarray of shape (n,)
            Mixed.
        weights : float64 ndarray of shape (n,)
            Positive.

        Returns
        -------
        fingerprint : Fingerprint
        """
        fractions, exponents = np.frexp(weights)
        with_fractions = mixed(hashes ^ fractions.view(np.uint64))
        with_exponents = hashes * exponents.astype(np.int64).view(np.uint64)
        sums = (array.sum(dtype=np.uint64) for array in (hashes, with_fractions, with_exponents))
        return cls(*map(int, sums))

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(
            (self.rows + other.rows) % _ALL,
            (self.fractions + other.fractions) % _ALL,
            (self.exponents + other.exponents) % _ALL,
        )

    def of_weights(self, largest: float) -> str:
        """Write that of the weights, which a common power of two does not change.

        Parameters
        ----------
        largest : float
            The largest weight.

        Returns
        -------
        text : str
        """
        unit = int(np.frexp(largest)[1])
        return f"{self.fractions:016x}{(self.exponents - unit * self.rows) % _ALL:016x}"


def row_hashes(X: np.ndarray) -> np.ndarray:
    """Numbers that are equal for equal rows, and for no others, however small the difference.

    Parameters
    ----------
    X : float32 or float64 ndarray of shape (N, D)
        All NaN are one, and so are both zeros.

    Returns
    -------
    hashes : uint64 ndarray of shape (N,)
    """
    rng = np.random.default_rng(0)
    hashes = np.zeros(len(X), dtype=np.uint64)
    for column in X.T:
        odd = rng.integers(2**63, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        hashes += _mixed_numbers(np.where(np.isnan(column), np.nan, column + 0.0)) * odd
    return hashes


def mixed(bits: np.ndarray) -> np.ndarray:
    """Mix bits: SplitMix64's last step (Steele, Lea and Flood, 2014).

    Parameters
    ----------
    bits : uint64 ndarray

    Returns
    -------
    mixed : uint64 ndarray
        As uniform as numbers that were drawn.
    """
    bits = (bits ^ (bits >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> 27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> 31)


def _mixed_numbers(values: np.ndarray) -> np.ndarray:
    bits: np.ndarray = np.ascontiguousarray(values).view(f"u{values.itemsize}")
    return mixed(bits.astype(np.uint64))
