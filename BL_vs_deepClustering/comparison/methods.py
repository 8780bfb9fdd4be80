"""The methods of the comparison, a row each, and the settings that they have in common.

All that the run, the tables and the figures know of a method stands in its row; how it works, in
its own module of `peers`. A new one is a file there and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from biglearn_core.experiments.network_training import MatmulPrecision, check_precision
from BL_vs_deepClustering.peers.autoencoder import CodeKMeansConfig, PretrainConfig, cluster_code
from BL_vs_deepClustering.peers.biglearn_ae import cluster_code_by_mixture
from BL_vs_deepClustering.peers.biglearn_pca import ComponentMixtureConfig, cluster_components
from BL_vs_deepClustering.peers.dec import DEC, IDEC, fit_dec
from BL_vs_deepClustering.peers.edesc import EDESCConfig, fit_edesc
from BL_vs_deepClustering.peers.features import FeatureMixtureConfig
from BL_vs_deepClustering.peers.shallow import (
    KMeansConfig,
    PCAMixtureConfig,
    cluster_kmeans,
    cluster_pca_mixture,
)
from BL_vs_deepClustering.peers.training import Clustering

__all__ = ["METHODS", "Config", "Method", "shared_pretraining"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of the comparison.

    Parameters
    ----------
    label : str
        Its name in tables and figures; where others report scores of the same method, it is that of
        `published.FASHION_PEERS`.
    fit : callable
        Called as fit(X, n_clusters, settings, seed=seed), gives a `Clustering`; behind X comes the
        autoencoder where there is a pretraining. The code that decides the outcome is the module
        that defines it, with what that imports.
    settings : callable
        Gives the method's own settings, a dataclass, under those of the comparison.
    pretraining : callable, optional
        Gives the pretraining of the method's autoencoder under the settings of the comparison;
        methods of equal pretraining share the autoencoder. None where it needs none.
    trains_network : bool
        Whether `fit` itself trains a network: by the precision of the comparison, and with a file
        for its state as the option `checkpoint`.
    """

    label: str
    fit: Callable[..., Clustering]
    settings: Callable[[Config], Any]
    pretraining: Callable[[Config], PretrainConfig] | None = None
    trains_network: bool = False


def shared_pretraining(common: Config) -> PretrainConfig:
    """Pretraining of the autoencoder that several methods share.

    Parameters
    ----------
    common : Config

    Returns
    -------
    pretraining : PretrainConfig
    """
    return PretrainConfig(n_epochs=common.n_epochs)


# In the order of the tables; the longest last, which are begun first.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "kmeans": Method(
            label="K-means",
            fit=cluster_kmeans,
            settings=lambda common: KMeansConfig(),
        ),
        "pca-gmm": Method(
            label="PCA + GaussianMixture",
            fit=cluster_pca_mixture,
            settings=lambda common: PCAMixtureConfig(),
        ),
        "ae-kmeans": Method(
            label="AE + K-means",
            fit=cluster_code,
            settings=lambda common: CodeKMeansConfig(),
            pretraining=shared_pretraining,
        ),
        "dec": Method(
            label="DEC",
            fit=fit_dec,
            settings=lambda common: replace(DEC, max_updates=common.n_updates),
            pretraining=shared_pretraining,
            trains_network=True,
        ),
        "idec": Method(
            label="IDEC",
            fit=fit_dec,
            settings=lambda common: replace(IDEC, max_updates=common.n_updates),
            pretraining=shared_pretraining,
            trains_network=True,
        ),
        "edesc": Method(
            label="EDESC",
            fit=fit_edesc,
            settings=lambda common: EDESCConfig(n_steps=common.n_steps),
            pretraining=lambda common: EDESCConfig().pretraining(
                common.n_clusters, n_epochs=min(50, common.n_epochs)
            ),
            trains_network=True,
        ),
        "biglearn-pca": Method(
            label="BigLearn-EM on PCA",
            fit=cluster_components,
            settings=lambda common: ComponentMixtureConfig(),
        ),
        "biglearn-ae": Method(
            label="BigLearn-EM on AE code",
            fit=cluster_code_by_mixture,
            settings=lambda common: FeatureMixtureConfig(),
            pretraining=shared_pretraining,
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the comparison; what is not here is as each peer's module states it.

    Parameters
    ----------
    methods : tuple of str
        Of `METHODS`; "all" among them stands for all.
    seeds : tuple of int
    n_images : int
        Images taken from all 70000, at random where fewer, always the same.
    n_clusters : int
        K.
    n_epochs : int
        Of the pretraining of an autoencoder; EDESC's own takes at most its published 50.
    n_updates : int
        Mini-batches of DEC and IDEC, at most.
    n_steps : int
        Full-batch steps of EDESC.
    precision : {"highest", "high", "medium"}
        Of the matrix products that train the networks, as `matmul_precision` has it. All mixtures
        are fitted in full float32.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = (0,)
    n_images: int = 70000
    n_clusters: int = 10
    n_epochs: int = 150
    n_updates: int = 20000
    n_steps: int = 200
    precision: MatmulPrecision = "highest"

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if "all" in self.methods:
            object.__setattr__(self, "methods", tuple(METHODS))
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"there is no method {method!r}; there are: {', '.join(METHODS)}")
        for name in ("methods", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from one another, got {values}")
        if min(self.seeds, default=0) < 0:
            raise ValueError(f"seeds must not be negative, got {self.seeds}")
        for name in ("n_images", "n_clusters", "n_epochs", "n_updates", "n_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
