"""Jobs in several processes: in order, and on one thread each."""

import pytest

from biglearn_core.experiments.parallel import run_jobs


def _square(x):
    import torch

    return x * x, torch.get_num_threads()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_jobs_run_in_order_on_one_thread_each(n_jobs):
    jobs = [(i,) for i in range(4)]
    assert run_jobs(_square, jobs, n_jobs=n_jobs, description="") == [(i * i, 1) for i in range(4)]
    assert run_jobs(_square, [], n_jobs=n_jobs, description="") == []
