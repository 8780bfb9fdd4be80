import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """Every test checks that nothing draws from the global generators."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
