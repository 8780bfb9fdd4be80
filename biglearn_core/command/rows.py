"""The rows of a process: all that are named, its part of them, or files of its own."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from biglearn_core.command.errors import CommandError
from biglearn_core.command.ranks import Ranks
from biglearn_core.gmm import GMM
from biglearn_core.rows.opening import open_rows
from biglearn_core.rows.parquet import PARQUET_SUFFIXES, files_below
from biglearn_core.rows.source import RowSource

__all__ = ["OWN", "open_part", "open_part_for"]

# Stands for the number of the process in names of files.
OWN = "{rank}"


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
    OSError, ValueError, TypeError, ImportError
        As `open_rows`.
    ProcessesError
        When another process has failed.
    """
    rank = str(ranks.processes.rank)
    weight = getattr(options, "weight", None)
    sample_weight = getattr(options, "sample_weight", None)

    def opened() -> RowSource:
        return open_rows(
            [path.replace(OWN, rank) for path in options.rows],
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
    names = model.feature_names if options.columns is None and _is_parquet(options) else None
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


def _is_parquet(options: Namespace) -> bool:
    first = Path(options.rows[0])
    if first.is_dir():
        return any(files_below(first, PARQUET_SUFFIXES))
    return first.suffix.lower() in PARQUET_SUFFIXES
