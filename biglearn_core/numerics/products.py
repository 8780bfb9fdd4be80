"""The two products of an E-step and its exponentials, by the faster of the libraries at hand.

Their sizes are those of small and middling data: few components, few features, thousands of points.
On processors with AVX-512 OpenBLAS, under NumPy, multiplies such matrices without packing them
first as long as a product takes at most a million multiplications, twice as fast as the library
under torch, and NumPy's exponential is twice as fast as torch's (benchmarks/small_steps.py). On
other processors, on GPUs and for larger matrices torch is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Features", "exponential_", "needs_rows", "product", "sums"]

_HAS_SMALL_KERNELS = torch.backends.cpu.get_cpu_capability() == "AVX512"

# Multiplications of a product that is not packed.
_SMALL = 1_000_000

# Points in a slice of such a size, at least: with fewer the calls cost more than they save.
_LEAST_SLICE = 256

# Numbers in the sums up to which features may lie along either axis for their product with
# responsibilities not to be packed. For more of them a point's features must lie together, which
# pays in float32; in float64 it costs more to read features both ways.
_SMALL_SUMS = 1000


@dataclass(frozen=True)
class Features:
    """Functions of the points that log-densities are linear in.

    Parameters
    ----------
    columns : Tensor of shape (F, n)
        A feature's values lie together.
    rows : Tensor of shape (n, F), optional
        The same, a point's features together, where they are used often and `needs_rows`.
    """

    columns: Tensor
    rows: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the products."""
        return self.columns.dtype


def needs_rows(
    n_components: int, n_features: int, dtype: torch.dtype, device: torch.device
) -> bool:
    """Tell whether sums over features are faster with the features stored both ways.

    Parameters
    ----------
    n_components : int
        K.
    n_features : int
        F.
    dtype : torch.dtype
    device : torch.device

    Returns
    -------
    needs : bool
    """
    size = n_components * n_features
    return dtype == torch.float32 and size > _SMALL_SUMS and _is_small(size, device)


def product(coefficients: Tensor, features: Features) -> Tensor:
    """Compute log-densities from features.

    Parameters
    ----------
    coefficients : Tensor of shape (K, F)
    features : Features

    Returns
    -------
    product : Tensor of shape (K, n)
    """
    if not _is_small(coefficients.numel(), coefficients.device):
        return coefficients @ features.columns
    A, B = coefficients.numpy(), features.columns.numpy()
    step, n = _SMALL // A.size, B.shape[1]
    with np.errstate(all="ignore"):  # what is no number is met, and told, further on
        if n <= step:
            return torch.from_numpy(np.dot(A, B))
        out = np.empty((len(A), n), A.dtype)
        for start in range(0, n, step):
            np.matmul(A, B[:, start : start + step], out=out[:, start : start + step])
    return torch.from_numpy(out)


def sums(responsibilities: Tensor, features: Features) -> Tensor:
    """Add features up over the points.

    Parameters
    ----------
    responsibilities : Tensor of shape (K, n)
    features : Features

    Returns
    -------
    sums : Tensor of shape (K, F)
    """
    K, n = responsibilities.shape
    size = K * len(features.columns)
    if not _is_small(size, responsibilities.device):
        return responsibilities @ features.columns.mT
    r = responsibilities.numpy()
    rows = (features.columns.mT if features.rows is None else features.rows).numpy()
    step = _SMALL // size
    with np.errstate(all="ignore"):
        if n <= step or (features.rows is None and size > _SMALL_SUMS):
            return torch.from_numpy(np.dot(r, rows))
        total = r[:, :step] @ rows[:step]
        for start in range(step, n, step):
            total += r[:, start : start + step] @ rows[start : start + step]
    return torch.from_numpy(total)


def exponential_(x: Tensor) -> Tensor:
    """Exponentiate in place.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    x : Tensor
        The same.
    """
    if x.device.type != "cpu" or not _HAS_SMALL_KERNELS:
        return x.exp_()
    numbers = x.numpy()
    np.exp(numbers, out=numbers)
    return x


def _is_small(size: int, device: torch.device) -> bool:
    return _HAS_SMALL_KERNELS and device.type == "cpu" and size * _LEAST_SLICE <= _SMALL
