"""biglearn fit: from rows to the file of a mixture."""

from __future__ import annotations

import argparse
import json
import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.command.arguments import (
    add_common,
    add_device,
    add_json,
    add_rows,
    add_seed,
    add_weights,
    names,
    positive_integer,
)
from biglearn_core.command.errors import CommandError
from biglearn_core.command.output import check_output
from biglearn_core.command.ranks import Ranks
from biglearn_core.command.rows import files_read, open_part
from biglearn_core.estimators import BigLearnEM, MixtureSelection
from biglearn_core.estimators.given import are_held
from biglearn_core.numerics.structures import structure_of
from biglearn_core.system.progress import is_watched
from biglearn_core.system.stopwatch import Stopwatch

__all__ = ["add_parser", "run", "what_is_left"]

_AUTO = "auto"


def add_parser(commands: Any) -> None:
    """Declare the command and its options.

    Parameters
    ----------
    commands : object
        From `ArgumentParser.add_subparsers`.
    """
    parser = commands.add_parser(
        "fit",
        help="fit a mixture to rows",
        description="Fit a Gaussian mixture to rows that need not fit into memory, and write it to "
        "a file. Under torchrun the processes share the rows.",
        allow_abbrev=False,
    )
    add_rows(parser)
    add_weights(parser)
    parser.add_argument(
        "--components",
        type=_components,
        required=True,
        metavar="K|auto",
        help="number of components; auto chooses it by BIC",
    )
    parser.add_argument(
        "--max-components", type=positive_integer, metavar="K", help="with auto: at most so many"
    )
    parser.add_argument(
        "--covariance-type",
        type=names,
        metavar="TYPE",
        help="full (default), tied, diag, spherical, or letters of mclust; with auto several with "
        "commas between them to choose from, or all (default)",
    )
    parser.add_argument("--covariance-prior", choices=("conjugate",))
    parser.add_argument(
        "--covariance-floor", type=_positive, metavar="X", help="least eigenvalue, at unit scale"
    )
    parser.add_argument(
        "--n-init", type=positive_integer, default=1, metavar="N", help="search longer (default 1)"
    )
    parser.add_argument(
        "--max-iter", type=positive_integer, metavar="N", help="passes at the end (default 500)"
    )
    parser.add_argument(
        "--tol",
        type=_positive,
        default=1e-5,
        help="the passes stop when one gains less, in nats a row (default 1e-5)",
    )
    add_seed(parser)
    add_device(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL.npz")
    checkpoint = parser.add_mutually_exclusive_group()
    checkpoint.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE.npz",
        help="state to go on from after an interruption (default: MODEL.checkpoint.npz beside the "
        "outcome, removed at the end; one that is named here is kept)",
    )
    checkpoint.add_argument("--no-checkpoint", action="store_true")
    add_json(parser)
    add_common(parser)
    parser.set_defaults(run=run, what_is_left=what_is_left, of_all=True)


def run(options: Namespace, ranks: Ranks) -> None:
    """Fit, write the mixture, and print a summary.

    Parameters
    ----------
    options : Namespace
    ranks : Ranks

    Raises
    ------
    CommandError
        When options do not go together, or the mixture cannot be written where it is to be.
    Exception
        As `BigLearnEM.fit`.
    """
    estimator = _estimator(options)
    state, processes = _checkpoint(options), ranks.processes
    inputs = files_read(options, processes.size)
    check_output(options.out, suffix=".npz", inputs=inputs, processes=processes)
    settings: dict[str, Any] = {}
    if state is not None:
        if state.resolve() == options.out.resolve():
            raise CommandError(f"--checkpoint and --out are both {state}: name two files")
        inputs = files_read(options, processes.size)
        check_output(state, suffix=".npz", inputs=inputs, processes=processes)
        settings["checkpoint"] = state
    watch = Stopwatch()
    rows: Any = open_part(options, ranks)
    estimator.fit(rows, **settings)
    seconds = watch.read()
    n_rows = sum(int(n[0]) for n in processes.gather(np.array([rows.n_rows])))
    # Few rows are held, and their fit has no state: one that lies there is of another fit.
    in_passes = not are_held(n_rows, rows.n_features)
    spent = state if in_passes and options.checkpoint is None else None
    processes.together(lambda: _keep(estimator, options.out, spent, processes.rank))
    if processes.rank == 0:
        facts = _facts(estimator, n_rows, seconds, processes.size)
        print(json.dumps(facts | {"out": str(options.out)}) if options.json else _told(facts))
        if not options.json:
            print(f"written to      {options.out}")


