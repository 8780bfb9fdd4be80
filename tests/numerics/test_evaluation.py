"""Every row is evaluated as if it were alone, however far out it or its neighbours lie."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from biglearn_core import GMM, BigLearnEM, JointEM
from biglearn_core.em import em_step
from biglearn_core.init import assignment_start
from biglearn_core.numerics import lowrank
from biglearn_core.numerics.linalg import haar_orthogonal
from biglearn_core.numerics.points import Points
from tests.helpers import random_gmm, random_points

QUERIES = ["component_log_prob", "log_prob", "responsibilities", "predict"]
FAR = {
    torch.float32: [1e10, 1e20, 1e30, -3e38],
    torch.float64: [1e10, 1e20, 1e150, 1e200, 1.7e308, -1e300],
}
FAR_IN = [(dtype, size) for dtype, sizes in FAR.items() for size in sizes]
SINGLE = {torch.float32: 1e-4, torch.float64: 1e-9}


def gmm(weights, means, covariances, dtype=torch.float64):
    return GMM(*(torch.tensor(p, dtype=dtype) for p in (weights, means, covariances)))


def two_in_one_dimension(means, *, variance=1.0, weights=(0.5, 0.5)):
    return gmm(weights, [[m] for m in means], [[[variance]]] * 2)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def low_rank_case(dtype, monkeypatch):
    """A mixture in the low-rank form, in the few dimensions that a quick test can afford."""
    monkeypatch.setattr(lowrank, "_LEAST_DIMENSION", 8)
    rng = np.random.default_rng(0)
    parts = [
        rng.standard_normal((60, 40)) * np.geomspace(2, 1e-4, 40) @ haar_orthogonal(40, rng)
        for _ in range(3)
    ]
    X = torch.tensor(np.concatenate(parts), dtype=dtype)
    rough = assignment_start(X, torch.arange(180) % 3, 3)
    model = em_step(Points.of(X), rough, covariance_floor=0.05, weight_smoothing=0.1).model
    assert model.low_rank is not None
    return model, X[::18]


def assert_near(actual, expected, tolerance):
    """Compare finite values, and infinities as such."""
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("form", ["one dimension", "dense", "whitened", "low rank"])
@pytest.mark.parametrize(("dtype", "size"), FAR_IN)
def test_a_row_far_out_leaves_the_others_alone(form, dtype, size, monkeypatch):
    if form == "low rank":
        model, X = low_rank_case(dtype, monkeypatch)
    else:
        K, D = {"one dimension": (3, 1), "dense": (4, 3), "whitened": (2, 12)}[form]
        model, X = random_gmm(0, K=K, D=D, dtype=dtype), random_points(0, N=10, D=D, dtype=dtype)
    far = torch.full((1, X.shape[1]), size, dtype=dtype)
    one_feature = X[:1].clone()
    one_feature[0, -1] = size
    batch = torch.cat([X, far, one_feature])
    for query in QUERIES:
        together = getattr(model, query)(batch)
        alone = torch.cat([getattr(model, query)(row[None]) for row in batch])
        assert not torch.isnan(together).any()
        assert_near(together, alone, SINGLE[dtype])
    assert_near(model.responsibilities(batch).sum(dim=1), torch.ones(12, dtype=dtype), 1e-6)


@pytest.mark.parametrize(("dtype", "size"), FAR_IN)
def test_an_incomplete_row_far_out_leaves_the_others_alone(dtype, size):
    from biglearn_core.search.missing import conditional_mean, evaluate_incomplete

    model, X = random_gmm(1, dtype=dtype), random_points(1, N=9, dtype=dtype)
    X[::2, 1] = math.nan
    X[3] = math.nan
    far = torch.tensor([[size, math.nan, 0], [math.nan, math.nan, size]], dtype=dtype)
    batch = torch.cat([X, far])
    together = evaluate_incomplete(batch, model)
    alone = [evaluate_incomplete(row[None], model) for row in batch]
    for method in ("component_log_prob", "log_prob", "responsibilities", "labels"):
        rows = torch.cat([getattr(one, method)() for one in alone], dim=-1)
        assert_near(getattr(together, method)(), rows, SINGLE[dtype])
    assert_near(together.responsibilities().sum(dim=0), torch.ones(11, dtype=dtype), 1e-6)
    assert_near(conditional_mean(batch, model)[:9], conditional_mean(X, model), SINGLE[dtype])


@pytest.fixture(scope="module", params=[BigLearnEM, JointEM], ids=lambda E: E.__name__)
def fitted(request):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(m, 1, (40, 2)) for m in (0, 8)])
    models = {dtype: request.param(2, random_state=0).fit(X.astype(dtype)) for dtype in "fd"}
    return models, X


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_estimators_answer_for_each_row_alone(fitted, dtype, gaps):
    models, X = fitted
    model, sizes = models[dtype], FAR[torch.float32 if dtype == "f" else torch.float64]
    far = [[size / 2, size / 3] for size in sizes]
    batch = np.concatenate([X[::8], far]).astype(dtype)
    queries = ["predict", "predict_proba", "score_samples"]
    if gaps and isinstance(model, JointEM):
        queries = []
    if gaps:
        batch[::2, 0] = np.nan
    for query in [*queries, "impute"]:
        rows = batch[: len(X[::8])] if query == "impute" else batch
        together = getattr(model, query)(rows)
        alone = np.concatenate([getattr(model, query)(row[None]) for row in rows])
        assert not np.isnan(together).any()
        assert_near(together, alone, 1e-9)
    if queries:
        probabilities = model.predict_proba(batch)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(model.predict(batch), probabilities.argmax(axis=1))


@pytest.mark.parametrize(("dtype", "size"), [("f", 1e30), ("d", 1e200)])
def test_far_out_the_component_nearest_in_deviations_wins(fitted, dtype, size):
    models, _ = fitted
    model = models[dtype]
    directions = np.array([[1, 0], [0, 1], [1, 1], [-1, 1], [-1, -1]])
    rows = (size * directions).astype(dtype)
    forms = np.einsum("ni,kij,nj->nk", directions, model.precisions_, directions)
    expected = np.eye(2)[forms.argmin(axis=1)]
    np.testing.assert_array_equal(model.predict_proba(rows), expected)
    assert np.isneginf(model.score_samples(rows)).all()
    filled = model.impute(np.array([[size, np.nan]], dtype=dtype))
    assert np.isfinite(filled).all()


def exact_responsibilities(x, model):
    """Posterior probabilities in two dimensions, from exact quadratic forms."""
    weights, means, covariances = (
        p.double().tolist() for p in (model.weights, model.means, model.covariances)
    )
    forms, constants = [], []
    for w, mean, ((a, b), (_, d)) in zip(weights, means, covariances, strict=True):
        a, b, d = Fraction(a), Fraction(b), Fraction(d)
        u, v = (Fraction(xi) - Fraction(m) for xi, m in zip(x.tolist(), mean, strict=True))
        determinant = a * d - b * b
        forms.append((d * u * u - 2 * b * u * v + a * v * v) / determinant / 2)
        constants.append(w / math.sqrt(determinant))
    least = min(form for form, c in zip(forms, constants, strict=True) if c)
    excess = [float(max(0, min(form - least, 1000))) for form in forms]
    shares = np.array([c * math.exp(-e) for c, e in zip(constants, excess, strict=True)])
    return shares / shares.sum()


PLANE = [[0.0, 0.0], [1.0, 2.0], [-3.0, 1.0]]
COVARIANCES = {
    "equal": [[[2.0, 0.5], [0.5, 1.0]]] * 3,
    "different": [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 3.0]], [[2.0, 0.0], [0.0, 2.0]]],
    "nearly equal": [[[2.0, 0.0], [0.0, 1 + e]] for e in (0.0, 1e-9, 2e-9)],
    "very different": [[[s, 0.0], [0.0, s]] for s in (1e-8, 1.0, 1e8)],
}


@pytest.mark.parametrize("size", [0.0, 3.0, 1e3, 1e6, 1e9, 1e20, 1e100, 1e200, 1.7e308])
@pytest.mark.parametrize("weights", [(0.2, 0.3, 0.5), (0.0, 0.4, 0.6), (0.5, 0.5, 0.0)])
@pytest.mark.parametrize("shape", COVARIANCES)
def test_responsibilities_are_those_of_exact_arithmetic(shape, weights, size):
    model = gmm(weights, PLANE, COVARIANCES[shape])
    angles = np.linspace(0.1, 6.2, 7)
    X = torch.tensor(size * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    expected = np.stack([exact_responsibilities(x, model) for x in X])
    actual = model.responsibilities(X).numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-6)
    np.testing.assert_array_equal(model.predict(X), actual.argmax(axis=1))


@pytest.mark.parametrize("distance", [10.0, 1e4, 2e6, 1e9])
@pytest.mark.parametrize("shift", [0.0, 1e6, 1e8])
def test_rows_between_two_components_are_shared_far_from_zero_too(shift, distance):
    rng = np.random.default_rng(0)
    for _ in range(5):
        root = rng.normal(size=(2, 2))
        covariance = root @ root.T + 0.5 * np.eye(2)
        covariance = (covariance + covariance.T) / 2
        means = shift * np.array([1.0, 0.7]) + rng.normal(size=(2, 2))
        model = gmm((0.5, 0.5), means, np.stack([covariance, covariance]))
        normal = np.linalg.solve(covariance, means[1] - means[0])
        between = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
        x = torch.tensor(means.mean(axis=0) + distance * between + 0.3 * rng.normal(size=2))
        expected = exact_responsibilities(x, model)
        np.testing.assert_allclose(model.responsibilities(x[None])[0], expected, atol=2e-6)


@pytest.mark.parametrize(("x", "gap"), [(1e7, 1e-7), (1e10, 1e-10), (1e12, -1e-12), (-1e100, 0.0)])
def test_components_that_compete_far_out_share_a_row(x, gap):
    model = two_in_one_dimension([0.0, gap])
    expected = 1 / (1 + math.exp(-x * gap))
    assert model.responsibilities(column(x))[0, 1].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("x", [0.0, 1e-320, -1e-5, 1.0, 1.4, 1.6, 3.0, 1e3])
def test_distance_counts_in_deviations_wherever_the_row_lies(x):
    model = two_in_one_dimension([1.0, 2.0], variance=1e-12)
    expected = -0.5 * min((x - 1) ** 2, (x - 2) ** 2) / 1e-12 - 0.5 * math.log(2 * math.pi * 4e-12)
    if x == 1.0:
        expected = -0.5 * math.log(2 * math.pi * 1e-12) - math.log(2)
    assert model.log_prob(column(x)).item() == pytest.approx(expected, rel=1e-9)
    assert model.predict(column(x)).item() == (x > 1.5)


@pytest.mark.parametrize("mean", [1e160, 1e300])
@pytest.mark.parametrize("x", [1e159, 1e200, 1e306])
def test_means_that_squares_cannot_span_are_refused(mean, x):
    model = two_in_one_dimension([-mean / 2, mean])
    assert model.predict(column(mean)).item() == 1
    with pytest.raises(ValueError, match=r"means so far apart.*Rescale the data"):
        model.predict(column(x))


def test_float32_far_out_is_float64_rounded():
    single, double = (random_gmm(3, dtype=dtype) for dtype in (torch.float32, torch.float64))
    double = single.to(dtype=torch.float64)
    X = random_points(3, N=50, dtype=torch.float32) * torch.logspace(0, 15, 50)[:, None]
    assert_near(single.responsibilities(X), double.responsibilities(X.double()), 1e-3)
    assert (single.predict(X) == double.predict(X.double())).double().mean() == 1
    np.testing.assert_allclose(single.log_prob(X), double.log_prob(X.double()), rtol=1e-4)


def test_incomplete_float32_rows_keep_their_odds_far_out():
    from biglearn_core.search.missing import evaluate_incomplete

    model = gmm((0.5, 0.5), [[0.0, 0.0], [1e-4, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]] * 2)
    X = torch.tensor([[1e4, math.nan], [5e3, math.nan], [1e7, math.nan]], dtype=torch.float64)
    expected = evaluate_incomplete(X, model).responsibilities()
    single = evaluate_incomplete(X.float(), model).responsibilities()
    assert_near(single, expected, 1e-5)
    assert_near(expected[1], torch.sigmoid(1e-4 * X[:, 0]), 1e-5)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_row_that_is_no_number_is_refused(query, value):
    X = random_points(0)
    X[5, 1] = value
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 200 rows: drop them"):
        getattr(random_gmm(0), query)(X)


@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, True])
def test_sizes_of_chunks_are_checked(chunk_size):
    with pytest.raises(ValueError, match="chunk_size must be an int of at least 1"):
        random_gmm(0).log_prob(random_points(0), chunk_size=chunk_size)


def with_gradients(model):
    """The mixture of unconstrained numbers, and these numbers."""
    roots = torch.linalg.cholesky(model.covariances)
    return [p.clone().requires_grad_() for p in (model.weights.log(), model.means, roots)]


def from_numbers(logits, means, roots):
    return GMM(logits.softmax(dim=0), means, roots @ roots.mT)


@pytest.mark.parametrize("query", ["log_prob", "component_log_prob", "responsibilities"])
@pytest.mark.parametrize("D", range(1, 7))
def test_gradients_are_those_of_finite_differences(D, query):
    model, X = random_gmm(D, K=2, D=D), random_points(D, N=3, D=D)
    numbers = with_gradients(model)

    def evaluate(X, *numbers):
        return getattr(from_numbers(*numbers), query)(X)

    assert torch.autograd.gradcheck(evaluate, (X.requires_grad_(), *numbers))


@pytest.mark.parametrize("chunk_size", [None, 64])
@pytest.mark.parametrize("N", [1, 2, 63, 64, 65, 129, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_do_not_depend_on_shapes(dtype, N, chunk_size):
    model, X = random_gmm(0, dtype=dtype), random_points(0, N=N, dtype=dtype)
    expected = -torch.einsum(
        "nk,kij,nkj->ni",
        model.responsibilities(X).double(),
        torch.linalg.inv(model.covariances.double()),
        X.double()[:, None] - model.means.double(),
    )
    total = model.log_prob(X.requires_grad_(), chunk_size=chunk_size).sum()
    (gradient,) = torch.autograd.grad(total, X)
    assert_near(gradient, expected, 1e-3 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("size", [1.0, 1e6, 1e12, 1e100, 1e200])
def test_values_do_not_depend_on_whether_gradients_are_asked_for(size, query):
    model, X = random_gmm(2), size * random_points(2, N=20)
    expected = getattr(model, query)(X)
    assert_near(getattr(model, query)(X.requires_grad_()).detach(), expected, 1e-9)


@pytest.mark.parametrize("x", [1e3, 1e6, 1e12, -1e200])
def test_gradients_far_out_are_those_of_the_nearest_component(x):
    model, X = two_in_one_dimension([-1.0, 1.0]), column(x).requires_grad_()
    (gradient,) = torch.autograd.grad(model.log_prob(X).sum(), X)
    assert gradient.item() == pytest.approx(math.copysign(1, x) - x)


def test_parameters_with_gradients_are_evaluated_without():
    model = from_numbers(*with_gradients(random_gmm(0)))
    X = random_points(0)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert_near(model.log_prob(X), random_gmm(0).log_prob(X), 1e-9)
    model.log_prob(X).sum().backward()
