"""Compiled loops and sliced products: the same results to rounding, with and without them."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from biglearn_core import GMM, BigLearnEM
from biglearn_core.em import em_step, lockstep_em_step
from biglearn_core.numerics import kernels as loader, products as products_module
from biglearn_core.numerics.density import exponentiate
from biglearn_core.numerics.linalg import floor_eigenvalues
from biglearn_core.numerics.points import Chunk, Points
from biglearn_core.numerics.products import expected_features, product, sums

pytest.importorskip("numba")
EPS = {torch.float32: 1.2e-7, torch.float64: 2.2e-16}


@pytest.fixture
def without(monkeypatch):
    """Run a function without numba and without NumPy's products."""

    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(loader, "_compiled", lambda: None)
            patch.setattr(products_module, "_HAS_SMALL_KERNELS", False)
            return function()

    return run


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """Slice products on every processor, as on those with AVX-512."""
    monkeypatch.setattr(products_module, "_HAS_SMALL_KERNELS", True)


def mixture(seed, *, K, D, dtype=torch.float64, spread=3.0):
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((K, D, 2 * D + 2))
    weights, means = rng.dirichlet(np.ones(K)), spread * rng.standard_normal((K, D))
    covariances = factors @ factors.transpose(0, 2, 1) / (2 * D)
    model = GMM(weights, means, (covariances + covariances.transpose(0, 2, 1)) / 2)
    X = model.sample(700, generator=torch.Generator().manual_seed(seed))[0]
    return X.to(dtype), model.to(dtype=dtype)


