"""Mixtures drawn at random: an answer of the right kind, or the library's word."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from biglearn_core import GMM
from tests.fuzz.checks import cases
from tests.fuzz.tables import Refusal, answer


@st.composite
def mixtures(draw):
    """Parameters of a mixture, each axis at a scale of its own; and the exponents of the scales."""
    K, D = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    widest = 150 if dtype == np.float64 else 17
    exponents = draw(
        st.one_of(st.just([0] * D), st.lists(st.integers(-widest, widest), min_size=D, max_size=D))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.dirichlet(np.full(K, 0.7))
    if draw(st.booleans()) and K > 1:
        weights[rng.integers(K)] = 0.0
    scales = 10.0 ** np.array(exponents, dtype=np.float64)
    means = 4 * rng.standard_normal((K, D)) * scales
    roots = rng.standard_normal((K, D, D)) + 2 * np.eye(D)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(D)  # so that float32 holds them
    covariances *= scales[:, None] * scales
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    parameters = [
        torch.from_numpy(p.astype(dtype)) for p in (weights / weights.sum(), means, covariances)
    ]
    return parameters, exponents, rng


def assert_valid(law):
    GMM(law.weights, law.means, law.covariances)
    GMM.from_arrays(law.arrays())


def assert_saved_and_loaded(law):
    with tempfile.TemporaryDirectory() as folder:
        law.save(Path(folder) / "law.npz")
        again = GMM.load(Path(folder) / "law.npz")
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(again, name), getattr(law, name))


@cases(250)
@given(mixtures(), st.integers(-300, 300))
def test_every_mixture_is_answered_or_refused_in_the_librarys_words(case, far):
    parameters, exponents, rng = case
    law = answer(lambda: GMM(*parameters))
    assert not isinstance(law, Refusal), law.message
    assert_valid(law)
    if far % 8 == 0:
        assert_saved_and_loaded(law)
    D = law.n_features
    scales = 10.0 ** np.array(exponents, dtype=np.float64)
    limits = np.finfo(np.float32 if law.dtype == torch.float32 else np.float64)
    near = (3 * rng.standard_normal((5, D)) + 1) * scales
    with np.errstate(over="ignore"):
        away = near[:3] * 10.0**far
    rows = np.concatenate([near, away.clip(limits.min, limits.max)]).clip(limits.min, limits.max)
    X = torch.from_numpy(rows).to(law.dtype)
    scores, shares, labels = law.log_prob(X), law.responsibilities(X), law.predict(X)
    assert scores.shape == labels.shape == (8,)
    assert not scores.isnan().any()
    assert torch.isfinite(scores[:5]).all()
    assert torch.isfinite(shares).all()
    torch.testing.assert_close(
        shares.double().sum(dim=1), torch.ones(8).double(), atol=1e-5, rtol=0
    )
    tolerance = 1e-4 if law.dtype == torch.float32 else 1e-9
    for row in range(8):
        torch.testing.assert_close(
            law.log_prob(X[[row]])[0], scores[row], rtol=tolerance, atol=tolerance
        )
        torch.testing.assert_close(
            law.responsibilities(X[[row]])[0], shares[row], rtol=0, atol=tolerance
        )
    expected = oracle(law, X[:5].double().numpy(), scales)
    np.testing.assert_allclose(
        scores[:5].double().numpy(),
        expected,
        rtol=1e-3 if tolerance > 1e-5 else 1e-7,
        atol=1e-3 if tolerance > 1e-5 else 1e-7,
    )

    sample, z = law.sample(6, torch.Generator().manual_seed(0))
    assert sample.shape == (6, D)
    assert torch.isfinite(sample).all()
    assert (law.weights[z] > 0).all()
    n_known = int(rng.integers(1, D + 1))
    index = rng.permutation(D)[:n_known]
    marginal = law.marginal(index.tolist())
    assert_valid(marginal)
    assert marginal.log_prob(X[:, index.tolist()]).isnan().sum() == 0
    A = torch.from_numpy(rng.standard_normal((n_known, D)) / scales)
    for derived in (
        answer(lambda: law.condition(index.tolist(), X[rng.integers(8)][index.tolist()])),
        answer(lambda: law.transform(A)),
        answer(lambda: law.to(dtype=torch.float32)),
        answer(lambda: law.to(dtype=torch.float64)),
    ):
        if not isinstance(derived, Refusal):
            assert_valid(derived)
    if law.dtype == torch.float32:
        assert not isinstance(answer(lambda: law.to(dtype=torch.float64)), Refusal)


def oracle(law, X, scales):
    """scipy's densities, in units of the scales."""
    logs = []
    for weight, mean, covariance in zip(
        law.weights.double().numpy(), law.means.double().numpy(), law.covariances.double().numpy(),
        strict=True,
    ):  # fmt: skip
        if weight > 0:
            normal = multivariate_normal(
                mean / scales, covariance / scales[:, None] / scales, allow_singular=True
            )
            logs.append(np.log(weight) + np.atleast_1d(normal.logpdf(X / scales)))
    return logsumexp(logs, axis=0) - np.log(scales).sum()
