"""BigLearn-EM on the code of an autoencoder, the features of the peer AE + K-means."""

from __future__ import annotations

from torch import Tensor

from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.autoencoder import Autoencoder
from BL_vs_deepClustering.peers.features import FeatureMixtureConfig, cluster_features
from BL_vs_deepClustering.peers.training import Clustering, count_parameters

__all__ = ["cluster_code_by_mixture"]


def cluster_code_by_mixture(
    X: Tensor, autoencoder: Autoencoder, n_clusters: int, config: FeatureMixtureConfig, *, seed: int
) -> Clustering:
    """Cluster points by BigLearn-EM on their code.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    autoencoder : Autoencoder
        Pretrained.
    n_clusters : int
    config : FeatureMixtureConfig
    seed : int

    Returns
    -------
    clustering : Clustering
        As `cluster_features` gives it.
    """
    clock = Stopwatch()
    Z, n_projection = autoencoder.encode(X), count_parameters(autoencoder.encoder)
    return cluster_features(
        Z, n_clusters, config, seed=seed, n_projection=n_projection, clock=clock
    )
