"""What displays are asked to draw: a fitted mixture, and features of it by position or name."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, TypeGuard

from sklearn.utils.validation import check_is_fitted

from biglearn_core.estimators.base import MixtureEstimator

__all__ = ["Features", "check_mixture_estimator", "chosen_features"]

Features = int | str | Sequence[int | str]


def check_mixture_estimator(estimator: Any) -> None:
    """Refuse what has no mixture to draw.

    Parameters
    ----------
    estimator : object

    Raises
    ------
    TypeError
        When it is no estimator of a mixture.
    NotFittedError
        Before `fit`.
    """
    if not isinstance(estimator, MixtureEstimator):
        raise TypeError(
            f"there is no one mixture to draw in a {type(estimator).__name__}: give a fitted "
            "BigLearnEM, JointEM or MixtureSelection, the last step of a pipeline with the rows "
            "that it sees"
        )
    check_is_fitted(estimator)


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
    wanted = list(features) if _is_several(features) else [features]
    if len(wanted) not in (1, 2):
        raise ValueError(f"features must be one or two, got {len(wanted)}: {features!r}")
    index = [_position(feature, n_features, names) for feature in wanted]
    if len(set(index)) < len(index):
        raise ValueError(f"both features are the same, {features!r}: give one, or two that differ")
    return index


def _is_several(features: Features) -> TypeGuard[Sequence[int | str]]:
    return hasattr(features, "__len__") and not isinstance(features, str)


def _position(feature: object, n_features: int, names: Sequence[str] | None) -> int:
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
    position = int(feature)
    if not 0 <= position < n_features:
        raise ValueError(
            f"the feature {position} is out of range: there are {n_features}, from 0 to "
            f"{n_features - 1}"
        )
    return position
