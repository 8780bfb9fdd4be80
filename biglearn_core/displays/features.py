"""Which features a picture shows, as users name them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

__all__ = ["Features", "chosen_features"]

Features = int | str | Sequence[int | str]


def chosen_features(
    features: Features | None, n_features: int, names: Sequence[str] | None
) -> list[int]:
    """Find the positions of features that are given by position or by name.

    Parameters
    ----------
    features : int or str, one or two of them, optional
        The first two, or the only one, when not given.
    n_features : int
        D.
    names : sequence of D str, optional
        None where the columns have no names.

    Returns
    -------
    index : list of int
        One or two.

    Raises
    ------
    TypeError
        When a feature is neither an integer nor a string.
    ValueError
        When there are none or more than two, a position is out of range, a name is unknown, or both
        are the same.
    """
    if features is None:
        features = range(min(2, n_features))
    alone = isinstance(features, str | Integral)
    wanted: Sequence = [features] if alone else list(features)  # type: ignore[arg-type]
    if len(wanted) not in (1, 2):
        raise ValueError(f"features must be one or two, got {len(wanted)}: {features!r}")
    index = [_position(feature, n_features, names) for feature in wanted]
    if len(set(index)) < len(index):
        raise ValueError(f"both features are the same, {features!r}: give one, or two that differ")
    return index


def _position(feature: int | str, n_features: int, names: Sequence[str] | None) -> int:
    if isinstance(feature, str):
        if names is None:
            raise ValueError(
                f"the feature {feature!r} is given by name, but the estimator was fitted on data "
                "without column names: give its position"
            )
        if feature not in names:
            raise ValueError(f"there is no feature {feature!r}; those of fit are {list(names)}")
        return list(names).index(feature)
    if not isinstance(feature, Integral) or isinstance(feature, bool):
        raise TypeError(f"a feature must be a position or a name, got {feature!r}")
    if not 0 <= feature < n_features:
        raise ValueError(
            f"the feature {feature} is out of range: there are {n_features}, from 0 to "
            f"{n_features - 1}"
        )
    return int(feature)
