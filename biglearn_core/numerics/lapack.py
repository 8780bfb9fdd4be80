"""Some eigenpairs of a symmetric matrix, in a way that lets other threads run.

`scipy.linalg.eigh` keeps the interpreter's lock while LAPACK works, so that matrices decomposed by
several threads wait for each other. Called through ctypes the routine runs unlocked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np
import scipy.linalg

from biglearn_core.numerics.routines import SYEVX, syevx

__all__ = ["eigenpairs_in"]


def eigenpairs_in(
    matrix: np.ndarray, least: float, largest: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues in a half-open interval and their eigenvectors, by bisection.

    LAPACK's xSYEVX, as `scipy.linalg.eigh` calls it with driver "evx".

    Parameters
    ----------
    matrix : ndarray of shape (D, D)
        Symmetric and finite, of float32 or float64.
    least, largest : float
        Eigenvalues in (least, largest] are wanted.

    Returns
    -------
    values : ndarray of shape (r,)
        Increasing.
    vectors : ndarray of shape (r, D)
        Orthonormal rows.

    Raises
    ------
    LinAlgError
        When some eigenvectors do not converge.
    """
    routine = _routine(matrix.dtype)
    if routine is None:
        values, vectors = scipy.linalg.eigh(
            matrix, subset_by_value=(least, largest), driver="evx", check_finite=False
        )
        return values, vectors.T
    D, kind = len(matrix), matrix.dtype
    kept = np.array(matrix, order="C")  # is overwritten; symmetric, so of either order
    values, vectors = np.empty(D, kind), np.empty((D, D), kind)
    integers, failed = np.empty(5 * D, np.intc), np.empty(D, np.intc)
    size, n_found, info = (ctypes.c_int(0) for _ in range(3))
    number = np.ctypeslib.as_ctypes_type(kind)

    def call(work: np.ndarray, n_work: int) -> None:
        routine(
            *(b"V", b"V", b"L", ctypes.byref(size), _address(kept), ctypes.byref(size)),
            *(ctypes.byref(number(least)), ctypes.byref(number(largest))),
            *(ctypes.byref(ctypes.c_int(0)), ctypes.byref(ctypes.c_int(0))),  # not by position
            *(ctypes.byref(number(0)), ctypes.byref(n_found)),  # the default tolerance
            *(_address(values), _address(vectors), ctypes.byref(size)),
            *(_address(work), ctypes.byref(ctypes.c_int(n_work))),
            *(_address(integers), _address(failed), ctypes.byref(info)),
        )

    size.value = D
    asked = np.empty(1, kind)
    call(asked, -1)
    call(np.empty(int(asked[0]), kind), int(asked[0]))
    if info.value != 0:
        raise scipy.linalg.LinAlgError(f"{info.value} eigenvectors of {D} did not converge")
    return values[: n_found.value], vectors[: n_found.value]


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@cache
def _routine(kind: np.dtype) -> Callable[..., None] | None:
    address = syevx(kind)
    if address is None:
        return None
    types = [ctypes.c_char_p if kind == "s" else ctypes.c_void_p for kind in SYEVX]
    routine: Callable[..., None] = ctypes.CFUNCTYPE(None, *types)(address)
    return routine
