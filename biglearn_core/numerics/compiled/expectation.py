"""The E-step of many points, slice by slice: what belongs to a slice never leaves the cache.

The features of a slice are written, multiplied by the coefficients of all components, turned into
responsibilities, and added up with them. Both products are those of a BLAS that is given by its
address, of matrices that it multiplies without packing them first.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from biglearn_core.numerics.compiled.options import as_written
from biglearn_core.numerics.compiled.responsibilities import normalise
from biglearn_core.numerics.products import FEW_SUMS

__all__ = ["expect"]


@intrinsic
def _multiply(context, routine, m, n, k, turned, a, b, add, c):
    """Write C = A B, or add to it where asked, by the BLAS routine xGEMM at an address.

    All matrices are full, column by column: A of m rows and k columns, or turned, of k rows and m
    columns; B of k and n, C of m and n.
    """
    integer, letter = ir.IntType(32), ir.IntType(8)
    number = ir.FloatType() if c.dtype.bitwidth == 32 else ir.DoubleType()

    def generate(context, builder, signature, arguments):
        routine, m, n, k, turned, a, b, add, c = arguments

        def choose(flag, one, other):
            return builder.select(builder.trunc(flag, ir.IntType(1)), one, other)

        def place(value):
            return cgutils.alloca_once_value(builder, value)

        def data(kind, array):
            return make_array(kind)(context, builder, array).data

        plain, one = place(letter(ord("N"))), place(number(1.0))
        way = place(choose(turned, letter(ord("T")), letter(ord("N"))))
        kept = place(choose(add, number(1.0), number(0.0)))
        rows_of_a = place(builder.trunc(choose(turned, k, m), integer))
        m, n, k = (place(builder.trunc(size, integer)) for size in (m, n, k))
        a, b, c = map(data, (*signature.args[5:7], signature.args[8]), (a, b, c))
        passed = (way, plain, m, n, k, one, a, rows_of_a, b, k, kept, c, m)
        form = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(routine, form.as_pointer()), passed)
        return context.get_dummy_value()

    arguments = *(types.intp,) * 4, types.boolean, a, b, types.boolean, c
    return types.void(*arguments), generate


@as_written
def _write(Z, start, diagonal, features):
    """Write the features of a slice of points; see `Chunk.features`."""
    d, size = len(Z), features.shape[1]
    for i in range(size):
        features[0, i] = 1
    row = d + 1
    for a in range(d):
        features[a + 1, :] = Z[a, start : start + size]
    for a in range(d):
        one = features[a + 1]
        for b in range(a, a + 1 if diagonal else d):
            other, product = features[b + 1], features[row]
            for i in range(size):
                product[i] = one[i] * other[i]
            row += 1


@as_written
def expect(routine, Z, weights, diagonal, coefficients, least, step, wanted, sums, log_likelihood):
    """Add up features and responsibilities over points.

    Parameters
    ----------
    routine : int
        Address of xGEMM, of the dtype of all arrays.
    Z : ndarray of shape (d, n)
        Points less their centre.
    weights : ndarray of shape (n,) or (0,)
        Sample weights; none where empty.
    diagonal : bool
        Whether the features are [1, z, z²], or [1, z, upper triangle of z zᵀ].
    coefficients : ndarray of shape (K, F)
        Of the log-densities in the features.
    least : float
        As of `normalise`.
    step : int
        Points in a slice.
    wanted : bool
        Whether the sums are; else the log-likelihoods alone.
    sums : ndarray of shape (F, K)
        Overwritten with Σ_n w_n r_nk f_n, where wanted.
    log_likelihood : float64 ndarray of shape (B,)
        Overwritten with Σ_n w_n log p(z_n) of mixtures of K/B components each.
    """
    n = Z.shape[1]
    K, F = coefficients.shape
    B, step = len(log_likelihood), max(1, min(step, n))
    features_memory = np.empty(F * step, coefficients.dtype)
    shares_memory = np.empty(K * step, coefficients.dtype)
    turned_memory = np.empty(K * step, coefficients.dtype)
    of_slice = np.empty(B)
    log_likelihood[:] = 0
    sums[:] = 0
    for start in range(0, n, step):
        size = min(step, n - start)
        features = features_memory[: F * size].reshape(F, size)
        shares = shares_memory[: K * size].reshape(K, size)
        _write(Z, start, diagonal, features)
        _multiply(routine, size, K, F, False, features, coefficients, False, shares)
        own_weights = weights[start : start + size]
        normalise(shares.reshape(B, K // B, size), own_weights, least, of_slice, wanted)
        for b in range(B):
            log_likelihood[b] += of_slice[b]
        if not wanted:
            continue
        if K * F <= FEW_SUMS:
            _multiply(routine, K, F, size, True, shares, features, True, sums)
            continue
        turned = turned_memory[: K * size].reshape(size, K)
        for k in range(K):
            for i in range(size):
                turned[i, k] = shares[k, i]
        _multiply(routine, K, F, size, False, turned, features, True, sums)
