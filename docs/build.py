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

from biglearn_core.reproduce.commands import failed

MODULES = (
    "biglearn_core",
    "biglearn_core.estimators.base",
    "biglearn_core.estimators.queries",
    "biglearn_core.displays.ellipses",
    "biglearn_core.search.search",
    "biglearn_core.search.moves",
    "biglearn_core.search.insert",
    "biglearn_core.search.pursuit",
    "biglearn_core.search.swap",
    "biglearn_core.search.credit",
    "biglearn_core.search.missing",
    "biglearn_core.search.incomplete",
    "biglearn_core.estimators.scaling",
    "biglearn_core.rows",
    "biglearn_core.rows.source",
    "biglearn_core.rows.survey",
    "biglearn_core.numerics.streamed",
    "biglearn_core.system.processes",
    "biglearn_core.numerics.parameters",
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
