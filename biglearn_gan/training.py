"""The training loop: one generator and one discriminator for every matching task."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biglearn_core.experiments.network_training import Checkpoint, training_arithmetic
from biglearn_core.system.progress import progress_bar
from biglearn_core.system.stopwatch import Stopwatch
from biglearn_gan.config import Config
from biglearn_gan.data import Data
from biglearn_gan.generator import GeneratorSampler, make_networks
from biglearn_gan.losses import energy_score, gradient_penalty, lead
from biglearn_gan.tasks import Tasks

__all__ = ["CURVES", "Trained", "train"]

CURVES = ("discriminator", "generator", "communication", "energy")

_CURVE_EVERY = 50


@dataclass(frozen=True, eq=False)
class Trained:
    """Outcome of a training.

    Parameters
    ----------
    sampler : GeneratorSampler
        The averaged generator.
    iterations : int64 ndarray of shape (T,)
    curves : dict of str to float64 ndarray of shape (T,)
        Losses after them, by the names in `CURVES`; NaN where a part does not take part.
    seconds : float
        Wall clock of the training alone, interruptions left out.
    """

    sampler: GeneratorSampler
    iterations: np.ndarray
    curves: dict[str, np.ndarray]
    seconds: float


def train(
    data: Data,
    config: Config,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 500,
    callback: Callable[[int, GeneratorSampler], None] | None = None,
    verbose: int = 0,
) -> Trained:
    """Train a BigLearn-GAN.

    Parameters
    ----------
    data : Data
    config : Config
    seed : int
        Of weights, batches, tasks and noise. What a step draws is a function of seed and step, so a
        training that goes on ends as one that was never broken.
    device : str or torch.device, default "cpu"
    checkpoint : path-like, optional
        File of the state; a training whose state is there goes on from it.
    checkpoint_every : int, default 500
        Iterations between two states.
    callback : callable, optional
        Called as callback(iteration, sampler) after every iteration of a recorded loss, off the
        clock; the sampler is that of the moment and changes afterwards.
    verbose : int, default 0
        Where true, the bar is shown from the start.

    Returns
    -------
    trained : Trained

    Raises
    ------
    ValueError
        When the checkpoint is damaged or of another training.
    FloatingPointError
        When a loss is no number; names the iteration and what to change.
    """
    training = _Training(data, config, seed, torch.device(device))
    state = Checkpoint(
        checkpoint, data=data.train, seed=seed, config=config, device=training.device.type
    )
    with training_arithmetic("highest"):
        seconds = training.take_up(state)
        clock = Stopwatch(seconds)
        with progress_bar(verbose, unit="it", total=config.iterations) as bar:
            bar.update(training.step)
            while training.step < config.iterations:
                losses = training.advance()
                bar.update()
                if training.step % _CURVE_EVERY == 0 or training.step == config.iterations:
                    training.note(losses)
                    bar.set_postfix({n: f"{v:.3f}" for n, v in losses.items()}, refresh=False)
                    if callback is not None:
                        with clock.paused():
                            callback(training.step, training.sampler)
                if training.step % checkpoint_every == 0:
                    training.put_down(state, clock.read())
        seconds = clock.read()
        training.put_down(state, seconds)
    return Trained(
        training.sampler,
        np.array(training.noted["iterations"], dtype=np.int64),
        {name: np.array(training.noted[name], dtype=np.float64) for name in CURVES},
        seconds,
    )


class _Training:
    def __init__(self, data: Data, config: Config, seed: int, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.step = 0
        self.noted: dict[str, list[float]] = {name: [] for name in ("iterations", *CURVES)}
        self._seed = seed
        self._train = data.train.to(device)
        self._groups = data.groups.to(device)
        self._n_groups = data.n_groups
        self._generator, self._discriminator = (
            network.to(device) for network in make_networks(data, config, seed=seed)
        )
        self._average = copy.deepcopy(self._generator).requires_grad_(False)
        self.sampler = GeneratorSampler(self._average, data.n_features)
        self._modules = nn.ModuleDict(
            {
                "generator": self._generator,
                "discriminator": self._discriminator,
                "average": self._average,
            }
        )
        # One optimizer holds both players; it leaves alone whose gradient is None.
        players = [*self._generator.parameters(), *self._discriminator.parameters()]
        self._optimizer = torch.optim.Adam(
            players, lr=config.learning_rate, betas=(0.0, 0.99), fused=True
        )

    def take_up(self, state: Checkpoint) -> float:
        """Go on from a saved state where there is one; gives the seconds spent."""
        names = ("step", "seconds", *self.noted)
        arrays = state.load(self._modules, self._optimizer, names=names)
        if arrays is None:
            return 0.0
        self.step = int(arrays["step"])
        self.noted = {name: arrays[name].tolist() for name in self.noted}
        return float(arrays["seconds"])

    def put_down(self, state: Checkpoint, seconds: float) -> None:
        arrays = {"step": np.array(self.step), "seconds": np.array(seconds)}
        arrays |= {name: np.array(values, dtype=np.float64) for name, values in self.noted.items()}
        state.save(self._modules, self._optimizer, arrays)

    def note(self, losses: dict[str, float]) -> None:
        for name in CURVES:
            self.noted[name].append(losses.get(name, math.nan))
        self.noted["iterations"].append(self.step)
        if not all(map(math.isfinite, losses.values())):
            raise FloatingPointError(
                f"a loss is no number after iteration {self.step} ({losses}); lower learning_rate, "
                "or raise penalty"
            )

    def advance(self) -> dict[str, float]:
        """Take one step of each player, on batches of their own."""
        progress = self.step / self.config.iterations
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _cosine(max(0.0, 2 * progress - 1))
        losses: dict[str, float] = {}
        if self.config.adversarial:
            losses |= self._step_discriminator(progress)
        losses |= self._step_generator()
        with torch.no_grad():
            pairs = zip(self._average.parameters(), self._generator.parameters(), strict=True)
            for mean, current in pairs:
                mean.lerp_(current, 1 - self.config.average)
        self.step += 1
        return losses

    def _step_discriminator(self, progress: float) -> dict[str, float]:
        batch = self._batch(player=0)
        judge, config = self._discriminator, self.config
        with torch.no_grad():
            fake = batch.complete(self._generator, batch.tasks)
        real_logit, fake_logit = batch.judged(judge, batch.x), batch.judged(judge, fake)
        loss = lead(real_logit, fake_logit)
        losses = {"discriminator": loss}
        if config.communicates:
            with torch.no_grad():
                other = batch.complete(self._generator, batch.other)
            losses["communication"] = lead(*batch.difference(judge, fake, other))
            loss = loss + config.communication_weight * losses["communication"]
        if self.step % config.penalty_every == 0:
            fall = _cosine(progress)
            gamma = config.last_penalty + (config.penalty - config.last_penalty) * fall
            both = sum(
                gradient_penalty(lambda x: batch.judged(judge, x), x) for x in (batch.x, fake)
            )
            loss = loss + gamma * config.penalty_every * both
        self._descend(loss, judge)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _step_generator(self) -> dict[str, float]:
        batch = self._batch(player=1)
        judge, config = self._discriminator, self.config
        fake = batch.complete(self._generator, batch.tasks)
        losses, loss = {}, torch.zeros((), device=self.device)
        if config.adversarial:
            with torch.no_grad():
                real_logit = batch.judged(judge, batch.x)
            losses["generator"] = lead(batch.judged(judge, fake), real_logit)
            loss = loss + losses["generator"]
        if config.communicates:
            other = batch.complete(self._generator, batch.other)
            # The players of this game are the same with their places changed.
            ahead, behind = batch.difference(judge, fake, other)
            loss = loss + config.communication_weight * lead(behind, ahead)
        if config.scores_energy:
            second = batch.complete(self._generator, batch.tasks)
            losses["energy"] = energy_score(batch.x, fake, second, batch.tasks.whole)
            loss = loss + config.energy_weight * losses["energy"]
        self._descend(loss, self._generator)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _descend(self, loss: Tensor, player: nn.Module) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=list(player.parameters()))
        self._optimizer.step()

    def _batch(self, *, player: int) -> _Batch:
        entropy = np.random.SeedSequence((self._seed, self.step, player))
        generator = torch.Generator(self.device)
        generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        n, law = self.config.batch_size, self.config.tasks
        rows = torch.randint(len(self._train), (n,), generator=generator, device=self.device)
        tasks = law.draw(n, self._n_groups, generator)
        other = None
        if self.config.communicates:
            other = Tasks(law.draw_given(tasks.whole, generator), tasks.whole)
            other = other.of_coordinates(self._groups)
        return _Batch(self._train[rows], tasks.of_coordinates(self._groups), other, generator)


@dataclass(frozen=True, eq=False)
class _Batch:
    x: Tensor
    tasks: Tasks
    other: Any  # Tasks of the same U, or None
    generator: torch.Generator

    def complete(self, generate: nn.Module, tasks: Tasks) -> Tensor:
        noise = torch.randn(
            len(self.x), generate.n_noise, generator=self.generator, device=self.x.device
        )
        return generate(torch.where(tasks.given, self.x, 0.0), tasks.given, noise)

    def judged(self, judge: nn.Module, x: Tensor, tasks: Tasks | None = None) -> Tensor:
        tasks = tasks or self.tasks
        return judge(x, tasks.given, tasks.whole)

    def difference(self, judge: nn.Module, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Logit "this task's model against the other's", of a draw of either."""
        return tuple(
            self.judged(judge, x, self.other) - self.judged(judge, x) for x in (own, other)
        )


def _cosine(progress: float) -> float:
    """Fall from one to zero."""
    return (1 + math.cos(math.pi * progress)) / 2
