"""scikit-learn's clusterings of the same data, each as a mixture that can be scored like ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.init import assignment_start
from biglearn_core.numerics.linalg import floor_eigenvalues, symmetrize

__all__ = ["PEERS", "Peer", "fit_peer"]

PEERS = ("K-means", "GaussianMixture", "BayesianGaussianMixture")


@dataclass(frozen=True)
class Peer:
    """A fitted peer.

    Parameters
    ----------
    model : GMM
        Its mixture. K-means has none: that of its clusters, one M-step from its labels.
    predict : callable
        Clusters of points, an ndarray of shape (N, D), as an ndarray of int.
    n_iter : int
        Iterations of the best start.
    converged : bool
    """

    model: GMM
    predict: Callable[[np.ndarray], np.ndarray]
    n_iter: int
    converged: bool


def fit_peer(
    method: str,
    X: Tensor,
    n_components: int,
    *,
    covariance_floor: float,
    n_init: int,
    max_iter: int,
    tol: float,
    seed: int,
) -> Peer:
    """Fit one of `PEERS`.

    Parameters
    ----------
    method : str
        GaussianMixture starts from k-means, `n_init` times, as K-means does from k-means++.
        BayesianGaussianMixture starts once, with scikit-learn's default prior; its mixture is that
        of the posterior's means.
    X : Tensor of shape (N, D)
        On the CPU.
    n_components : int
        At most N.
    covariance_floor : float
        ε: `reg_covar` of the mixtures, which add it to every variance; the floor under the
        clusters of K-means.
    n_init : int
    max_iter : int
    tol : float
        Change of the mean log-likelihood, in nats, below which a mixture has converged; K-means
        keeps scikit-learn's.
    seed : int

    Returns
    -------
    peer : Peer

    Raises
    ------
    ValueError
        When there are fewer points than components.
    """
    if len(X) < n_components:
        raise ValueError(
            f"n_components={n_components} needs as many points, got {len(X)}: use fewer components"
        )
    data = X.numpy()
    if method == "K-means":
        peer = KMeans(n_components, n_init=n_init, max_iter=max_iter, random_state=seed)
        _fit(peer, data)
        labels = torch.as_tensor(peer.labels_).long()
        start = assignment_start(X, labels, n_components)
        covariances, _ = floor_eigenvalues(start.covariances, covariance_floor)
        model = GMM(start.weights, start.means, covariances)
        return Peer(model, peer.predict, peer.n_iter_, peer.n_iter_ < max_iter)
    options = {
        "reg_covar": covariance_floor,
        "max_iter": max_iter,
        "tol": tol,
        "random_state": seed,
    }
    if method == "GaussianMixture":
        peer = GaussianMixture(n_components, n_init=n_init, **options)
    elif method == "BayesianGaussianMixture":
        peer = BayesianGaussianMixture(n_components=n_components, **options)
    else:
        raise ValueError(f"there is no peer {method!r}; known are {PEERS}")
    _fit(peer, data)
    weights, means, covariances = (
        torch.as_tensor(parameter).to(X.dtype)
        for parameter in (peer.weights_, peer.means_, peer.covariances_)
    )
    model = GMM(weights / weights.sum(), means, symmetrize(covariances))
    return Peer(model, peer.predict, peer.n_iter_, peer.converged_)


def _fit(peer: KMeans | GaussianMixture | BayesianGaussianMixture, data: np.ndarray) -> None:
    with warnings.catch_warnings():
        # Whether it converged is reported; fewer distinct points than clusters leave some empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(data)
