"""What the tests of the search share: clusters, mixtures of given labels, likelihoods by scipy."""

import numpy as np
import torch

from biglearn_core.em import lockstep_em_step
from biglearn_core.gmm import GMM
from biglearn_core.numerics.points import Points
from biglearn_core.search.climb import Scored, climb
from tests.helpers import parameters, random_gmm
from tests.oracle import naive_log_prob


def clusters(centres, n, sd, seed):
    rng = np.random.default_rng(seed)
    X = np.concatenate([c + sd * rng.standard_normal((n, len(c))) for c in np.array(centres)])
    return torch.from_numpy(X)


def mixture_of(X, labels):
    parts = [X[labels == k] for k in labels.unique()]
    D = X.shape[1]
    return GMM(
        torch.tensor([len(p) / len(X) for p in parts], dtype=X.dtype),
        torch.stack([p.mean(dim=0) for p in parts]),
        torch.stack([torch.cov(p.T, correction=0).view(D, D) for p in parts]),
    )


def naive_log_density(X, model):
    return np.logaddexp.reduce(naive_log_prob(X.double().numpy(), *parameters(model)), axis=1)


def naive_mean(X, model, shares=None):
    return np.average(naive_log_density(X, model), weights=shares)


def joint_step(points, floor):
    def step(mixtures, n_mixtures):
        steps = lockstep_em_step(points, mixtures, n_mixtures, covariance_floor=floor)
        return Scored(
            steps.model,
            steps.log_likelihood,
            steps.log_likelihood,
            steps.log_likelihood,
            steps.floored.sum(dim=1),
            steps.empty.sum(dim=1),
        )

    return step


def near(X, seed, *, K=4):
    """Take a random mixture some steps towards the data, so that it expects all rows."""
    model = random_gmm(seed, K=K, D=X.shape[1], dtype=X.dtype)
    return climb(joint_step(Points.of(X), 1e-2), model, n_iter=6, tol=0).model


def assert_proper(model, K):
    weights, _, covariances = parameters(model)
    assert model.n_components == K
    assert abs(weights.sum() - 1) < 1e-9
    assert weights.min() > 0
    assert np.linalg.eigvalsh(covariances).min() > 0
    np.testing.assert_allclose(covariances, covariances.transpose(0, 2, 1), atol=1e-12)
