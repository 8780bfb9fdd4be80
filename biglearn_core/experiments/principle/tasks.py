"""Two Gaussians matched to two by reverse KL: every task without sampling noise, by quadrature.

Target q: weights 1/2, means (−1, 0) and (1, 0), covariance 0.1 I. Model p: the same but for its
means (μ₁, 0) and (μ₂, 0). As means lie on one axis and the covariance is shared and isotropic, all
tasks are one-dimensional: after a rotation by the angle a, y₁ and y₂ are independent within a
component, y₁ has the means μ cos a, and y₂ the means −μ sin a.

Source: the authors' simulation of Section 3.3 of Big Cooperative Learning (Cong, 2024, arXiv
2407.21319), repository YulaiCong/BigCooperativeLearning at commit bbc5f5e, where 2,000 samples of
the model stand in for the quadrature (`monte_carlo_kl`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "CONDITIONALS",
    "JOINT",
    "MARGINALS",
    "OPTIMA",
    "VARIANCE",
    "Task",
    "kl",
    "kl_gradient",
    "marginal_gradient",
    "mean_kl",
    "mean_kl_gradient",
    "monte_carlo_kl",
]

VARIANCE = 0.1
OPTIMA = ((-1.0, 1.0), (1.0, -1.0))
_REACH = 6.5  # deviations
_TARGET = torch.tensor(OPTIMA[0], dtype=torch.float64)


@dataclass(frozen=True)
class Task:
    """What is matched.

    Parameters
    ----------
    angle : float
        Of the rotation, in degrees.
    y2 : float, optional
        Value of y₂ on which y₁ is conditioned; the marginal of y₁ when not given.
    """

    angle: float
    y2: float | None = None

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        given = "" if self.y2 is None else f" given y₂ = {self.y2:.2f}"
        return f"{'marginal' if self.y2 is None else 'conditional'} {self.angle:g}°{given}"

    @property
    def direction(self) -> tuple[float, float]:
        """Cosine and sine of the angle."""
        radians = math.radians(self.angle)
        return math.cos(radians), math.sin(radians)


def _conditionals() -> tuple[Task, ...]:
    tasks = []
    for angle in range(0, 91, 15):
        cosine, sine = Task(angle).direction
        deviations = 3 * math.sqrt(VARIANCE)
        farthest = (1 + deviations) * sine + deviations * cosine
        tasks += [Task(angle, float(y2)) for y2 in np.linspace(-farthest, farthest, 7)]
    return tuple(tasks)


JOINT = Task(0.0)
MARGINALS = tuple(Task(float(angle)) for angle in range(0, 180, 15))
CONDITIONALS = _conditionals()


def kl(task: Task, means: Tensor, *, n_nodes: int = 64) -> Tensor:
    """Evaluate KL[p‖q] of a task.

    Parameters
    ----------
    task : Task
        `JOINT`, the marginal at 0°, is the joint law too: x₂ has one law in p and q.
    means : Tensor of shape (..., 2)
        μ₁ and μ₂.
    n_nodes : int, default 64
        Of the quadrature, for each component.

    Returns
    -------
    kl : Tensor of shape (...)
        In nats.
    """
    p, q, y, quadrature = _laws(task, means, n_nodes)
    excess = ((p.log_density(y) - q.log_density(y)) * quadrature).sum(-1)
    return (p.weights * excess).sum(-1)


def kl_gradient(task: Task, means: Tensor, *, n_nodes: int = 40) -> Tensor:
    """Evaluate the gradient of `kl` in closed form.

    Parameters
    ----------
    task : Task
    means : Tensor of shape (..., 2)
    n_nodes : int, default 40

    Returns
    -------
    gradient : Tensor of shape (..., 2)
        Nats per unit of μ₁ and of μ₂: the path of the samples and, in a conditional, that of the
        weights.
    """
    cosine, sine = task.direction
    p, q, y, quadrature = _laws(task, means, n_nodes)
    scores = (p.posterior_mean(y) - q.posterior_mean(y)) / VARIANCE  # of p minus of q
    gradient = cosine * p.weights * (scores * quadrature).sum(-1)
    if task.y2 is not None and sine:
        excess = ((p.log_density(y) - q.log_density(y)) * quadrature).sum(-1)
        above = excess - (p.weights * excess).sum(-1, keepdim=True)
        gradient = gradient - p.weights * above * (task.y2 + means * sine) * sine / VARIANCE
    return gradient


def marginal_gradient(cosines: Tensor, means: Tensor, *, n_nodes: int = 40) -> Tensor:
    """Evaluate `kl_gradient` of marginals along many directions at once.

    Parameters
    ----------
    cosines : Tensor
        Of the angles; of a shape that broadcasts with (...).
    means : Tensor of shape (..., 2)
    n_nodes : int, default 40

    Returns
    -------
    gradient : Tensor of shape (..., 2)
    """
    nodes, quadrature = _rule(n_nodes)
    cosines = cosines[..., None]
    p = _Pair(means * cosines, torch.zeros_like(means))
    q = _Pair(_TARGET * cosines, torch.zeros(2, dtype=means.dtype))
    y = p.means[..., None] + math.sqrt(VARIANCE) * nodes
    scores = (p.posterior_mean(y) - q.posterior_mean(y)) / VARIANCE
    return 0.5 * cosines * (scores * quadrature).sum(-1)


def mean_kl(tasks: Sequence[Task], means: Tensor, *, n_nodes: int = 64) -> Tensor:
    """Average `kl` over tasks.

    Parameters
    ----------
    tasks : sequence of Task
    means : Tensor of shape (..., 2)
    n_nodes : int, default 64

    Returns
    -------
    kl : Tensor of shape (...)
    """
    return sum(kl(task, means, n_nodes=n_nodes) for task in tasks) / len(tasks)


def mean_kl_gradient(tasks: Sequence[Task], means: Tensor, *, n_nodes: int = 40) -> Tensor:
    """Average `kl_gradient` over tasks.

    Parameters
    ----------
    tasks : sequence of Task
    means : Tensor of shape (..., 2)
    n_nodes : int, default 40

    Returns
    -------
    gradient : Tensor of shape (..., 2)
    """
    return sum(kl_gradient(task, means, n_nodes=n_nodes) for task in tasks) / len(tasks)


def monte_carlo_kl(
    task: Task, means: Tensor, *, n_samples: int = 2000, generator: torch.Generator
) -> Tensor:
    """Estimate `kl` from samples of the model, drawn anew at every point, as published.

    Parameters
    ----------
    task : Task
    means : Tensor of shape (..., 2)
    n_samples : int, default 2000
    generator : Generator

    Returns
    -------
    kl : Tensor of shape (...)
        Unbiased; below zero in places.
    """
    p, q, _, _ = _laws(task, means, 2)
    drawn = torch.rand(*means.shape[:-1], n_samples, generator=generator, dtype=means.dtype)
    noise = torch.randn(*means.shape[:-1], n_samples, generator=generator, dtype=means.dtype)
    own = torch.where(drawn < p.weights[..., :1], p.means[..., :1], p.means[..., 1:])
    y = own + math.sqrt(VARIANCE) * noise
    return (p.log_density(y[..., None, :]) - q.log_density(y[..., None, :])).mean((-1, -2))


class _Pair:
    """Two Gaussians of variance `VARIANCE` on a line, up to a constant that p and q share."""

    def __init__(self, means: Tensor, log_weights: Tensor) -> None:
        self.means = means
        self.log_weights = log_weights.log_softmax(-1)
        self.weights = self.log_weights.exp()

    def log_density(self, y: Tensor) -> Tensor:
        """Give log-densities at y of shape (..., 2, n), nodes of both components."""
        parts = (
            self.log_weights[..., k, None, None]
            - (y - self.means[..., k, None, None]) ** 2 / (2 * VARIANCE)
            for k in (0, 1)
        )
        return torch.logaddexp(*parts)

    def posterior_mean(self, y: Tensor) -> Tensor:
        """Give the mean of the component that y of shape (..., 2, n) came from."""
        middle = self.means.mean(-1)[..., None, None]
        half = 0.5 * (self.means[..., 1] - self.means[..., 0])[..., None, None]
        odds = 0.5 * (self.log_weights[..., 1] - self.log_weights[..., 0])[..., None, None]
        return middle + half * torch.tanh(half * (y - middle) / VARIANCE + odds)


def _laws(task: Task, means: Tensor, n_nodes: int) -> tuple[_Pair, _Pair, Tensor, Tensor]:
    """Give p, q, nodes of the shape (..., 2, n_nodes) and their weights."""
    nodes, quadrature = _rule(n_nodes)
    cosine, _ = task.direction
    p, q = (_Pair(cosine * own, _log_weights(task, own)) for own in (means, _TARGET))
    return p, q, p.means[..., None] + math.sqrt(VARIANCE) * nodes, quadrature


def _log_weights(task: Task, means: Tensor) -> Tensor:
    if task.y2 is None:
        return torch.zeros_like(means)
    return -((task.y2 + means * task.direction[1]) ** 2) / (2 * VARIANCE)


@cache
def _rule(n_nodes: int) -> tuple[Tensor, Tensor]:
    """Give the trapezoidal rule for a standard normal.

    The log-ratio has poles half a deviation from the line, so that Gauss–Hermite rules converge
    slowly: on the square, 64 nodes of this one are within 1e-7 nats of the integral, of that within
    1e-3.
    """
    nodes = torch.linspace(-_REACH, _REACH, n_nodes, dtype=torch.float64)
    weights = torch.exp(-0.5 * nodes * nodes)
    return nodes, weights / weights.sum()
