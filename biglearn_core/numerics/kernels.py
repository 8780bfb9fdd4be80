"""Compiled loops for small steps, where numba is installed (`numerics.compiled`)."""

from __future__ import annotations

import os
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

__all__ = ["contiguous", "kernels"]

# Numbers in the covariances up to which loops are faster than the libraries of linear algebra.
_SMALL = 1 << 15

_DTYPES = (torch.float32, torch.float64)


def kernels(tensor: Tensor, *, small: bool = True) -> ModuleType | None:
    """Give the compiled loops, where they are to be had and serve a tensor.

    Parameters
    ----------
    tensor : Tensor
        What is worked on.
    small : bool, default True
        Whether large tensors are better left to other libraries.

    Returns
    -------
    kernels : module or None
    """
    if tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
        return None
    return None if small and tensor.numel() > _SMALL else _compiled()


def contiguous(tensor: Tensor) -> np.ndarray:
    """Give a tensor as an array of one layout: for every layout the loops would be compiled anew.

    Parameters
    ----------
    tensor : Tensor

    Returns
    -------
    array : ndarray
    """
    return np.ascontiguousarray(tensor.numpy())


@cache
def _compiled() -> ModuleType | None:
    if find_spec("numba") is None or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return None
    try:
        return import_module("biglearn_core.numerics.compiled")
    except (ImportError, RuntimeError) as error:  # of another NumPy; no folder for what it compiles
        warnings.warn(
            f"numba is installed and cannot be used ({error}): small fits take about twice as long",
            stacklevel=2,
        )
        return None
