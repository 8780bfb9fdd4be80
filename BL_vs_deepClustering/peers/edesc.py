"""EDESC: the code is moved towards subspaces, one per cluster, that are learned with it.

J. Cai, J. Fan, W. Guo, S. Wang, Y. Zhang, Z. Zhang, "Efficient Deep Embedded Subspace Clustering",
CVPR 2022. Settings are those of the authors' public code for Reuters, since they publish none
for Fashion-MNIST: d = 5, η = 5, β = 0.1, 200 full-batch steps of Adam with rate 0.001, pretraining
of 50 epochs in batches of 512; n_z = K·d = 50 is also what the published BigLearn-EM script gives
EDESC on these data.

What the paper leaves open, or where code and paper differ:

- The divergence is averaged over all N·K elements, not over points (the code): β = 0.1 means that.
- The penalties on D are norms, not squared norms, each times 0.001 (the code).
- The start of D, by the code: the d leading left singular vectors of the codes of every group of
  K-means, not centred.
- The autoencoder is pretrained as the others here are, its biases from zero and its rate falling
  over the second half of the epochs; the authors keep the rate.
- The authors print the best accuracy over the epochs, chosen with labels; here that is a column of
  its own, beside the final model.

One step sees all points; its gradient is summed over chunks, which is exact, since both means are
sums over points.
"""

from __future__ import annotations

import copy
import os
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from biglearn_core.experiments.network_training import Checkpoint
from biglearn_core.experiments.parallel import progress
from biglearn_core.system.numbers import check_integer, check_real
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.autoencoder import Autoencoder, PretrainConfig, kmeans_on_code
from BL_vs_deepClustering.peers.dec import target_distribution
from BL_vs_deepClustering.peers.training import (
    Clustering,
    OptimizerConfig,
    count_parameters,
    hard_labels,
    in_chunks,
)

