"""Small matrices, a component after the other: coefficients of the density, M-step, floor."""

from __future__ import annotations

import numpy as np

from biglearn_core.numerics.compiled.options import as_written, reordered

__all__ = ["below_floor", "expand", "maximise"]

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


@reordered
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


@reordered
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


@reordered
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


@as_written
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


@as_written
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
