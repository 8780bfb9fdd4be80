"""Diagonal covariances: the law from coordinates and squares, beside oracles and the dense form."""

import numpy as np
import pytest
import torch

from biglearn_core import GMM
from biglearn_core.em import em_step, lockstep_em_step
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics import evaluation, forms
from biglearn_core.numerics.density import Law, QuadraticDensity, WhitenedDensity
from biglearn_core.numerics.diagonal import DiagonalDensity, DiagonalLaw, is_diagonal
from biglearn_core.numerics.points import Chunk, Points
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.structures import COVARIANCE_TYPES, structure_of
from biglearn_core.search.constraint import Constraint
from tests.helpers import TOLERANCE, assert_same_model, random_gmm, random_points

TYPES = ("diag", "spherical", "EII", "EEI", "VEI", "EVI")
FIELDS = ("weights", "means", "covariances")
FLOOR = 1e-3


def typed_gmm(seed, covariance_type, *, K=4, D=3, dtype=torch.float64):
    model = Constraint(FLOOR, covariance_type).of_type(random_gmm(seed, K=K, D=D))
    return model if dtype == torch.float64 else model.to(dtype=dtype)


def oracle(X, model):
    """log π_k N(x_n | μ_k, Σ_k) coordinate by coordinate, shape (K, N)."""
    X, weights, means = (t.double().numpy() for t in (X, model.weights, model.means))
    variances = model.covariances.diagonal(dim1=1, dim2=2).double().numpy()
    squares = (X[None] - means[:, None]) ** 2 / variances[:, None]
    return np.log(weights)[:, None] - 0.5 * (squares + np.log(2 * np.pi * variances)[:, None]).sum(
        axis=2
    )


def densely(monkeypatch, function):
    """Call with all covariances taken as if they were not diagonal."""
    with monkeypatch.context() as patch:
        for module in (forms, evaluation):
            patch.setattr(module, "is_diagonal", lambda covariances: False)
        return function()


def log_prob_of(density, points):
    return density.log_prob(density.features(Chunk(points.Z, None)))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_types_that_are_diagonal_read_no_more_than_the_diagonals_of_scatters(covariance_type):
    structure = structure_of(covariance_type)
    assert structure.is_diagonal == (covariance_type in TYPES)
    scatters = random_gmm(0).covariances[None]
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    alone = torch.diag_embed(scatters.diagonal(dim1=2, dim2=3))
    fitted, of_diagonals = (structure.fit(weights, s, FLOOR)[0] for s in (scatters, alone))
    assert torch.equal(fitted, of_diagonals) == structure.is_diagonal


@pytest.mark.parametrize("D", [1, 2, 16, 60])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_log_densities_and_moments_are_those_of_the_oracle(D, dtype, weighted):
    rng = np.random.default_rng(D)
    X = random_points(0, D=D, dtype=dtype)
    sample_weight = torch.tensor(rng.uniform(0, 2, len(X)), dtype=dtype) if weighted else None
    model = typed_gmm(1, "diag", D=D, dtype=dtype)
    points = Points.of(X, sample_weight=sample_weight)
    density = model.density(points)
    assert isinstance(density, DiagonalDensity)

    exact = oracle(X, model)
    found = log_prob_of(density, points)
    scale = 1 + np.abs(exact).max()
    assert np.abs(found.double().numpy() - exact).max() < TOLERANCE[dtype] * scale

    weights = np.ones(len(X)) if sample_weight is None else sample_weight.double().numpy()
    total = np.logaddexp.reduce(exact, axis=0)
    shares = np.exp(exact - total) * weights
    Z = X.double().numpy() - density.origins.double().numpy()
    moments, log_likelihood = density.expectation(points)
    assert log_likelihood.item() == pytest.approx(weights @ total, rel=TOLERANCE[dtype])
    rtol = 50 * TOLERANCE[dtype]
    for found, expected in (
        (moments.counts, shares.sum(axis=1)),
        (moments.first, shares @ Z),
        (moments.second, shares @ Z**2),
    ):
        atol = rtol * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found.double().numpy(), expected, rtol=rtol, atol=atol)


