"""The mixture that an estimator fits inside: given by the user, or the default."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags

from biglearn_core.estimators.biglearn import BigLearnEM
from biglearn_core.estimators.randomness import RandomState, drawn_seed
from biglearn_core.system.numbers import shown

__all__ = ["allows_nan", "unfitted_mixture"]

# What is asked of a mixture.
_METHODS = ("fit", "score_samples", "sample", "condition")


def unfitted_mixture(mixture: Any, *, random_state: RandomState) -> Any:
    """Copy the mixture that a user has given.

    Parameters
    ----------
    mixture : mixture estimator or None
        None stands for the default, `BigLearnEM()`.
    random_state : int, RandomState instance or None
        Where it is not None, the copy and what lies in it get seeds drawn from it.

    Returns
    -------
    mixture : mixture estimator
        Unfitted.

    Raises
    ------
    TypeError
        When `mixture` is a class, or no mixture estimator of this library.
    """
    if mixture is None:
        mixture = _default()
    if isinstance(mixture, type) or not all(hasattr(mixture, method) for method in _METHODS):
        given = f"the class {mixture.__name__}" if isinstance(mixture, type) else shown(mixture)
        raise TypeError(
            f"mixture must be a mixture estimator of this library, such as BigLearnEM(3), or None, "
            f"got {given}"
        )
    copy = clone(mixture)
    if random_state is not None:
        names = [name for name in copy.get_params() if name.split("__")[-1] == "random_state"]
        copy.set_params(**{name: drawn_seed(random_state) for name in sorted(names)})
    return copy


def allows_nan(mixture: Any) -> bool:
    """Whether a mixture takes rows with missing values.

    Parameters
    ----------
    mixture : mixture estimator or None

    Returns
    -------
    allowed : bool
    """
    mixture = _default() if mixture is None else mixture
    return isinstance(mixture, BaseEstimator) and bool(get_tags(mixture).input_tags.allow_nan)


def _default() -> BaseEstimator:
    return BigLearnEM()
