"""What is observed of the images that a sampler completes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from biglearn_gan.data import Data

__all__ = ["HALVES", "SHARES", "image_questions"]

HALVES = ("top", "bottom", "left", "right")
SHARES = {"12of16": 12 / 16, "8of16": 8 / 16, "4of16": 4 / 16, "2of16": 2 / 16}


def image_questions(
    data: Data, n_rows: int, *, n_masks: int, rng: np.random.Generator
) -> Mapping[str, Tensor]:
    """Make the masks of all questions about images.

    Parameters
    ----------
    data : Data
        Of images.
    n_rows : int
        B.
    n_masks : int
        Different random masks of a question; rows take turns.
    rng : Generator

    Returns
    -------
    observed : dict of str to bool Tensor of shape (B, D)
        "top", "bottom", "left", "right": the half that is observed, of it the units that lie in it
        as a whole (of 7 × 7 patches, 3 rows or columns). "12of16" to "2of16": that share of the
        units, at random, rounded to whole units.
    """
    groups, side, G = data.groups.cpu().numpy(), data.side, data.n_groups
    row, column = np.divmod(np.arange(data.n_features), side)
    of_units = {}
    for low, high, place in (("top", "bottom", row), ("left", "right", column)):
        in_low = np.bincount(groups, place < side / 2) == np.bincount(groups)
        in_high = np.bincount(groups, place >= side / 2) == np.bincount(groups)
        of_units[low], of_units[high] = in_low[None], in_high[None]
    for name, share in SHARES.items():
        ranks = rng.random((n_masks, G)).argsort(axis=1).argsort(axis=1)
        of_units[name] = ranks < round(share * G)
    turns = np.arange(n_rows)
    return {
        name: torch.from_numpy(units[turns % len(units)][:, groups]).to(data.test.device)
        for name, units in of_units.items()
    }
