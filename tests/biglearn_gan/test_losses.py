"""The objectives against formulas that do not use them."""

import math

import pytest
import torch

from biglearn_gan.losses import energy_score, gradient_penalty, lead


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_lead_is_log_two_where_none_is_ahead_and_falls_with_the_lead():
    f = normal(0, 100)
    assert float(lead(f, f)) == pytest.approx(math.log(2))
    assert float(lead(f + 1, f)) == pytest.approx(math.log1p(math.exp(-1)))
    assert float(lead(f, f + 1)) == pytest.approx(math.log1p(math.exp(1)))


@pytest.mark.parametrize("seed", range(3))
def test_penalty_is_half_the_squared_slope(seed):
    x, slope = normal(seed, 50, 3), normal(seed + 10, 3)
    linear = gradient_penalty(lambda x: x @ slope, x)
    assert float(linear) == pytest.approx(float(slope.square().sum()) / 2)
    quadratic = gradient_penalty(lambda x: x.square().sum(1), x)
    assert float(quadratic.detach()) == pytest.approx(float(2 * x.square().sum(1).mean()))


def test_penalty_teaches_the_discriminator():
    slope = normal(3, 3).requires_grad_()
    gradient_penalty(lambda x: x @ slope, normal(4, 20, 3)).backward()
    torch.testing.assert_close(slope.grad, slope.detach())


def test_energy_score_of_the_normal_law():
    # |x − x'| of independent standard normal numbers has the mean 2/√π.
    n = 400_000
    x, first, second = (normal(seed, n, 1) for seed in range(3))
    score = energy_score(x, first, second, torch.ones(n, 1, dtype=torch.bool))
    assert float(score) == pytest.approx(1 / math.sqrt(math.pi), abs=5e-3)


@pytest.mark.parametrize("change", [lambda y: y + 0.5, lambda y: 1.6 * y, lambda y: 0.5 * y])
def test_energy_score_is_least_at_the_law_itself(change):
    n = 100_000
    x, first, second = (normal(seed, n, 2) for seed in range(3))
    whole = torch.ones(n, 2, dtype=torch.bool)
    own = energy_score(x, first, second, whole)
    assert energy_score(x, change(first), change(second), whole) > own + 0.01


def test_energy_score_sees_the_whole_alone():
    x, first, second = (normal(seed, 30, 4) for seed in range(3))
    whole = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    outside = torch.where(whole, 0.0, 100.0)
    seen = energy_score(x, first, second, whole)
    assert energy_score(x + outside, first - outside, second, whole) == seen


def test_energy_score_has_a_slope_where_draws_meet():
    first = torch.zeros(5, 2, requires_grad=True)
    whole = torch.ones(5, 2, dtype=torch.bool)
    energy_score(torch.ones(5, 2), first, torch.zeros(5, 2), whole).backward()
    assert first.grad.isfinite().all()
