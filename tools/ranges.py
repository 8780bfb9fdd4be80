"""Test the core at an end of pyproject.toml's ranges: `python tools/ranges.py oldest|newest`.

A fresh environment in a temporary folder gets the oldest release that each range admits, or the
newest that the index has. Left out is what is run on the locks alone: experiments and notebooks.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS_ALONE = (
    "BL_vs_deepClustering",
    "biglearn_gan",
    "experiments",
    "faults",
    "repository",
    "reproduce",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up an end of the ranges and test there.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        pytest's.
    """
    parser = argparse.ArgumentParser(prog="tools/ranges.py", description=__doc__)
    parser.add_argument("end", choices=["oldest", "newest"])
    parser.add_argument("--torch-index", help="the index that torch alone is taken from")
    options = parser.parse_args(arguments)
    wanted = requirements(oldest=options.end == "oldest")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        if options.torch_index:
            torch = next(line for line in wanted if line.startswith("torch"))
            subprocess.run(
                [*pip, "--no-deps", "--index-url", options.torch_index, torch], check=True
            )
        subprocess.run([*pip, "--no-cache-dir", *wanted], check=True)
        subprocess.run([python, "-m", "pip", "freeze"], check=True)
        tests = [python, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "tests"]
        tests += [f"--ignore=tests/{folder}" for folder in LOCKS_ALONE]
        return subprocess.run(tests, cwd=ROOT, check=False).returncode


def requirements(*, oldest: bool) -> list[str]:
    """List what the core and its tests need.

    Parameters
    ----------
    oldest : bool
        Whether a range becomes its lower bound, exactly.

    Returns
    -------
    requirements : list of str
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    if not oldest:
        return lines
    return [re.sub(r">=([^,]+).*", r"==\1", line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
