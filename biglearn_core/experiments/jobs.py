"""Results that are loaded where they are there, and computed and saved where they are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biglearn_core.experiments.parallel import run_jobs
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.system.run_lock import run_lock

__all__ = ["Compute", "Job", "load_or_run", "run_missing", "seed_name"]

Compute = Callable[..., tuple[Mapping[str, Any], Mapping[str, np.ndarray]]]


@dataclass(frozen=True)
class Job:
    """A result that is wanted.

    Parameters
    ----------
    store : ResultStore
        Where it lies.
    name : str
        Its name there.
    arguments : tuple
        Those of the function that computes it.
    """

    store: ResultStore
    name: str
    arguments: tuple[Any, ...]


def seed_name(seed: int) -> str:
    """Name the result of a seed."""
    return f"seed_{seed}"


def run_missing(
    compute: Compute, jobs: Sequence[Job], *, n_jobs: int | None = None, description: str
) -> list[Result]:
    """Load all results, after those that are missing were computed in parallel.

    Parameters
    ----------
    compute : callable
        Importable by name; called as compute(*job.arguments), gives the summary and the arrays of a
        result.
    jobs : sequence of Job
        In the order in which they are to begin.
    n_jobs, description
        As in `run_jobs`.

    Returns
    -------
    results : list of Result
        In the order of the jobs.

    Raises
    ------
    ValueError
        When a result there is of another config or code.
    OSError
        When a result cannot be written.
    Exception
        Whatever a job raised first. Every result was saved as soon as it was there, and stays.
    """
    found = [job.store.load(job.name) for job in jobs]
    missing = [
        (job.store, job.name, compute, *job.arguments)
        for job, result in zip(jobs, found, strict=True)
        if result is None
    ]
    made = iter(run_jobs(load_or_run, missing, n_jobs=n_jobs, description=description))
    return [next(made) if result is None else result for result in found]


def load_or_run(store: ResultStore, name: str, compute: Compute, *arguments: Any) -> Result:
    """Load a result, or compute and save it; processes that need the same wait for the first.

    Parameters
    ----------
    store : ResultStore
    name : str
    compute : callable
        As in `run_missing`. What it keeps at `store.checkpoint(name)`, for one that goes on, is
        removed once the result is saved.
    *arguments

    Returns
    -------
    result : Result

    Raises
    ------
    ValueError
        When the result there is of another config or code.
    OSError
        When the result cannot be written.
    """
    if (result := store.load(name)) is not None:
        return result
    with run_lock(store.folder / f".{name}.lock", wait=True):
        if (result := store.load(name)) is None:
            result = store.save(name, *compute(*arguments))
            store.checkpoint(name).unlink(missing_ok=True)
    return result
