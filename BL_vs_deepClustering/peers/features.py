"""BigLearn-EM on features made elsewhere: an autoencoder's code, or principal components.

Nothing here is chosen with labels. The features are centred and brought to a mean variance of one,
by one factor for all of them, so that their law keeps its shape. The floor of the covariances is
the published one for Fashion-MNIST, ε = 0.05, in these units, and α = 1/K. Candidates are fits by
the published schedule (70 iterations of 5 EM steps from a k-means++ start, then joint EM to
convergence) and by the search that is this library's default; the one of highest training
log-likelihood is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.experiments.parallel import progress
from biglearn_core.fit import fit_biglearn_em, fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.points import Points
from biglearn_core.search.search import SearchConfig, search_mixture
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.training import Clustering

__all__ = ["FITS", "FeatureMixtureConfig", "cluster_features", "to_unit_mean_variance"]

FITS = ("schedule", "search")


@dataclass(frozen=True, kw_only=True)
class FeatureMixtureConfig:
    """Settings of BigLearn-EM on features.

    Parameters
    ----------
    n_init : int
        Starts of each of `FITS`.
    n_iterations, n_local_steps : int
        Of the published schedule.
    covariance_floor : float
        ε, in units of the mean variance of the features.
    max_iter : int
        Joint EM steps at the end, at most.
    tol : float
        They stop when the mean log-likelihood rises by less; in nats.
    """

    n_init: int = 3
    n_iterations: int = 70
    n_local_steps: int = 5
    covariance_floor: float = 0.05
    max_iter: int = 500
    tol: float = 1e-5

    def __post_init__(self) -> None:
        if self.n_init < 1:
            raise ValueError(f"n_init must be at least 1, got {self.n_init}")


def to_unit_mean_variance(Z: Tensor) -> Tensor:
    """Centre features and divide all of them by one number, so that their mean variance is one.

    Parameters
    ----------
    Z : Tensor of shape (N, d)

    Returns
    -------
    scaled : Tensor of shape (N, d)

    Raises
    ------
    ValueError
        When all points coincide.
    """
    centred = Z - Z.mean(dim=0)
    variance = centred.square().mean()
    if not variance > 0:
        raise ValueError("all points have the same features: there is nothing to cluster")
    return centred / variance.sqrt()


def cluster_features(
    Z: Tensor,
    n_clusters: int,
    config: FeatureMixtureConfig,
    *,
    seed: int,
    n_projection: int,
    clock: Stopwatch,
) -> Clustering:
    """Cluster points by BigLearn-EM on their features.

    Parameters
    ----------
    Z : Tensor of shape (N, d)
    n_clusters : int
    config : FeatureMixtureConfig
    seed : int
    n_projection : int
        Parameters of what makes the features, counted with those of the mixture.
    clock : Stopwatch
        Started before the features were made, which is a part of the method.

    Returns
    -------
    clustering : Clustering
        Its history has a row per candidate; its curve is the mean log-likelihood of each, in nats,
        in the units of the scaled features.
    """
    scaled = to_unit_mean_variance(Z)
    seeds = np.random.default_rng(seed).integers(2**31, size=config.n_init).tolist()
    candidates = progress(
        _candidates(scaled, n_clusters, config, seeds),
        description=f"BigLearn-EM on features, seed {seed}",
        total=len(FITS) * config.n_init,
    )
    history, likelihoods, fits = [], [], []
    for candidate in candidates:
        history.append(candidate.model.predict(scaled).cpu().numpy().astype(np.int16))
        likelihoods.append(candidate.log_likelihood)
        fits.append((candidate.n_steps, candidate.converged))
    best = int(np.argmax(likelihoods))
    n_steps, converged = fits[best]
    return Clustering(
        clusters=history[best],
        history=np.array(history),
        n_parameters=n_projection + candidate.model.n_parameters,
        n_steps=n_steps,
        converged=converged,
        seconds=clock.read(),
        curves={"log_likelihood": np.array(likelihoods)},
    )


@dataclass(frozen=True, eq=False)
class _Candidate:
    model: GMM
    log_likelihood: float
    n_steps: int
    converged: bool


def _candidates(
    Z: Tensor, n_clusters: int, config: FeatureMixtureConfig, seeds: list[int]
) -> Iterator[_Candidate]:
    """Fit by the schedule from every seed, then by the search; the order of `FITS`."""
    for seed in seeds:
        scheduled = fit_biglearn_em(
            Z,
            kmeans_plusplus_start(Z, n_clusters, seed=seed),
            n_iter=config.n_iterations,
            n_local_steps=config.n_local_steps,
            covariance_floor=config.covariance_floor,
            weight_smoothing=1 / n_clusters,
            seed=seed,
        )
        joint = fit_joint_em(
            Z,
            scheduled.model,
            n_iter=config.max_iter,
            covariance_floor=config.covariance_floor,
            tol=config.tol,
        )
        n_steps = config.n_iterations * config.n_local_steps + joint.n_iter
        yield _Candidate(joint.model, _log_likelihood(Z, joint.model), n_steps, joint.converged)
    search = SearchConfig(max_iter=config.max_iter, tol=config.tol)
    for seed in seeds:
        found = search_mixture(
            Z, n_clusters, covariance_floor=config.covariance_floor, seed=seed, config=search
        )
        yield _Candidate(found.model, found.log_likelihood, found.n_iter, found.converged)


def _log_likelihood(Z: Tensor, model: GMM) -> float:
    with torch.inference_mode():
        return model.mean_log_prob(Points.of(Z))
