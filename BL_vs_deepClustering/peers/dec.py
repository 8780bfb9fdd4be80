"""DEC and IDEC: the code of an autoencoder is moved towards its own confident assignments.

DEC: J. Xie, R. Girshick, A. Farhadi, "Unsupervised Deep Embedding for Clustering Analysis", ICML
2016: soft assignment (equation 1), target (3), loss (2), centres from K-means with 20 starts, SGD
with rate 0.01 and momentum 0.9, mini-batches of 256, stop at 0.1% changed labels.
IDEC: X. Guo, L. Gao, X. Liu, J. Yin, "Improved Deep Embedded Clustering with Local Structure
Preservation", IJCAI 2017: the decoder stays and its error is added to the loss, γ = 0.1, Adam with
rate 0.001, target renewed every 140 mini-batches.

What the papers leave open, or where code and paper differ:

- DEC's paper does not say when its target is renewed; 140 mini-batches is its public code and IDEC.
- The loss is a mean: KL(p‖q) over points, the squared error over points and pixels (IDEC's
  code; its equation writes sums). γ = 0.1 means that ratio.
- The papers bound the updates nowhere; public code stops at 20000, here `max_updates`.
- Mini-batches are permuted in every epoch; the public code walks through the data in order.

The target is computed from all points at once: its cluster frequencies f_j = Σ_i q_ij are those of
the data. A target made from each mini-batch alone, as some re-implementations have it, is another
one.
"""

from __future__ import annotations

import copy
import os
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from biglearn_core.experiments.network_training import Checkpoint
from biglearn_core.experiments.parallel import progress
from biglearn_core.system.numbers import check_integer, check_real
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.autoencoder import Autoencoder, kmeans_on_code
from BL_vs_deepClustering.peers.training import (
    Clustering,
    MiniBatches,
    OptimizerConfig,
    count_parameters,
    hard_labels,
    in_chunks,
)

__all__ = ["DEC", "IDEC", "DECConfig", "fit_dec", "soft_assignment", "target_distribution"]


