"""Numbers and seeds that a caller hands in, checked at the edge."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["LARGEST_SEED", "check_integer", "check_real", "check_seed", "shown"]

# What both numpy.random.default_rng and torch.Generator.manual_seed take.
LARGEST_SEED = 2**64 - 1

# What torch counts in.
_LARGEST_INTEGER = 2**63 - 1


def check_integer(name: str, value: Any, *, least: int, most: int = _LARGEST_INTEGER) -> int:
    """Check a whole number.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : object
    least, most : int
        Range, ends included.

    Returns
    -------
    value : int

    Raises
    ------
    TypeError
        When it is no integer of Python or NumPy; a boolean is none.
    ValueError
        When it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    number = int(value)
    if not least <= number <= most:
        bound = f"at least {least}" if number < least else f"at most {most}"
        raise ValueError(f"{name} must be {bound}, got {number}")
    return number


def check_real(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    positive: bool = False,
    most: float = math.inf,
) -> float:
    """Check a finite number.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : object
    least, most : float, optional
        Range, ends included.
    positive : bool, default False
        Whether it has to be above zero.

    Returns
    -------
    value : float

    Raises
    ------
    TypeError
        When it is no real number of Python or NumPy; a boolean is none.
    ValueError
        When it is NaN, infinite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most) or (positive and number <= 0):
        kind = "positive" if positive else "non-negative" if least == 0 else ""
        wanted = " and ".join(filter(None, ("finite", kind)))
        if most < math.inf:
            wanted += f", at most {most:.3g}"
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def check_seed(name: str, value: Any) -> int | tuple[int, ...]:
    """Check a seed, or a sequence of them.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : object

    Returns
    -------
    seed : int or tuple of int

    Raises
    ------
    TypeError
        When it is no integer, nor a sequence of integers.
    ValueError
        When it is negative, above 2⁶⁴ − 1, or an empty sequence.
    """
    if isinstance(value, tuple | list):
        if not value:
            raise ValueError(f"{name} must hold at least one integer, got {value}")
        return tuple(_one_seed(f"{name}[{i}]", part) for i, part in enumerate(value))
    return _one_seed(name, value)


def _one_seed(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if not 0 <= (number := int(value)) <= LARGEST_SEED:
        raise ValueError(f"{name} must be an integer from 0 to {LARGEST_SEED}, got {number}")
    return number


def shown(value: Any) -> str:
    """Describe a value that is refused.

    Parameters
    ----------
    value : object

    Returns
    -------
    text : str
        A number or a text with its type; of anything else the type alone.
    """
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return f"{value!r} of type {type(value).__name__}"
    return type(value).__name__
