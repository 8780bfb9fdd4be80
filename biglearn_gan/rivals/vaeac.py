"""A variational autoencoder of every conditional law: the rival that is trained by likelihood.

After O. Ivanov, M. Figurnov, D. Vetrov, "Variational Autoencoder with Arbitrary Conditioning", ICLR
2019, on the tasks (S, T) that a BigLearn-GAN learns from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.experiments.network_training import Checkpoint, training_arithmetic
from biglearn_core.system.progress import progress_bar
from biglearn_core.system.stopwatch import Stopwatch
from biglearn_gan.data import Data
from biglearn_gan.rivals.vaeac_model import VAEAC, Bound, Gaussian, VAEACConfig, vaeac_config
from biglearn_gan.sampler import check_question

__all__ = [
    "VAEAC_CURVES",
    "TrainedVAEAC",
    "VAEACConfig",
    "VAEACSampler",
    "train_vaeac",
    "vaeac_config",
]

VAEAC_CURVES = ("elbo", "divergence")

_CURVE_EVERY = 50
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
        model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return cls.of(model.to(device), data, noise=noise)

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
        return cls(model.requires_grad_(False), data.n_features, noise=noise, clip=clip)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the model's weights by name."""
        return {name: value.cpu().numpy() for name, value in self.model.state_dict().items()}


@dataclass(frozen=True, eq=False)
class TrainedVAEAC:
    """Outcome of a training.

    Parameters
    ----------
    sampler : VAEACSampler
        Draws from the model's law, the decoder's noise included.
    iterations : int64 ndarray of shape (T,)
    curves : dict of str to float64 ndarray of shape (T,)
        By the names in `VAEAC_CURVES`, in nats a row: the bound and the divergence in it, means
        over the batches since the iteration before.
    seconds : float
        Wall clock of the training alone, interruptions left out.
    """

    sampler: VAEACSampler
    iterations: np.ndarray
    curves: dict[str, np.ndarray]
    seconds: float


def train_vaeac(
    data: Data,
    config: VAEACConfig,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 500,
    verbose: int = 0,
) -> TrainedVAEAC:
    """Train a VAEAC.

    Parameters
    ----------
    data : Data
    config : VAEACConfig
    seed : int
        Of weights, batches, tasks and noise. What a step draws is a function of seed and step, so a
        training that goes on ends as one that was never broken.
    device : str or torch.device, default "cpu"
    checkpoint : path-like, optional
        File of the state; a training whose state is there goes on from it.
    checkpoint_every : int, default 500
        Iterations between two states.
    verbose : int, default 0
        Where true, the bar is shown from the start.

    Returns
    -------
    trained : TrainedVAEAC

    Raises
    ------
    ValueError
        When the checkpoint is damaged or of another training.
    FloatingPointError
        When the bound is no number; names the iteration and what to change.
    """
    training = _Training(data, config, seed, torch.device(device))
    state = Checkpoint(
        checkpoint, data=data.train, seed=seed, config=config, device=training.device.type
    )
    with training_arithmetic("highest"):
        clock = Stopwatch(training.take_up(state))
        with progress_bar(verbose, unit="it", total=config.iterations) as bar:
            bar.update(training.step)
            while training.step < config.iterations:
                training.advance()
                bar.update()
                if training.step % _CURVE_EVERY == 0 or training.step == config.iterations:
                    training.note()
                    bar.set_postfix(elbo=f"{training.noted['elbo'][-1]:.2f}", refresh=False)
                if training.step % checkpoint_every == 0:
                    training.put_down(state, clock.read())
        seconds = clock.read()
        training.put_down(state, seconds)
    return TrainedVAEAC(
        VAEACSampler.of(training.model, data),
        np.array(training.noted["iterations"], dtype=np.int64),
        {name: np.array(training.noted[name], dtype=np.float64) for name in VAEAC_CURVES},
        seconds,
    )


class _Training:
    def __init__(self, data: Data, config: VAEACConfig, seed: int, device: torch.device) -> None:
        self.device = device
        self.step = 0
        self.noted: dict[str, list[float]] = {name: [] for name in ("iterations", *VAEAC_CURVES)}
        self.model = _make(data, config, seed=seed).to(device)
        self._config, self._seed = config, seed
        self._train, self._groups = data.train.to(device), data.groups.to(device)
        self._n_groups = data.n_groups
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, fused=True
        )
        self._sums = torch.zeros(1 + len(VAEAC_CURVES), dtype=torch.float64, device=device)

    def take_up(self, state: Checkpoint) -> float:
        """Go on from a saved state where there is one; gives the seconds spent."""
        names = ("step", "seconds", "sums", *self.noted)
        arrays = state.load(self.model, self._optimizer, names=names)
        if arrays is None:
            return 0.0
        self.step = int(arrays["step"])
        self._sums = torch.tensor(arrays["sums"], device=self.device)
        self.noted = {name: arrays[name].tolist() for name in self.noted}
        return float(arrays["seconds"])

    def put_down(self, state: Checkpoint, seconds: float) -> None:
        arrays = {"step": np.array(self.step), "seconds": np.array(seconds)}
        arrays |= {"sums": self._sums.cpu().numpy()}
        arrays |= {name: np.array(values, dtype=np.float64) for name, values in self.noted.items()}
        state.save(self.model, self._optimizer, arrays)

    def note(self) -> None:
        count, *sums = self._sums.tolist()
        self._sums.zero_()
        for name, total in zip(VAEAC_CURVES, sums, strict=True):
            self.noted[name].append(total / count)
        self.noted["iterations"].append(self.step)
        if not math.isfinite(sums[0]):
            raise FloatingPointError(
                f"the bound is no number after iteration {self.step}; lower learning_rate, or "
                "raise least_sigma"
            )

    def advance(self) -> None:
        falling = max(0.0, 2 * self.step / self._config.iterations - 1)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * (1 + math.cos(math.pi * falling)) / 2
        bound = self._bound()
        loss = -(bound.elbo + bound.regularisation).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            values = (loss.new_ones(()), bound.elbo.mean(), bound.divergence.mean())
            self._sums += torch.stack(values)
        self.step += 1

    def _bound(self) -> Bound:
        """Bound of a batch that is a function of seed and step."""
        entropy = np.random.SeedSequence((self._seed, self.step)).generate_state(1, np.uint64)
        generator = torch.Generator(self.device).manual_seed(int(entropy[0] >> 1))
        n = self._config.batch_size
        rows = torch.randint(len(self._train), (n,), generator=generator, device=self.device)
        tasks = self._config.tasks.draw(n, self._n_groups, generator)
        noise: Tensor = torch.randn(
            n, self._config.n_latent, generator=generator, device=self.device
        )
        return self.model.bound(self._train[rows], tasks.of_coordinates(self._groups), noise)


def _make(data: Data, config: VAEACConfig, *, seed: int) -> VAEAC:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAEAC(data.n_features, config)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