@dataclass(frozen=True, kw_only=True)
class DECConfig(OptimizerConfig):
    """Settings of DEC or IDEC; `DEC` and `IDEC` are the published ones.

    Parameters
    ----------
    optimizer, learning_rate, momentum
        As `OptimizerConfig` has them.
    keep_decoder : bool
        Whether the reconstruction stays in the loss: IDEC.
    clustering_weight : float
        γ, factor of KL(p‖q).
    batch_size, update_interval : int
        Points of a mini-batch, and mini-batches between two renewals of the target.
    max_updates : int
        Mini-batches in all, at most.
    tol : float
        Share of labels changed since the last renewal, below which training stops.
    n_init : int
        Starts of K-means for the centres.
    """

    keep_decoder: bool
    clustering_weight: float
    batch_size: int = 256
    update_interval: int = 140
    max_updates: int = 20000
    tol: float = 1e-3
    n_init: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "update_interval", "max_updates", "n_init"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("clustering_weight", "tol"):
            check_real(name, getattr(self, name), least=0)

    @property
    def n_rounds(self) -> int:
        """Renewals of the target, at most."""
        return -(-self.max_updates // self.update_interval)


DEC = DECConfig(keep_decoder=False, clustering_weight=1.0, optimizer="sgd", learning_rate=0.01)
IDEC = DECConfig(keep_decoder=True, clustering_weight=0.1, optimizer="adam", learning_rate=1e-3)


def soft_assignment(Z: Tensor, centres: Tensor) -> Tensor:
    """Student's t similarity of codes to centres, one degree of freedom (DEC, equation 1).

    Parameters
    ----------
    Z : Tensor of shape (N, d)
    centres : Tensor of shape (K, d)

    Returns
    -------
    q : Tensor of shape (N, K)
        Rows sum to one.
    """
    squared = (Z[:, None, :] - centres).square().sum(dim=2)
    similarity = 1 / (1 + squared)
    return similarity / similarity.sum(dim=1, keepdim=True)


def target_distribution(q: Tensor) -> Tensor:
    """Sharpen assignments: p_ij ∝ q_ij² / Σ_i q_ij (DEC, equation 3).

    Parameters
    ----------
    q : Tensor of shape (N, K)
        Of all points: the frequencies Σ_i q_ij are meant to be those of the data.

    Returns
    -------
    p : Tensor of shape (N, K)
        Rows sum to one.
    """
    sharpened = q.square() / q.sum(dim=0)
    return sharpened / sharpened.sum(dim=1, keepdim=True)


def fit_dec(
    X: Tensor,
    autoencoder: Autoencoder,
    n_clusters: int,
    config: DECConfig,
    *,
    seed: int,
    checkpoint: str | os.PathLike | None = None,
) -> Clustering:
    """Cluster points by DEC or IDEC.

    Parameters
    ----------
    X : float32 Tensor of shape (N, D)
    autoencoder : Autoencoder
        Pretrained; it is copied.
    n_clusters : int
    config : DECConfig
    seed : int
        Draws the start of K-means and the mini-batches.
    checkpoint : path-like, optional
        File that keeps the state at every renewal of the target; where it exists, the fit goes on
        from it.

    Returns
    -------
    clustering : Clustering
        Its history has a row per renewal, the K-means start first; its curves are the share of
        changed labels at each, and the mean loss of the updates before it.

    Raises
    ------
    ValueError
        When the state there is of other data, settings or autoencoder, or damaged.
    """
    clock = Stopwatch()
    model = _Model(autoencoder, n_clusters, keep_decoder=config.keep_decoder)
    optimizer = config.make_optimizer(model)
    state = Checkpoint(
        checkpoint, data=X, start=autoencoder, seed=seed, n_clusters=n_clusters, **asdict(config)
    )
    saved = state.load(model, optimizer, names=("history", "changes", "losses", "seconds"))
    if saved is None:
        fitted = kmeans_on_code(model.encode(X), n_clusters, n_init=config.n_init, seed=seed)
        model.centres.data = torch.as_tensor(fitted.cluster_centers_).to(X)
        history, changes, losses = [fitted.labels_.astype(np.int16)], [], []
    else:
        history, changes, losses = (list(saved[n]) for n in ("history", "changes", "losses"))
        clock = Stopwatch(float(saved["seconds"]))
    batches = MiniBatches(len(X), config.batch_size, seed=seed, device=X.device)
    converged = False
    name = "IDEC" if config.keep_decoder else "DEC"
    rounds = range(len(losses), config.n_rounds)
    q = model.assignment(X)
    for round_ in progress(rounds, description=f"{name}, seed {seed}: renewals of the target"):
        p = target_distribution(q)
        total, first = 0.0, round_ * config.update_interval
        updates = range(first, min(first + config.update_interval, config.max_updates))
        for update in updates:
            rows = batches.rows(update)
            loss = model.loss(X[rows], p[rows], config.clustering_weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        losses.append(float(total) / len(updates))
        q = model.assignment(X)
        clusters = hard_labels(q)
        changes.append(changed_share(clusters, history[-1]))
        history.append(clusters)
        converged = changes[-1] < config.tol
        if converged:
            break
        state.save(model, optimizer, {
            "history": history, "changes": changes, "losses": losses, "seconds": clock.read(),
        })  # fmt: skip
    return Clustering(
        clusters=history[-1],
        history=np.array(history),
        n_parameters=count_parameters(model.encoder) + model.centres.numel(),
        n_steps=min(len(losses) * config.update_interval, config.max_updates),
        converged=converged,
        seconds=clock.read(),
        curves={"changed_labels": np.array(changes), "loss": np.array(losses)},
    )


def changed_share(clusters: np.ndarray, previous: np.ndarray) -> float:
    """Share of points whose cluster is another one than before.

    Parameters
    ----------
    clusters, previous : int ndarray of shape (N,)

    Returns
    -------
    share : float
    """
    return float(np.mean(clusters != previous))


class _Model(nn.Module):
    """Encoder, centres and, for IDEC, the decoder."""

    def __init__(self, autoencoder: Autoencoder, n_clusters: int, *, keep_decoder: bool) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(autoencoder.encoder).requires_grad_(True)
        self.decoder = None
        if keep_decoder:
            self.decoder = copy.deepcopy(autoencoder.decoder).requires_grad_(True)
        code = self.encoder[-1]
        self.centres = nn.Parameter(code.weight.new_empty(n_clusters, code.out_features))

    def encode(self, X: Tensor) -> Tensor:
        return in_chunks(self.encoder, X)

    def assignment(self, X: Tensor) -> Tensor:
        """Soft assignments of all points, without gradients."""
        return soft_assignment(self.encode(X), self.centres.detach())

    def loss(self, X: Tensor, p: Tensor, clustering_weight: float) -> Tensor:
        Z = self.encoder(X)
        divergence = F.kl_div(soft_assignment(Z, self.centres).log(), p, reduction="batchmean")
        if self.decoder is None:
            return clustering_weight * divergence
        return F.mse_loss(self.decoder(Z), X) + clustering_weight * divergence
