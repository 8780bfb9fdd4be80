"""The rows of a process: all that are named, its part of them, or files of its own."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from biglearn_core.command.errors import CommandError
from biglearn_core.command.ranks import Ranks
from biglearn_core.gmm import GMM
from biglearn_core.rows.opening import open_rows
from biglearn_core.rows.parquet import PARQUET_SUFFIXES, files_below
from biglearn_core.rows.source import RowSource

__all__ = ["OWN", "files_read", "open_part", "open_part_for"]

# Stands for the number of the process in names of files.
OWN = "{rank}"

_NPY_SUFFIXES = (".npy", ".npz")


def open_part(
    options: Namespace, ranks: Ranks, *, columns: Sequence[str] | None = None
) -> RowSource:
    """Open the rows of this process.

    Parameters
    ----------
    options : Namespace
        rows, columns, local_rows; weight and sample_weight where the command has them.
    ranks : Ranks
    columns : sequence of str, optional
        In place of those of the options.

    Returns
    -------
    source : RowSource
        With the weights, where there are any.

    Raises
    ------
    CommandError
        When columns are named, and the files have none.
    OSError, ValueError, TypeError, ImportError
        As `open_rows`.
    ProcessesError
        When another process has failed.
    """
    rank = str(ranks.processes.rank)
    paths = [path.replace(OWN, rank) for path in options.rows]
    weight = getattr(options, "weight", None)
    sample_weight = getattr(options, "sample_weight", None)

    def opened() -> RowSource:
        for option, value in (("--columns", options.columns), ("--weight", weight)):
            if value is not None and Path(paths[0]).exists() and not _is_parquet(paths[0]):
                raise CommandError(
                    f"{option} names columns of Parquet files, and {paths[0]} holds none: leave it "
                    "out"
                )
        return open_rows(
            paths,
            columns=columns or options.columns,
            weight=weight,
            sample_weight=None if sample_weight is None else sample_weight.replace(OWN, rank),
        )

    source = ranks.processes.together(opened)
    if any(OWN in path for path in options.rows):
        return source
    if options.local_rows:
        return source.part(ranks.local_rank, ranks.local_size)
    return source.part(ranks.processes.rank, ranks.processes.size)


def files_read(options: Namespace, n_processes: int) -> Iterator[Path]:
    """List the files of rows and weights that a command reads.

    Parameters
    ----------
    options : Namespace
        As in `open_part`.
    n_processes : int

    Yields
    ------
    path : Path
        Those of every process, whose number stands in the place of {rank}; of a folder the files
        in it.
    """
    weights = getattr(options, "sample_weight", None)
    for name in [*options.rows, *([] if weights is None else [weights])]:
        for own in dict.fromkeys(name.replace(OWN, str(rank)) for rank in range(n_processes)):
            path = Path(own)
            if not path.is_dir():
                yield path
            elif found := list(files_below(path, PARQUET_SUFFIXES)):
                yield from found
            else:
                yield from files_below(path, _NPY_SUFFIXES)


def open_part_for(model: GMM, options: Namespace, ranks: Ranks) -> RowSource:
    """Open the rows of this process that a mixture is asked about.

    Parameters
    ----------
    model : GMM
        Its feature names, if it has some, are the columns of Parquet files that are read.
    options : Namespace
    ranks : Ranks

    Returns
    -------
    source : RowSource

    Raises
    ------
    CommandError
        When the rows lack a feature of the mixture, or have another number.
    Exception
        As `open_part`.
    """
    names = model.feature_names if options.columns is None else None
    if names is not None:
        first = options.rows[0].replace(OWN, str(ranks.processes.rank))
        names = names if ranks.processes.together(lambda: _is_parquet(first)) else None
    try:
        source = open_part(options, ranks, columns=names)
    except ValueError as error:
        if names is None:
            raise
        raise CommandError(
            f"{error}. {options.model} was fitted to the columns {', '.join(names)}; --columns "
            "names others in their place"
        ) from error
    if source.n_features != model.n_features:
        raise CommandError(
            f"{source.label} has {source.n_features} features, {options.model} is a mixture over "
            f"{model.n_features}: name the rows of the same features"
        )
    return source


def _is_parquet(name: str) -> bool:
    path = Path(name)
    if path.is_dir():
        return any(files_below(path, PARQUET_SUFFIXES))
    return path.suffix.lower() in PARQUET_SUFFIXES