__all__ = ["EDESCConfig", "fit_edesc", "start_subspaces", "subspace_affinity",
           "subspace_penalty"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EDESCConfig:
    """Settings of EDESC.

    Parameters
    ----------
    n_directions : int
        d, dimension of every subspace.
    smoothing : float
        η, which draws affinities to uniform.
    clustering_weight : float
        β, factor of the divergence.
    penalty_weight : float
        Factor of the penalties on the subspaces.
    learning_rate : float
        Of Adam.
    n_steps : int
        Full-batch steps, the target renewed at each.
    n_init : int
        Starts of K-means for the subspaces.
    chunk_size : int
        Points whose gradients are held at once; changes rounding alone.
    checkpoint_every : int
        Steps between two writes of the state.
    """

    n_directions: int = 5
    smoothing: float = 5.0
    clustering_weight: float = 0.1
    penalty_weight: float = 1e-3
    learning_rate: float = 1e-3
    n_steps: int = 200
    n_init: int = 20
    chunk_size: int = 2048
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        for name in ("n_directions", "n_steps", "n_init", "chunk_size", "checkpoint_every"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("smoothing", "clustering_weight", "penalty_weight"):
            check_real(name, getattr(self, name), least=0)
        check_real("learning_rate", self.learning_rate, positive=True)

    def pretraining(self, n_clusters: int, *, n_epochs: int = 50) -> PretrainConfig:
        """Pretraining of the autoencoder that EDESC starts from.

        Parameters
        ----------
        n_clusters : int
        n_epochs : int, default 50

        Returns
        -------
        config : PretrainConfig
        """
        return PretrainConfig(
            hidden=(500, 500, 1000),
            n_code=n_clusters * self.n_directions,
            n_epochs=n_epochs,
            batch_size=512,
            optimizer="adam",
            learning_rate=1e-3,
        )


def subspace_affinity(Z: Tensor, D: Tensor, *, n_clusters: int, smoothing: float) -> Tensor:
    """Affinity of codes to subspaces: s_ij ∝ ‖D_jᵀ z_i‖² + ηd (EDESC).

    Parameters
    ----------
    Z : Tensor of shape (N, n_z)
    D : Tensor of shape (n_z, K·d)
        A basis of d columns per subspace.
    n_clusters : int
    smoothing : float
        η.

    Returns
    -------
    s : Tensor of shape (N, K)
        Rows sum to one. The paper's divisor (η+1)d cancels in the rows.
    """
    n_directions = D.shape[1] // n_clusters
    projected = (Z @ D).reshape(len(Z), n_clusters, n_directions)
    affinity = projected.square().sum(dim=2) + smoothing * n_directions
    return affinity / affinity.sum(dim=1, keepdim=True)


def subspace_penalty(D: Tensor, *, n_clusters: int) -> Tensor:
    """How far the bases are from unit columns and from being orthogonal to one another.

    Parameters
    ----------
    D : Tensor of shape (n_z, K·d)
    n_clusters : int

    Returns
    -------
    penalty : Tensor of shape ()
        ‖DᵀD∘I − I‖_F + ‖DᵀD∘O‖_F, O being one outside the d×d blocks of the diagonal.
    """
    n_columns = D.shape[1]
    block = torch.arange(n_columns, device=D.device) // (n_columns // n_clusters)
    gram = D.T @ D
    return (gram.diagonal() - 1).norm() + gram[block[:, None] != block].norm()


def start_subspaces(Z: Tensor, labels: np.ndarray, *, n_clusters: int, n_directions: int) -> Tensor:
    """Leading directions of the codes of every group.

    Parameters
    ----------
    Z : Tensor of shape (N, n_z)
    labels : int ndarray of shape (N,)
        Groups 0..K−1, each of at least `n_directions` points.
    n_clusters, n_directions : int

    Returns
    -------
    D : Tensor of shape (n_z, K·d)

    Raises
    ------
    ValueError
        When a group has fewer points than directions.
    """
    least = int(np.bincount(labels, minlength=n_clusters).min())
    if least < n_directions:
        raise ValueError(
            f"a K-means group of {least} points cannot span {n_directions} directions; use more "
            "data, fewer clusters or fewer directions"
        )
    groups = torch.as_tensor(labels, device=Z.device)
    bases = []
    for k in range(n_clusters):
        members = Z[groups == k].double()
        bases.append(torch.linalg.eigh(members.T @ members).eigenvectors.flip(1)[:, :n_directions])
    return torch.cat(bases, dim=1).to(Z)


def fit_edesc(
    X: Tensor,
    autoencoder: Autoencoder,
    n_clusters: int,
    config: EDESCConfig,
    *,
    seed: int,
    checkpoint: str | os.PathLike | None = None,
) -> Clustering:
    """Cluster points by EDESC.

    Parameters
    ----------
    X : float32 Tensor of shape (N, D)
    autoencoder : Autoencoder
        Pretrained, with a code of K·d; it is copied.
    n_clusters : int
    config : EDESCConfig
    seed : int
        Draws the start of K-means; nothing else is random.
    checkpoint : path-like, optional
        File that keeps the state; where it exists, the fit goes on from it.

    Returns
    -------
    clustering : Clustering
        Its history has a row per step, the start first; its curve is the loss before every step.

    Raises
    ------
    ValueError
        When the code has another width, or the state there is of other data, settings or
        autoencoder, or damaged.
    """
    n_code = autoencoder.encoder[-1].out_features
    if n_code != n_clusters * config.n_directions:
        raise ValueError(
            f"EDESC's code has {n_clusters} x {config.n_directions} = "
            f"{n_clusters * config.n_directions} entries, this autoencoder's has {n_code}"
        )
    clock = Stopwatch()
    model = _Model(autoencoder, n_clusters * config.n_directions)
    adam = OptimizerConfig(optimizer="adam", learning_rate=config.learning_rate)
    optimizer = adam.make_optimizer(model)
    state = Checkpoint(
        checkpoint, data=X, start=autoencoder, seed=seed, n_clusters=n_clusters, **asdict(config)
    )
    saved = state.load(model, optimizer, names=("history", "losses", "seconds"))
    if saved is None:
        Z = model.encode(X)
        groups = kmeans_on_code(Z, n_clusters, n_init=config.n_init, seed=seed).labels_
        model.D.data = start_subspaces(
            Z, groups, n_clusters=n_clusters, n_directions=config.n_directions
        )
        history, losses = [], []
    else:
        history, losses = list(saved["history"]), saved["losses"].tolist()
        clock = Stopwatch(float(saved["seconds"]))
    for step in progress(range(len(losses), config.n_steps), description=f"EDESC, seed {seed}"):
        s = model.affinity(X, n_clusters, config)
        history.append(hard_labels(s))
        losses.append(_step(model, optimizer, X, target_distribution(s), n_clusters, config))
        if (step + 1) % config.checkpoint_every == 0:
            state.save(model, optimizer, {
                "history": history, "losses": losses, "seconds": clock.read(),
            })  # fmt: skip
    clusters = hard_labels(model.affinity(X, n_clusters, config))
    return Clustering(
        clusters=clusters,
        history=np.array([*history, clusters]),
        n_parameters=count_parameters(model.encoder) + model.D.numel(),
        n_steps=config.n_steps,
        converged=False,
        seconds=clock.read(),
        curves={"loss": np.array(losses)},
    )


class _Model(nn.Module):
    """Autoencoder and the bases of all subspaces, side by side."""

    def __init__(self, autoencoder: Autoencoder, n_columns: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(autoencoder.encoder).requires_grad_(True)
        self.decoder = copy.deepcopy(autoencoder.decoder).requires_grad_(True)
        code = self.encoder[-1]
        self.D = nn.Parameter(code.weight.new_empty(code.out_features, n_columns))

    def encode(self, X: Tensor) -> Tensor:
        return in_chunks(self.encoder, X)

    def affinity(self, X: Tensor, n_clusters: int, config: EDESCConfig) -> Tensor:
        """Affinities of all points, without gradients."""
        return subspace_affinity(
            self.encode(X), self.D.detach(), n_clusters=n_clusters, smoothing=config.smoothing
        )


def _step(
    model: _Model,
    optimizer: torch.optim.Optimizer,
    X: Tensor,
    target: Tensor,
    n_clusters: int,
    config: EDESCConfig,
) -> float:
    """Take one full-batch step; return the loss before it."""
    optimizer.zero_grad()
    total = 0.0
    for x, t in zip(X.split(config.chunk_size), target.split(config.chunk_size), strict=True):
        Z = model.encoder(x)
        s = subspace_affinity(Z, model.D, n_clusters=n_clusters, smoothing=config.smoothing)
        error = (model.decoder(Z) - x).square().sum() / X.numel()
        divergence = (torch.xlogy(t, t) - t * s.log()).sum() / target.numel()
        loss = error + config.clustering_weight * divergence
        loss.backward()
        total += loss.item()
    penalty = config.penalty_weight * subspace_penalty(model.D, n_clusters=n_clusters)
    penalty.backward()
    optimizer.step()
    return total + penalty.item()
