"""biglearn sample: rows that are drawn from a mixture."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biglearn_core.command.arguments import add_common, add_model, add_seed, positive_integer
from biglearn_core.command.model import open_model
from biglearn_core.command.output import check_output, write_rows
from biglearn_core.command.ranks import Ranks
from biglearn_core.gmm import GMM
from biglearn_core.rows.source import block_size

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Declare the command and its options.

    Parameters
    ----------
    commands : object
        From `ArgumentParser.add_subparsers`.
    """
    parser = commands.add_parser(
        "sample",
        help="draw rows from a mixture",
        description="Draw rows from a mixture, and write them.",
        allow_abbrev=False,
    )
    add_model(parser)
    parser.add_argument(
        "-n", type=positive_integer, required=True, metavar="N", help="number of rows"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="ROWS.npy")
    add_seed(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(options: Namespace, ranks: Ranks) -> None:
    """Draw rows in blocks.

    Parameters
    ----------
    options : Namespace
    ranks : Ranks
        This process alone.

    Raises
    ------
    CommandError, OSError
        When the model cannot be read, or the file cannot be written.
    """
    inputs = [options.model]
    check_output(options.out, suffix=".npy", inputs=inputs, processes=ranks.processes)
    model = open_model(options.model)
    write_rows(
        options.out,
        _drawn(model, options.n, options.seed),
        n_rows=options.n,
        of_row=(model.n_features,),
        dtype=np.dtype(str(model.dtype).removeprefix("torch.")),
        processes=ranks.processes,
    )
    if not options.quiet:
        print(f"written to {options.out}")


def _drawn(model: GMM, n: int, seed: int) -> Iterator[np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    size = block_size(model.n_features)
    for first in range(0, n, size):
        yield model.sample(min(size, n - first), generator)[0].numpy()
