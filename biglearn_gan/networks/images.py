"""Networks of images: convolutions over pixels, with the sets (S, T) as further channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

__all__ = ["ImageDiscriminator", "ImageGenerator"]

_SLOPE = 0.2


class ImageGenerator(nn.Module):
    """Completions of square images, (x_S, S, z) ↦ x.

    A plan of the whole image, drawn by full connections from all that is seen and z, at a quarter
    of the side; then convolutions, which see what is seen once more at every resolution. The plan
    lets distant patches agree, the convolutions make neighbours fit.

    Parameters
    ----------
    side : int
        Pixels, a multiple of four.
    n_noise : int
        Length of z.
    width, depth : int
        Channels, and residual blocks, at the lowest resolution; the plan has two hidden layers
        eight times as wide.

    Raises
    ------
    ValueError
        When the side is no multiple of four.
    """

    def __init__(self, side: int, *, n_noise: int, width: int, depth: int) -> None:
        super().__init__()
        self.n_noise = n_noise
        self._side, self._low = side, _quarter(side)
        half, wide = width // 2, 8 * width
        self.plan = nn.Sequential(
            nn.Linear(2 * side**2 + n_noise, wide),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(wide, wide),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(wide, width * self._low**2),
        )
        self.first = nn.Conv2d(2, half, 4, stride=2, padding=1)
        self.second = nn.Conv2d(half, width, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(depth)))
        self.third = nn.Conv2d(width + half, half, 3, padding=1)
        self.fourth = nn.Conv2d(half + 2, half // 2, 3, padding=1)
        self.last = nn.Conv2d(half // 2, 1, 3, padding=1)

    def forward(self, seen: Tensor, given: Tensor, noise: Tensor) -> Tensor:
        """Complete a batch, as `VectorGenerator.forward` states; outside S within (−1, 1)."""
        mask = given.to(seen.dtype)
        plan = self.plan(torch.cat([seen, mask, noise], 1))
        inputs = torch.stack([seen, mask], 1).unflatten(2, (self._side, self._side))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        high = _active(self.first(inputs))
        low = self.second(high) + plan.unflatten(1, (-1, self._low, self._low))
        low = self.blocks(_active(low))
        middle = _active(self.third(torch.cat([_doubled(low), high], 1)))
        top = _active(self.fourth(torch.cat([_doubled(middle), inputs], 1)))
        return torch.where(given, seen, torch.tanh(self.last(top)).flatten(1))


class ImageDiscriminator(nn.Module):
    """Logit "data against model" of a square image on U, (x_U, S, T) ↦ f.

    Parameters
    ----------
    side : int
        Pixels, a multiple of four.
    width, depth : int
        As in `ImageGenerator`.

    Raises
    ------
    ValueError
        When the side is no multiple of four.
    """

    def __init__(self, side: int, *, width: int, depth: int) -> None:
        super().__init__()
        self._side = side
        half, lowest = width // 2, (_quarter(side) + 1) // 2
        self.first = nn.Conv2d(3, half, 4, stride=2, padding=1)
        self.second = nn.Conv2d(half, width, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(depth)))
        self.third = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.hidden = nn.Linear(2 * width * lowest**2, 4 * width)
        self.last = nn.Linear(4 * width, 1)

    def forward(self, x: Tensor, given: Tensor, whole: Tensor) -> Tensor:
        """Judge a batch, as `VectorDiscriminator.forward` states."""
        mask, known = whole.to(x.dtype), given.to(x.dtype)
        inputs = torch.stack([x * mask, known, mask - known], 1)
        inputs = inputs.unflatten(2, (self._side, self._side))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        low = self.blocks(_active(self.second(_active(self.first(inputs)))))
        hidden = self.hidden(_active(self.third(low)).flatten(1))
        return self.last(_active(hidden)).squeeze(1)


class _Residual(nn.Module):
    """Two convolutions beside the identity, which is all there is at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return _active(x + self.outer(_active(self.inner(x))))


def _active(x: Tensor) -> Tensor:
    return leaky_relu(x, _SLOPE)


def _doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="nearest")


def _quarter(side: int) -> int:
    if side % 4:
        raise ValueError(f"the side of an image must be a multiple of 4 pixels, got {side}")
    return side // 4
