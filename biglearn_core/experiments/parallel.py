"""Independent jobs in parallel processes of one thread each, with a progress bar."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from joblib import Parallel, cpu_count, delayed
from tqdm.auto import tqdm

from biglearn_core.system.progress import is_watched

__all__ = ["progress", "run_jobs", "single_thread"]

T = TypeVar("T")


@contextmanager
def single_thread() -> Iterator[None]:
    """Keep torch to one thread: small problems are faster so, and sums get a fixed order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress(iterable: Iterable[T], *, description: str, total: int | None = None) -> Iterable[T]:
    """Show a progress bar over an iterable, except in headless runs.

    Parameters
    ----------
    iterable : iterable
    description : str
    total : int, optional
        Its length, where len() does not tell.

    Returns
    -------
    iterable : iterable
        The same items. No bar is drawn when the environment variable BIGLEARN_QUIET is set, nor
        outside notebooks and terminals.
    """
    return tqdm(iterable, desc=description, total=total, disable=not is_watched())


def run_jobs(
    function: Callable[..., T],
    jobs: Sequence[tuple[Any, ...]],
    *,
    n_jobs: int | None = None,
    description: str,
) -> list[T]:
    """Call a function on every job, in parallel processes of one thread each.

    Parameters
    ----------
    function : callable
        Importable by name.
    jobs : sequence of tuple
        Arguments of each call.
    n_jobs : int, optional
        Processes; one per core when not given, none but this one for a single job.
    description : str
        Of the progress bar.

    Returns
    -------
    results : list
        In the order of the jobs.

    Raises
    ------
    Exception
        Whatever a job raised first; jobs that save their own results keep what they saved.

    Notes
    -----
    The other processes end within a second of this one, kill -9 included.
    """
    n_jobs = min(n_jobs or cpu_count(), max(1, len(jobs)))
    calls = (delayed(_in_worker)(os.getpid(), function, job) for job in jobs)
    if n_jobs == 1:
        outcomes = (_in_single_thread(function, job) for job in jobs)
    else:
        outcomes = Parallel(n_jobs=n_jobs, return_as="generator")(calls)
    return list(progress(outcomes, description=description, total=len(jobs)))


def _in_worker(parent: int, function: Callable[..., T], job: tuple[Any, ...]) -> T:
    _end_with(parent)
    return _in_single_thread(function, job)


@cache
def _end_with(parent: int) -> None:
    """End this process once its parent has died; joblib's workers would finish their job."""
    if os.getppid() != parent and _is_running(parent):
        return  # started through another process, which is not ours to watch

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _in_single_thread(function: Callable[..., T], job: tuple[Any, ...]) -> T:
    with single_thread():
        return function(*job)
