"""The loop by which networks learn matching tasks: resumable, noted, a function of its seed."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from biglearn_core.experiments.network_training import Checkpoint, training_arithmetic
from biglearn_core.system.progress import progress_bar
from biglearn_core.system.stopwatch import Stopwatch
from biglearn_gan.data import Data
from biglearn_gan.tasks import Tasks

__all__ = ["Batch", "Trained", "Training", "half_cosine"]

_CURVE_EVERY = 50


@dataclass(frozen=True, eq=False)
class Trained:
    """Outcome of a training.

    Parameters
    ----------
    sampler : ConditionalSampler
        With `arrays`, its weights by name.
    iterations : int64 ndarray of shape (T,)
    curves : dict of str to float64 ndarray of shape (T,)
        What was noted after them, by the names in `Training.curves`; NaN where a part does not take
        part.
    seconds : float
        Wall clock of the training alone, interruptions left out.
    """

    sampler: Any
    iterations: np.ndarray
    curves: dict[str, np.ndarray]
    seconds: float


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step learns from.

    Parameters
    ----------
    x : Tensor of shape (B, D)
    tasks : Tasks
        Of shape (B, G).
    generator : torch.Generator
        Of what else the step draws.
    """

    x: Tensor
    tasks: Tasks
    generator: torch.Generator


class Training(ABC):
    """A training between two steps; what a step draws is a function of seed and step.

    Parameters
    ----------
    data : Data
    config : dataclass instance
        With `iterations`, `batch_size`, `learning_rate` and `tasks`.
    seed : int
    device : torch.device

    Attributes
    ----------
    step : int
        Iterations taken.
    groups : int64 Tensor of shape (D,)
        Of the data, on the device.
    modules : Module
        All that is kept of the networks; set by the class that derives.
    optimizer : Optimizer
        Likewise.
    sampler : ConditionalSampler
        Likewise: that of the moment.
    """

    curves: ClassVar[tuple[str, ...]]
    modules: nn.Module
    optimizer: torch.optim.Optimizer
    sampler: Any

    def __init__(self, data: Data, config: Any, *, seed: int, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.step = 0
        self.groups = data.groups.to(device)
        self._noted: dict[str, list[float]] = {name: [] for name in ("iterations", *self.curves)}
        self._seed = seed
        self._data = data
        self._train = data.train.to(device)

    @abstractmethod
    def advance(self) -> None:
        """Take the step at `step`."""

    @abstractmethod
    def values(self) -> Mapping[str, float]:
        """Give what is noted now, once, of the names in `curves`.

        Raises
        ------
        FloatingPointError
            When one is no number; names the iteration and what to change.
        """

    def extra(self) -> dict[str, np.ndarray]:
        """Give what else a state has to hold, by name; always the same names."""
        return {}

    def take_extra(self, arrays: Mapping[str, np.ndarray]) -> None:  # noqa: B027
        """Go on from what `extra` gave."""

    def draw(self, *purpose: int) -> Batch:
        """Draw the batch of this step.

        Parameters
        ----------
        *purpose : int
            Which of the step's batches, where it has several.

        Returns
        -------
        batch : Batch
        """
        entropy = np.random.SeedSequence((self._seed, self.step, *purpose))
        generator = torch.Generator(self.device)
        generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        n = self.config.batch_size
        rows = torch.randint(len(self._train), (n,), generator=generator, device=self.device)
        tasks = self.config.tasks.draw(n, self._data.n_groups, generator)
        return Batch(self._train[rows], tasks, generator)

    def run(
        self,
        *,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int = 500,
        callback: Callable[[int, Any], None] | None = None,
        verbose: int = 0,
    ) -> Trained:
        """Train to the end.

        Parameters
        ----------
        checkpoint : path-like, optional
            File of the state; a training whose state is there goes on from it, and ends as one that
            was never broken.
        checkpoint_every : int, default 500
            Iterations between two states.
        callback : callable, optional
            Called as callback(iteration, sampler) after every iteration that is noted, off the
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
            When something noted is no number; names the iteration and what to change.
        """
        state = Checkpoint(
            checkpoint,
            data=self._data.train,
            seed=self._seed,
            config=self.config,
            device=self.device.type,
        )
        n = self.config.iterations
        with training_arithmetic("highest"):
            clock = Stopwatch(self._take_up(state))
            with progress_bar(verbose, unit="it", total=n) as bar:
                bar.update(self.step)
                while self.step < n:
                    falling = half_cosine(max(0.0, 2 * self.step / n - 1))
                    for group in self.optimizer.param_groups:
                        group["lr"] = self.config.learning_rate * falling
                    self.advance()
                    self.step += 1
                    bar.update()
                    if self.step % _CURVE_EVERY == 0 or self.step == n:
                        bar.set_postfix(self._note(), refresh=False)
                        if callback is not None:
                            with clock.paused():
                                callback(self.step, self.sampler)
                    if self.step % checkpoint_every == 0:
                        self._put_down(state, clock.read())
            seconds = clock.read()
            self._put_down(state, seconds)
        iterations, *curves = (self._noted[name] for name in ("iterations", *self.curves))
        return Trained(
            self.sampler,
            np.array(iterations, dtype=np.int64),
            {n: np.array(c, dtype=np.float64) for n, c in zip(self.curves, curves, strict=True)},
            seconds,
        )

    def _note(self) -> dict[str, str]:
        """Note the values of the moment; gives them as the bar shows them."""
        values = self.values()
        for name in self.curves:
            self._noted[name].append(values.get(name, math.nan))
        self._noted["iterations"].append(self.step)
        return {name: f"{value:.3f}" for name, value in values.items()}

    def _take_up(self, state: Checkpoint) -> float:
        """Go on from a saved state where there is one; gives the seconds spent."""
        names = ("step", "seconds", *self._noted, *self.extra())
        arrays = state.load(self.modules, self.optimizer, names=names)
        if arrays is None:
            return 0.0
        self.step = int(arrays["step"])
        self._noted = {name: arrays[name].tolist() for name in self._noted}
        self.take_extra(arrays)
        return float(arrays["seconds"])

    def _put_down(self, state: Checkpoint, seconds: float) -> None:
        arrays = {"step": np.array(self.step), "seconds": np.array(seconds)}
        arrays |= {name: np.array(values, dtype=np.float64) for name, values in self._noted.items()}
        state.save(self.modules, self.optimizer, arrays | self.extra())


def half_cosine(progress: float) -> float:
    """Fall from one at 0 to zero at 1."""
    return (1 + math.cos(math.pi * progress)) / 2
