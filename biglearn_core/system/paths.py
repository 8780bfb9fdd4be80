"""The folders of the repository, counted from this file alone.

A module that finds a folder from its own place is wrong without a word once it moves.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["DATASETS", "FASHION_MNIST", "NOTEBOOKS", "REPOSITORY", "RESULTS"]

REPOSITORY = Path(__file__).resolve().parents[2]

DATASETS = REPOSITORY / "dataset"
FASHION_MNIST = REPOSITORY / "BL_vs_deepClustering" / "dataset"
NOTEBOOKS = REPOSITORY / "notebooks"
RESULTS = REPOSITORY / "results"
