"""The autoencoder under all deep peers, its pretraining, and K-means on its code.

Fully connected, ReLU between the layers, linear code and linear output, as in DEC (J. Xie,
R. Girshick, A. Farhadi, "Unsupervised Deep Embedding for Clustering Analysis", ICML 2016, section
3.4 and figure 1), IDEC (X. Guo et al., IJCAI 2017) and EDESC (J. Cai et al., CVPR 2022).

What the papers leave open, or where this departs from them:

- DEC pretrains layer by layer with dropout, then all layers by SGD for 100000 steps. Here, as in
  the re-implementation by IDEC's authors (DEC-keras, whose figures are the public ones for
  Fashion-MNIST), all layers are trained at once in mini-batches of 256 by SGD with momentum 0.9
  and rate 1, which is that high because the loss is a mean over pixels. EDESC's authors take Adam
  with rate 0.001 and batches of 512.
- Weights start uniform on ±1/√(inputs of the layer), biases at zero, as in DEC-keras; none of the
  papers says how.
- DEC-keras trains for 300 epochs at a constant rate. Here the rate is constant for the first half
  of the epochs and then falls to zero along half a cosine, which takes the noise of the last
  mini-batches out of the code and lets fewer epochs suffice.
- At that rate some starts end in the mean image. A training that is no better after 500 updates,
  which needs no label to see, begins anew from other weights and says so.
- Pixels are in [0, 1]; DEC scales its data to a mean square of one.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F

from biglearn_core.experiments.network_training import Checkpoint, Linear, put_weights, weights_of
from biglearn_core.experiments.parallel import progress
from biglearn_core.system.numbers import check_integer
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.peers.training import (
    Clustering,
    MiniBatches,
    OptimizerConfig,
    count_parameters,
    in_chunks,
)

__all__ = [
    "Autoencoder",
    "CodeKMeansConfig",
    "PretrainConfig",
    "Pretrained",
    "cluster_code",
    "kmeans_on_code",
    "pretrain",
]

# A rate of one sometimes kills all units at once; what is left is the mean image. That shows within
# these updates, when a training that learns has an error of a third of the mean's.
_UPDATES_TO_LEARN = 500
_LEARNED = 0.9
_MOST_RESTARTS = 5


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(OptimizerConfig):
    """How an autoencoder is pretrained.

    Parameters
    ----------
    optimizer, learning_rate, momentum
        As `OptimizerConfig` has them; the rate is that of the start.
    hidden : tuple of int
        Widths of the encoder's hidden layers; the decoder has them in reverse.
    n_code : int
        Width of the code.
    n_epochs : int
    batch_size : int
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 1.0
    hidden: tuple[int, ...] = (500, 500, 2000)
    n_code: int = 10
    n_epochs: int = 150
    batch_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_code", "n_epochs", "batch_size"):
            check_integer(name, getattr(self, name), least=1)

    def rate_at(self, progress: float) -> float:
        """Learning rate after a share of the epochs, from 0 to 1."""
        falling = max(0.0, 2 * progress - 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * falling))


@dataclass(frozen=True, kw_only=True)
class CodeKMeansConfig:
    """Settings of K-means on the code.

    Parameters
    ----------
    n_init : int
        Starts, the best of which is kept; 20 as in DEC, section 3.3.
    """

    n_init: int = 20


class Autoencoder(nn.Module):
    """Encoder and decoder of mirrored widths.

    Parameters
    ----------
    n_features : int
        D.
    hidden : sequence of int
    n_code : int
    generator : torch.Generator
        On the CPU; draws the weights.
    """

    def __init__(
        self, n_features: int, hidden: Sequence[int], n_code: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        widths = [n_features, *hidden, n_code]
        self.encoder = _layers(widths, generator)
        self.decoder = _layers(widths[::-1], generator)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        config: PretrainConfig,
        *,
        device: torch.device | str = "cpu",
    ) -> Autoencoder:
        """Rebuild what `Pretrained.arrays` gave.

        Parameters
        ----------
        arrays : mapping of str to ndarray
        config : PretrainConfig
            Of the pretraining.
        device : torch.device or str

        Returns
        -------
        model : Autoencoder
        """
        prefix = "weight/"
        weights = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        n_features = weights["encoder.0.weight"].shape[1]
        # The weights drawn here are overwritten.
        model = cls(n_features, config.hidden, config.n_code, generator=torch.Generator())
        put_weights(model, weights)
        return model.to(device).requires_grad_(False)

    def forward(self, X: Tensor) -> Tensor:
        """Reconstruct points.

        Parameters
        ----------
        X : Tensor of shape (N, D)

        Returns
        -------
        reconstruction : Tensor of shape (N, D)
        """
        return self.decoder(self.encoder(X))

    def encode(self, X: Tensor) -> Tensor:
        """Code of many points, without gradients.

        Parameters
        ----------
        X : Tensor of shape (N, D)

        Returns
        -------
        Z : Tensor of shape (N, n_code)
        """
        return in_chunks(self.encoder, X)


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pretrained autoencoder.

    Parameters
    ----------
    model : Autoencoder
    losses : float64 ndarray of shape (n_epochs,)
        Mean squared error of a pixel, the mean over the mini-batches of each epoch.
    seconds : float
    restarts : int
        How often the training began anew because it had learned no more than the mean image.
    """

    model: Autoencoder
    losses: np.ndarray
    seconds: float
    restarts: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights, losses and restarts by name; `Autoencoder.from_arrays` takes the weights.

        Returns
        -------
        arrays : dict of str to ndarray
        """
        own = {"losses": self.losses, "restarts": np.array(self.restarts)}
        return own | {f"weight/{name}": array for name, array in weights_of(self.model).items()}


