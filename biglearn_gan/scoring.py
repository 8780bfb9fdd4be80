"""What is kept of a sampler: its scores, and draws for the figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from biglearn_gan.data import Data
from biglearn_gan.measures.exact import measure_exact
from biglearn_gan.sampler import ConditionalSampler

__all__ = ["SHOWN_MASKS", "score", "shown_masks"]

_POINTS = 2000
_DRAWS = 60
_ROWS, _COMPLETIONS = 8, 4

SHOWN_MASKS = ("top", "left", "8 of 16 patches", "2 of 16 patches")


def score(
    sampler: ConditionalSampler, data: Data, *, seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measure a sampler, and keep some of its draws.

    Parameters
    ----------
    sampler : ConditionalSampler
    data : Data
    seed : int
        Of its draws; what it is asked does not depend on it.

    Returns
    -------
    scores : dict of str to float
    draws : dict of str to float32 ndarray
        "joint", of shape (n, D). Of images, for every name in `SHOWN_MASKS`, "given/<name>", the
        mask, and "completed/<name>", draws of shape (4, 8, D) for the first test images.
    """
    generator = torch.Generator().manual_seed(seed)
    nothing = torch.zeros(data.n_features, dtype=torch.bool)
    if data.side is None:
        scores = measure_exact(sampler, data, seed=seed).summary()
        rows = data.test[:_POINTS]
        return scores, {"joint": sampler.sample(rows, nothing, 1, generator=generator)[0].numpy()}
    scores = measure_images(sampler, data, seed=seed).summary()
    rows = data.test[:_DRAWS]
    draws = {"joint": sampler.sample(rows, nothing, 1, generator=generator)[0].numpy()}
    for name, mask in shown_masks(data).items():
        completed = sampler.sample(data.test[:_ROWS], mask, _COMPLETIONS, generator=generator)
        draws |= {f"given/{name}": mask.numpy(), f"completed/{name}": completed.numpy()}
    return scores, draws


def shown_masks(data: Data) -> Mapping[str, Tensor]:
    """Give what is observed of the images in figures.

    Parameters
    ----------
    data : Data
        Images.

    Returns
    -------
    masks : mapping of str to bool Tensor of shape (D,)
        By the names in `SHOWN_MASKS`.
    """
    row, column = torch.arange(data.n_features).div(data.side, rounding_mode="floor"), None
    column = torch.arange(data.n_features) % data.side
    order = torch.randperm(data.n_groups, generator=torch.Generator().manual_seed(0))
    rank = torch.empty_like(order)
    rank[order] = torch.arange(data.n_groups)
    share = rank[data.groups] / data.n_groups
    masks = (row < data.side // 2, column < data.side // 2, share < 0.5, share < 0.125)
    return dict(zip(SHOWN_MASKS, masks, strict=True))