def test_the_law_is_that_of_the_dense_covariances():
    model = typed_gmm(0, "diag")
    centre = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    dense = Law.of(model.weights, model.means, model.covariances, centre)
    variances = model.covariances.diagonal(dim1=1, dim2=2)
    for law in (
        DiagonalLaw.of(model.weights, model.means, variances, centre),
        DiagonalLaw.of_law(dense),
    ):
        for name in ("log_constants", "means", "linear", "offsets"):
            torch.testing.assert_close(getattr(law, name), getattr(dense, name))
        torch.testing.assert_close(torch.diag_embed(law.precisions), dense.precisions)
        for dtype in (torch.float32, torch.float64):
            ours = DiagonalDensity.reaches(law, dtype)
            theirs = QuadraticDensity.reaches(dense, dtype)
            for (far, products), (near, same) in zip(ours, theirs, strict=True):
                assert products == same
                assert far >= near


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("variance", [1.0, 1e-4, 1e-10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_accuracy_is_lost_far_out_or_in_tiny_variances(offset, variance, dtype):
    """A thousandth of a nat in float32 and a millionth in float64, or the form is not taken."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(-4, 4, (3, 2))
    z = rng.integers(3, size=300)
    X = offset + centres[z] + np.sqrt(variance) * rng.standard_normal((300, 2))
    X = torch.tensor(X, dtype=dtype)
    means = torch.tensor(offset + centres, dtype=dtype)
    covariances = torch.diag_embed(torch.full((3, 2), variance, dtype=dtype))
    weights = torch.full((3,), 1 / 3, dtype=dtype)
    model = GMM.unchecked(weights, means, covariances, covariance_type="spherical")
    points = Points.of(X)
    density = model.density(points)
    assert isinstance(density, WhitenedDensity if variance == 1e-10 else DiagonalDensity)
    # The points are those that are left after rounding to their dtype and to the centre.
    rounded = points.Z.T.double() + points.centre.double()
    exact = oracle(rounded, model)
    found = log_prob_of(density, points).double().numpy()
    near = exact > exact.max(axis=0) - 30
    if variance > 1e-10:
        products = density.features(Chunk(points.Z, None)).dtype
        assert products == (dtype if variance == 1.0 else torch.float64)
        assert np.abs(found - exact)[near].max() < (2e-3 if dtype == torch.float32 else 2e-6)


def test_what_is_not_diagonal_is_not_taken_for_it():
    """As the first step from a start of full covariances meets them."""
    full = random_gmm(0)
    model = GMM.unchecked(full.weights, full.means, full.covariances, covariance_type="diag")
    X = random_points(0)
    points = Points.of(X)
    assert not is_diagonal(full.covariances)
    assert isinstance(model.density(points), QuadraticDensity)
    torch.testing.assert_close(model.log_prob(X), full.log_prob(X), rtol=0, atol=0)
    stepped = em_step(points, model, covariance_floor=FLOOR).model
    assert is_diagonal(stepped.covariances)
    assert isinstance(stepped.density(points), DiagonalDensity)


def test_full_types_keep_all_second_moments_though_covariances_are_diagonal():
    model = typed_gmm(0, "diag")
    full = GMM(model.weights, model.means, model.covariances)
    stepped = em_step(Points.of(random_points(0)), full, covariance_floor=FLOOR).model
    assert not is_diagonal(stepped.covariances)


def test_a_variance_that_is_not_positive_is_refused_by_component():
    model = typed_gmm(0, "diag")
    for value in (0.0, -1.0):
        covariances = model.covariances.clone()
        covariances[2, 1, 1] = value
        with pytest.raises(ValueError, match=r"components \[2\] are not positive definite"):
            model.with_parameters(model.weights, model.means, covariances).density(
                Points.of(random_points(0))
            )


def test_some_coordinates_are_those_of_the_marginal():
    model, X = typed_gmm(0, "diag"), random_points(0)
    index = torch.tensor([2, 0])
    points = Points.of(X).project(index, None)
    density = model.density(points, index)
    assert isinstance(density, DiagonalDensity)
    exact = oracle(X[:, index], model.marginal(index))
    np.testing.assert_allclose(log_prob_of(density, points).numpy(), exact, atol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("D", [1, 3, 12])
@pytest.mark.parametrize("with_prior", [False, True])
def test_steps_are_those_of_the_dense_form(covariance_type, D, with_prior, monkeypatch):
    X = random_points(2, D=D)
    rng = np.random.default_rng(0)
    sample_weight = torch.tensor(rng.uniform(0, 2, len(X)))
    points = Points.of(X, sample_weight=sample_weight)
    prior = (
        CovariancePrior.of(X, 4, sample_weight=sample_weight, n_rows=len(X)) if with_prior else None
    )
    start = kmeans_plusplus_start(X, 4, seed=0)
    sparse = dense = Constraint(FLOOR, covariance_type).of_type(start)
    for _ in range(5):
        ours = em_step(points, sparse, covariance_floor=FLOOR, prior=prior)
        theirs = densely(
            monkeypatch,
            lambda model=dense: em_step(points, model, covariance_floor=FLOOR, prior=prior),
        )
        sparse, dense = ours.model, theirs.model
        assert_same_model(sparse, dense)
        assert is_diagonal(sparse.covariances)
        assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, abs=1e-9)
        assert (ours.n_floored, ours.n_empty) == (theirs.n_floored, theirs.n_empty)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_an_empty_component_ends_where_the_dense_form_takes_it(covariance_type, monkeypatch):
    X = random_points(0)
    model = Constraint(FLOOR, covariance_type).of_type(kmeans_plusplus_start(X, 3, seed=0))
    means = model.means.clone()
    means[1] += 1e3
    model = model.with_parameters(model.weights, means, model.covariances)
    points = Points.of(X)
    ours = em_step(points, model, covariance_floor=FLOOR)
    theirs = densely(monkeypatch, lambda: em_step(points, model, covariance_floor=FLOOR))
    assert ours.n_empty == theirs.n_empty == 1
    assert_same_model(ours.model, theirs.model)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_mixtures_in_lockstep_step_as_each_alone(covariance_type):
    X = random_points(3)
    points = Points.of(X)
    constraint = Constraint(FLOOR, covariance_type)
    single = [constraint.of_type(kmeans_plusplus_start(X, 3, seed=s)) for s in range(4)]
    mixtures = GMM.unchecked(
        *(torch.cat([getattr(m, name) for m in single]) for name in FIELDS),
        covariance_type=covariance_type,
    )
    steps = lockstep_em_step(points, mixtures, 4, covariance_floor=FLOOR)
    alone = [em_step(points, model, covariance_floor=FLOOR) for model in single]
    for b, step in enumerate(alone):
        part = slice(3 * b, 3 * b + 3)
        for name in FIELDS:
            found, expected = getattr(steps.model, name)[part], getattr(step.model, name)
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        assert steps.log_likelihood[b].item() == pytest.approx(step.log_likelihood, abs=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("D", [1, 3, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_queries_near_and_far_are_those_of_the_dense_form(covariance_type, D, dtype, monkeypatch):
    model = typed_gmm(0, covariance_type, D=D, dtype=dtype)
    X = random_points(0, N=20, D=D, dtype=dtype)
    rows = torch.cat([X, *(X[:2] * factor for factor in (1e2, 1e4, 1e8, 1e15, 1e30))])
    near = model.evaluate(rows)
    dense = densely(monkeypatch, lambda: model.evaluate(rows))
    ours, theirs = near.component_log_prob(), dense.component_log_prob()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    atol = 2e-3 if dtype == torch.float32 else 2e-6
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=atol)
    assert torch.equal(near.labels(), dense.labels())
    np.testing.assert_allclose(
        ours[:, :20].double().numpy(), oracle(X, model), rtol=tolerance, atol=atol
    )
    together = model.log_prob(rows)
    alone = torch.cat([model.log_prob(row[None]) for row in rows])
    torch.testing.assert_close(together, alone, rtol=tolerance, atol=tolerance)
