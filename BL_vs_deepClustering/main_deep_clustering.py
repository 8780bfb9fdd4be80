"""Deep clustering peers on Fashion-MNIST, and BigLearn-EM on their features, from the command line.

    python BL_vs_deepClustering/main_deep_clustering.py --method all --seeds 0

A method is a row of comparison/methods.py; what it does, its own module in peers/ states. The same
command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from biglearn_core.experiments.network_training import MatmulPrecision  # noqa: E402
from biglearn_core.experiments.store import write_record  # noqa: E402
from biglearn_core.system.devices import choose_device  # noqa: E402
from BL_vs_deepClustering.arguments import integer_between, positive_int  # noqa: E402
from BL_vs_deepClustering.comparison import run as deep, tables as summary  # noqa: E402

# What scikit-learn takes as a random state.
LARGEST_SEED = 2**32 - 1


def main(arguments: list[str] | None = None) -> int:
    """Run the methods and print their table.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the command line when not given.

    Returns
    -------
    status : int
        0, or 130 when interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        device = choose_device(options.device)
        config = deep.Config(
            methods=tuple(options.method),
            seeds=tuple(options.seeds),
            n_images=options.data_size,
            n_epochs=options.epochs,
            n_updates=options.updates,
            n_steps=options.steps,
            precision=options.precision,
        )
        runs = deep.run(config, root=options.out_dir, device=device, n_jobs=options.jobs)
        if options.record is not None:
            write_record(options.record, summary.record(runs, config))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(summary.score_table(runs).to_string())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = deep.Config()
    add = parser.add_argument
    add("--method", nargs="+", default=["all"], choices=[*deep.METHODS, "all"], metavar="METHOD",
        help=f"one or more of {', '.join(deep.METHODS)}; or all")  # fmt: skip
    add(
        "--seeds",
        type=integer_between(0, LARGEST_SEED),
        nargs="+",
        default=list(defaults.seeds),
        help="one run each",
    )
    add("--device", help="cpu, cuda or cuda:N; the first GPU where there is one, else the CPU")
    add("--data_size", type=positive_int, default=defaults.n_images, help="images used")
    add("--epochs", type=positive_int, default=defaults.n_epochs, help="of every pretraining")
    add("--updates", type=positive_int, default=defaults.n_updates, help="of DEC and IDEC, at most")
    add("--steps", type=positive_int, default=defaults.n_steps, help="full-batch steps of EDESC")
    add("--precision", choices=get_args(MatmulPrecision), default=defaults.precision,
        help="of the networks' matrix products, as in torch.set_float32_matmul_precision; medium "
        "is faster on processors that multiply bfloat16, high on GPUs")  # fmt: skip
    add("--jobs", type=positive_int, help="processes of one thread each; one per core by default")
    add("--out_dir", type=Path, default=deep.default_root(), help="models, scores and states")
    add("--record", type=Path, help="JSON file for means and deviations over the seeds")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