def pretrain(
    X: Tensor,
    config: PretrainConfig,
    *,
    seed: int,
    checkpoint: str | os.PathLike | None = None,
) -> Pretrained:
    """Train an autoencoder to reconstruct points, by the mean squared error.

    A training that does not learn begins anew from other weights, with a warning.

    Parameters
    ----------
    X : float32 Tensor of shape (N, D)
    config : PretrainConfig
    seed : int
        Draws the weights and the mini-batches.
    checkpoint : path-like, optional
        File that keeps the state after every epoch; where it exists, the training goes on from it.

    Returns
    -------
    pretrained : Pretrained

    Raises
    ------
    ValueError
        When the state there is of other data or settings, or damaged.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Autoencoder:
        return Autoencoder(X.shape[1], config.hidden, config.n_code, generator=generator)

    model = draw().to(X.device)
    optimizer = config.make_optimizer(model)
    state = Checkpoint(checkpoint, data=X, seed=seed, **asdict(config))
    saved = state.load(model, optimizer, names=("losses", "seconds", "restarts"))
    if saved is None:
        saved = {"losses": np.empty(0), "seconds": 0.0, "restarts": 0}
    losses, clock = saved["losses"].tolist(), Stopwatch(float(saved["seconds"]))
    restarts = int(saved["restarts"])
    for _ in range(restarts):
        draw()  # the next weights are those of an unbroken training
    batches = MiniBatches(len(X), config.batch_size, seed=seed, device=X.device)
    trial = -(-_UPDATES_TO_LEARN // batches.per_epoch)
    mean_error = (X - X.mean(dim=0)).square().mean().item()
    epochs = progress(
        _missing(losses, config.n_epochs),
        description=f"autoencoder, seed {seed}: epochs",
        total=config.n_epochs - len(losses),
    )
    for epoch in epochs:
        total = torch.zeros((), dtype=torch.float64, device=X.device)
        for step in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
            optimizer.param_groups[0]["lr"] = config.rate_at(
                step / (config.n_epochs * batches.per_epoch)
            )
            batch = X[batches.rows(step)]
            loss = F.mse_loss(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        losses.append(total.item() / batches.per_epoch)
        failed = len(losses) == trial and losses[-1] > _LEARNED * mean_error
        if failed and restarts < _MOST_RESTARTS:
            restarts += 1
            warnings.warn(
                f"the autoencoder of seed {seed} has learned no more than the mean image (error "
                f"{losses[-1]:.4f}, of the mean {mean_error:.4f}); restart {restarts} from other "
                "weights",
                stacklevel=2,
            )
            model.load_state_dict(draw().state_dict())
            optimizer.state.clear()
            losses.clear()
        state.save(
            model, optimizer, {"losses": losses, "seconds": clock.read(), "restarts": restarts}
        )
    return Pretrained(model.requires_grad_(False), np.array(losses), clock.read(), restarts)


def _missing(losses: list[float], n_epochs: int) -> Iterator[int]:
    """Give the number of the next epoch, until there is a loss of each."""
    while len(losses) < n_epochs:
        yield len(losses)


def kmeans_on_code(Z: Tensor, n_clusters: int, *, n_init: int, seed: int) -> KMeans:
    """Run scikit-learn's K-means on codes.

    Parameters
    ----------
    Z : Tensor of shape (N, n_code)
    n_clusters : int
    n_init : int
        Starts, the best of which is kept.
    seed : int

    Returns
    -------
    fitted : KMeans
    """
    return KMeans(n_clusters, n_init=n_init, random_state=seed).fit(Z.cpu().numpy())


def cluster_code(
    X: Tensor, model: Autoencoder, n_clusters: int, config: CodeKMeansConfig, *, seed: int
) -> Clustering:
    """Cluster points by K-means on their code: the peer AE + K-means.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    model : Autoencoder
        Pretrained.
    n_clusters : int
    config : CodeKMeansConfig
    seed : int

    Returns
    -------
    clustering : Clustering
        Its history is the final clustering alone.
    """
    clock = Stopwatch()
    fitted = kmeans_on_code(model.encode(X), n_clusters, n_init=config.n_init, seed=seed)
    clusters = fitted.labels_.astype(np.int16)
    return Clustering(
        clusters=clusters,
        history=clusters[None],
        n_parameters=count_parameters(model.encoder) + fitted.cluster_centers_.size,
        n_steps=int(fitted.n_iter_),
        converged=True,
        seconds=clock.read(),
    )


def _layers(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        # Linear's own initialisation would draw from the global generator.
        layer = nn.utils.skip_init(Linear, n_in, n_out)
        bound = 1 / math.sqrt(n_in)
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
