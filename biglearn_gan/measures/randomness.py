"""Generators that are a function of a seed and of what they are for."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["seeded"]


def seeded(seed: int, *purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator whose numbers no other purpose can shift.

    Parameters
    ----------
    seed : int
    *purpose : int
        Which of the questions or comparisons it is for.
    device : torch.device or str

    Returns
    -------
    generator : torch.Generator
    """
    state = np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)
    return torch.Generator(device=device).manual_seed(int(state[0]))
