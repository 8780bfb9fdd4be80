"""Completions without a model of the conditional law: means, neighbours, pasting."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from biglearn_gan.sampler import ConditionalSampler, check_question

__all__ = ["IgnoreObserved", "MeanFill", "NearestFill"]

# Working memory: numbers in one batch of distances.
_BATCH_NUMBERS = 20_000_000


class MeanFill:
    """Put the mean of the training rows where nothing is observed, a `ConditionalSampler`.

    Parameters
    ----------
    train : Tensor of shape (N, D)
    """

    def __init__(self, train: Tensor) -> None:
        self._mean = train.double().mean(0).to(train.dtype)

    def sample(
        self,
        x: Tensor,
        observed: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Answer every row, n times the same; see `ConditionalSampler.sample`."""
        x, observed, _ = check_question(x, observed, n, generator, n_features=len(self._mean))
        return torch.where(observed, x, self._mean.to(x)).expand(n, -1, -1).clone()


class NearestFill:
    """Put the mean of the nearest training rows, a `ConditionalSampler`.

    Parameters
    ----------
    train : Tensor of shape (N, D)
    k : int, default 1
        How many are averaged: the nearest by Euclidean distance in the observed coordinates. Where
        nothing is observed, a training row at random takes their place; of the draws that answer
        one call none repeats a row before all have been drawn.

    Raises
    ------
    ValueError
        When there are fewer training rows than k.
    """

    def __init__(self, train: Tensor, *, k: int = 1) -> None:
        if not 1 <= k <= len(train):
            raise ValueError(f"k must be from 1 to {len(train)}, the training rows, got {k}")
        self._train, self._k = train, k

    def sample(
        self,
        x: Tensor,
        observed: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Answer every row; see `ConditionalSampler.sample`."""
        train = self._train.to(x)
        x, observed, generator = check_question(
            x, observed, n, generator, n_features=train.shape[1]
        )
        fill = torch.empty_like(x)
        masks, mask_of = observed.unique(dim=0, return_inverse=True)
        for m, mask in enumerate(masks):
            if not mask.any():
                continue
            for rows in (mask_of == m).nonzero().squeeze(1).split(self._chunk):
                distances = torch.cdist(x[rows][:, mask], train[:, mask])
                nearest = distances.topk(self._k, largest=False).indices
                fill[rows] = train[nearest].mean(1)
        draws = fill.expand(n, -1, -1).clone()
        unseen = ~observed.any(1)
        n_unseen = int(unseen.sum())
        chosen = self._without_repetition(n * n_unseen, generator).view(n, n_unseen)
        draws[:, unseen] = train[chosen]
        return torch.where(observed, x, draws)

    def _without_repetition(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw training rows, none twice before all have been drawn."""
        N, device = len(self._train), generator.device
        n_orders = max(1, math.ceil(n / N))
        orders = [torch.randperm(N, generator=generator, device=device) for _ in range(n_orders)]
        return torch.cat(orders)[:n]

    @property
    def _chunk(self) -> int:
        N, D = self._train.shape
        return max(1, _BATCH_NUMBERS // (N + self._k * D))


class IgnoreObserved:
    """Paste what is observed into draws of the joint law, a `ConditionalSampler`.

    Parameters
    ----------
    sampler : ConditionalSampler
        Asked for joint draws alone.
    """

    def __init__(self, sampler: ConditionalSampler) -> None:
        self._sampler = sampler

    def sample(
        self,
        x: Tensor,
        observed: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw n completions of every row; see `ConditionalSampler.sample`."""
        x, observed, generator = check_question(x, observed, n, generator, n_features=x.shape[-1])
        joint = self._sampler.sample(x, torch.zeros_like(observed), n, generator=generator)
        return torch.where(observed, x, joint)
