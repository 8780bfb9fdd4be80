import os

import numpy as np
import pytest
import torch

# Their failures are to show the values, as those of tests do.
pytest.register_assert_rewrite(
    *(
        "tests.helpers",
        "tests.experiments.small",
        "tests.BL_vs_deepClustering.small",
        "tests.fuzz.checks",
        "tests.rows.small",
        "tests.command.small",
        "tests.faults.surroundings",
    )
)


def pytest_configure():
    """Leave the other core to the other process, where pytest-xdist runs two."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """Every test checks that nothing draws from the global generators."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