def assert_same_steps(one, other, dtype):
    """Compare two EM steps."""
    assert one.n_floored == other.n_floored
    assert one.n_empty == other.n_empty
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=50 * EPS[dtype])
    for name in ("weights", "means", "covariances"):
        found, expected = getattr(one.model, name), getattr(other.model, name)
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=2000 * EPS[dtype], atol=500 * EPS[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("K", "D"), [(1, 1), (25, 2), (3, 4), (12, 16), (6, 11), (40, 3), (130, 1)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_the_same_with_and_without(without, K, D, dtype, weighted):
    X, model = mixture(K + D, K=K, D=D, dtype=dtype)
    rng = torch.Generator().manual_seed(1)
    w = torch.rand(len(X), generator=rng, dtype=torch.float64) if weighted else None
    options = {"covariance_floor": 1e-3, "weight_smoothing": 0.01}
    for index in [None, *([torch.arange(0, D, 2)] if D > 1 else [])]:

        def step(index=index):
            points = Points.of(X, sample_weight=w).project(index, None)
            return em_step(points, model, index=index, **options)

        assert_same_steps(step(), without(step), dtype)


def test_floors_and_empty_components_are_the_same(without):
    X, model = mixture(0, K=5, D=3)
    means = model.means.clone()
    means[2] = 1e3  # holds no row
    far = GMM(model.weights, means, model.covariances)
    for floor in (0.0, 0.5, 2.0):

        def step(floor=floor):
            return em_step(Points.of(X), far, covariance_floor=floor)

        one = step()
        assert one.n_empty == 1
        if floor == 2.0:
            assert one.n_floored == 5
        if floor > 0:
            assert_same_steps(one, without(step), torch.float64)


@pytest.mark.parametrize("D", [1, 2, 9])
def test_the_floor_is_met_exactly_where_it_is(without, D):
    """Eigenvalues beside the floor by a few roundings are told from those at it."""
    rng = np.random.default_rng(D)
    Q = np.linalg.qr(rng.standard_normal((4, D, D)))[0]
    values = rng.uniform(1, 3, (4, D))
    values[:, 0] = 0.5 * np.array([1 - 1e-9, 1 + 1e-9, 2.0, 1e-3])
    covariances = torch.tensor(Q * values[:, None] @ Q.transpose(0, 2, 1))
    floored, below = floor_eigenvalues(covariances, 0.5)
    assert below.tolist() == [True, False, False, True]
    expected, _ = without(lambda: floor_eigenvalues(covariances, 0.5))
    torch.testing.assert_close(floored, expected)
    assert torch.equal(floored, floored.mT)


def test_mixtures_in_lockstep_are_the_same(without):
    X, model = mixture(3, K=12, D=2)
    thirds = model.weights.view(3, 4) / model.weights.view(3, 4).sum(dim=1, keepdim=True)
    stacked = GMM.unchecked(thirds.flatten(), model.means, model.covariances)

    def step():
        return lockstep_em_step(Points.of(X), stacked, 3, covariance_floor=1e-3)

    one, other = step(), without(step)
    torch.testing.assert_close(one.log_likelihood, other.log_likelihood)
    torch.testing.assert_close(one.model.covariances, other.model.covariances)


@pytest.mark.parametrize(("dtype", "least"), [(torch.float64, -499.0), (torch.float32, -59.0)])
def test_the_exponential_is_right_to_its_last_digits(dtype, least):
    x = torch.linspace(least, 0, 100_001, dtype=dtype)
    log_prob = torch.stack([x, torch.zeros_like(x)])
    found = exponentiate(log_prob, None).responsibilities
    exact = np.exp(x.double().numpy())
    # The second component's share is one over the sum, which undoes the normalisation.
    ratio = (found[0] / found[1]).double().numpy()
    assert np.abs(ratio / exact - 1).max() < 6 * EPS[dtype]


@pytest.mark.parametrize("K", [1, 3, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_responsibilities_and_likelihood(without, K, dtype):
    """Far below and far above, in blocks that are not full, for one mixture and for several."""
    generator = torch.Generator().manual_seed(K)
    log_prob = 60 * torch.randn(2 * K, 777, generator=generator, dtype=dtype) - 1000
    w = torch.rand(777, generator=generator, dtype=torch.float64)
    for weights in (None, w):
        ours = exponentiate(log_prob.clone(), weights, 2)
        scale = 1 if weights is None else weights
        exact = log_prob.double().view(2, K, -1)
        expected = (exact.softmax(dim=1) * scale).flatten(0, 1)
        bound = 400 * EPS[dtype]
        torch.testing.assert_close(ours.responsibilities.double(), expected, rtol=0, atol=bound)
        total = (exact.logsumexp(dim=1) * scale).sum(dim=1)
        torch.testing.assert_close(ours.log_likelihood, total, rtol=bound, atol=0)
        alone = exponentiate(log_prob.clone(), weights, 2, wanted=False)
        assert torch.equal(alone.log_likelihood, ours.log_likelihood)
        plain = without(lambda weights=weights: exponentiate(log_prob.clone(), weights, 2))
        torch.testing.assert_close(plain.log_likelihood, total, rtol=bound, atol=0)


def test_what_is_no_number_stays_none():
    log_prob = torch.zeros(3, 600, dtype=torch.float64)
    log_prob[1, 300] = torch.nan
    found = exponentiate(log_prob, None)
    assert found.log_likelihood.isnan()
    assert found.responsibilities[:, 300].isnan().all()
    torch.testing.assert_close(
        found.responsibilities[:, 299], torch.full_like(log_prob[:, 0], 1 / 3)
    )


def test_a_covariance_without_a_factor_is_named():
    X, model = mixture(0, K=2, D=2)
    broken = model.covariances.clone()
    broken[1] = -torch.eye(2)
    bad = GMM.unchecked(model.weights, model.means, broken)
    with pytest.raises(ValueError, match=r"components \[1\] are not positive definite"):
        em_step(Points.of(X), bad, covariance_floor=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("K", "F", "n"),
    [(1, 3, 10), (25, 6, 20_000), (12, 153, 2000), (20, 45, 3000), (64, 153, 500), (3, 900, 700)],
)
def test_sliced_products_are_products(without, K, F, n, dtype):
    generator = torch.Generator().manual_seed(n)
    columns = torch.randn(F, n, generator=generator, dtype=dtype)
    coefficients = torch.randn(K, F, generator=generator, dtype=dtype)
    r = torch.rand(K, n, generator=generator, dtype=dtype)
    bound = {"rtol": 0, "atol": 30 * EPS[dtype] * n**0.5 * F**0.5}
    exact = coefficients.double() @ columns.double()
    torch.testing.assert_close(product(coefficients, columns).double(), exact, **bound)
    exact = r.double() @ columns.double().T
    torch.testing.assert_close(sums(r, columns).double(), exact, **bound)
    torch.testing.assert_close(sums(r, columns), without(lambda: sums(r, columns)), **bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["quadratic", "diagonal"])
@pytest.mark.parametrize(
    ("K", "d", "n"),
    [(1, 1, 1), (3, 2, 0), (25, 2, 5000), (12, 16, 900), (64, 16, 131), (4, 7, 8192)],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_an_expectation_in_one_go_is_that_of_its_parts(kind, K, d, n, dtype, weighted):
    """Slices that are full and one that is not; float64 features of float32 points, too."""
    generator = torch.Generator().manual_seed(n)
    Z = torch.randn(d, 2 * n, generator=generator, dtype=torch.float32)[:, ::2]
    w = torch.rand(n, generator=generator, dtype=torch.float64) if weighted else None
    chunk = Chunk(Z if dtype == torch.float64 else Z.to(dtype), w)
    features = chunk.features(kind, dtype)
    coefficients = 0.3 * torch.randn(K, len(features), generator=generator, dtype=dtype)
    for B in {1, K}:  # as one mixture, and as so many of one component
        outcome = expected_features(chunk, kind, coefficients, B, least=-60.0)
        assert outcome is not None
        added, log_likelihood = outcome
        assert added.dtype == dtype
        shares = exponentiate(coefficients @ features, w, B)
        expected = shares.responsibilities.double() @ features.double().T
        bound = {"rtol": 0, "atol": 60 * EPS[dtype] * n * (1 + d)}
        torch.testing.assert_close(added.double(), expected, **bound)
        torch.testing.assert_close(
            log_likelihood, shares.log_likelihood, rtol=100 * EPS[dtype], atol=100 * EPS[dtype] * n
        )
        _, alone = expected_features(chunk, kind, coefficients, B, least=-60.0, wanted=False)
        assert torch.equal(alone, log_likelihood)


def test_what_is_too_large_or_cannot_be_called_is_left_to_others(monkeypatch):
    chunk = Chunk(torch.ones(16, 50), None)
    many = torch.ones(200, 153)
    assert expected_features(chunk, "quadratic", many, 1, least=-60.0) is None
    few = torch.ones(3, 153)
    assert expected_features(chunk, "quadratic", few, 1, least=-60.0) is not None
    monkeypatch.setattr(products_module, "gemm", lambda kind: None)
    assert expected_features(chunk, "quadratic", few, 1, least=-60.0) is None


def test_a_whole_fit_ends_at_the_same_optimum(without):
    X, _ = mixture(5, K=4, D=2, spread=6.0)
    one = BigLearnEM(4, random_state=0).fit(X.numpy())
    other = without(lambda: BigLearnEM(4, random_state=0).fit(X.numpy()))
    assert one.score(X.numpy()) == pytest.approx(other.score(X.numpy()), abs=1e-6)
    np.testing.assert_array_equal(one.predict(X.numpy()), other.predict(X.numpy()))


def test_a_numba_that_cannot_be_used_is_told_and_done_without(monkeypatch):
    def broken(name):
        raise ImportError("Numba needs NumPy 1.0 or less")

    monkeypatch.setattr(loader, "import_module", broken)
    loader._compiled.cache_clear()
    X, model = mixture(0, K=2, D=2)
    with pytest.warns(UserWarning, match="cannot be used .Numba needs NumPy 1.0 or less"):
        em_step(Points.of(X), model, covariance_floor=0.1)
    em_step(Points.of(X), model, covariance_floor=0.1)  # told once
    loader._compiled.cache_clear()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert loader._compiled() is None
    loader._compiled.cache_clear()


def test_numba_is_loaded_by_the_first_step_and_not_before():
    code = (
        "import sys, biglearn_core; assert 'numba' not in sys.modules\n"
        "import numpy as np; from biglearn_core import JointEM\n"
        "JointEM(2, random_state=0).fit(np.random.default_rng(0).normal(size=(50, 2)))\n"
        "assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
