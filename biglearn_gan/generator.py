"""The networks that a config asks for, and the sampler that a trained generator is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from biglearn_core.experiments.network_training import (
    put_weights,
    weights_drawn_from,
    weights_of,
)
from biglearn_gan.config import Config
from biglearn_gan.data import Data
from biglearn_gan.networks.images import ImageDiscriminator, ImageGenerator
from biglearn_gan.networks.vectors import VectorDiscriminator, VectorGenerator
from biglearn_gan.sampler import check_question

__all__ = ["GeneratorSampler", "make_networks"]

# Rows of one pass: few enough that the layers stay in the cache.
_CHUNK = 2048


class GeneratorSampler:
    """A generator as a `ConditionalSampler`.

    Parameters
    ----------
    generator : Module
        As `VectorGenerator`.
    n_features : int
        D.
    """

    def __init__(self, generator: nn.Module, n_features: int) -> None:
        self.generator = generator
        self.n_features = n_features

    @torch.no_grad()
    def sample(
        self,
        x: Tensor,
        observed: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw completions, as `ConditionalSampler.sample` states."""
        seen, observed, generator = check_question(
            x, observed, n, generator, n_features=self.n_features
        )
        noise = torch.randn(
            n, len(x), self.generator.n_noise, generator=generator, dtype=x.dtype, device=x.device
        )
        draws = torch.empty(n, *x.shape, dtype=x.dtype, device=x.device)
        for draw, own in zip(draws, noise, strict=True):
            for rows in torch.arange(len(x), device=x.device).split(_CHUNK):
                draw[rows] = self.generator(seen[rows], observed[rows], own[rows])
        return draws

    @classmethod
    def from_arrays(
        cls,
        data: Data,
        config: Config,
        arrays: Mapping[str, np.ndarray],
        *,
        device: torch.device | str = "cpu",
    ) -> GeneratorSampler:
        """Put weights into the generator that a config asks for.

        Parameters
        ----------
        data : Data
        config : Config
        arrays : mapping of str to ndarray
            As from `arrays`.
        device : torch.device or str, default "cpu"

        Returns
        -------
        sampler : GeneratorSampler

        Raises
        ------
        RuntimeError
            When the weights are those of another network.
        """
        network, _ = make_networks(data, config, seed=0)
        put_weights(network, arrays)
        return cls(network.to(device).requires_grad_(False), data.n_features)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the generator's weights by name, as they are now."""
        return weights_of(self.generator)


def make_networks(data: Data, config: Config, *, seed: int) -> tuple[nn.Module, nn.Module]:
    """Make a generator and a discriminator with their first weights.

    Parameters
    ----------
    data : Data
    config : Config
    seed : int

    Returns
    -------
    generator, discriminator : Module
    """
    with weights_drawn_from(seed):
        own = {"width": config.width, "depth": config.depth}
        if data.side is not None and config.convolutions:
            return (
                ImageGenerator(data.side, n_noise=config.n_noise, **own).to(
                    memory_format=torch.channels_last
                ),
                ImageDiscriminator(data.side, **own).to(memory_format=torch.channels_last),
            )
        own["fourier"] = config.fourier
        return (
            VectorGenerator(data.n_features, n_noise=config.n_noise, **own),
            VectorDiscriminator(data.n_features, **own),
        )
