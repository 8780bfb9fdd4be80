"""Types of command-line options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

__all__ = ["finite", "integer_between", "positive_int"]


def integer_between(least: int, most: int) -> Callable[[str], int]:
    """Make the type of a whole number in a range.

    Parameters
    ----------
    least, most : int
        Ends of the range, included.

    Returns
    -------
    read : callable
        Raises `argparse.ArgumentTypeError` for anything else.
    """

    def read(text: str) -> int:
        value = _read(int, text, "a whole number")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, got {text}"
            )
        return value

    return read


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
    argparse.ArgumentTypeError
        When it is no whole number, or a smaller one.
    """
    value = _read(int, text, "a whole number")
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def finite(text: str) -> float:
    """Read a number that is neither NaN nor infinite.

    Parameters
    ----------
    text : str

    Returns
    -------
    value : float

    Raises
    ------
    argparse.ArgumentTypeError
        When it is no number, NaN or infinite.
    """
    value = _read(float, text, "a number")
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be finite, got {text}")
    return value


def _read(convert: Callable, text: str, kind: str) -> int | float:
    try:
        return convert(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {kind}, got {text}") from None
