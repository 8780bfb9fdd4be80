"""Where a function of two means has its minima, and which starts descend to which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from biglearn_core.experiments.principle.tasks import OPTIMA

__all__ = ["basin", "near_optimum", "off_diagonal", "refined_minima", "square"]

Function = Callable[[Tensor], Tensor]

_NEAR = 0.1
_STILL = 1e-6


def square(n: int, *, half_width: float = 2.0) -> Tensor:
    """Give a grid of both means on [−half_width, half_width]².

    Parameters
    ----------
    n : int
        Points along each axis.
    half_width : float, default 2

    Returns
    -------
    means : Tensor of shape (n, n, 2)
        Float64; μ₁ along the first axis.
    """
    axis = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)


def off_diagonal(n: int) -> Tensor:
    """Give the starts of the square with μ₁ < μ₂.

    The others are their mirror images, as no task changes when μ₁ and μ₂ are swapped; from μ₁ = μ₂
    no step separates the means.

    Parameters
    ----------
    n : int
        Points along each axis of `square`.

    Returns
    -------
    starts : Tensor of shape (n (n − 1) / 2, 2)
    """
    points = square(n).flatten(0, 1)
    return points[points[:, 0] < points[:, 1]]


def near_optimum(means: Tensor, *, radius: float = _NEAR) -> Tensor:
    """Tell which means are at one of the two optima.

    Parameters
    ----------
    means : Tensor of shape (..., 2)
    radius : float, default 0.1

    Returns
    -------
    near : Tensor of bool of shape (...)
    """
    optima = torch.tensor(OPTIMA, dtype=means.dtype)
    return (torch.cdist(means.reshape(-1, 2), optima) < radius).any(-1).view(means.shape[:-1])


def refined_minima(value: Function, gradient: Function, surface: Tensor) -> tuple[Tensor, Tensor]:
    """Find the local minima: cells of the grid below their eight neighbours, then quasi-Newton.

    Parameters
    ----------
    value, gradient : callable
        Of means of shape (..., 2).
    surface : Tensor of shape (n, n)
        Values on `square(n)`.

    Returns
    -------
    minima : Tensor of shape (M, 2)
        Inside the square, none twice, in the order of their values; none on a plateau.
    values : Tensor of shape (M,)
    """
    points, found = square(len(surface)), []
    inner = surface[1:-1, 1:-1]
    shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    n = len(surface) - 2
    rivals = torch.stack([surface[i : i + n, j : j + n] for i, j in shifts]).amin(0)
    for start in points[1:-1, 1:-1][inner < rivals - 1e-12]:
        refined = scipy.optimize.minimize(
            lambda x: value(torch.from_numpy(x)).item(),
            start.numpy(),
            jac=lambda x: gradient(torch.from_numpy(x)).numpy(),
            method="BFGS",
            options={"gtol": 1e-8},
        )
        if all(np.linalg.norm(refined.x - other) > 1e-3 for _, other in found):
            found.append((refined.fun, refined.x))
    found.sort(key=lambda pair: pair[0])
    minima = torch.tensor(np.array([x for _, x in found]).reshape(-1, 2))
    return minima, torch.tensor([v for v, _ in found], dtype=torch.float64)


def basin(gradient: Function, starts: Tensor, *, rate: float = 0.1, n_steps: int = 5000) -> float:
    """Give the share of the starts whose gradient descent ends at an optimum.

    Parameters
    ----------
    gradient : callable
        Of means of shape (..., 2).
    starts : Tensor of shape (N, 2)
    rate : float, default 0.1
    n_steps : int, default 5000
        At most; a descent ends within 0.1 of an optimum, or where the gradient is below 1e-6.

    Returns
    -------
    share : float
    """
    moving, arrived = starts, 0
    for _ in range(n_steps):
        slope = gradient(moving)
        moving = moving - rate * slope
        there = near_optimum(moving)
        arrived += int(there.sum())
        moving = moving[~there & (slope.norm(dim=-1) > _STILL)]
        if not len(moving):
            break
    return arrived / len(starts)
