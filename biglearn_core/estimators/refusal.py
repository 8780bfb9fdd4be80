"""A fit that is refused leaves its estimator as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["kept_on_error"]


@contextmanager
def kept_on_error(estimator: Any) -> Iterator[None]:
    """Undo what was set on an estimator where an error leaves the block.

    Parameters
    ----------
    estimator : object
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
