"""Rows that are read in blocks, wherever they lie: in memory, in files, or handed out in chunks."""

from biglearn_core.rows.opening import open_rows

__all__ = ["open_rows"]