def what_is_left(options: Namespace) -> str:
    """Say what an interrupted fit leaves.

    Parameters
    ----------
    options : Namespace

    Returns
    -------
    text : str
    """
    state = _checkpoint(options)
    if state is not None and state.exists():
        return f"the same command goes on from {state}"
    return "nothing was written"


def _estimator(options: Namespace) -> BigLearnEM | MixtureSelection:
    shared = {
        "covariance_prior": options.covariance_prior,
        "covariance_floor": options.covariance_floor,
        "n_init": options.n_init,
        "max_iter": options.max_iter,
        "tol": options.tol,
        "random_state": options.seed,
        "device": options.device,
        "verbose": int(is_watched()),
    }
    types = options.covariance_type
    if options.components == _AUTO:
        if options.checkpoint is not None:
            raise CommandError(
                "--checkpoint keeps the state of one fit, and --components auto makes many: leave "
                "it out, or give a number of components"
            )
        if types not in (None, ["all"]):
            _check_types(types)
        return MixtureSelection(
            covariance_type="all" if types in (None, ["all"]) else types,
            max_components=options.max_components,
            **shared,
        )
    if options.max_components is not None:
        raise CommandError("--max-components goes with --components auto: leave it out")
    types = types or ["full"]
    _check_types(types)
    if len(types) > 1:
        raise CommandError(
            f"--covariance-type names {len(types)} types ({', '.join(types)}): name one, or choose "
            "among them by --components auto"
        )
    return BigLearnEM(options.components, covariance_type=types[0], **shared)


def _check_types(types: list[str]) -> None:
    for name in types:
        structure_of(name)


def _checkpoint(options: Namespace) -> Path | None:
    if options.no_checkpoint or options.components == _AUTO:
        return None
    if options.checkpoint is not None:
        named: Path = options.checkpoint
        return named
    out: Path = options.out
    return out.with_name(f"{out.stem}.checkpoint.npz")


def _keep(
    estimator: BigLearnEM | MixtureSelection, out: Path, spent: Path | None, rank: int
) -> None:
    if rank > 0:
        return
    estimator.mixture_.save(out)
    if spent is not None:
        spent.unlink(missing_ok=True)


def _facts(
    estimator: BigLearnEM | MixtureSelection, n_rows: int, seconds: float, n_processes: int
) -> dict[str, Any]:
    mixture = estimator.mixture_
    return {
        "rows": n_rows,
        "features": mixture.n_features,
        "components": mixture.n_components,
        "covariance_type": mixture.covariance_type,
        "log_likelihood": estimator.lower_bound_,
        "steps": estimator.n_iter_,
        "converged": estimator.converged_,
        "seconds": round(seconds, 3),
        "rows_per_second": round(n_rows / seconds, 1),
        "processes": n_processes,
    }


def _told(facts: dict[str, Any]) -> str:
    among = f", of {facts['processes']} processes" if facts["processes"] > 1 else ""
    rest = "converged" if facts["converged"] else "not converged"
    return "\n".join(
        (
            f"rows            {facts['rows']}{among}",
            f"features        {facts['features']}",
            f"components      {facts['components']}, {facts['covariance_type']} covariances",
            f"log-likelihood  {facts['log_likelihood']:.6f} nats a row",
            f"steps           {facts['steps']}, {rest}",
            f"seconds         {facts['seconds']:.1f}, {facts['rows_per_second']:.0f} rows a second",
        )
    )


def _components(text: str) -> int | str:
    return text if text == _AUTO else positive_integer(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value
