"""The VAEAC: a bound that is one, laws that are known, and trainings that go on."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence as reference_divergence

from biglearn_core.system.persistence import load_arrays, save_arrays
from biglearn_gan.data import DATA, Data
from biglearn_gan.rivals.vaeac import (
    VAEACConfig,
    VAEACSampler,
    train_vaeac,
    vaeac_config,
)
from biglearn_gan.rivals.vaeac_model import VAEAC, Gaussian, kl_divergence
from biglearn_gan.tasks import Tasks
from tests.helpers import killed_after

TINY = VAEACConfig(
    iterations=60, batch_size=32, n_latent=3, width=16, depth=2, fourier=True, most_sigma=0.5
)
RHO = 0.8


@pytest.fixture(autouse=True)
def one_thread():
    """Sums of two threads round differently from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plane(seed=0, n=4000):
    """Two standard normal coordinates of correlation RHO."""
    root = torch.tensor([[1.0, 0.0], [RHO, math.sqrt(1 - RHO**2)]])
    X = normal(n, 2, seed=seed) @ root.T
    return Data("ring8", X, X[:100], torch.arange(2))


def pictures(n=64):
    """Images of 4 × 4 pixels in four patches."""
    X = normal(n, 16).sign()
    groups = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3])
    return Data("digits", X, X[:10], groups, side=4)


