import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm, wasserstein_distance

from biglearn_core.gmm import GMM
from biglearn_gan.data import load_data
from biglearn_gan.measures import measure_exact
from biglearn_gan.measures.modes import score_modes
from biglearn_gan.measures.pit import conditional_cdf, distance_from_uniform
from biglearn_gan.measures.sliced import sliced_wasserstein
from biglearn_gan.measures.slices import conditional_divergences
from biglearn_gan.rivals import IgnoreObserved, MeanFill, MixtureSampler
from tests.helpers import random_gmm


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def ring():
    return load_data("ring8")


@pytest.fixture(scope="module")
def oracle(ring):
    return MixtureSampler(ring.truth)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("given", [(), (1,), (0, 3)])
def test_conditional_cdf_is_that_of_the_conditional_mixture(seed, given):
    truth = random_gmm(seed, D=4)
    X, _ = truth.sample(20, seeded(seed))
    u = conditional_cdf(truth, X, given, 2)
    for row, value in zip(X, u, strict=True):
        law = truth.condition(list(given), row[list(given)]) if given else truth
        target = 2 - sum(s < 2 for s in given)
        law = law.marginal([target])
        deviations = law.covariances[:, 0, 0].sqrt()
        expected = law.weights.numpy() @ norm.cdf(row[2].item(), law.means[:, 0], deviations)
        assert value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_distance_from_uniform_is_that_of_scipy(seed):
    u = np.random.default_rng(seed).beta(1.2, 0.9, 500)
    assert distance_from_uniform(u) == pytest.approx(kstest(u, "uniform").statistic, abs=1e-12)


def test_sliced_wasserstein_on_the_line_is_that_of_scipy():
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((400, 1)), 0.3 + 2 * rng.standard_normal((400, 1))
    value = sliced_wasserstein(torch.tensor(A), torch.tensor(B), generator=seeded(0))
    assert value == pytest.approx(wasserstein_distance(A[:, 0], B[:, 0]), rel=1e-12)


@pytest.mark.parametrize("D", [2, 5])
def test_sliced_wasserstein_of_a_shift_is_its_mean_projection(D):
    """|v·θ| has the mean |v| Γ(D/2) / (√π Γ((D+1)/2)) over directions θ."""
    from scipy.special import gamma

    X = torch.randn(50, D, dtype=torch.float64, generator=seeded(0))
    v = torch.arange(1.0, D + 1, dtype=torch.float64)
    value = sliced_wasserstein(X, X + v, generator=seeded(1), n_directions=20_000)
    expected = v.norm().item() * gamma(D / 2) / (np.sqrt(np.pi) * gamma((D + 1) / 2))
    assert value == pytest.approx(expected, rel=0.03)
    assert sliced_wasserstein(X, X.flip(0), generator=seeded(1)) == pytest.approx(0, abs=1e-12)


def test_sliced_wasserstein_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2), generator=seeded(0))


def test_modes_of_a_sample_by_hand():
    truth = GMM(
        torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64),
        torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64),
        torch.eye(2, dtype=torch.float64).repeat(3, 1, 1),
    )
    at = {(0.0, 0.0): 70, (2.9, 0.0): 10, (10.0, 3.5): 15, (0.0, 10.0): 5}
    X = torch.tensor([place for place, n in at.items() for _ in range(n)], dtype=torch.float64)
    scores = score_modes(truth, X)
    assert scores.modes == 2  # the second is visited from too far, the third by a fifth of its due
    assert scores.within == pytest.approx(0.85)
    expected = 0.8 * np.log(0.8 / 0.5) + 0.15 * np.log(0.15 / 0.25) + 0.05 * np.log(0.05 / 0.25)
    assert scores.weight_kl == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(2))
