import pytest
import torch

from biglearn_core import GMM
from biglearn_core.em import lockstep_em_step
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.structures import COVARIANCE_TYPES, structure_of


def data(seed=0, N=60, D=3):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(N, D, generator=generator, dtype=torch.float64)
    X[: N // 3] += 4
    return X


def log_posterior(X, model, prior, worth):
    """Written out: the mean log-likelihood, and the inverse Wishart density of every covariance."""
    likelihood = model.log_prob(X).mean()
    D = X.shape[1]
    exponent = prior.degrees_of_freedom + D + 1
    density = 0.0
    for covariance in model.covariances:
        trace = torch.trace(torch.linalg.solve(covariance, prior.scale))
        density = density - 0.5 * worth * (exponent * torch.logdet(covariance) + trace)
    return (likelihood + density / len(X)).item()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_steps_raise_the_posterior(covariance_type):
    X = data()
    K = 3
    prior = CovariancePrior.of(X, K, sample_weight=None, n_rows=len(X))
    worth = 1.0 if structure_of(covariance_type).volume == "V" else 1 / K
    model = GMM(
        torch.full((K,), 1 / K, dtype=torch.float64),
        X[:K].clone(),
        torch.eye(3, dtype=torch.float64).repeat(K, 1, 1),
        covariance_type=covariance_type,
    )
    before = -float("inf")
    for _ in range(30):
        steps = lockstep_em_step(Points.of(X), model, 1, covariance_floor=1e-9, prior=prior)
        told = (steps.log_likelihood + steps.log_prior).item()
        assert told == pytest.approx(log_posterior(X, model, prior, worth), abs=1e-9)
        assert told >= before - 1e-9
        before, model = told, steps.model


def test_one_component_has_the_known_mode():
    X = data()
    N, D = X.shape
    prior = CovariancePrior.of(X, 1, sample_weight=None, n_rows=N)
    start = GMM(torch.ones(1).double(), X[:1].clone(), torch.eye(D).double()[None])
    model = lockstep_em_step(Points.of(X), start, 1, covariance_floor=1e-9, prior=prior).model
    scatter = torch.cov(X.T, correction=0)
    expected = (N * scatter + scatter) / (N + 2 * D + 3)
    torch.testing.assert_close(model.covariances[0], expected)


def test_the_prior_follows_the_units_and_copies_of_the_data():
    X = data()
    scale = torch.tensor([3.0, 0.1, 1e3], dtype=torch.float64)
    plain = CovariancePrior.of(X, 4, sample_weight=None, n_rows=len(X))
    scaled = CovariancePrior.of(X * scale + 5, 4, sample_weight=None, n_rows=len(X))
    torch.testing.assert_close(scaled.scale, plain.scale * scale[:, None] * scale)
    copies = torch.randint(1, 4, (len(X),), generator=torch.Generator().manual_seed(0))
    repeated = CovariancePrior.of(
        X.repeat_interleave(copies, dim=0), 4, sample_weight=None, n_rows=copies.sum().item()
    )
    weighted = CovariancePrior.of(X, 4, sample_weight=copies.double(), n_rows=copies.sum().item())
    torch.testing.assert_close(weighted.scale, repeated.scale)
