"""What processes that fit together must agree in: features, start and parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from biglearn_core.gmm import GMM
from biglearn_core.rows.tables import with_nan
from biglearn_core.system.digest import digest
from biglearn_core.system.processes import Processes

__all__ = ["check_alike", "check_same_settings", "check_same_start"]

# Names of features that an error lists, at most.
_LISTED = 20

# Values of an array that an error shows, at most.
_SHOWN = 4


def check_alike(
    n_features: int,
    itemsize: int,
    processes: Processes,
    feature_names: Sequence[str] | None = None,
) -> None:
    """Refuse processes whose rows do not go together.

    Parameters
    ----------
    n_features : int
        Of the rows of this process.
    itemsize : int
        Bytes of a value.
    processes : Processes
    feature_names : sequence of str, optional
        Where the features of this process have some.

    Raises
    ------
    ValueError
        In all processes, when those of another differ.
    """
    kinds = [tuple(one.tolist()) for one in processes.gather(np.array([n_features, itemsize]))]
    if len(set(kinds)) > 1:
        told = ", ".join(
            f"process {rank} has {D} features of {8 * size} bits"
            for rank, (D, size) in enumerate(kinds)
            if kinds.index((D, size)) == rank
        )
        raise ValueError(
            f"the processes have rows of different kinds ({told}): give all of them the same "
            "features in one dtype"
        )
    named = None if feature_names is None else list(map(str, feature_names))
    first, *others = map(json.loads, processes.gather_texts(json.dumps(named)))
    for rank, other in enumerate(others, start=1):
        if other != first:
            raise ValueError(_other_names(first, other, rank))


def _other_names(first: list[str] | None, other: list[str] | None, rank: int) -> str:
    if first is None or other is None:
        who = (0, rank) if other is None else (rank, 0)
        named = _listed_names(first or other or [])
        return (
            f"the features of process {who[0]} have names ({named}), those of process {who[1]} "
            "have none, so that nobody can tell whether they stand in one order: give rows with "
            "names to all processes, or to none"
        )
    place = next(i for i, pair in enumerate(zip(first, other, strict=True)) if len(set(pair)) > 1)
    return (
        f"the features of process {rank} are {_listed_names(other)}, those of process 0 "
        f"{_listed_names(first)}; feature {place} is {other[place]!r} in one, {first[place]!r} in "
        "the other: give all processes the same columns in the same order"
    )


def _listed_names(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def check_same_start(init: GMM, processes: Processes) -> None:
    """Check that processes that fit together begin at the same mixture.

    Parameters
    ----------
    init : GMM
        Checked.
    processes : Processes

    Raises
    ------
    ValueError
        In all processes, when the bits of some start differ.
    """
    if processes.size == 1:
        return
    first, *others = processes.gather_texts(digest(*init.arrays().values()))
    for rank, other in enumerate(others, start=1):
        if other != first:
            raise ValueError(
                f"the start of process {rank} is not that of process 0: draw it in one process and "
                "send it to the others, or load it from one file"
            )


def check_same_settings(settings: Mapping[str, Any], processes: Processes) -> None:
    """Check that processes that fit together do so in the same way.

    Parameters
    ----------
    settings : mapping of str to object
        By name, everything that the fit depends on besides the rows. Numbers are compared by their
        value, arrays and mixtures by their content, functions by their names.
    processes : Processes

    Raises
    ------
    ValueError
        In all processes, when some differ: it names these, and their values.
    """
    if processes.size == 1:
        return
    own = processes.together(lambda: {name: _told(value) for name, value in settings.items()})
    first, *others = map(json.loads, processes.gather_texts(json.dumps(own)))
    for rank, other in enumerate(others, start=1):
        if other != first:
            told = ", ".join(
                f"{name}: {first.get(name, 'not given')} in process 0, "
                f"{other.get(name, 'not given')} in process {rank}"
                for name in first | other
                if first.get(name) != other.get(name)
            )
            raise ValueError(
                f"the processes fit with different parameters ({told}): give the same to all"
            )


def _told(value: Any) -> str:
    """Tell a setting, the same text for the same value."""
    if value is None or isinstance(value, str | bool | np.bool_):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return str(float(value)).removesuffix(".0")
    if isinstance(value, GMM):
        return f"a mixture {digest(*value.arrays().values())}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    try:
        array = np.asarray(with_nan(value))
    except (TypeError, ValueError):  # of which those tell who take it
        return type(value).__name__
    if array.ndim == 0:
        return type(value).__name__
    if array.size <= _SHOWN:
        return f"[{', '.join(map(_told, array.ravel().tolist()))}]"
    return digest(array.astype(str) if array.dtype.kind == "O" else array)
