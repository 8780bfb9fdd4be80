"""Threads: the same bits on any number of them, and settings that are the caller's again."""

import multiprocessing
import sys
import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from biglearn_core import BigLearnEM, JointEM, fit_biglearn_em
from biglearn_core.init import paper_start
from biglearn_core.numerics import threads as module
from biglearn_core.numerics.threads import each, one_thread_a_call, one_thread_an_operation
from tests.helpers import random_points


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def on(n_threads, function):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        return function()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("N", "D", "K", "dtype"),
    [(500, 3, 4, torch.float64), (20000, 16, 6, torch.float32), (9000, 130, 3, torch.float32)],
)
def test_a_fit_is_the_same_to_the_last_bit_on_one_thread_and_on_many(N, D, K, dtype):
    X = random_points(0, N=N, D=D, dtype=dtype)
    start = paper_start(K, D, generator=torch.Generator().manual_seed(1), dtype=dtype)
    options = {"n_iter": 4, "covariance_floor": 0.05, "weight_smoothing": 0.1, "seed": 2}
    one, two, three = (on(n, lambda: fit_biglearn_em(X, start, **options)) for n in (1, 2, 3))
    for other in (two, three):
        assert torch.equal(one.model.means, other.model.means)
        assert torch.equal(one.model.covariances, other.model.covariances)
        np.testing.assert_array_equal(one.history.log_likelihood, other.history.log_likelihood)
    scores = [on(n, lambda: one.model.log_prob(X)) for n in (1, 2)]
    assert torch.equal(*scores)


@pytest.mark.parametrize("Estimator", [BigLearnEM, JointEM])
def test_an_estimator_gives_the_same_bits_on_one_thread_and_on_two(Estimator):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(m, 1, (4000, 8)) for m in 5 * rng.standard_normal((4, 8))])
    one, two = (on(n, lambda: Estimator(4, random_state=0).fit(X)) for n in (1, 2))
    np.testing.assert_array_equal(one.means_, two.means_)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


@pytest.mark.usefixtures("two_threads")
def test_pieces_run_at_once_and_come_back_in_order():
    meeting = threading.Barrier(2, timeout=30)  # passed only where two run at the same time

    def piece(i):
        if i < 2:
            meeting.wait()
        return i**2

    with one_thread_an_operation():
        assert torch.get_num_threads() == 1
        assert each(piece, range(20)) == [i**2 for i in range(20)]
    assert torch.get_num_threads() == 2
    assert each(lambda i: torch.get_num_threads(), range(3)) == [2, 2, 2]
    assert each(piece, []) == []


@pytest.mark.usefixtures("two_threads")
def test_pieces_have_one_thread_and_the_modes_of_the_caller():
    def piece(i):
        nested = each(lambda j: threading.get_ident() == threading.get_ident(), range(3))
        return torch.get_num_threads(), torch.is_inference_mode_enabled(), all(nested)

    with torch.inference_mode(), one_thread_an_operation(), one_thread_an_operation():
        assert set(each(piece, range(40))) == {(1, True, True)}
    with one_thread_an_operation():
        assert set(each(piece, range(40))) == {(1, False, True)}


@pytest.mark.usefixtures("two_threads")
def test_the_first_error_in_the_order_of_the_pieces_is_raised_and_settings_come_back():
    def piece(i):
        if i in (3, 7):
            raise ValueError(f"piece {i}")
        return i

    with pytest.raises(ValueError, match="piece 3"), one_thread_an_operation():
        each(piece, range(10))
    assert torch.get_num_threads() == 2
    with one_thread_an_operation():
        assert each(piece, range(3)) == [0, 1, 2]


def n_blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_libraries_have_one_thread_until_the_last_of_several_has_left():
    before = n_blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with one_thread_a_call():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with one_thread_a_call():
        thread.start()
        inside.wait(30)
    assert n_blas_threads() == {1}
    leave.set()
    thread.join()
    assert n_blas_threads() == before


def test_fits_in_several_threads_of_a_process_give_what_one_gives_and_leave_the_settings():
    X = random_points(0, N=3000, D=3).numpy()
    expected = BigLearnEM(3, random_state=0).fit(X).means_
    before = torch.get_num_threads(), n_blas_threads()
    found = {}

    def fit(i):
        found[i] = BigLearnEM(3, random_state=0).fit(X).means_

    workers = [threading.Thread(target=fit, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for means in found.values():
        np.testing.assert_array_equal(means, expected)
    assert len(found) == 4
    assert (torch.get_num_threads(), n_blas_threads()) == before


def fit_in_a_fork(queue, X):
    queue.put(BigLearnEM(3, random_state=0).fit(X).lower_bound_)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("two_threads")
def test_a_process_that_is_forked_after_a_fit_can_fit():
    X = random_points(0, N=20000, D=8).numpy()
    expected = BigLearnEM(3, random_state=0).fit(X).lower_bound_
    assert module._pool is not None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=fit_in_a_fork, args=(queue, X))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.kill()
        child.join()
