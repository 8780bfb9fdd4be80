"""Networks of vectors: fully connected, with the sets (S, T) as inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["FREQUENCIES", "VectorDiscriminator", "VectorGenerator"]

_SLOPE = 0.2
# In units of the coordinates, which are of order one: modes as narrow as an eighth are told apart.
FREQUENCIES = (math.pi / 2, math.pi, 2 * math.pi, 4 * math.pi)


class VectorGenerator(nn.Module):
    """Completions of vectors, (x_S, S, z) ↦ x.

    T is no input: the marginals of one draw agree with one another by construction.

    Parameters
    ----------
    n_features : int
        D.
    n_noise : int
        Length of z.
    width, depth : int
        Hidden layers.
    fourier : bool
        Whether sines and cosines of x_S are inputs too: for laws with sharp modes.
    """

    def __init__(
        self, n_features: int, *, n_noise: int, width: int, depth: int, fourier: bool
    ) -> None:
        super().__init__()
        self.n_noise = n_noise
        self._fourier = fourier
        n_inputs = n_features * _inputs_per_feature(fourier) + n_features + n_noise
        self.layers = _layers(n_inputs, width, depth, n_features)

    def forward(self, seen: Tensor, given: Tensor, noise: Tensor) -> Tensor:
        """Complete a batch.

        Parameters
        ----------
        seen : Tensor of shape (B, D)
            x with zeros outside S.
        given : bool Tensor of shape (B, D)
            S.
        noise : Tensor of shape (B, n_noise)
            z, standard normal.

        Returns
        -------
        x : Tensor of shape (B, D)
            As `seen` on S.
        """
        mask = given.to(seen.dtype)
        inputs = [_features(seen, mask, self._fourier), mask, noise]
        return torch.where(given, seen, self.layers(torch.cat(inputs, 1)))


class VectorDiscriminator(nn.Module):
    """Logit "data against model" of a vector on U, (x_U, S, T) ↦ f.

    Parameters
    ----------
    n_features : int
        D.
    width, depth : int
        Hidden layers.
    fourier : bool
        As in `VectorGenerator`.
    """

    def __init__(self, n_features: int, *, width: int, depth: int, fourier: bool) -> None:
        super().__init__()
        self._fourier = fourier
        n_inputs = n_features * _inputs_per_feature(fourier) + 2 * n_features
        self.layers = _layers(n_inputs, width, depth, 1)

    def forward(self, x: Tensor, given: Tensor, whole: Tensor) -> Tensor:
        """Judge a batch.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Outside U it is not looked at.
        given, whole : bool Tensor of shape (B, D)
            S and U = S ∪ T.

        Returns
        -------
        logits : Tensor of shape (B,)
        """
        mask = whole.to(x.dtype)
        known = given.to(x.dtype)
        inputs = [_features(x * mask, mask, self._fourier), known, mask - known]
        return self.layers(torch.cat(inputs, 1)).squeeze(1)


def _inputs_per_feature(fourier: bool) -> int:
    return 1 + (2 * len(FREQUENCIES) if fourier else 0)


def _features(x: Tensor, mask: Tensor, fourier: bool) -> Tensor:
    if not fourier:
        return x
    waves = [wave(f * x) * mask for f in FREQUENCIES for wave in (torch.sin, torch.cos)]
    return torch.cat([x, *waves], 1)


def _layers(n_inputs: int, width: int, depth: int, n_outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(n_inputs, width), nn.LeakyReLU(_SLOPE)]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_outputs))
