"""The training of a BigLearn-GAN: one generator and one discriminator for every matching task."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from biglearn_gan.config import Config
from biglearn_gan.data import Data
from biglearn_gan.generator import GeneratorSampler, make_networks
from biglearn_gan.loop import Trained, Training, half_cosine
from biglearn_gan.losses import energy_score, gradient_penalty, lead
from biglearn_gan.tasks import Tasks

__all__ = ["CURVES", "train"]

CURVES = ("discriminator", "generator", "communication", "energy")


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
    checkpoint, checkpoint_every, callback, verbose
        As in `Training.run`.

    Returns
    -------
    trained : Trained
        With the averaged generator, and the losses by the names in `CURVES`.

    Raises
    ------
    ValueError
        When the checkpoint is damaged or of another training.
    FloatingPointError
        When a loss is no number; names the iteration and what to change.
    """
    return _Game(data, config, seed=seed, device=torch.device(device)).run(
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        callback=callback,
        verbose=verbose,
    )


class _Game(Training):
    curves = CURVES

    def __init__(self, data: Data, config: Config, *, seed: int, device: torch.device) -> None:
        super().__init__(data, config, seed=seed, device=device)
        self._generator, self._discriminator = (
            network.to(device) for network in make_networks(data, config, seed=seed)
        )
        self._average = copy.deepcopy(self._generator).requires_grad_(False)
        self.sampler = GeneratorSampler(self._average, data.n_features)
        self.modules = nn.ModuleDict(
            {
                "generator": self._generator,
                "discriminator": self._discriminator,
                "average": self._average,
            }
        )
        # One optimizer holds both players; it leaves alone whose gradient is None.
        players = [*self._generator.parameters(), *self._discriminator.parameters()]
        self.optimizer = torch.optim.Adam(
            players, lr=config.learning_rate, betas=(0.0, 0.99), fused=True
        )
        self._losses: dict[str, Tensor] = {}

    def values(self) -> dict[str, float]:
        losses = {name: float(loss) for name, loss in self._losses.items()}
        if not all(map(math.isfinite, losses.values())):
            raise FloatingPointError(
                f"a loss is no number after iteration {self.step} ({losses}); lower learning_rate, "
                "or raise penalty"
            )
        return losses

    def advance(self) -> None:
        """Take one step of each player, on batches of their own."""
        self._losses = self._step_discriminator() if self.config.adversarial else {}
        self._losses |= self._step_generator()
        with torch.no_grad():
            pairs = zip(self._average.parameters(), self._generator.parameters(), strict=True)
            for mean, current in pairs:
                mean.lerp_(current, 1 - self.config.average)

    def _step_discriminator(self) -> dict[str, Tensor]:
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
            fall = half_cosine(self.step / config.iterations)
            gamma = config.last_penalty + (config.penalty - config.last_penalty) * fall
            both = sum(
                gradient_penalty(lambda x: batch.judged(judge, x), x) for x in (batch.x, fake)
            )
            loss = loss + gamma * config.penalty_every * both
        self._descend(loss, judge)
        return {name: value.detach() for name, value in losses.items()}

    def _step_generator(self) -> dict[str, Tensor]:
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
        return {name: value.detach() for name, value in losses.items()}

    def _descend(self, loss: Tensor, player: nn.Module) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=list(player.parameters()))
        self.optimizer.step()

    def _batch(self, *, player: int) -> _Batch:
        drawn = self.draw(player)
        other = None
        if self.config.communicates:
            whole = drawn.tasks.whole
            other = Tasks(self.config.tasks.draw_given(whole, drawn.generator), whole)
            other = other.of_coordinates(self.groups)
        return _Batch(drawn.x, drawn.tasks.of_coordinates(self.groups), other, drawn.generator)


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
