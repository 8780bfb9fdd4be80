"""Weights of networks: copied as they are, put back, and drawn from a seed of their own."""

import numpy as np
import pytest
import torch
from torch import nn

from biglearn_core.experiments.network_training import (
    put_weights,
    weights_drawn_from,
    weights_of,
)


def network(seed, width=3):
    with weights_drawn_from(seed):
        return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def test_weights_that_were_copied_do_not_change_with_the_module():
    module = network(0)
    kept = weights_of(module)
    before = {name: array.copy() for name, array in kept.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    for name, array in before.items():
        np.testing.assert_array_equal(kept[name], array)


def test_weights_are_put_back_and_those_of_another_module_refused():
    module = network(1)
    put_weights(module, weights_of(network(2)))
    for name, array in weights_of(network(2)).items():
        np.testing.assert_array_equal(weights_of(module)[name], array)
    with pytest.raises(RuntimeError, match="size mismatch"):
        put_weights(module, weights_of(network(0, width=4)))


def test_first_weights_are_a_function_of_the_seed_and_no_gpu_is_seeded(monkeypatch):
    def never(seed):
        raise AssertionError("a GPU was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", never)
    first, again, other = (weights_of(network(seed)) for seed in (5, 5, 6))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
