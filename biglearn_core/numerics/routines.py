"""Addresses of SciPy's BLAS and LAPACK routines, for calls that let other threads run.

SciPy gives them out for use from other compiled code (`scipy.linalg.cython_blas`,
`scipy.linalg.cython_lapack`). What is not of the form that is known is not given.
"""

from __future__ import annotations

import ctypes
from functools import cache
from types import ModuleType

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

__all__ = ["GEMM", "SYEVX", "address", "gemm", "syevx"]

# Arguments, all by reference: "s" text, "i" integers, "x" numbers of the matrices' kind.
GEMM = "ssiiixxixixxi"
SYEVX = "sssixixxiixixxixiiii"

_LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}


def gemm(kind: np.dtype) -> int | None:
    """Give the address of xGEMM for numbers of a kind, None where it cannot be called."""
    return address(cython_blas, f"{_LETTERS[kind]}gemm", GEMM)


def syevx(kind: np.dtype) -> int | None:
    """Give the address of xSYEVX for numbers of a kind, None where it cannot be called."""
    return address(cython_lapack, f"{_LETTERS[kind]}syevx", SYEVX)


@cache
def address(module: ModuleType, name: str, arguments: str) -> int | None:
    """Find a routine.

    Parameters
    ----------
    module : module
        That gives it out.
    name : str
    arguments : str
        Their kinds.

    Returns
    -------
    address : int or None
        None where there is none, or its arguments are others.
    """
    capsule = getattr(module, "__pyx_capi__", {}).get(name)
    if capsule is None:
        return None
    told = ctypes.pythonapi.PyCapsule_GetName
    told.restype, told.argtypes = ctypes.c_char_p, [ctypes.py_object]
    found = ctypes.pythonapi.PyCapsule_GetPointer
    found.restype, found.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = told(capsule)
    if signature is None or _kinds(signature.decode()) != arguments:
        return None
    return found(capsule, signature)


def _kinds(signature: str) -> str:
    """Arguments of a C signature by their kinds, "?" where unknown."""
    arguments = [text.strip() for text in signature.partition("(")[2].rstrip(")").split(",")]
    known = {"char *": "s", "int *": "i"}
    return "".join(
        known.get(argument, "x" if argument.endswith(("_s *", "_d *")) else "?")
        for argument in arguments
    )
