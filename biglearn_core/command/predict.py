"""biglearn predict: the most probable component of every row."""

from __future__ import annotations

from argparse import Namespace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.command.answers import answered
from biglearn_core.command.arguments import add_common, add_device, add_model, add_rows
from biglearn_core.command.model import open_model
from biglearn_core.command.output import check_output, write_rows
from biglearn_core.command.ranks import Ranks
from biglearn_core.command.rows import OWN, files_read, open_part_for
from biglearn_core.system.devices import choose_device
from biglearn_core.system.processes import ALONE

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Declare the command and its options.

    Parameters
    ----------
    commands : object
        From `ArgumentParser.add_subparsers`.
    """
    parser = commands.add_parser(
        "predict",
        help="label rows by their most probable component",
        description="Write the most probable component of every row, or the probabilities of all.",
        allow_abbrev=False,
    )
    add_model(parser)
    add_rows(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="LABELS.npy",
        help="int64, one number a row; with {rank} in the name a file of each process",
    )
    parser.add_argument(
        "--proba", action="store_true", help="write the probabilities, K numbers a row"
    )
    add_device(parser)
    add_common(parser)
    parser.set_defaults(run=run, of_all=True)


def run(options: Namespace, ranks: Ranks) -> None:
    """Label the rows of this process, and write them to their place.

    Parameters
    ----------
    options : Namespace
    ranks : Ranks

    Raises
    ------
    CommandError, OSError, ValueError, ProcessesError
        When model or rows cannot be read or do not go together, or the file cannot be written.
    """
    processes, of_each = ranks.processes, OWN in options.out
    out = Path(options.out.replace(OWN, str(processes.rank)))
    inputs = chain([options.model], files_read(options, processes.size))
    check_output(out, suffix=".npy", inputs=inputs, processes=processes, of_each=of_each)
    model = processes.together(lambda: open_model(options.model))
    source = open_part_for(model, options, ranks)
    answers = answered(model, source, choose_device(options.device))
    if options.proba:
        blocks = (e.responsibilities().T.cpu().numpy() for e, _ in answers)
    else:
        blocks = (e.labels().cpu().numpy() for e, _ in answers)
    write_rows(
        out,
        blocks,
        n_rows=source.n_rows,
        of_row=(model.n_components,) if options.proba else (),
        dtype=source.dtype if options.proba else np.dtype(np.int64),
        processes=ALONE if of_each else processes,
    )
    processes.wait()
    if processes.rank == 0 and not options.quiet:
        print(f"written to {options.out}")
