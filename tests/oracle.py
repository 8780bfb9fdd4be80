"""An EM step written down naively, point by point, in float64: the oracle of the fast one."""

import numpy as np
from scipy.stats import multivariate_normal


def naive_log_prob(X, weights, means, covariances):
    """log π_k N(x_n | μ_k, Σ_k) by scipy, shape (N, K)."""
    columns = [
        np.log(w) + np.atleast_1d(multivariate_normal(m, C).logpdf(X))
        for w, m, C in zip(weights, means, covariances, strict=True)
    ]
    return np.stack(columns, axis=1)


def naive_em_step(X, weights, means, covariances, *, index, A, floor, smoothing, sample_weight):
    """One step of algorithm: transform, E, M on a block, floor, weights, transform back."""
    N = len(X)
    K = len(weights)
    Y = X @ A.T
    m = means @ A.T
    C = np.array([A @ cov @ A.T for cov in covariances])
    T = np.ix_(index, index)

    log_prob = naive_log_prob(
        Y[:, index], weights, m[:, index], np.array([C[k][T] for k in range(K)])
    )
    log_density = np.logaddexp.reduce(log_prob, axis=1)
    r = np.exp(log_prob - log_density[:, None])

    total = sample_weight.sum()
    proportions = np.zeros(K)
    for k in range(K):
        for n in range(N):
            proportions[k] += sample_weight[n] * r[n, k] / total
        mass = total * max(1e-5, proportions[k])
        mean = sum(sample_weight[n] * r[n, k] * Y[n, index] for n in range(N)) / mass
        scatter = np.zeros((len(index), len(index)))
        for n in range(N):
            residual = Y[n, index] - mean
            scatter += sample_weight[n] * r[n, k] * np.outer(residual, residual)
        m[k, index] = mean
        C[k][T] = scatter / mass
        values, vectors = np.linalg.eigh((C[k] + C[k].T) / 2)
        C[k] = (vectors * np.maximum(values, floor)) @ vectors.T
    smoothed = proportions + smoothing
    return (
        smoothed / smoothed.sum(),
        m @ A,
        np.array([A.T @ cov @ A for cov in C]),
        float(sample_weight @ log_density / total),
    )
