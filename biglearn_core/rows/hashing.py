"""Fingerprints of rows, which do not depend on where a row stands."""

from __future__ import annotations

import numpy as np

__all__ = ["mixed", "row_hashes"]


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
