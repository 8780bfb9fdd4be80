"""Tables as data frames, where pandas is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

__all__ = ["frame"]


def frame(
    columns: Mapping[str, Sequence[Any]], *, index: Sequence[Any] | None = None
) -> pandas.DataFrame:
    """Make a data frame.

    Parameters
    ----------
    columns : mapping of str to sequence
    index : sequence, optional

    Returns
    -------
    frame : pandas.DataFrame

    Raises
    ------
    ImportError
        Without pandas, which the library does not need otherwise.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("tables are pandas data frames: pip install pandas") from error
    return pandas.DataFrame(dict(columns), index=index)
