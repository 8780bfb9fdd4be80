"""Build the API reference from the docstrings: `python docs/build.py [folder]`.

Any warning of the build is an error.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pdoc
import pdoc.render

import biglearn_core
from biglearn_core.commands import failed

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Build from the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when the folder cannot be written.
    """
    parser = argparse.ArgumentParser(prog="docs/build.py", description=__doc__)
    default = Path(__file__).parent / "api"
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default docs/api")
    try:
        build(parser.parse_args(arguments).folder)
    except OSError as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
