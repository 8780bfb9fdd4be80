"""Networks: precision of their products; weights copied, put back, and drawn from a seed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from biglearn_core.experiments import network_training
from biglearn_core.experiments.network_training import (
    Linear,
    matmul_precision,
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


@pytest.fixture(params=[True, False], ids=["avx512_bf16", "other"])
def rounds(request, monkeypatch):
    """Have the machine be one whose products torch leaves in float32, or any other."""
    name = "_multiplies_bfloat16_without_amx"
    monkeypatch.setattr(network_training, name, lambda: request.param)
    return request.param


def products(precision):
    """Outcome of a layer and its gradients, and the same by float64."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.utils.skip_init(Linear, 80, 30)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        layer.bias.normal_(generator=generator)
    X = torch.randn(50, 80, generator=generator, requires_grad=True)
    G = torch.randn(50, 30, generator=generator)
    with matmul_precision(precision):
        Y = layer(X)
        found = (Y, *torch.autograd.grad(Y, [X, layer.weight, layer.bias], G))
    exact = [t.detach().double().requires_grad_() for t in (X, layer.weight, layer.bias)]
    Y = F.linear(*exact)
    return zip(found, (Y, *torch.autograd.grad(Y, exact, G.double())), strict=True)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_factors_are_rounded_where_medium_asks_and_torch_itself_does_not(rounds, precision):
    errors = []
    for found, exact in products(precision):
        assert found.dtype == torch.float32
        errors.append(((found - exact).norm() / exact.norm()).item())
    if rounds and precision == "medium":
        # Three roundings to eight bits, each of a relative error of 2**-9 at most.
        assert all(1e-5 < error < 3 * 2**-9 for error in errors)
    else:
        least = 1e-6 if precision == "highest" else 2**-8  # AMX and tensor cores round, too
        assert max(errors) < least
