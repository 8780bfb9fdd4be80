"""Moments without the pairs of point and component that do not matter."""

import numpy as np
import pytest
import torch

from biglearn_core.numerics.truncation import LEFT_OUT, truncated_moments


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_truncated_moments_lose_less_than_their_bound(seed, dtype):
    rng = np.random.default_rng(seed)
    n, d = 500, 5
    # From one-hot to spread out, and a component that has hardly anything of any point.
    logits = rng.normal(0, 1, (4, n)) * rng.choice([1, 10, 100], n)
    logits[3] = -50 + rng.normal(0, 5, n)
    weights = rng.uniform(0, 3, n)
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=0)) * weights
    Z, means = rng.standard_normal((d, n)), rng.standard_normal((4, d))
    moments = truncated_moments(*(torch.from_numpy(a).to(dtype) for a in (Z, means, shares)))
    residuals = Z - means[:, :, None]
    divisor = np.maximum(shares.sum(axis=1), 1e-5 * weights.sum())
    left_out = LEFT_OUT[dtype] * divisor * np.square(residuals).sum(axis=1).max()
    rounding = 100 * torch.finfo(dtype).eps * shares.sum(axis=1)
    for name, exact in (
        ("counts", shares.sum(axis=1)),
        ("first", np.einsum("kn,kdn->kd", shares, residuals)),
        ("second", np.einsum("kn,kdn,ken->kde", shares, residuals, residuals)),
    ):
        error = np.abs(getattr(moments, name).double().numpy() - exact).reshape(4, -1).max(axis=1)
        assert (error <= left_out + rounding).all(), name


def test_truncated_moments_gather_only_the_pairs_that_matter():
    n = 100
    shares = torch.full((2, n), 1e-15, dtype=torch.float32)
    shares[0, :50], shares[1, 50:] = 1, 1
    Z = torch.ones(3, n)
    Z[:, :50] = torch.nan  # any touch of component 1 on these points would show
    moments = truncated_moments(Z, torch.zeros(2, 3), shares)
    assert torch.isfinite(moments.second[1]).all()
    assert torch.isnan(moments.second[0]).all()


def test_truncated_moments_gather_nothing_for_a_dead_component():
    shares = torch.full((2, 100), 1e-26, dtype=torch.float32)
    shares[0] = 1
    moments = truncated_moments(torch.ones(3, 100), torch.zeros(2, 3), shares)
    assert not moments.second[1].any()
    assert moments.counts[1] > 0
