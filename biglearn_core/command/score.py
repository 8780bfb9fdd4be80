"""biglearn score: the mean log density of rows."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain
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
from biglearn_core.command.rows import OWN, files_read, open_part_for
from biglearn_core.estimators.rows import weighted_mean
from biglearn_core.estimators.scaling import with_largest_near_one
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
        "is known. With --json, null stands for what is infinite.",
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
        inputs = chain([options.model], files_read(options, processes.size))
        check_output(out, suffix=".npy", inputs=inputs, processes=processes, of_each=of_each)
    model = processes.together(lambda: open_model(options.model))
    source = open_part_for(model, options, ranks)
    means: list[tuple[float, ...]] = []

    def densities() -> Iterator[np.ndarray]:
        for evaluation, block in answered(model, source, choose_device(options.device)):
            found = evaluation.log_prob().cpu().numpy()
            weights = np.ones(len(found)) if block.weights is None else block.weights
            if weights.any():
                mean = weighted_mean(found, with_largest_near_one(weights))
                means.append((*mean, np.frexp(weights.max())[1]))
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
    mean, total = _joined(np.concatenate(processes.gather(np.reshape(means, (-1, 3)))))
    if processes.rank == 0:
        facts = {"log_density": _in_json(mean), "rows": _in_json(total)}
        print(json.dumps(facts, allow_nan=False) if options.json else mean)


def _joined(means: np.ndarray) -> tuple[float, float]:
    """Mean and number of all rows, given mean, scaled number and binary exponent of some each."""
    if not len(means):
        raise CommandError("there is no row of positive weight to take the mean of")
    values, totals, exponents = means.T
    largest = int(exponents.max())
    mean, total = weighted_mean(values, np.ldexp(totals, exponents.astype(int) - largest))
    with np.errstate(over="ignore"):
        return mean, float(np.ldexp(total, largest))


def _in_json(value: float) -> float | None:
    """Give null in place of what JSON has no number for."""
    return value if math.isfinite(value) else None
