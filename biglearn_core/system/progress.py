"""Progress where somebody watches, and silence elsewhere."""

from __future__ import annotations

import os
import sys

from tqdm.auto import tqdm

__all__ = ["is_watched", "progress_bar"]

# Seconds after which a fit shows that it is under way, unasked.
_PATIENCE = 5.0


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
        Where true, the bar is shown from the start, to whomever. Else after five seconds, where
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
