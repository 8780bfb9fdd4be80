"""Seeds drawn from scikit-learn's `random_state`."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["RandomState", "drawn_generator", "drawn_seed"]

RandomState = int | np.random.RandomState | None


def drawn_seed(random_state: RandomState) -> int:
    """Draw a seed.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        The same seed for the same integer; another one at every call for an instance, and for None,
        where the operating system gives it: the global random state is never used.

    Returns
    -------
    seed : int

    Raises
    ------
    ValueError
        When `random_state` is none of these.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def drawn_generator(random_state: RandomState) -> torch.Generator:
    """Make a generator on the CPU from a seed that is drawn.

    Parameters
    ----------
    random_state : int, RandomState instance or None

    Returns
    -------
    generator : torch.Generator
    """
    return torch.Generator().manual_seed(drawn_seed(random_state))
