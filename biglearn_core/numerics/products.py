"""What an E-step does with many points, by the faster of the libraries at hand.

The sizes are those of small and middling data: few components, few features, thousands of points.
On processors with AVX-512 OpenBLAS, under NumPy and SciPy, multiplies such matrices without packing
them first as long as a product takes at most a million multiplications, twice as fast as the
library under torch, and NumPy's exponential is twice as fast as torch's
(benchmarks/small_steps.py). On other processors, on GPUs and for larger matrices torch is asked.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from biglearn_core.numerics.kernels import contiguous, kernels
from biglearn_core.numerics.points import Chunk
from biglearn_core.numerics.routines import gemm

__all__ = ["FEW_SUMS", "expected_features", "exponential_", "product", "sums"]

_HAS_SMALL_KERNELS = torch.backends.cpu.get_cpu_capability() == "AVX512"

# Multiplications of a product that is not packed.
_SMALL = 1_000_000

# Numbers in the sums up to which a product with a turned matrix is not packed, either. For more of
# them responsibilities are turned before, which takes a pass over them.
FEW_SUMS = 1000

# Points in a slice of such a size, at least: with fewer the calls cost more than they save. Within
# compiled code a call costs less.
_LEAST_SLICE = 256
_LEAST_COMPILED_SLICE = 64

# Features and responsibilities of a slice: they stay in the cache.
_SLICE_BYTES = 256 * 1024


def expected_features(
    chunk: Chunk,
    kind: str,
    coefficients: Tensor,
    n_mixtures: int,
    *,
    least: float,
    wanted: bool = True,
) -> tuple[Tensor, Tensor] | None:
    """Take the E-step of a chunk under log-densities that are linear in features, in one go.

    Parameters
    ----------
    chunk : Chunk
    kind : str
        Of the features, as of `Chunk.features`.
    coefficients : Tensor of shape (K, F)
        Of the components of B mixtures, one mixture after the other.
    n_mixtures : int
        B.
    least : float
        Log shares below it count as it.
    wanted : bool, default True
        Whether the sums are; else they are no numbers to go by.

    Returns
    -------
    outcome : (Tensor of shape (K, F), float64 Tensor of shape (B,)) or None
        Σ_n w_n r_nk f_n, and Σ_n w_n log p(y_n) of every mixture, in nats. None where there is no
        compiled code, or the matrices are too large for it.
    """
    K, F = coefficients.shape
    if not _is_small(K * F, coefficients.device, _LEAST_COMPILED_SLICE):
        return None
    loops = kernels(coefficients, small=False)
    if loops is None or (routine := gemm(coefficients.numpy().dtype)) is None:
        return None
    A = contiguous(coefficients)
    Z = chunk.coordinates(coefficients.dtype).numpy()
    weights = np.empty(0, A.dtype)
    if chunk.weights is not None:
        weights = contiguous(chunk.weights.to(coefficients.dtype))
    step = max(1, min(_SMALL // A.size, _SLICE_BYTES // (A.itemsize * (K + F))))
    added, log_likelihood = np.empty((F, K), A.dtype), np.empty(n_mixtures)
    loops.expect(
        *(routine, Z, weights, kind == "diagonal", A, A.dtype.type(least), step, wanted),
        *(added, log_likelihood),
    )
    return torch.from_numpy(added.T), torch.from_numpy(log_likelihood)


def product(coefficients: Tensor, features: Tensor) -> Tensor:
    """Compute log-densities from features.

    Parameters
    ----------
    coefficients : Tensor of shape (K, F)
    features : Tensor of shape (F, n)

    Returns
    -------
    product : Tensor of shape (K, n)
    """
    if not _is_small(coefficients.numel(), coefficients.device):
        return coefficients @ features
    A, B = coefficients.numpy(), features.numpy()
    step, n = _SMALL // A.size, B.shape[1]
    out = np.empty((len(A), n), A.dtype)
    with np.errstate(all="ignore"):  # what is no number is met, and told, further on
        for start in range(0, n, step):
            np.matmul(A, B[:, start : start + step], out=out[:, start : start + step])
    return torch.from_numpy(out)


def sums(responsibilities: Tensor, features: Tensor) -> Tensor:
    """Add features up over the points.

    Parameters
    ----------
    responsibilities : Tensor of shape (K, n)
    features : Tensor of shape (F, n)

    Returns
    -------
    sums : Tensor of shape (K, F)
    """
    K, n = responsibilities.shape
    size = K * len(features)
    if not _is_small(size, responsibilities.device):
        return responsibilities @ features.mT
    r, f = responsibilities.numpy(), features.numpy()
    step = _SMALL // size
    total = np.zeros((len(f), K), f.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, n, step):
            turned = r[:, start : start + step].T
            if size > FEW_SUMS:
                turned = np.ascontiguousarray(turned)
            total += f[:, start : start + step] @ turned
    return torch.from_numpy(total.T)


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


def _is_small(size: int, device: torch.device, least: int = _LEAST_SLICE) -> bool:
    """Whether slices of so many points at least, times `size` multiplications, are not packed."""
    return _HAS_SMALL_KERNELS and device.type == "cpu" and size * least <= _SMALL
