"""The folders of the repository, counted from this file alone, or those of an installed wheel.

A module that finds a folder from its own place is wrong without a word once it moves.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["DATASETS", "DOWNLOADS", "FASHION_MNIST", "NOTEBOOKS", "REPOSITORY", "RESULTS"]

_PACKAGE = Path(__file__).resolve().parents[1]

if (_PACKAGE.parent / "dataset" / "checksums.json").is_file():
    REPOSITORY = _PACKAGE.parent
    DATASETS = DOWNLOADS = REPOSITORY / "dataset"
    FASHION_MNIST = REPOSITORY / "BL_vs_deepClustering" / "dataset"
else:  # a wheel: nothing is written beside it, results go to the working directory
    REPOSITORY = Path()
    DATASETS = _PACKAGE / "datasets" / "files"
    DOWNLOADS = FASHION_MNIST = user_cache_path("biglearn-em", appauthor=False)
NOTEBOOKS = REPOSITORY / "notebooks"
RESULTS = REPOSITORY / "results"
