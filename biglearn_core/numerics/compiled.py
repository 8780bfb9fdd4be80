"""The parts of a small EM step, compiled by numba where it is installed.

On a few thousand points a step takes a quarter of a millisecond, most of it spent on beginning some
sixty operations on a few numbers each. Here are the same formulas as loops: of the density (`Law`
and `QuadraticDensity` in `density`), of the responsibilities (`density.exponentiate`), of the
M-step (`em.m_step`) and of the test for the floor (`linalg.floor_eigenvalues`). Their callers ask
`kernels` whether they are to be had, and do without them otherwise; what is large, or on a GPU, is
left to torch. Results agree to rounding.

Nothing else imports this module: numba takes half a second to load. Compiled code is kept beside
the source, or in the user's cache folder.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

__all__ = ["below_floor", "expand", "maximise", "normalise"]

_compiled = njit(cache=True, nogil=True, error_model="numpy")
# A product and a sum may be rounded once, and sums be added up in any order, as in the libraries of
# linear algebra; what is no number stays none.
_contracted = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
_reordered = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)

# Points whose responsibilities are computed together: their rows stay in the nearest cache.
_BLOCK = 256

# Beyond it a further factor, at most the number of components, might overflow.
_LARGE_PRODUCT = 1e200


@_reordered
def _factor(matrix, shift, factor):
    """Write the lower Cholesky factor of a matrix less shift I; False where there is none."""
    d = len(matrix)
    for j in range(d):
        pivot = matrix[j, j] - shift
        for i in range(j):
            pivot -= factor[j, i] * factor[j, i]
        if not pivot > 0.0:
            return False
        root = np.sqrt(pivot)
        factor[j, j] = root
        for a in range(j + 1, d):
            entry = matrix[a, j]
            for i in range(j):
                entry -= factor[a, i] * factor[j, i]
            factor[a, j] = entry / root
    return True


@_reordered
def _invert(factor, inverse):
    """Write the transposed inverse of a lower triangular matrix into an upper triangle."""
    d = len(factor)
    for j in range(d):
        inverse[j, j] = 1.0 / factor[j, j]
        for a in range(j + 1, d):
            entry = 0.0
            for i in range(j, a):
                entry += factor[a, i] * inverse[j, i]
            inverse[j, a] = -entry / factor[a, a]


@_reordered
def expand(weights, means, covariances, centre, room, coefficients):
    """Write log π_k N(y | m_k, C_k) as coefficients of the features [1, z, upper triangle of z zᵀ].

    Parameters
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, d)
    covariances : ndarray of shape (K, d, d)
    centre : ndarray of shape (d,)
        z = y − centre.
    room : float
        Largest size of the terms that cancel.
    coefficients : float64 ndarray of shape (K, F)
        Overwritten.

    Returns
    -------
    reach : float
        Square of the radius within which no term is larger, by a bound on the eigenvalues that is
        not below that of `largest_eigenvalue_bound`; NaN where a covariance has no Cholesky factor.
    """
    K, d = means.shape
    matrix, factor, inverse = np.empty((d, d)), np.zeros((d, d)), np.zeros((d, d))
    mean, linear = np.empty(d), np.empty(d)
    reach = np.inf
    for k in range(K):
        for i in range(d):
            mean[i] = np.float64(means[k, i]) - np.float64(centre[i])
            linear[i] = 0.0
            for j in range(d):
                matrix[i, j] = covariances[k, i, j]
        if not _factor(matrix, 0.0, factor):
            return np.nan
        _invert(factor, inverse)
        constant = np.log(np.float64(weights[k])) - d * _HALF_LOG_2PI
        trace, squares, f = 0.0, 0.0, d + 1
        for i in range(d):
            constant -= np.log(factor[i, i])
            for j in range(i, d):
                precision = 0.0
                for a in range(j, d):
                    precision += inverse[i, a] * inverse[j, a]
                linear[i] += precision * mean[j]
                if i == j:
                    coefficients[k, f] = -0.5 * precision
                    trace += precision
                    squares += precision * precision
                else:
                    coefficients[k, f] = -precision
                    linear[j] += precision * mean[i]
                    squares += 2.0 * precision * precision
                f += 1
        offset = 0.0
        for i in range(d):
            coefficients[k, 1 + i] = linear[i]
            offset += linear[i] * mean[i]
        coefficients[k, 0] = constant - 0.5 * offset
        reach = min(reach, (room - offset) / (trace if d <= 4 else np.sqrt(squares)))
    return reach


@_compiled
def maximise(counts, first, second, origins, total, least, proportions, means, covariances):
    """Write proportions, means and covariances from the sums over the points; see `em.m_step`.

    Parameters
    ----------
    counts : ndarray of shape (K,)
    first : ndarray of shape (K, d)
    second : ndarray of shape (K, d, d)
    origins : ndarray of shape (K, d)
    total : float
    least : float
        Proportion by which is divided at least.
    proportions : float64 ndarray of shape (K,)
    means : ndarray of shape (K, d)
    covariances : ndarray of shape (K, d, d)
        The last three are overwritten.
    """
    K, d = first.shape
    scaled, shift, rest = np.empty(d), np.empty(d), np.empty(d)
    for k in range(K):
        count = np.float64(counts[k])
        proportions[k] = count / total
        mass = max(count, least * total)
        share = count / mass
        for i in range(d):
            scaled[i] = first[k, i] / mass
            shift[i] = scaled[i] + (share - 1.0) * origins[k, i]
            rest[i] = scaled[i] - share * shift[i]
            means[k, i] = shift[i] + origins[k, i]
        for i in range(d):
            for j in range(i + 1):
                entry = second[k, i, j] / mass - scaled[i] * shift[j] - shift[i] * rest[j]
                covariances[k, i, j] = entry
                covariances[k, j, i] = entry


@_compiled
def below_floor(covariances, floor, rounding, symmetric, below):
    """Tell which covariances have an eigenvalue at or below the floor.

    Parameters
    ----------
    covariances : ndarray of shape (K, D, D)
    floor : float
    rounding : float
        Least floor, in units of the largest entry of each matrix (`linalg.resolved_floors`).
    symmetric : ndarray of shape (K, D, D)
        Overwritten with the symmetric parts.
    below : bool ndarray of shape (K,)
        Overwritten.
    """
    K, D, _ = covariances.shape
    matrix, factor = np.empty((D, D)), np.zeros((D, D))
    for k in range(K):
        largest = 0.0
        for i in range(D):
            for j in range(i + 1):
                entry = (covariances[k, i, j] + covariances[k, j, i]) / 2
                symmetric[k, i, j] = entry
                symmetric[k, j, i] = entry
                matrix[i, j] = symmetric[k, i, j]
                largest = max(largest, abs(matrix[i, j]))
        below[k] = not _factor(matrix, max(floor, rounding * largest), factor)


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


@_contracted
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
