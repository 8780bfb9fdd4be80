"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = [
    "add_common",
    "add_device",
    "add_json",
    "add_model",
    "add_rows",
    "add_seed",
    "add_weights",
    "names",
    "positive_integer",
    "seed",
]

# What both NumPy's and torch's generators take.
_LARGEST_SEED = 2**32 - 1


def positive_integer(text: str) -> int:
    """Read a whole number of at least one.

    Parameters
    ----------
    text : str

    Returns
    -------
    value : int

    Raises
    ------
    argparse.ArgumentTypeError
        When it is none.
    """
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Read a seed, a whole number from 0 to 2³² − 1; see `positive_integer`."""
    if not (text.isascii() and text.isdigit() and int(text) <= _LARGEST_SEED):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to {_LARGEST_SEED}, got {text!r}"
        )
    return int(text)


def names(text: str) -> list[str]:
    """Read names with commas between them.

    Parameters
    ----------
    text : str

    Returns
    -------
    names : list of str

    Raises
    ------
    argparse.ArgumentTypeError
        When one is empty.
    """
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"must be names with commas between them, got {text!r}")
    return found


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the file of a mixture, as the first word."""
    parser.add_argument("model", type=Path, help="a mixture that `biglearn fit` has written")


def add_rows(parser: argparse.ArgumentParser) -> None:
    """Add the files of rows, and which of them and of their columns are read."""
    parser.add_argument(
        "rows",
        nargs="+",
        help=".npy, .npz or Parquet files, or one folder of these; {rank} stands for the number of "
        "the process, which then reads all of the files",
    )
    parser.add_argument(
        "--columns",
        type=names,
        metavar="A,B,C",
        help="columns of Parquet files that are features, in this order",
    )
    parser.add_argument(
        "--local-rows",
        action="store_true",
        help="the files are those of this machine, and the processes here share them",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add the weights of rows."""
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--weight", metavar="COLUMN", help="column of Parquet files with weights")
    weights.add_argument(
        "--sample-weight", metavar="FILE", help=".npy file with one weight a row, of all files"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the device on which is computed."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto takes a GPU where there is one (default); cuda demands one for every process",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the seed of what is drawn."""
    parser.add_argument("--seed", type=seed, default=0, help="of all that is drawn (default 0)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add that the outcome is printed as JSON."""
    parser.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    parser.add_argument(
        "--quiet", action="store_true", help="show no progress; predict and sample print nothing"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error was raised")
