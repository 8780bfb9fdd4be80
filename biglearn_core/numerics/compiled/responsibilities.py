"""Responsibilities from component log-densities, with an exponential of our own."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from biglearn_core.numerics.compiled.options import contracted

__all__ = ["normalise"]

# Points whose responsibilities are computed together: their rows stay in the nearest cache.
_BLOCK = 256

# Beyond it a further factor, at most the number of components, might overflow.
_LARGE_PRODUCT = 1e200


@intrinsic
def _bits(context, number):
    """Read the bits of a number as an integer."""
    size = number.bitwidth
    integer = types.int32 if size == 32 else types.int64

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(size))

    return integer(number), generate


@intrinsic
def _from_bits(context, bits):
    """Read the bits of an integer as a number."""
    number = types.float32 if bits.bitwidth == 32 else types.float64

    def generate(context, builder, signature, arguments):
        kind = ir.FloatType() if bits.bitwidth == 32 else ir.DoubleType()
        return builder.bitcast(arguments[0], kind)

    return number(bits), generate


def _exponential(x):
    """Exponential of a number from −700, or −80 in float32, to 0.

    x = n ln 2 + r with |r| ≤ ½ ln 2, Taylor's series of exp r, and 2ⁿ by its bits: within two units
    in the last place, and without branches, so that a loop of it is run on several numbers at once.
    Added to 3/2 of two to the number of digits, x / ln 2 has n in its last bits.
    """


@overload(_exponential, inline="always")
def _exponential_of(x):
    return _exponential_32 if x == types.float32 else _exponential_64


def _exponential_64(x):
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 0.0001984126984126984
    p = p * r + 0.001388888888888889
    p = p * r + 0.008333333333333333
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666666
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _from_bits((_bits(shifted) + 1023) << 52)


def _exponential_32(x):
    magic = np.float32(12582912.0)
    shifted = x * np.float32(1.44269504) + magic
    n = shifted - magic
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
    p = np.float32(1.0 / 5040)
    p = p * r + np.float32(1.0 / 720)
    p = p * r + np.float32(1.0 / 120)
    p = p * r + np.float32(1.0 / 24)
    p = p * r + np.float32(1.0 / 6)
    p = p * r + np.float32(0.5)
    p = p * r + np.float32(1.0)
    p = p * r + np.float32(1.0)
    return p * _from_bits(np.int32((_bits(shifted) + 127) << 23))


@contracted
def normalise(log_prob, weights, least, log_likelihood, wanted):
    """Turn component log-densities into responsibilities, in place; see `density.exponentiate`.

    Parameters
    ----------
    log_prob : ndarray of shape (B, K, n)
        Overwritten with responsibilities, sample weights multiplied in.
    weights : ndarray of shape (n,) or (0,)
        Sample weights; none where empty.
    least : float
        Log shares below it, in the dtype of the densities, count as it.
    log_likelihood : float64 ndarray of shape (B,)
        Overwritten with Σ_n w_n log p(y_n).
    wanted : bool
        Whether the responsibilities are; the densities are overwritten in any case.
    """
    B, K, n = log_prob.shape
    largest = np.empty(_BLOCK, log_prob.dtype)
    total = np.empty(_BLOCK, log_prob.dtype)
    for b in range(B):
        added, product = 0.0, 1.0
        for start in range(0, n, _BLOCK):
            size = min(_BLOCK, n - start)
            row = log_prob[b, 0, start : start + size]
            for i in range(size):
                largest[i] = row[i]
                total[i] = 0.0
            for k in range(1, K):
                row = log_prob[b, k, start : start + size]
                for i in range(size):
                    largest[i] = row[i] if row[i] > largest[i] else largest[i]
            for k in range(K):
                row = log_prob[b, k, start : start + size]
                for i in range(size):
                    x = row[i] - largest[i]
                    x = least if x < least else x  # what is no number stays none
                    share = _exponential(x)
                    row[i] = share
                    total[i] += share
            if len(weights) == 0:
                for i in range(size):
                    added += largest[i]
                    product *= total[i]  # from 1 to K: a logarithm serves hundreds of points
                    if product > _LARGE_PRODUCT:
                        added += np.log(product)
                        product = 1.0
                for i in range(size):
                    total[i] = 1 / total[i]
            else:
                for i in range(size):
                    weight = weights[start + i]
                    added += weight * (largest[i] + np.log(total[i]))
                    total[i] = weight / total[i]
            if wanted:
                for k in range(K):
                    row = log_prob[b, k, start : start + size]
                    for i in range(size):
                        row[i] *= total[i]
        log_likelihood[b] = added + np.log(product)
