import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from biglearn_core.gmm import GMM
from biglearn_core.system.persistence import load_arrays, save_arrays
from biglearn_gan.data import Data, load_data
from biglearn_gan.rivals import (
    FittedMixture,
    IgnoreObserved,
    MeanFill,
    MixtureConfig,
    MixtureSampler,
    NearestFill,
    fit_mixture,
    fit_mixture_sampler,
)
from tests.helpers import random_gmm


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def random_questions(seed, *, B=40, D=3):
    generator = seeded(seed)
    x = torch.randn(B, D, generator=generator)
    return x, torch.rand(B, D, generator=generator) < 0.5


def every_sampler(train):
    oracle = MixtureSampler(random_gmm(0, D=train.shape[1]))
    return {
        "mixture": oracle,
        "mixture, clipped": MixtureSampler(oracle.mixture, clip=(-0.1, 0.1)),
        "ignoring": IgnoreObserved(oracle),
        "mean": MeanFill(train),
        "1-NN": NearestFill(train),
        "3-NN": NearestFill(train, k=3),
    }


@pytest.fixture(params=sorted(every_sampler(torch.zeros(3, 3))))
def sampler(request):
    train = torch.randn(50, 3, generator=seeded(99))
    return every_sampler(train)[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_observed_is_returned_to_the_last_bit(sampler, dtype):
    x, observed = random_questions(1)
    x = x.to(dtype)
    observed[0], observed[1] = True, False
    unseen = x.clone()
    unseen[~observed] = torch.nan  # nothing looks there
    draws = sampler.sample(unseen, observed, 3, generator=seeded(0))
    assert draws.shape == (3, *x.shape)
    assert draws.dtype == dtype
    assert bool(draws.isfinite().all())
    assert torch.equal(draws[:, observed], x[observed].expand(3, -1))


def test_draws_are_a_function_of_the_generator(sampler):
    x, observed = random_questions(2)
    first, again, other = (
        sampler.sample(x, observed, 2, generator=seeded(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    deterministic = isinstance(sampler, MeanFill)
    assert torch.equal(first, other) == deterministic


def test_one_mask_for_all_is_that_mask_in_every_row(sampler):
    x, _ = random_questions(3)
    mask = torch.tensor([True, False, True])
    one, each = (
        sampler.sample(x, observed, 2, generator=seeded(0))
        for observed in (mask, mask.expand(x.shape))
    )
    assert torch.equal(one, each)


def test_questions_that_do_not_fit_are_refused(sampler):
    x, observed = random_questions(4)
    bad = x.clone()
    bad[observed] = torch.inf
    for question in ((x, observed.int(), 1), (x, observed[:5], 1), (x, observed, 0)):
        with pytest.raises(ValueError, match=r"observed|n must be"):
            sampler.sample(*question)
    with pytest.raises(ValueError, match="which is observed"):
        sampler.sample(bad, observed, 1)


@pytest.mark.parametrize("seed", range(3))
def test_conditional_draws_follow_the_conditional_law_of_every_row(seed):
    """Of each row by itself, from `GMM.condition`, amid rows of other masks."""
    truth = random_gmm(seed, D=4)
    x, observed = random_questions(seed, B=12, D=4)
    x = x.double()
    observed[0], observed[1] = False, torch.tensor([True, True, True, False])
    draws = MixtureSampler(truth).sample(x, observed, 4000, generator=seeded(seed))
    tested = 0
    for row, mask, drawn in zip(x, observed, draws.movedim(1, 0), strict=True):
        if mask.all():
            continue
        law = truth.condition(mask, row[mask]) if mask.any() else truth
        free = drawn[:, ~mask].numpy()
        # Along axes and an oblique direction: mixtures of normals there.
        oblique = np.linspace(1, 2, free.shape[1]) * (-1) ** np.arange(free.shape[1])
        for direction in (*np.eye(free.shape[1]), oblique):
            image = law.transform(torch.tensor(direction)[None])
            assert kstest(free @ direction, cdf_of(image)).pvalue > 1e-4
            tested += 1
    assert tested > 20


def cdf_of(law):
    from scipy.stats import norm

    deviations = law.covariances[:, 0, 0].sqrt().numpy()
    return lambda y: (
        norm.cdf(np.asarray(y)[:, None], law.means[:, 0].numpy(), deviations) @ law.weights.numpy()
    )


def test_the_law_of_a_row_does_not_depend_on_its_neighbours():
    truth = random_gmm(7)
    x, observed = random_questions(7, B=30)
    sampler = MixtureSampler(truth)
    alone = sampler.sample(x[:1], observed[:1], 4000, generator=seeded(0))[:, 0]
    among = sampler.sample(x, observed, 4000, generator=seeded(1))[:, 0]
    for t in (~observed[0]).nonzero().squeeze(1):
        assert kstest(alone[:, t].numpy(), among[:, t].numpy()).pvalue > 1e-4


def test_many_rows_are_answered_in_pieces_of_memory(monkeypatch):
    monkeypatch.setattr("biglearn_gan.rivals.mixture._BATCH_NUMBERS", 36)
    truth = random_gmm(3)
    sampler = MixtureSampler(truth)
    x = torch.zeros(3000, 3, dtype=torch.float64)
    mask = torch.tensor([True, False, False])
    draws = sampler.sample(x, mask, 1, generator=seeded(0))[0]
    law = truth.condition([0], [0.0])
    for t in (1, 2):
        assert kstest(draws[:, t].numpy(), cdf_of(law.marginal([t - 1]))).pvalue > 1e-4


def test_a_row_far_from_all_components_is_answered():
    sampler = MixtureSampler(random_gmm(1))
    x = torch.full((2, 3), 1e6)
    draws = sampler.sample(x, torch.tensor([True, True, False]), 2, generator=seeded(0))
    assert bool(draws.isfinite().all())


def test_clipped_draws_stay_in_the_range():
    truth = random_gmm(2)
    x, observed = random_questions(2)
    plain, clipped = (
        MixtureSampler(truth, clip=clip).sample(x, observed, 5, generator=seeded(0))
        for clip in (None, (-0.5, 0.25))
    )
    expected = torch.where(observed, x, plain.clamp(-0.5, 0.25))
    assert torch.equal(clipped, expected)
    assert not torch.equal(clipped, plain)


def test_a_range_out_of_order_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        MixtureSampler(random_gmm(0), clip=(1.0, -1.0))


def test_mean_fill_puts_the_mean():
    train = torch.randn(50, 3, generator=seeded(1))
    x, observed = random_questions(1)
    expected = np.where(observed, x, train.double().mean(0).float())
    for draw in MeanFill(train).sample(x, observed, 2):
        assert np.array_equal(draw, expected)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("batch", [20_000_000, 200])
def test_nearest_fill_equals_brute_force(k, batch, monkeypatch):
    monkeypatch.setattr("biglearn_gan.rivals.fills._BATCH_NUMBERS", batch)
    train = torch.randn(60, 4, generator=seeded(1))
    x, observed = random_questions(5, D=4)
    observed[:, 0] = True
    draws = NearestFill(train, k=k).sample(x, observed, 2)
    for row, mask, drawn in zip(x.numpy(), observed.numpy(), draws.movedim(1, 0), strict=True):
        distances = ((train.numpy() - row)[:, mask] ** 2).sum(1)
        expected = train.numpy()[np.argsort(distances)[:k]].mean(0)
        for draw in drawn.numpy():
            np.testing.assert_allclose(draw[~mask], expected[~mask], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("k", [1, 10])
def test_nearest_fill_of_nothing_is_a_training_row_at_random(k):
    train = torch.arange(20.0)[:, None] + torch.tensor([0.0, 100.0])
    nothing = torch.zeros(2, dtype=torch.bool)
    draws = NearestFill(train, k=k).sample(torch.zeros(50, 2), nothing, 10, generator=seeded(0))
    assert bool((draws[..., 1] == draws[..., 0] + 100).all())
    assert set(draws[..., 0].flatten().tolist()) == set(range(20))


def test_too_many_neighbours_are_refused():
    with pytest.raises(ValueError, match="from 1 to 5"):
        NearestFill(torch.zeros(5, 2), k=6)


def test_ignoring_pastes_into_draws_of_the_joint_law():
    truth = random_gmm(4)
    x, observed = random_questions(4)
    draws = IgnoreObserved(MixtureSampler(truth)).sample(x, observed, 2, generator=seeded(3))
    nothing = torch.zeros_like(observed)
    joint = MixtureSampler(truth).sample(x, nothing, 2, generator=seeded(3))
    assert torch.equal(draws, torch.where(observed, x, joint))


def test_many_dimensions_with_masks_of_their_own():
    """In 64 dimensions the moments of many draws are those of `GMM.condition`."""
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((2, 64, 64)) / 8
    covariances = torch.tensor(roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(64))
    means = torch.tensor(rng.standard_normal((2, 64)))
    truth = GMM(torch.tensor([0.4, 0.6]), means.float(), covariances.float())
    x, observed = random_questions(0, B=6, D=64)
    draws = MixtureSampler(truth).sample(x, observed, 3000, generator=seeded(0))
    exact = truth.to(dtype=torch.float64)
    for row, mask, drawn in zip(x.double(), observed, draws.movedim(1, 0), strict=True):
        law = exact.condition(mask, row[mask])
        mean = (law.weights[:, None] * law.means).sum(0)
        spread = law.covariances.diagonal(dim1=1, dim2=2) + (law.means - mean).square()
        deviation = (law.weights[:, None] * spread).sum(0).sqrt()
        free = drawn[:, ~mask].double()
        assert ((free.mean(0) - mean) / deviation).abs().max() < 5 / 3000**0.5
        np.testing.assert_allclose(free.std(0), deviation, rtol=0.1)


def test_the_oracle_of_data_completes_them():
    data = load_data("ring8")
    draws = MixtureSampler(data.truth).sample(
        data.test, torch.tensor([True, False]), 1, generator=seeded(0)
    )[0]
    radius = draws.norm(dim=1)
    assert (radius - 1.4).abs().mean() < 0.1


def test_neighbours_of_nothing_do_not_repeat_before_all_have_come():
    train = torch.arange(20.0)[:, None]
    nothing = torch.zeros(1, dtype=torch.bool)
    draws = NearestFill(train).sample(torch.zeros(25, 1), nothing, 2, generator=seeded(0))
    counts = draws.flatten().long().bincount(minlength=20)
    assert set(counts.tolist()) == {2, 3}


def small_ring():
    ring = load_data("ring8")
    return dataclasses.replace(ring, train=ring.train[:2000])


def test_one_component_is_the_gaussian_of_the_moments():
    ring = small_ring()
    mixture = fit_mixture_sampler(ring, 1, 0).mixture
    X = ring.train.double()
    torch.testing.assert_close(mixture.means[0], X.mean(0))
    torch.testing.assert_close(mixture.covariances[0], torch.cov(X.T, correction=0))


def test_the_fitted_mixture_of_the_ring_has_its_modes():
    ring = small_ring()
    mixture = fit_mixture_sampler(ring, 8, 0).mixture
    distances = torch.cdist(mixture.means, ring.truth.means)
    assert distances.min(0).values.max() < 0.03
    assert mixture.weights.min() > 0.1


def images(n, side, *, levels=9, seed=0):
    """Two kinds of smooth images in few values; the first pixel is always black."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=n)
    ramp = np.linspace(-1, 1, side * side)
    X = np.where(kind[:, None], ramp, -ramp) * rng.uniform(0.3, 1, (n, 1))
    X = X + 0.1 * rng.standard_normal(X.shape)
    X = (X.clip(-1, 1) * (levels // 2)).round() / (levels // 2)
    X[:, 0] = -1
    X = torch.tensor(X, dtype=torch.float32)
    return Data("images", X[: n // 2], X[n // 2 :], torch.arange(side * side), side)


def test_a_mixture_of_few_pixels_is_fitted_to_all_of_them():
    data = images(600, 3)
    sampler = fit_mixture_sampler(data, 2, 0)
    assert sampler.clip == (-1.0, 1.0)
    # The pixel that never changes has the variance of the noise, (1/4)² / 12.
    variances = sampler.mixture.covariances[:, 0, 0]
    torch.testing.assert_close(variances, torch.full_like(variances, 1 / 192), rtol=0.2, atol=0)
    observed = torch.zeros(9, dtype=torch.bool)
    observed[-1] = True
    draws = sampler.sample(data.test[:50], observed, 20, generator=seeded(0))
    rising = draws[..., -2].mean(0) > 0
    assert (rising == (data.test[:50, -1] > 0)).double().mean() > 0.9


def test_a_mixture_of_many_pixels_has_common_factors():
    data = images(500, 11)
    mixture = fit_mixture_sampler(data, 2, 0, n_factors=3).mixture
    assert mixture.n_features == 121
    # Between components only as many directions differ as there are factors.
    difference = mixture.covariances[0] - mixture.covariances[1]
    assert int((torch.linalg.eigvalsh(difference).abs() > 1e-9).sum()) <= 3
    one = fit_mixture_sampler(data, 1, 0, n_factors=3).mixture
    noise = torch.linalg.eigvalsh(one.covariances[0])
    assert 0.01 <= noise[0] < noise[-4] < 0.05  # but for the three factors
    X = data.train.double()
    total = one.covariances[0].diagonal().sum()
    assert total == pytest.approx(X.var(0).sum().item(), rel=0.1)


@pytest.mark.parametrize("side", [3, 11])
def test_a_fitted_mixture_is_restored_from_its_file(side, tmp_path):
    data = images(300, side)
    fitted = fit_mixture(data, MixtureConfig(n_components=2, n_factors=3), 0)
    save_arrays(tmp_path / "mixture.npz", fitted.arrays())
    restored = FittedMixture.from_arrays(load_arrays(tmp_path / "mixture.npz"))
    observed = torch.arange(side**2) % 2 == 0
    draws = [
        mixture.sampler().sample(data.test[:5], observed, 2, generator=seeded(0))
        for mixture in (fitted, restored)
    ]
    assert torch.equal(*draws)
    assert draws[0].abs().max() <= 1


def test_numbers_of_a_fit_out_of_range_are_refused():
    data = images(40, 11)
    with pytest.raises(ValueError, match="n_components"):
        fit_mixture_sampler(data, 0, 0)
    with pytest.raises(ValueError, match="n_rows"):
        fit_mixture_sampler(data, 5, 0, n_rows=4)
    with pytest.raises(ValueError, match="n_factors"):
        fit_mixture_sampler(data, 2, 0, n_factors=122)
