"""Twenty-five Gaussians from one corner by reverse KL: joint matching beside big learning.

The gradients are in closed form: at a sample x = μ + L e of a component, the path gradient of
KL[p‖q] is the score of p minus that of q at x, and for a marginal task that of the projections
times the direction. Seeds are a batch axis; each has a generator of its own.

Source: the authors' simulation of Section 4.1 of Big Cooperative Learning (Cong, 2024, arXiv
2407.21319), repository YulaiCong/BigCooperativeLearning at commit bbc5f5e.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TARGET_MEANS", "TARGET_VARIANCE", "Mixtures", "Plan", "covered", "explore", "gradient"]

TARGET_VARIANCE = 0.05
_AXIS = (-4.0, -2.0, 0.0, 2.0, 4.0)
TARGET_MEANS = torch.cartesian_prod(*[torch.tensor(_AXIS, dtype=torch.float64)] * 2)

_BLOCK = 2000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which tasks a run sees, and how it steps; the defaults are the published ones.

    Parameters
    ----------
    n_steps : int
        Steps of gradient descent, 10,000 iterations of 20 as published.
    dwell : int
        Steps on one task before the next is drawn.
    p_joint : float
        Probability of the joint task, once there are joint tasks; other tasks are marginals along
        a direction that is uniform on the circle.
    joint_from : float
        Share of the steps after which there are joint tasks.
    learning_rate : float
    final_rate : float
        Learning rate of the last step; it falls geometrically from `decay_from` on.
    decay_from : float
        Share of the steps after which the learning rate falls.
    n_samples : int
        Samples of every component in a step, 100 in all as published.

    Raises
    ------
    ValueError
        When a number is out of its range.
    """

    n_steps: int = 200_000
    dwell: int = 20
    p_joint: float = 0.1
    joint_from: float = 0.5
    learning_rate: float = 0.1
    final_rate: float = 0.1
    decay_from: float = 0.75
    n_samples: int = 4

    def __post_init__(self) -> None:
        for name in ("n_steps", "dwell", "n_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("p_joint", "joint_from", "decay_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 < self.final_rate <= self.learning_rate:
            raise ValueError(
                "0 < final_rate <= learning_rate is needed, got "
                f"{self.final_rate} and {self.learning_rate}"
            )

    def rate(self, step: int) -> float:
        """Give the learning rate of a step, counted from 0."""
        begin = self.decay_from * self.n_steps
        left = max(self.n_steps - 1 - begin, 1)
        share = min(max(step - begin, 0.0) / left, 1.0)
        return self.learning_rate * (self.final_rate / self.learning_rate) ** share


@dataclass(frozen=True)
class Mixtures:
    """Equally weighted Gaussians in the plane, a mixture a seed.

    Parameters
    ----------
    parameters : Tensor of shape (S, K, 5)
        Of every component: its mean, the logarithms of the diagonal of the Cholesky factor L of its
        covariance, and the entry of L below the diagonal.
    """

    parameters: Tensor

    @classmethod
    def start(
        cls, generators: Sequence[torch.Generator], *, dtype: torch.dtype = torch.float32
    ) -> Mixtures:
        """Draw the published start: 25 means near (−5, −5), unit covariances.

        Parameters
        ----------
        generators : sequence of Generator
            One a seed.
        dtype : torch.dtype, default float32

        Returns
        -------
        mixtures : Mixtures
        """
        drawn = [torch.randn(len(TARGET_MEANS), 2, generator=g, dtype=dtype) for g in generators]
        return cls(torch.nn.functional.pad(-5 + 0.1 * torch.stack(drawn), (0, 3)))

    @property
    def means(self) -> Tensor:
        """Means, of shape (S, K, 2)."""
        return self.parameters[..., :2]

    def factors(self) -> Tensor:
        """Give the Cholesky factors of the covariances, of shape (S, K, 2, 2)."""
        factors = torch.diag_embed(self.parameters[..., 2:4].exp())
        factors[..., 1, 0] = self.parameters[..., 4]
        return factors


def gradient(mixtures: Mixtures, noise: Tensor, directions: Tensor | None = None) -> Tensor:
    """Estimate the gradient of the reverse KL to the target, by the path of the samples alone.

    Parameters
    ----------
    mixtures : Mixtures
    noise : Tensor of shape (S, K, n, 2)
        Standard normal; n samples of every component.
    directions : Tensor of shape (S, 2), optional
        Unit vectors whose marginals are matched; the joint law when not given.

    Returns
    -------
    gradient : Tensor of shape (S, K, 5)
        Of the mean over components of the mean over samples of log p − log q, p's parameters held
        fixed in log p.
    """
    task = _Joint() if directions is None else _Marginal(directions)
    return task(mixtures.parameters, noise)


def explore(
    seeds: Sequence[int],
    plan: Plan,
    *,
    every: int,
    callback: Callable[[int, Mixtures], None],
) -> Mixtures:
    """Descend from the corner.

    Parameters
    ----------
    seeds : sequence of int
        One start, one sequence of tasks and one of samples each; a seed's run does not depend on
        the others.
    plan : Plan
    every : int
        Steps between two calls of `callback`, a multiple of the plan's `dwell`.
    callback : callable
        Called as callback(step, mixtures) with the steps taken so far: 0, then every so many.

    Returns
    -------
    mixtures : Mixtures
        After the last step.

    Raises
    ------
    ValueError
        When `every` is no multiple of `dwell`.
    """
    if every % plan.dwell:
        raise ValueError(f"every must be a multiple of dwell {plan.dwell}, got {every}")
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.inference_mode():
        parameters = Mixtures.start(generators).parameters
        callback(0, Mixtures(parameters))
        for done, directions, joint, noise in _tasks(generators, plan):
            n_joint = int(joint.sum())
            if n_joint < len(seeds):
                along = _dwell(_Marginal(directions), parameters, noise, plan, done)
            if n_joint:
                own = parameters[joint]
                whole = _dwell(_Joint(), own, noise[:, joint], plan, done)
                along = parameters.clone() if n_joint == len(seeds) else along
                along[joint] = whole
            parameters = along
            if (done + plan.dwell) % every == 0:
                callback(done + plan.dwell, Mixtures(parameters))
    return Mixtures(parameters)


def covered(means: Tensor, *, radius: float = 0.3) -> Tensor:
    """Count the modes of the target that have a mean nearby (ours: the authors judge by eye).

    Parameters
    ----------
    means : Tensor of shape (..., K, 2)
    radius : float, default 0.3

    Returns
    -------
    counts : Tensor of shape (...)
        Of int64, 25 at most.
    """
    distances = torch.cdist(means, TARGET_MEANS.to(means))
    return (distances < radius).any(-2).sum(-1)


def _tasks(
    generators: Sequence[torch.Generator], plan: Plan
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Draw tasks: the steps before, and of every seed the direction, whether joint, the noise."""
    n_tasks = plan.n_steps // plan.dwell
    per_block = max(_BLOCK // plan.dwell, 1)
    size = (plan.dwell, len(TARGET_MEANS), plan.n_samples, 2)
    for begin in range(0, n_tasks, per_block):
        n = min(per_block, n_tasks - begin)
        angle, chance = torch.stack([torch.rand(2, n, generator=g) for g in generators], -1)
        directions = torch.stack(((2 * math.pi * angle).cos(), (2 * math.pi * angle).sin()), -1)
        noise = torch.stack([torch.randn(n, *size, generator=g) for g in generators], 2)
        for task in range(n):
            late = begin + task >= plan.joint_from * n_tasks
            joint = (chance[task] < plan.p_joint) & late
            yield (begin + task) * plan.dwell, directions[task], joint, noise[task]


def _dwell(
    task: _Marginal | _Joint, parameters: Tensor, noise: Tensor, plan: Plan, done: int
) -> Tensor:
    for step, drawn in enumerate(noise, start=done):
        parameters = torch.sub(parameters, task(parameters, drawn), alpha=plan.rate(step))
    return parameters


class _Marginal:
    """Gradient of the marginals along given directions.

    A log-density is a quadratic of the projection y, so that those of all components of p and of q
    at all samples are one product of matrices.
    """

    def __init__(self, directions: Tensor) -> None:
        self._v = directions[:, None, :]
        self._v1, self._v2 = directions[:, :1], directions[:, 1:]
        centres = directions @ TARGET_MEANS.to(directions).mT
        precision = torch.full_like(centres, 1 / TARGET_VARIANCE)
        self._log_q = _quadratic(centres, precision)
        self._score_q = -torch.stack((centres * precision, precision), -1)

    def __call__(self, parameters: Tensor, noise: Tensor) -> Tensor:
        S, K, n, _ = noise.shape
        mean1, mean2, _, _, lower = parameters.unbind(-1)
        diagonal = parameters[..., 2:4].exp()
        first, second = diagonal.unbind(-1)
        along = torch.stack((first * self._v1 + lower * self._v2, second * self._v2), -1)  # Lᵀv
        mean = mean1 * self._v1 + mean2 * self._v2
        precision = 1 / (along * along).sum(-1)
        y = ((noise @ along[..., None]).squeeze(-1) + mean[..., None]).reshape(S, K * n)
        log_p = _quadratic(mean, precision)
        powers = torch.stack((y * y, y, torch.ones_like(y)), -1)
        logs = torch.bmm(powers, torch.cat((log_p, self._log_q), -1))
        shares = logs.unflatten(-1, (2, -1)).softmax(-1).flatten(-2)
        score_p = torch.stack((mean * precision, precision), -1)
        constant, slope = torch.bmm(shares, torch.cat((score_p, self._score_q), 1)).unbind(-1)
        excess = (constant - y * slope).view(S, K, 1, n) / (n * K)  # score of p minus score of q
        through = (excess @ noise).squeeze(2)
        below = through[..., :1] * self._v[..., 1:]
        return torch.cat((excess.sum(-1) * self._v, through * self._v * diagonal, below), -1)


class _Joint:
    """Gradient of the joint law, likewise; q is a product over the axes."""

    def __call__(self, parameters: Tensor, noise: Tensor) -> Tensor:
        S, K, n, _ = noise.shape
        means, lower = parameters[..., :2], parameters[..., 4]
        mean1, mean2 = means.unbind(-1)
        diagonal = parameters[..., 2:4].exp()
        moved = noise * diagonal[:, :, None]
        moved[..., 1] += lower[..., None] * noise[..., 0]
        x = (means[:, :, None] + moved).reshape(S, K * n, 2)
        x1, x2 = x.unbind(-1)
        inverse1, inverse2 = (1 / diagonal).unbind(-1)
        slant = lower * inverse1 * inverse2
        a, b, c = inverse1**2 + slant**2, -slant * inverse2, inverse2**2  # of the precision matrix
        pull1, pull2 = a * mean1 + b * mean2, b * mean1 + c * mean2
        constant = (inverse1 * inverse2).log() - 0.5 * (pull1 * mean1 + pull2 * mean2)
        powers = torch.stack((x1 * x1, x1 * x2, x2 * x2, x1, x2, torch.ones_like(x1)), -1)
        log_p = torch.stack((-0.5 * a, -b, -0.5 * c, pull1, pull2, constant), 1)
        shares = torch.bmm(powers, log_p).softmax(-1)
        terms = torch.bmm(shares, torch.stack((pull1, pull2, a, b, c), -1))
        pull1, pull2, a, b, c = terms.unbind(-1)
        score_p = torch.stack((pull1 - a * x1 - b * x2, pull2 - b * x1 - c * x2), -1)
        steps = torch.tensor(_AXIS, dtype=x.dtype) - x[..., None]
        nearest = (steps * steps * (-0.5 / TARGET_VARIANCE)).softmax(-1)
        score_q = (nearest * steps).sum(-1) / TARGET_VARIANCE
        excess = (score_p - score_q).view(S, K, n, 2) / (n * K)
        through = (excess * noise).sum(2) * diagonal
        below = (excess[..., 1] * noise[..., 0]).sum(2)
        return torch.cat((excess.sum(2), through, below[..., None]), -1)


def _quadratic(means: Tensor, precision: Tensor) -> Tensor:
    """Give coefficients, of y², y and 1, of log-densities but for a constant."""
    shifted = means * precision
    constant = 0.5 * (precision.log() - means * shifted)
    return torch.stack((-0.5 * precision, shifted, constant), 1)
