"""Names of the coordinates of a mixture, and coordinates by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from biglearn_core.rows.tables import is_frame

__all__ = ["check_feature_names", "named_columns", "positions"]


def check_feature_names(names: Iterable[str] | None, n_features: int) -> tuple[str, ...] | None:
    """Check the names of coordinates.

    Parameters
    ----------
    names : iterable of str, optional
    n_features : int
        D.

    Returns
    -------
    names : tuple of D str, or None

    Raises
    ------
    TypeError
        When they are no list of texts.
    ValueError
        When they are not D, two are equal, or one holds the character NUL, which files cut off.
    """
    if names is None:
        return None
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise TypeError(f"feature_names must be a list of names, one a feature, got {names!r}")
    names = tuple(names)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"feature_names must be texts, got {list(names)}")
    names = tuple(map(str, names))  # of NumPy's texts as well
    if len(names) != n_features:
        raise ValueError(
            f"feature_names must hold {n_features} names, one a feature, got {len(names)}: "
            f"{list(names)}"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"feature_names must differ, got {twice} more than once")
    if any("\0" in name for name in names):
        raise ValueError(f"feature_names must not hold the character NUL, got {list(names)}")
    return names


def positions(index: Any, names: Sequence[str] | None) -> Any:
    """Turn names of coordinates into positions.

    Parameters
    ----------
    index : sequence of str, or any other choice of coordinates
    names : sequence of str, optional
        Of all coordinates.

    Returns
    -------
    index : list of int, or what was given where that holds no name

    Raises
    ------
    ValueError
        When a name is unknown, the mixture has none, or names stand beside positions.
    """
    if isinstance(index, str):
        raise ValueError(f"index must be a list of coordinates, got {index!r}: write [{index!r}]")
    listed = isinstance(index, Iterable) and not isinstance(index, Tensor)
    if not listed or getattr(index, "ndim", 1) == 0:
        return index
    entries = list(index)
    n_names = sum(isinstance(entry, str) for entry in entries)
    if n_names == 0:
        return index
    if n_names < len(entries):
        raise ValueError(f"index must be names or positions, got some of each: {entries}")
    if names is None:
        raise ValueError(
            f"the mixture has no feature_names, so that index must be positions, got {entries}; "
            "with_feature_names(...) names the features"
        )
    unknown = [name for name in entries if name not in names]
    if unknown:
        raise ValueError(f"index names {unknown}, but the features are {list(names)}")
    return [list(names).index(name) for name in entries]


def named_columns(X: Any, names: Sequence[str] | None, *, what: str = "X") -> Any:
    """Take the columns of a data frame by name, where both sides have names.

    Parameters
    ----------
    X : array-like or data frame
    names : sequence of str, optional
        Of the columns wanted, in this order.
    what : str, default "X"
        What an error calls it.

    Returns
    -------
    X : data frame of these columns, or what was given where one side has no names

    Raises
    ------
    ValueError
        When a column is absent, or there twice.
    """
    if names is None or not is_frame(X):
        return X
    found = Counter(X.columns)
    if not all(isinstance(name, str) for name in found):
        return X
    bad = {name: found[name] for name in names if found[name] != 1}
    if bad:
        raise ValueError(
            f"{what} must have one column for each of the features {list(names)}; it has "
            + ", ".join(f"{count or 'none'} named {name!r}" for name, count in bad.items())
        )
    return X[list(names)]