def test_the_oracle_is_at_the_floor(ring, oracle, seed):
    scores = measure_exact(oracle, ring, seed=seed)
    assert scores.conditional_ks_mean < 0.025
    assert scores.marginal_ks_max < 0.025
    assert scores.conditional_kl_max < 0.02
    assert scores.modes == 8
    assert scores.within == pytest.approx(1 - np.exp(-4.5), abs=0.006)
    assert scores.weight_kl < 0.003
    assert scores.joint_swd < 2 * scores.swd_floor
    assert scores.conditional_swd_mean < 2 * scores.swd_floor


def test_ignoring_what_is_observed_is_the_other_end(ring, oracle):
    scores = measure_exact(IgnoreObserved(oracle), ring, seed=0)
    exact = measure_exact(oracle, ring, seed=0)
    assert scores.conditional_ks_mean == pytest.approx(0.34, abs=0.02)
    assert scores.conditional_kl_mean > 3
    assert scores.conditional_swd_mean > 3 * scores.swd_floor
    # The joint law is the same, draw for draw.
    assert scores.marginal_ks_max == exact.marginal_ks_max
    assert scores.joint_swd == exact.joint_swd
    assert scores.weight_kl == exact.weight_kl


def test_every_pair_of_four_coordinates_is_measured():
    data = load_data("gmm4")
    oracle = measure_exact(MixtureSampler(data.truth), data, seed=0)
    assert len(oracle.pairs) == len(set(oracle.pairs)) == len(oracle.ks) == 4 * 2**3
    assert len(oracle.given) == len(oracle.swd) == 2**4 - 1
    assert all(t not in S for S, t in oracle.pairs)
    assert oracle.conditional_ks_mean < 0.016
    assert oracle.conditional_ks_max < 0.03
    assert oracle.conditional_swd_mean < 1.5 * oracle.swd_floor
    ignoring = measure_exact(IgnoreObserved(MixtureSampler(data.truth)), data, seed=0)
    assert ignoring.conditional_ks_mean > 5 * oracle.conditional_ks_mean
    assert "modes" not in oracle.summary()


def test_a_summary_is_flat_and_repeats_itself(ring, oracle):
    summaries = [measure_exact(oracle, ring, seed=seed, n_rows=500).summary() for seed in (3, 3, 4)]
    assert summaries[0] == summaries[1] != summaries[2]
    assert all(type(value) is float for value in summaries[0].values())
    assert set(summaries[0]) == {
        "marginal_ks_max", "conditional_ks_mean", "conditional_ks_max", "joint_swd",
        "conditional_swd_mean", "swd_floor", "modes", "within", "weight_kl",
        "conditional_kl_mean", "conditional_kl_max",
    }  # fmt: skip


def test_a_constant_is_far_from_every_law(ring):
    scores = measure_exact(MeanFill(ring.train), ring, seed=0, n_rows=500)
    assert scores.modes == 0
    assert scores.within == 0
    assert scores.marginal_ks_max > 0.45


def test_divergence_of_a_shifted_conditional_is_that_of_two_normals():
    """KL(N(δ, σ²)‖N(0, σ²)) = δ²/2σ², up to bins and sampling."""

    class Shifted:
        def sample(self, x, observed, n, *, generator=None):
            noise = torch.randn(n, *x.shape, generator=generator, dtype=x.dtype)
            return torch.where(observed, x, 0.5 + noise)

    truth = GMM(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    values = conditional_divergences(Shifted(), truth, seed=0, n_draws=200_000, dtype=torch.float64)
    np.testing.assert_allclose(values, 0.125, atol=0.01)


def test_what_cannot_be_measured_is_refused(ring, oracle):
    digits = load_data("digits")
    with pytest.raises(ValueError, match="measure_images"):
        measure_exact(MeanFill(digits.train), digits, seed=0)
    with pytest.raises(ValueError, match="n_rows"):
        measure_exact(oracle, ring, seed=0, n_rows=5001)
    broken = MixtureSampler(ring.truth)
    broken.sample = lambda x, observed, n, **_: torch.full((n, *x.shape), torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        measure_exact(broken, ring, seed=0)
