"""The Fréchet distance of two samples, each taken for a Gaussian (Heusel et al., 2017)."""

from __future__ import annotations

import numpy as np

__all__ = ["PrincipalComponents", "frechet_distance"]


class PrincipalComponents:
    """Projection on the leading eigenvectors of the covariance of some rows.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    n_components : int
    """

    def __init__(self, X: np.ndarray, n_components: int) -> None:
        self._mean = X.mean(axis=0, dtype=np.float64)
        vectors = np.linalg.eigh(np.cov(X.T, dtype=np.float64)).eigenvectors
        self._directions = vectors[:, : -n_components - 1 : -1]

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Project rows, shape (N, n_components), float64."""
        return (X - self._mean) @ self._directions


def frechet_distance(A: np.ndarray, B: np.ndarray) -> float:
    """Give the Fréchet distance of two samples.

    Parameters
    ----------
    A, B : float64 ndarray of shape (N, D) and (M, D)
        Rows of more than one.

    Returns
    -------
    distance : float
        |μ_A − μ_B|² + tr(Σ_A + Σ_B − 2 (Σ_A Σ_B)^½), squared as is the custom; not below zero. Few
        rows raise it: compare samples of one size.
    """
    covariances = [np.atleast_2d(np.cov(sample.T)) for sample in (A, B)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # Of the same eigenvalues as Σ_A Σ_B, and symmetric.
    product = np.linalg.eigvalsh(root @ covariances[1] @ root)
    gap = A.mean(axis=0) - B.mean(axis=0)
    traces = sum(np.trace(covariance) for covariance in covariances)
    return float(max(0.0, gap @ gap + traces - 2 * np.sqrt(product.clip(0)).sum()))
