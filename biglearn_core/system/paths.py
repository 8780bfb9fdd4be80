"""The folders of the repository, counted from this file alone, or those of an installed wheel.

A module that finds a folder from its own place is wrong without a word once it moves.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = [
    "DATASETS",
    "DOWNLOADS",
    "FASHION_MNIST",
    "NOTEBOOKS",
    "REPOSITORY",
    "RESULTS",
    "data_root",
]

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


def data_root() -> Path | None:
    """Return the folder that the environment variable BIGLEARN_DATA names, None where it is unset.

    A relative path counts from the working directory or, where that gives no folder, from the
    repository: a notebook runs in its own folder, but `make` was started in the repository.
    """
    value = os.environ.get("BIGLEARN_DATA")
    if not value:
        return None
    here = Path(value).expanduser()
    return here if here.is_dir() or not (REPOSITORY / here).is_dir() else REPOSITORY / here
