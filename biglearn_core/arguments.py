"""Types of command-line options."""

from __future__ import annotations

import argparse

__all__ = ["positive_int"]


def positive_int(text: str) -> int:
    """Read a whole number of at least one.

    Parameters
    ----------
    text : str

    Returns
    -------
    value : int

    Raises
    ------
    ValueError, argparse.ArgumentTypeError
        When it is no whole number, or a smaller one.
    """
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value
