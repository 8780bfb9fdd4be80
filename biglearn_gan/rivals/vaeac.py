"""A variational autoencoder of every conditional law: the rival that is trained by likelihood.

After O. Ivanov, M. Figurnov, D. Vetrov, "Variational Autoencoder with Arbitrary Conditioning", ICLR
2019, on the tasks (S, T) that a BigLearn-GAN learns from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from biglearn_core.experiments.network_training import (
    put_weights,
    weights_drawn_from,
    weights_of,
)
from biglearn_gan.data import Data
from biglearn_gan.loop import Trained, Training
from biglearn_gan.rivals.vaeac_model import VAEAC, Bound, Gaussian, VAEACConfig, vaeac_config
from biglearn_gan.sampler import check_question

__all__ = [
    "VAEAC_CURVES",
    "VAEACConfig",
    "VAEACSampler",
    "train_vaeac",
    "vaeac_config",
]

VAEAC_CURVES = ("elbo", "divergence")

# Rows of one pass: few enough that the layers stay in the cache.
_CHUNK = 2048
# Range of pixels.
_PIXELS = (-1.0, 1.0)


class VAEACSampler:
    """A trained model as a `ConditionalSampler`: z from the prior network, then x_T.

    Parameters
    ----------
    model : VAEAC
    n_features : int
        D.
    noise : bool, default True
        Whether the decoder's Gaussian is drawn from, which is the model's law. Else its mean is
        given, which is what papers show of images: smoother, and too narrow a law.
    clip : tuple of float, optional
        Range of what is drawn: that of pixels.
    """

    def __init__(
        self,
        model: VAEAC,
        n_features: int,
        *,
        noise: bool = True,
        clip: tuple[float, float] | None = None,
    ) -> None:
        self.model = model
        self.n_features = n_features
        self.noise = noise
        self.clip = clip

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
        told = [
            self.model.prior(seen[rows], observed[rows])
            for rows in torch.arange(len(x), device=x.device).split(_CHUNK)
        ]
        mean, sd = (torch.cat([getattr(law, name) for law, _ in told]) for name in ("mean", "sd"))
        features = torch.cat([part for _, part in told])
        draws = torch.empty(n, *x.shape, dtype=x.dtype, device=x.device)
        flat = draws.view(-1, self.n_features)
        for places in torch.arange(len(flat), device=x.device).split(_CHUNK):
            rows = places % len(x)
            z = Gaussian(mean[rows], sd[rows]).at(_normal(mean[rows], generator))
            law = self.model.decode(features[rows], z)
            flat[places] = law.at(_normal(law.mean, generator)) if self.noise else law.mean
        if self.clip is not None:
            draws.clamp_(*self.clip)
        return torch.where(observed, seen, draws)

    @classmethod
    def from_arrays(
        cls,
        data: Data,
        config: VAEACConfig,
        arrays: Mapping[str, np.ndarray],
        *,
        noise: bool = True,
        device: torch.device | str = "cpu",
    ) -> VAEACSampler:
        """Put weights into the model that a config asks for.

        Parameters
        ----------
        data : Data
        config : VAEACConfig
        arrays : mapping of str to ndarray
            As from `arrays`.
        noise : bool, default True
        device : torch.device or str, default "cpu"

        Returns
        -------
        sampler : VAEACSampler

        Raises
        ------
        RuntimeError
            When the weights are those of another model.
        """
        model = _make(data, config, seed=0)
        put_weights(model, arrays)
        return cls.of(model.to(device).requires_grad_(False), data, noise=noise)

    @classmethod
    def of(cls, model: VAEAC, data: Data, *, noise: bool = True) -> VAEACSampler:
        """Make the sampler of a model; pixels are kept within their range.

        Parameters
        ----------
        model : VAEAC
        data : Data
            That it was trained on.
        noise : bool, default True

        Returns
        -------
        sampler : VAEACSampler
        """
        clip = None if data.side is None else _PIXELS
        return cls(model, data.n_features, noise=noise, clip=clip)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the model's weights by name, as they are now."""
        return weights_of(self.model)


def train_vaeac(
    data: Data,
    config: VAEACConfig,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 500,
    verbose: int = 0,
) -> Trained:
    """Train a VAEAC.

    Parameters
    ----------
    data : Data
    config : VAEACConfig
    seed : int
        Of weights, batches, tasks and noise. What a step draws is a function of seed and step, so a
        training that goes on ends as one that was never broken.
    device : str or torch.device, default "cpu"
    checkpoint, checkpoint_every, verbose
        As in `Training.run`.

    Returns
    -------
    trained : Trained
        Its sampler draws from the model's law, the decoder's noise included; by the names in
        `VAEAC_CURVES`, in nats a row, the bound and the divergence in it, means over the batches
        since the iteration before.

    Raises
    ------
    ValueError
        When the checkpoint is damaged or of another training.
    FloatingPointError
        When the bound is no number; names the iteration and what to change.
    """
    trained = _Ascent(data, config, seed=seed, device=torch.device(device)).run(
        checkpoint=checkpoint, checkpoint_every=checkpoint_every, verbose=verbose
    )
    trained.sampler.model.requires_grad_(False)
    return trained


class _Ascent(Training):
    curves = VAEAC_CURVES

    def __init__(self, data: Data, config: VAEACConfig, *, seed: int, device: torch.device) -> None:
        super().__init__(data, config, seed=seed, device=device)
        self.modules = _make(data, config, seed=seed).to(device)
        self.optimizer = torch.optim.Adam(
            self.modules.parameters(), lr=config.learning_rate, fused=True
        )
        self._sums = torch.zeros(1 + len(VAEAC_CURVES), dtype=torch.float64, device=device)
        self.sampler = VAEACSampler.of(self.modules, data)

    def extra(self) -> dict[str, np.ndarray]:
        return {"sums": self._sums.cpu().numpy()}

    def take_extra(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._sums = torch.tensor(arrays["sums"], device=self.device)

    def values(self) -> dict[str, float]:
        count, *sums = self._sums.tolist()
        self._sums.zero_()
        if not math.isfinite(sums[0]):
            raise FloatingPointError(
                f"the bound is no number after iteration {self.step}; lower learning_rate, or "
                "raise least_sigma"
            )
        return {name: total / count for name, total in zip(self.curves, sums, strict=True)}

    def advance(self) -> None:
        bound = self._bound()
        loss = -(bound.elbo + bound.regularisation).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            values = (loss.new_ones(()), bound.elbo.mean(), bound.divergence.mean())
            self._sums += torch.stack(values)

    def _bound(self) -> Bound:
        batch = self.draw()
        noise = torch.randn(
            len(batch.x), self.config.n_latent, generator=batch.generator, device=self.device
        )
        return self.modules.bound(batch.x, batch.tasks.of_coordinates(self.groups), noise)


def _make(data: Data, config: VAEACConfig, *, seed: int) -> VAEAC:
    with weights_drawn_from(seed):
        return VAEAC(data.n_features, config)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
