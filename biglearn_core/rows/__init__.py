"""Rows that are read in blocks, wherever they lie: in memory, in files, or handed out in chunks."""
