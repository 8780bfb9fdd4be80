"""Peers without a network: K-means on pixels, and a Gaussian mixture on principal components."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from biglearn_core.experiments.parallel import progress
from biglearn_core.numerics.structures import n_mixture_parameters
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.training import Clustering

__all__ = ["KMeansConfig", "PCAConfig", "PCAMixtureConfig", "cluster_kmeans",
           "cluster_pca_mixture", "principal_components"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """Settings of K-means.

    Parameters
    ----------
    n_init : int
        Starts by k-means++; the least inertia is kept.
    """

    n_init: int = 10


@dataclass(frozen=True, kw_only=True)
class PCAConfig:
    """Settings of the principal components.

    Parameters
    ----------
    n_directions : int
        Components kept; 50 hold 86% of the variance of Fashion-MNIST, and are as many as EDESC's
        code has.
    """

    n_directions: int = 50


@dataclass(frozen=True, kw_only=True)
class PCAMixtureConfig(PCAConfig):
    """Settings of scikit-learn's GaussianMixture on principal components.

    Parameters
    ----------
    n_init : int
        Starts by K-means; the highest likelihood is kept.
    max_iter : int
        EM steps of each, at most.
    """

    n_init: int = 5
    max_iter: int = 200


def cluster_kmeans(X: Tensor, n_clusters: int, config: KMeansConfig, *, seed: int) -> Clustering:
    """Cluster points by K-means.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_clusters : int
    config : KMeansConfig
    seed : int

    Returns
    -------
    clustering : Clustering
        Its history has a row per start; its curve is the inertia of each.
    """
    clock = Stopwatch()
    data = X.cpu().numpy()
    seeds = _seeds(seed, config.n_init)
    fits = [
        KMeans(n_clusters, n_init=1, random_state=start).fit(data)
        for start in progress(seeds, description=f"K-means, seed {seed}: starts")
    ]
    best = min(fits, key=lambda fit: fit.inertia_)
    return Clustering(
        clusters=best.labels_.astype(np.int16),
        history=np.array([fit.labels_ for fit in fits], dtype=np.int16),
        n_parameters=best.cluster_centers_.size,
        n_steps=int(best.n_iter_),
        converged=best.n_iter_ < best.max_iter,
        seconds=clock.read(),
        curves={"inertia": np.array([fit.inertia_ for fit in fits], dtype=np.float64)},
    )


def principal_components(X: Tensor, n_directions: int) -> np.ndarray:
    """Project points on their leading principal components, unscaled.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_directions : int
        At most min(N, D).

    Returns
    -------
    Z : ndarray of shape (N, n_directions)
        Centred; the columns keep the units of X.
    """
    return PCA(n_directions, svd_solver="covariance_eigh").fit_transform(X.cpu().numpy())


def cluster_pca_mixture(
    X: Tensor, n_clusters: int, config: PCAMixtureConfig, *, seed: int
) -> Clustering:
    """Cluster points by a Gaussian mixture with full covariances on principal components.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_clusters : int
    config : PCAMixtureConfig
    seed : int

    Returns
    -------
    clustering : Clustering
        Its history has a row per start; its curve is the mean log-likelihood of each, in nats.
    """
    clock = Stopwatch()
    Z = principal_components(X, config.n_directions)
    fits, history = [], []
    for start in progress(_seeds(seed, config.n_init), description=f"PCA + GMM, seed {seed}"):
        mixture = GaussianMixture(n_clusters, max_iter=config.max_iter, random_state=start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
            history.append(mixture.fit_predict(Z))
        fits.append(mixture)
    best, clusters = max(zip(fits, history, strict=True), key=lambda pair: pair[0].lower_bound_)
    d = config.n_directions
    return Clustering(
        clusters=clusters.astype(np.int16),
        history=np.array(history, dtype=np.int16),
        n_parameters=X.shape[1] * (d + 1) + n_mixture_parameters(n_clusters, d),
        n_steps=int(best.n_iter_),
        converged=bool(best.converged_),
        seconds=clock.read(),
        curves={"log_likelihood": np.array([fit.lower_bound_ for fit in fits])},
    )


def _seeds(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(2**31, size=n).tolist()
