"""BigLearn-EM on principal components, the features of the peer PCA + GaussianMixture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.features import FeatureMixtureConfig, cluster_features
from BL_vs_deepClustering.peers.shallow import PCAConfig, principal_components
from BL_vs_deepClustering.peers.training import Clustering

__all__ = ["ComponentMixtureConfig", "cluster_components"]


@dataclass(frozen=True, kw_only=True)
class ComponentMixtureConfig(FeatureMixtureConfig, PCAConfig):
    """Settings of the mixture and of the principal components, as either class has them."""


def cluster_components(
    X: Tensor, n_clusters: int, config: ComponentMixtureConfig, *, seed: int
) -> Clustering:
    """Cluster points by BigLearn-EM on their principal components.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_clusters : int
    config : ComponentMixtureConfig
    seed : int

    Returns
    -------
    clustering : Clustering
        As `cluster_features` gives it.
    """
    clock = Stopwatch()
    Z = torch.as_tensor(principal_components(X, config.n_directions), device=X.device)
    n_projection = X.shape[1] * (config.n_directions + 1)
    return cluster_features(
        Z, n_clusters, config, seed=seed, n_projection=n_projection, clock=clock
    )
