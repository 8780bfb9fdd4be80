"""A small convolutional classifier, trained once by a fixed recipe and kept with the results."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biglearn_core.experiments.network_training import put_weights, weights_of
from biglearn_core.experiments.store import ResultStore
from biglearn_core.system.digest import digest
from biglearn_core.system.progress import progress_bar

__all__ = ["ImageNetwork", "NetworkConfig", "load_network", "train_network"]

# Below zero. Of zero, most of the last hidden units die, and are no features.
_SLOPE = 0.1


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """How the classifier is trained: Adam, the rate falling to zero as a cosine.

    Parameters
    ----------
    channels : tuple of int
        Of the two convolutions.
    n_hidden : int
        Width of the last hidden layer, whose values are the features.
    n_epochs, batch_size : int
    learning_rate : float
        At the start.
    seed : int
        Of weights and order.
    """

    channels: tuple[int, int] = (16, 32)
    n_hidden: int = 64
    n_epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


class ImageNetwork(nn.Module):
    """Two convolutions, each halved by pooling, and two linear layers.

    Parameters
    ----------
    side : int
        Of images, a multiple of four.
    n_classes : int
    config : NetworkConfig
    """

    def __init__(self, side: int, n_classes: int, config: NetworkConfig) -> None:
        super().__init__()
        first, second = config.channels
        n_flat = second * (side // 4) ** 2
        # What they draw at first is from the global generator; `reset` draws from another.
        self.first = nn.utils.skip_init(nn.Conv2d, 1, first, 3, padding=1)
        self.second = nn.utils.skip_init(nn.Conv2d, first, second, 3, padding=1)
        self.hidden = nn.utils.skip_init(nn.Linear, n_flat, config.n_hidden)
        self.last = nn.utils.skip_init(nn.Linear, config.n_hidden, n_classes)
        self._side = side

    def reset(self, generator: torch.Generator) -> None:
        """Draw the weights anew (He et al., 2015); biases are zero."""
        for layer in self.children():
            nn.init.kaiming_normal_(layer.weight, a=_SLOPE, generator=generator)
            nn.init.zeros_(layer.bias)

    def features(self, X: Tensor) -> Tensor:
        """Give the last hidden layer of rows of pixels, shape (N, n_hidden)."""
        images = X.view(-1, 1, self._side, self._side)
        for layer in (self.first, self.second):
            images = nn.functional.max_pool2d(_rectified(layer(images)), 2)
        return _rectified(self.hidden(images.flatten(1)))

    def forward(self, X: Tensor) -> Tensor:
        """Give the logits of rows of pixels, shape (N, n_classes)."""
        return self.last(self.features(X))


def train_network(X: Tensor, labels: Tensor, side: int, config: NetworkConfig) -> ImageNetwork:
    """Train the classifier.

    Parameters
    ----------
    X : float32 Tensor of shape (N, side²)
    labels : int64 Tensor of shape (N,)
    side : int
    config : NetworkConfig

    Returns
    -------
    network : ImageNetwork
        The same on one machine, whatever the global random state.
    """
    generator = torch.Generator().manual_seed(config.seed)
    network = ImageNetwork(side, int(labels.max()) + 1, config)
    network.reset(generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    n_steps = config.n_epochs * math.ceil(len(X) / config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    with progress_bar(0, total=n_steps, unit="batch") as bar:
        bar.set_description("classifier")
        for _ in range(config.n_epochs):
            for rows in torch.randperm(len(X), generator=generator).split(config.batch_size):
                loss = nn.functional.cross_entropy(network(X[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
    return network.eval()


def load_network(
    X: Tensor,
    labels: Tensor,
    side: int,
    *,
    config: NetworkConfig = NetworkConfig(),
    root: str | os.PathLike | None = None,
) -> ImageNetwork:
    """Load the classifier of these images, or train it where none is kept.

    Parameters
    ----------
    X, labels, side, config
        As in `train_network`.
    root : path-like, optional
        Folder of all results.

    Returns
    -------
    network : ImageNetwork
    """
    store = ResultStore(
        "gan_classifier", _Key(config, digest(X, labels)), module=__name__, root=root
    )
    kept = store.load("network")
    if kept is None:
        network = train_network(X, labels, side, config)
        kept = store.save("network", {}, weights_of(network))
    network = ImageNetwork(side, len(kept.arrays["last.bias"]), config)
    put_weights(network, kept.arrays)
    return network.eval()


def _rectified(X: Tensor) -> Tensor:
    return nn.functional.leaky_relu(X, _SLOPE)


@dataclass(frozen=True)
class _Key:
    recipe: NetworkConfig
    images: str
