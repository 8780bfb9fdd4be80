"""biglearn score: the mean log density of rows."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.command.answers import answered
from biglearn_core.command.arguments import (
    add_common,
    add_device,
    add_json,
    add_model,
    add_rows,
    add_weights,
)
from biglearn_core.command.errors import CommandError
from biglearn_core.command.model import open_model
from biglearn_core.command.output import check_output, write_rows
from biglearn_core.command.ranks import Ranks
from biglearn_core.command.rows import OWN, open_part_for
from biglearn_core.estimators.rows import weighted_mean
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
        "score",
        help="mean log density of rows",
        description="Print the mean log density of rows in nats; of a row with gaps that of what "
        "is known.",
        allow_abbrev=False,
    )
    add_model(parser)
    add_rows(parser)
    add_weights(parser)
    parser.add_argument(
        "--samples",
        metavar="DENSITIES.npy",
        help="write the log density of every row; with {rank} in the name a file of each process",
    )
    add_device(parser)
    add_json(parser)
    add_common(parser)
    parser.set_defaults(run=run, of_all=True)


def run(options: Namespace, ranks: Ranks) -> None:
    """Evaluate the rows of this process, and print the mean of all.

    Parameters
    ----------
    options : Namespace
    ranks : Ranks

    Raises
    ------
    CommandError, OSError, ValueError, ProcessesError
        As in `predict`; CommandError as well when no row has weight.
    """
    processes, out, of_each = ranks.processes, None, False
    if options.samples is not None:
        of_each = OWN in options.samples
        out = Path(options.samples.replace(OWN, str(processes.rank)))
        inputs = [options.model, *options.rows]
        check_output(out, suffix=".npy", inputs=inputs, processes=processes, of_each=of_each)
    model = processes.together(lambda: open_model(options.model))
    source = open_part_for(model, options, ranks)
    means: list[tuple[float, ...]] = []

    def densities() -> Iterator[np.ndarray]:
        for evaluation, block in answered(model, source, choose_device(options.device)):
            found = evaluation.log_prob().cpu().numpy()
            if block.weights is None or block.weights.any():
                means.append(tuple(weighted_mean(found, block.weights)))
            yield found

    def consumed() -> None:
        for _ in densities():
            pass

    if out is None:
        processes.together(consumed)
    else:
        write_rows(
            out,
            densities(),
            n_rows=source.n_rows,
            of_row=(),
            dtype=source.dtype,
            processes=ALONE if of_each else processes,
        )
    mean, total = _joined(np.concatenate(processes.gather(np.reshape(means, (-1, 2)))))
    if processes.rank == 0:
        print(json.dumps({"log_density": mean, "rows": total}) if options.json else mean)


def _joined(means: np.ndarray) -> tuple[float, float]:
    """Mean of means with the rows that they are of, and the number of all rows."""
    if not len(means):
        raise CommandError("there is no row of positive weight to take the mean of")
    values, totals = means.T
    return float(np.average(values, weights=totals)), math.fsum(totals)
