"""BigLearn-GAN from the command line.

    python -m biglearn_gan train --data digits --methods big energy --seeds 0 1

trains and measures what is missing, prints the table, and goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from biglearn_core.command.arguments import positive_integer, seed
from biglearn_core.experiments.store import write_record
from biglearn_core.system.devices import choose_device
from biglearn_core.system.paths import RESULTS
from biglearn_gan import tables
from biglearn_gan.data import DATA
from biglearn_gan.methods import METHODS
from biglearn_gan.run import Comparison, run

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line when not given.

    Returns
    -------
    status : int
        0, or 130 when interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        comparison = Comparison(
            data=tuple(options.data),
            methods=tuple(options.methods),
            seeds=tuple(options.seeds),
            iterations=options.iterations,
        )
        runs = run(
            comparison,
            root=options.out_dir,
            device=choose_device(options.device),
            n_jobs=options.jobs,
        )
        if options.record is not None:
            write_record(options.record, tables.record(runs, iterations=comparison.iterations))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return _INTERRUPTED
    for data in comparison.data:
        print(f"\n{data}\n{tables.score_table(runs, data).T.to_string()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m biglearn_gan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train = parser.add_subparsers(dest="command", required=True).add_parser(
        "train", help="train samplers, measure them, and print the table"
    )
    defaults = Comparison()
    add = train.add_argument
    add("--data", nargs="+", choices=DATA, default=list(defaults.data), help="data sets")
    add(
        "--methods",
        nargs="+",
        choices=[*METHODS, "all"],
        default=["all"],
        metavar="METHOD",
        help=f"one or more of {', '.join(METHODS)}; or all",
    )
    add("--seeds", nargs="+", type=seed, default=list(defaults.seeds), help="a training each")
    add(
        "--iterations",
        type=positive_integer,
        metavar="N",
        help="of every training, at most; as many as each has when not given",
    )
    add("--device", help="cpu, cuda or cuda:N; the first GPU where there is one, else the CPU")
    add("--jobs", type=positive_integer, help="processes of one thread each; one per core")
    add("--out_dir", type=Path, default=RESULTS, help="folder of models, scores and states")
    add("--record", type=Path, help="JSON file for all numbers by seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
