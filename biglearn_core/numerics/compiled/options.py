"""What numba may do with a function: as little as its arithmetic allows."""

from __future__ import annotations

from numba import njit

__all__ = ["as_written", "contracted", "reordered"]

as_written = njit(cache=True, nogil=True, error_model="numpy")

# A product and a sum may be rounded once, and sums be added up in any order, as in the libraries of
# linear algebra; what is no number stays none.
contracted = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
reordered = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