def untrained(D=5, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return VAEAC(D, replace(TINY, **changes)).requires_grad_(False)


def tasks(B, D, seed=1):
    u = torch.rand(2, B, D, generator=torch.Generator().manual_seed(seed))
    whole = u[0] < 0.7
    return Tasks(whole & (u[1] < 0.5), whole)


def weights_of(trained):
    return trained.sampler.arrays() | trained.curves | {"iterations": trained.iterations}


@pytest.mark.parametrize("seed", range(3))
def test_the_divergence_and_the_density_are_those_of_torch(seed):
    p, q = (Gaussian(normal(7, 4, seed=s), normal(7, 4, seed=s + 50).exp()) for s in (seed, 9))
    reference = [Independent(Normal(law.mean, law.sd), 1) for law in (p, q)]
    torch.testing.assert_close(kl_divergence(p, q), reference_divergence(*reference))
    assert torch.equal(kl_divergence(p, p), torch.zeros(7))
    x = normal(7, 4, seed=20)
    torch.testing.assert_close(p.log_density(x).sum(1), reference[0].log_prob(x))


def test_the_bound_is_made_of_prior_proposal_and_decoder():
    model, B, D = untrained(), 40, 5
    x, task, noise = normal(B, D), tasks(B, D), normal(B, TINY.n_latent, seed=2)
    bound = model.bound(x, task, noise)
    prior, features = model.prior(torch.where(task.given, x, 0.0), task.given)
    proposal = model.propose(x, task)
    laws = [Independent(Normal(law.mean, law.sd), 1) for law in (proposal, prior)]
    decoded = model.decode(features, proposal.mean + proposal.sd * noise)
    scored = Normal(decoded.mean, decoded.sd).log_prob(x) * (task.whole & ~task.given)
    torch.testing.assert_close(bound.elbo, scored.sum(1) - reference_divergence(*laws))
    assert bound.elbo.shape == (B,)
    sd = prior.sd
    expected = -prior.mean.square() / (2 * TINY.prior_mean_sd**2)
    expected = expected + TINY.prior_sd_rate * (sd.log() - sd)
    torch.testing.assert_close(bound.regularisation, expected.sum(1))


def test_the_bound_is_below_the_likelihood_in_expectation():
    """By importance sampling, log E_q[p(x_T, z) / q(z)] is the likelihood; the bound is below."""
    model, n = untrained(), 20_000
    x, task = normal(1, 5).expand(n, -1), Tasks(*(m.expand(n, -1) for m in _half()))
    noise = normal(n, TINY.n_latent, seed=4)
    elbo = model.bound(x, task, noise).elbo.mean()
    prior, features = model.prior(torch.where(task.given, x, 0.0), task.given)
    z = prior.at(noise)
    density = model.decode(features, z).log_density(x).where(~task.given, 0.0).sum(1)
    likelihood = density.logsumexp(0) - math.log(n)
    assert elbo < likelihood


def _half():
    given = torch.tensor([[True, True, False, False, False]])
    return given, torch.ones_like(given)


def test_missing_values_outside_of_the_whole_reach_no_gradient():
    model, task = untrained().requires_grad_(True), tasks(30, 5)
    x = torch.where(task.whole, normal(30, 5), math.nan)
    model.bound(x, task, normal(30, TINY.n_latent, seed=2)).elbo.mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("fourier", [False, True])
def test_what_is_outside_of_the_whole_is_seen_by_nobody(fourier):
    model, x, task = untrained(fourier=fourier), normal(30, 5), tasks(30, 5)
    noise = normal(30, TINY.n_latent, seed=2)
    bound = model.bound(x, task, noise)
    hidden = model.bound(torch.where(task.whole, x, 7.0), task, noise)
    assert torch.equal(bound.elbo, hidden.elbo)
    changed = model.bound(torch.where(task.whole, x + 1, x), task, noise)
    seen = task.whole.any(1)
    assert (bound.elbo != changed.elbo)[seen].all()


def test_the_prior_is_not_told_what_it_is_to_predict():
    model, x, task = untrained(), normal(30, 5), tasks(30, 5)
    sampler = VAEACSampler(model, 5)
    draws = [
        sampler.sample(values, task.given, 2, generator=torch.Generator().manual_seed(0))
        for values in (x, torch.where(task.given, x, math.nan))
    ]
    assert torch.equal(*draws)


@pytest.mark.parametrize("noise", [True, False])
def test_draws_keep_what_is_observed_and_follow_the_generator(noise):
    sampler = VAEACSampler(untrained(), 5, noise=noise, clip=(-0.1, 0.1))
    x, observed = normal(9, 5), tasks(9, 5).given

    def draw(seed):
        return sampler.sample(x, observed, 4, generator=torch.Generator().manual_seed(seed))

    draws = draw(0)
    assert draws.shape == (4, 9, 5)
    assert draws.dtype == x.dtype
    assert torch.equal(draws[:, observed], x[observed].expand(4, -1))
    assert draws[:, ~observed].abs().max() <= 0.1
    assert torch.equal(draws, draw(0))
    assert not torch.equal(draws, draw(1))
    assert not torch.equal(draws[0], draws[1])


def test_noise_is_the_decoders_standard_deviation():
    """Where σ can be one value alone, it is what the noise adds to the spread."""
    model = untrained(least_sigma=0.3, most_sigma=0.3)
    x, nothing = torch.zeros(1, 5), torch.zeros(5, dtype=torch.bool)
    variances = [
        VAEACSampler(model, 5, noise=noise)
        .sample(x, nothing, 20_000, generator=torch.Generator().manual_seed(5))
        .var(0)
        for noise in (False, True)
    ]
    torch.testing.assert_close(
        variances[1] - variances[0], torch.full((1, 5), 0.09), atol=5e-3, rtol=0
    )


def test_training_raises_the_bound_and_is_a_function_of_the_seed():
    data, config = plane(), replace(TINY, iterations=120)
    first, again, other = (train_vaeac(data, config, seed=seed) for seed in (0, 0, 1))
    assert first.curves["elbo"][-1] > first.curves["elbo"][0] + 1
    assert first.iterations.tolist() == [50, 100, 120]
    for name, value in weights_of(first).items():
        np.testing.assert_array_equal(weights_of(again)[name], value, err_msg=name)
    assert any(
        not np.array_equal(weights_of(other)[name], value)
        for name, value in first.sampler.arrays().items()
    )


@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_training_goes_on_to_the_same_result(tmp_path, saves):
    data, path = pictures(), tmp_path / "state.npz"
    unbroken = weights_of(train_vaeac(data, TINY, seed=2))
    with killed_after(saves):
        train_vaeac(data, TINY, seed=2, checkpoint=path, checkpoint_every=17)
    went_on = train_vaeac(data, TINY, seed=2, checkpoint=path, checkpoint_every=17)
    for name, value in unbroken.items():
        np.testing.assert_array_equal(weights_of(went_on)[name], value, err_msg=name)


def test_a_state_of_another_training_is_refused(tmp_path):
    data, path = plane(n=200), tmp_path / "state.npz"
    train_vaeac(data, replace(TINY, iterations=5), seed=0, checkpoint=path)
    for other, config, seed, message in (
        (plane(seed=1, n=200), TINY, 0, "data: "),
        (data, replace(TINY, learning_rate=0.1), 0, "config: "),
        (data, replace(TINY, iterations=5), 1, "seed: 0 there, 1 now"),
    ):
        with pytest.raises(ValueError, match=rf"state\.npz.*other settings or data \(.*{message}"):
            train_vaeac(other, config, seed=seed, checkpoint=path)


def test_a_bound_that_is_no_number_is_told():
    data = plane(n=200)
    data.train[:] = math.inf
    with pytest.raises(FloatingPointError, match="after iteration 5; lower learning_rate"):
        train_vaeac(data, replace(TINY, iterations=5), seed=0)


def test_a_sampler_comes_back_from_its_arrays(tmp_path):
    data = pictures()
    config = replace(TINY, data="digits", iterations=10)
    sampler = train_vaeac(data, config, seed=0).sampler
    save_arrays(tmp_path / "model.npz", sampler.arrays())
    arrays = load_arrays(tmp_path / "model.npz")
    x, observed = data.test, data.groups < 2
    for noise in (True, False):
        here, there = (
            VAEACSampler.from_arrays(data, config, weights, noise=noise).sample(
                x, observed, 2, generator=torch.Generator().manual_seed(0)
            )
            for weights in (sampler.arrays(), arrays)
        )
        assert torch.equal(here, there)
        assert here.abs().max() <= 1
    with pytest.raises(RuntimeError, match="size mismatch"):
        VAEACSampler.from_arrays(data, replace(config, width=8), arrays)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_law_of_a_correlated_plane_is_found(seed):
    """Means within 0.12, standard deviations within 0.1, the correlation of joint draws too."""
    config = VAEACConfig(
        iterations=700, n_latent=2, width=32, depth=2, learning_rate=5e-3, most_sigma=1.0
    )
    sampler = train_vaeac(plane(), config, seed=seed).sampler
    generator = torch.Generator().manual_seed(7)
    for j in range(2):
        observed = torch.arange(2) == j
        x = torch.linspace(-1.5, 1.5, 7)[:, None].expand(-1, 2)
        draws = sampler.sample(x, observed, 4000, generator=generator)[:, :, 1 - j]
        torch.testing.assert_close(draws.mean(0), RHO * x[:, 0], atol=0.12, rtol=0)
        sds = torch.full((7,), math.sqrt(1 - RHO**2))
        torch.testing.assert_close(draws.std(0), sds, atol=0.1, rtol=0)
    joint = sampler.sample(torch.zeros(4000, 2), ~torch.ones(2).bool(), 1, generator=generator)[0]
    truth = torch.tensor([[1.0, RHO], [RHO, 1.0]])
    torch.testing.assert_close(joint.T.cov(), truth, atol=0.15, rtol=0)
    assert joint.mean(0).abs().max() < 0.12


@pytest.mark.parametrize("name", DATA)
def test_there_are_settings_for_every_data_set(name):
    config = vaeac_config(name, iterations=3)
    assert config.data == name
    assert config.iterations == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "moons"}, "data must be one of ring8, .*'moons'"),
        ({"n_latent": 0}, "n_latent must be at least 1"),
        ({"least_sigma": 0.0}, "least_sigma must be .*positive"),
        ({"least_sigma": 0.2, "most_sigma": 0.1}, r"most_sigma must be at least .* 0\.2; got 0\.1"),
        ({"p_whole": 1.5}, "p_whole must be"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
