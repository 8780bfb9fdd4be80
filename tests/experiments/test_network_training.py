"""Precision of a linear layer's products."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from biglearn_core.experiments import network_training
from biglearn_core.experiments.network_training import Linear, matmul_precision


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
