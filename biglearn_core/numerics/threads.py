"""Threads of a fit: as many as its work is worth, each on pieces of its own, waiting asleep.

The libraries under torch and scikit-learn split every single operation among threads that meet at
its end and wait there by spinning. Beside other busy processes one of them is always late, and a
fit of a thousand small operations takes ten times as long. Here an operation runs on one thread,
and independent pieces of the data run on several, which take the next piece when they are done and
sleep when there is none. The pieces do not depend on the number of threads, and their results are
added up in order: the outcome is the same to the last bit on one thread and on many.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ContextDecorator, contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["each", "one_thread_a_call", "one_thread_an_operation"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_local = threading.local()
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_threads_before: list[int] = []
_n_limiting = 0


class one_thread_an_operation(ContextDecorator):
    """Run operations in this thread on one thread each, and let `each` have the others.

    The number of threads is that of torch (`torch.set_num_threads`, OMP_NUM_THREADS), and is again
    afterwards. Contexts may be nested, and entered by several threads of a process at once. NumPy's
    linear algebra, one setting for the whole process, keeps to one thread, too.
    """

    def __enter__(self) -> None:
        _local.depth = getattr(_local, "depth", 0) + 1
        if _local.depth > 1:
            return
        _local.n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        _limit_linear_algebra()

    def __exit__(self, *error: object) -> None:
        _local.depth -= 1
        if _local.depth > 0:
            return
        _release_linear_algebra()
        n_threads, _local.n_threads = _local.n_threads, 0
        torch.set_num_threads(n_threads)


def each(
    function: Callable[[Item], Result], items: Iterable[Item], *, large: bool = True
) -> list[Result]:
    """Apply a function to independent pieces, several at once within `one_thread_an_operation`.

    Parameters
    ----------
    function : callable
        Spends its time in operations that let other threads run, as torch's do.
    items : iterable
    large : bool, default True
        Whether a piece takes milliseconds; smaller ones run one after the other.

    Returns
    -------
    results : list
        In the order of the items.

    Raises
    ------
    Exception
        The first that a piece has raised, in the order of the items.
    """
    items = list(items)
    n_threads = min(_n_threads(), len(items)) if large else 1
    if n_threads < 2:
        return [function(item) for item in items]
    results: list = [None] * len(items)
    errors: dict[int, Exception] = {}
    positions = iter(range(len(items)))
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def work() -> None:
        # Modes are a thread's own.
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            for i in positions:
                try:
                    results[i] = function(items[i])
                except Exception as error:
                    errors[i] = error

    others = [_workers().submit(work) for _ in range(n_threads - 1)]
    _local.n_threads = 1  # pieces of pieces run one after the other
    try:
        work()
    finally:
        _local.n_threads = n_threads
        wait(others)
    if errors:
        raise errors[min(errors)]
    return results


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Keep the threads of NumPy's, SciPy's and scikit-learn's libraries to one.

    Those of linear algebra are one setting for the whole process: it is changed by the first thread
    that comes here, and restored by the last that leaves.
    """
    _limit_linear_algebra()
    try:
        with _controller().limit(limits=1, user_api="openmp"):
            yield
    finally:
        _release_linear_algebra()


def _limit_linear_algebra() -> None:
    global _threads_before, _n_limiting
    with _lock:
        if _n_limiting == 0:
            _threads_before = [library.get_num_threads() for library in _linear_algebra()]
            for library in _linear_algebra():
                library.set_num_threads(1)
        _n_limiting += 1


def _release_linear_algebra() -> None:
    global _n_limiting
    with _lock:
        _n_limiting -= 1
        if _n_limiting == 0:
            for library, n_threads in zip(_linear_algebra(), _threads_before, strict=True):
                library.set_num_threads(n_threads)


def _n_threads() -> int:
    """Threads that this thread may use; zero outside `one_thread_an_operation`."""
    return getattr(_local, "n_threads", 0)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _linear_algebra() -> list[Any]:
    """Libraries of linear algebra whose threads are counted apart from torch's."""
    return _controller().select(user_api="blas").lib_controllers


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(
                max_workers=os.cpu_count(),
                thread_name_prefix="biglearn",
                initializer=torch.set_num_threads,
                initargs=(1,),
            )
        return _pool


def _forget_workers() -> None:
    """Begin anew in a forked process, which has none of the threads of its parent."""
    global _lock, _pool, _n_limiting
    _lock, _pool, _n_limiting = threading.Lock(), None, 0
    _local.n_threads = _local.depth = 0


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forget_workers)
