"""Build the API reference from the docstrings: `python docs/build.py [folder]`, default docs/api.

Any warning of the build is an error.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import biglearn_core

MODULES = (
    "biglearn_core",
    "biglearn_core.estimator_base",
    "biglearn_core.search",
    "biglearn_core.split_merge",
    "biglearn_core.missing",
    "biglearn_core.incomplete_search",
    "biglearn_core.scaling",
    "biglearn_core.init",
    "biglearn_core.matching",
    "biglearn_core.em",
    "biglearn_core.metrics",
    "biglearn_core.datasets",
)


def build(folder: Path) -> None:
    """Write one HTML page per module, and an index.

    Parameters
    ----------
    folder : Path
    """
    for name in biglearn_core.__all__:  # pdoc does not see what is imported at its first use
        getattr(biglearn_core, name)
    pdoc.render.configure(docformat="numpy", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "api")
