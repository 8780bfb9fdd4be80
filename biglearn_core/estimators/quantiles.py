"""Quantiles of mixtures on the line, many at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mixture_quantile"]

# Halving alone takes fewer steps than this to come from any bracket to the last digit.
_MOST_STEPS = 200

# Digits that are asked for, in units of eps.
_ROUNDING = 8


def mixture_quantile(
    q: float, weights: Tensor, means: Tensor, standard_deviations: Tensor
) -> Tensor:
    """Solve F(y) = q for the distribution function F of every mixture.

    Parameters
    ----------
    q : float
        Above zero and below one.
    weights, means, standard_deviations : float64 Tensor of shape (K, ...)
        Of the components; weights sum to one along the first axis.

    Returns
    -------
    y : Tensor of shape (...)

    Notes
    -----
    F rises, and its quantile lies between the least and the largest of those of the components.
    Newton's steps are taken as long as they stay in that bracket and halve at least every second
    time; where they do not, the bracket is halved. Above the median, 1 − F is solved for 1 − q, and
    F is computed by erfc (torch's ndtr loses the lower tail), so that both tails keep their digits.
    Every mixture stops by itself: no answer depends on what else is asked.
    """
    if q > 0.5:
        return -mixture_quantile(1 - q, weights, -means, standard_deviations)
    of_components = means + standard_deviations * torch.special.ndtri(means.new_tensor(q))
    possible = weights > 0
    low = torch.where(possible, of_components, math.inf).amin(dim=0)
    high = torch.where(possible, of_components, -math.inf).amax(dim=0)
    tolerance = torch.where(possible, standard_deviations, math.inf).amin(dim=0)
    eps = torch.finfo(means.dtype).eps
    y = (weights * of_components).sum(dim=0).clamp(low, high)
    last = before = high - low
    open_ = high > low
    for _ in range(_MOST_STEPS):
        if not open_.any():
            break
        z = (y - means) / standard_deviations
        excess = (weights * torch.special.erfc(-z / math.sqrt(2))).sum(dim=0) / 2 - q
        density = weights * torch.exp(-0.5 * z.square()) / standard_deviations
        slope = density.sum(dim=0) / math.sqrt(2 * math.pi)
        low, high = torch.where(excess < 0, y, low), torch.where(excess > 0, y, high)
        newton = y - excess / slope
        inside = (newton > low) & (newton < high) & ((newton - y).abs() <= 0.5 * before)
        moved = torch.where(inside, newton, low + 0.5 * (high - low))
        moved = torch.where(open_ & (excess != 0), moved, y)
        step = (moved - y).abs()
        y, before, last = moved, last, step
        open_ = open_ & (step > _ROUNDING * eps * (y.abs() + tolerance))
    return y
