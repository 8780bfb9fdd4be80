"""Progress where somebody watches, and silence elsewhere."""

from __future__ import annotations

import os
import sys
from typing import Self

from tqdm.auto import tqdm

__all__ = ["PassBar", "is_watched", "progress_bar"]

# Seconds after which a fit shows that it is under way, unasked.
_PATIENCE = 2.0


def is_watched() -> bool:
    """Say whether somebody sees what is printed.

    Returns
    -------
    watched : bool
        In a terminal or a notebook, unless the environment variable BIGLEARN_QUIET is set.
    """
    ipython = sys.modules.get("IPython")
    notebook = ipython is not None and ipython.get_ipython() is not None
    return not os.environ.get("BIGLEARN_QUIET") and (notebook or sys.stderr.isatty())


def progress_bar(verbose: int, *, unit: str, total: int | None = None) -> tqdm:
    """Make the progress bar of a fit.

    Parameters
    ----------
    verbose : int
        Where true, the bar is shown from the start, to whomever. Else after two seconds, where
        somebody watches, and it goes away at the end.
    unit : str
    total : int, optional

    Returns
    -------
    bar : tqdm
    """
    if verbose:
        return tqdm(total=total, unit=unit)
    return tqdm(total=total, unit=unit, delay=_PATIENCE, leave=False, disable=not is_watched())


class PassBar:
    """Bar of passes over rows, which is there from the first row on.

    Parameters
    ----------
    verbose : int
        As in `progress_bar`.
    """

    def __init__(self, verbose: int) -> None:
        self._verbose = verbose
        self._bar: tqdm | None = None
        self._text = ""

    def __call__(self, n_rows: int) -> None:
        """Count rows that have been read."""
        if self._bar is None:
            self._bar = progress_bar(self._verbose, unit="row")
            self._bar.unit_scale = True
            self._bar.set_postfix_str(self._text, refresh=False)
        self._bar.update(n_rows)

    def tell(self, text: str) -> None:
        """Say which pass it is."""
        self._text = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
