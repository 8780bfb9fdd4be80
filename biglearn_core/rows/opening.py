"""Find out what rows are given as."""

from __future__ import annotations

from typing import Any

from biglearn_core.rows.source import RowSource

__all__ = ["is_source", "open_rows"]


def is_source(data: Any) -> bool:
    """Whether rows are read in blocks."""
    return isinstance(data, RowSource)


def open_rows(data: Any) -> RowSource:
    """Open rows."""
    return data
