"""The command line: which command, and how it ends.

biglearn fit rows.parquet --components 50 --out model.npz
biglearn predict model.npz rows.parquet --out labels.npy
biglearn score model.npz rows.parquet
biglearn sample model.npz -n 1000 --out rows.npy
biglearn info model.npz
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence

import biglearn_core
from biglearn_core.command import fit, info, predict, sample, score
from biglearn_core.command.errors import CommandError
from biglearn_core.command.ranks import Ranks, joined, rank_of_this
from biglearn_core.command.surroundings import Terminated, surroundings
from biglearn_core.system.messages import text_of
from biglearn_core.system.processes import ProcessesError

__all__ = ["main"]

# What a user can do something about; anything else is an error of this library or below it.
_EXPECTED = (CommandError, ProcessesError, OSError, ValueError, TypeError, ImportError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        0; 1 when the command has failed; 130 when it was interrupted, 143 when it was terminated.

    Raises
    ------
    SystemExit
        With 2 when the arguments are wrong, 0 for --help and --version.
    """
    options = _parsed(arguments)
    name, rank = f"biglearn {options.command}", rank_of_this()
    if rank > 0 and not options.of_all:
        return 0
    with surroundings(name, quiet=options.quiet, rank=rank):
        try:
            return _run(name, options)
        except KeyboardInterrupt as error:
            terminated = isinstance(error, Terminated)
            if rank == 0:
                ended = "terminated" if terminated else "interrupted"
                print(f"\n{name}: {ended}; {options.what_is_left(options)}", file=sys.stderr)
            return 143 if terminated else 130


def _run(name: str, options: Namespace) -> int:
    ranks = Ranks()
    try:
        with joined(options.device) if options.of_all else contextlib.nullcontext(ranks) as ranks:
            try:
                options.run(options, ranks)
            except Exception as error:
                _tell(name, error, options, ranks)
                return 1
    except Exception as error:
        _tell(name, error, options, Ranks())
        return 1
    return 0


def _tell(name: str, error: Exception, options: Namespace, ranks: Ranks) -> None:
    """Print an error once, whichever processes have met it."""
    if not ranks.is_to_tell(error):
        return
    if options.debug:
        traceback.print_exception(error)
    text = text_of(error)
    if not isinstance(error, _EXPECTED):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    place = "" if ranks.store is None else f"process {ranks.processes.rank}: "
    print(f"{name}: {place}{text}", file=sys.stderr, flush=True)


def _parsed(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line; what is wrong with it is told by the first process."""
    parser = argparse.ArgumentParser(
        prog="biglearn",
        description="Gaussian mixtures for rows in files, past memory and past one machine.",
        epilog="biglearn COMMAND --help tells the options of a command.",
        allow_abbrev=False,
    )
    version = f"biglearn-em {biglearn_core.__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.set_defaults(of_all=False, what_is_left=lambda options: "nothing was written")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for module in (fit, predict, score, sample, info):
        module.add_parser(commands)
    silent = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
    with contextlib.ExitStack() as stack:
        if rank_of_this() > 0:
            for redirection in silent:
                stack.enter_context(redirection)
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.error("name a command: fit, predict, score, sample or info")
    return options
