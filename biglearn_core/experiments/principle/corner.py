"""One plan on all seeds of the twenty-five Gaussians, with its states on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from biglearn_core.experiments.principle.exploration import (
    TARGET_MEANS,
    TARGET_VARIANCE,
    Mixtures,
    Plan,
    covered,
    explore,
)
from biglearn_core.experiments.store import Result
from biglearn_core.gmm import GMM
from biglearn_core.system.stopwatch import Stopwatch

__all__ = ["ITERATION", "Exploration", "Settings", "read_exploration", "run_plan", "target"]

ITERATION = 20  # steps, as published


@dataclass(frozen=True)
class Exploration:
    """One plan on all seeds.

    Parameters
    ----------
    name : str
        Of the plan.
    seeds : tuple of int
    steps : ndarray of int of shape (T,)
        After which the modes were counted; the last is the last step.
    coverage : ndarray of int of shape (T, S)
        Modes of the target that have a mean within 0.3, of 25.
    parameters : ndarray of shape (T, S, 25, 5)
        States then, as in `exploration.Mixtures`; float32.
    kl : ndarray of shape (S,)
        KL[q‖p] at the end, from 5,000 points of the target, in nats; infinite where the run broke
        down.
    seconds : float
        Of the steps, all seeds together.
    """

    name: str
    seeds: tuple[int, ...]
    steps: np.ndarray
    coverage: np.ndarray
    parameters: np.ndarray
    kl: np.ndarray
    seconds: float

    @property
    def iterations(self) -> np.ndarray:
        """The steps in iterations of 20, as the authors count them."""
        return self.steps / ITERATION

    def model(self, seed: int, frame: int = -1) -> GMM:
        """Give the model of a seed.

        Parameters
        ----------
        seed : int
        frame : int, default −1
            Which state, the last when not given.

        Returns
        -------
        model : GMM
            In float64.
        """
        return _model(torch.from_numpy(self.parameters[frame, self.seeds.index(seed)]))


@dataclass(frozen=True)
class Settings:
    """What a recorded run depends on, besides its seeds.

    Parameters
    ----------
    plan : Plan
        Of n_steps that n_frames divides, into multiples of its dwell.
    n_frames : int
        States kept after the start, evenly spaced.
    """

    plan: Plan
    n_frames: int


def target() -> GMM:
    """Give the target: 25 equal Gaussians of variance 0.05 on {−4, −2, 0, 2, 4}².

    Returns
    -------
    target : GMM
        In float64.
    """
    K = len(TARGET_MEANS)
    covariances = TARGET_VARIANCE * torch.eye(2, dtype=torch.float64).repeat(K, 1, 1)
    return GMM(torch.full((K,), 1 / K, dtype=torch.float64), TARGET_MEANS.clone(), covariances)


def run_plan(
    settings: Settings, seeds: Sequence[int]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compute the run of a plan, for `run_missing`.

    Parameters
    ----------
    settings : Settings
    seeds : sequence of int

    Returns
    -------
    summary, arrays : dict
        As `read_exploration` reads them.
    """
    clock = Stopwatch()
    steps, states = [], []

    def keep(step: int, mixtures: Mixtures) -> None:
        with clock.paused():
            steps.append(step)
            states.append(mixtures.parameters.clone())

    explore(seeds, settings.plan, every=settings.plan.n_steps // settings.n_frames, callback=keep)
    seconds = clock.read()
    parameters = torch.stack(states)
    arrays = {
        "steps": np.array(steps),
        "coverage": covered(parameters[..., :2]).numpy(),
        "parameters": parameters.numpy(),
        "kl": np.array([_forward_kl(own) for own in parameters[-1]]),
    }
    return {"seeds": list(seeds), "seconds": seconds}, arrays


def read_exploration(name: str, result: Result) -> Exploration:
    """Give a saved run its form.

    Parameters
    ----------
    name : str
        Of the plan.
    result : Result

    Returns
    -------
    exploration : Exploration
    """
    summary, arrays = result.summary, result.arrays
    return Exploration(name, tuple(summary["seeds"]), seconds=summary["seconds"], **arrays)


def _forward_kl(parameters: torch.Tensor, *, n: int = 5000) -> float:
    if not parameters.isfinite().all():
        return float("inf")
    generator = torch.Generator().manual_seed(0)
    law = target()
    X, _ = law.sample(n, generator=generator)
    return float((law.log_prob(X) - _model(parameters).log_prob(X)).mean())


def _model(parameters: torch.Tensor) -> GMM:
    mixture = Mixtures(parameters.double())
    factors = mixture.factors()
    K = len(parameters)
    return GMM(torch.full((K,), 1 / K, dtype=torch.float64), mixture.means, factors @ factors.mT)
