"""Points that are read anew for every step give the sums of points in memory."""

import numpy as np
import pytest
import torch

from biglearn_core.em import em_step
from biglearn_core.gmm import GMM
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.density import QuadraticDensity, WhitenedDensity
from biglearn_core.numerics.linalg import haar_orthogonal
from biglearn_core.numerics.lowrank import LowRankDensity
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.streamed import BlockView, StreamedPoints
from biglearn_core.rows import source as rows_source
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.weighted import WeightedRows
from biglearn_core.search.missing import (
    IncompletePoints,
    StreamedIncompletePoints,
    incomplete_em_step,
)
from tests.helpers import assert_same_model, random_gmm, random_points

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", 150)


def view_of(D, dtype, *, shift=None, scale=None, order=None, unit=1.0):
    shift = np.zeros(D) if shift is None else shift
    return BlockView(shift, scale, order, unit, dtype, torch.device("cpu"))


def streamed(X, dtype, *, weights=None, chunk_size=None, held=None, **seen):
    """The same points as those that are held, from rows as they are given."""
    source = ArrayRows(X) if weights is None else WeightedRows(ArrayRows(X), weights)
    return StreamedPoints.of(
        source,
        view_of(X.shape[1], dtype, **seen),
        centre=held.centre,
        total=held.total,
        chunk_size=chunk_size,
    )


def assert_same_sums(held, passed, model, form, *, index=None):
    density = model.density(held, index)
    other = model.density(passed, index)
    assert type(density) is type(other) is form
    tolerance = TOLERANCE[held.dtype]
    found, log_likelihood = density.expectation(held)
    again, other_likelihood = other.expectation(passed)
    reach = held.radius * held.total
    for name, scale in (("counts", held.total), ("first", reach), ("second", reach * held.radius)):
        one, two = getattr(found, name) / scale, getattr(again, name) / scale
        np.testing.assert_allclose(two, one, rtol=0, atol=tolerance)
    np.testing.assert_allclose(other_likelihood, log_likelihood, rtol=tolerance)
    assert density.mean_log_prob(held) == pytest.approx(other.mean_log_prob(passed), rel=tolerance)


def case(form, dtype):
    """Data and a mixture for which this form is chosen."""
    if form is LowRankDensity:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((300, 130)) * np.geomspace(2, 1e-2, 130)
        X = torch.tensor(X, dtype=dtype)
        start = kmeans_plusplus_start(X, 3, seed=0)
        return X, em_step(Points.of(X), start, covariance_floor=1e-2, weight_smoothing=0.0).model
    X = random_points(3, N=400, D=4, dtype=dtype)
    model = kmeans_plusplus_start(X, 30 if form is QuadraticDensity else 2, seed=0)
    if form is WhitenedDensity:
        thin = model.covariances.clone()
        thin[:, 0, 0] += 1e16 if dtype == torch.float64 else 1e10
        X = X.clone()
        X[:, 0] += torch.linspace(-1e9, 1e9, len(X), dtype=dtype)
        model = GMM(model.weights, model.means, thin)
    return X, model


FORMS = [QuadraticDensity, WhitenedDensity, LowRankDensity]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 7])
def test_every_form_has_the_same_sums(form, dtype, weighted, chunk_size):
    X, model = case(form, dtype)
    weights = torch.arange(len(X)) % 4 / 2 if weighted else None
    held = Points.of(
        X,
        sample_weight=None if weights is None else weights.to(dtype),
        chunk_size=chunk_size,
    )
    passed = streamed(
        X.numpy(),
        dtype,
        weights=None if weights is None else weights.double().numpy(),
        chunk_size=chunk_size,
        held=held,
    )
    assert_same_sums(held, passed, model, form)
    if not weighted:
        assert passed.radius == pytest.approx(held.radius, rel=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", ["index", "A", "both"])
def test_tasks_see_the_same_coordinates(form, dtype, what):
    X, model = case(form, dtype)
    D = X.shape[1]
    A = torch.tensor(haar_orthogonal(D, np.random.default_rng(0)), dtype=dtype)
    index = torch.tensor([2, 0, 3] if D < 100 else list(range(129, 0, -1)))
    A = A if what != "index" else None
    index = index if what != "A" else None
    if A is not None:
        model = model.rotate(A)
    held = Points.of(X)
    passed = streamed(X.numpy(), dtype, held=held)
    shown, passed = held.project(index, A), passed.project(index, A)
    assert passed.n_features == shown.n_features
    torch.testing.assert_close(passed.centre, shown.centre)
    form = type(model.density(shown, index))
    assert_same_sums(shown, passed, model, form, index=index)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("D", [1, 4])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_shift_scale_order_and_the_unit_of_weights_are_applied(dtype, D, scaled, ordered):
    rng = np.random.default_rng(1)
    X = (100 + 3 * rng.standard_normal((200, D))).astype(dtype)
    shift, scale, order = np.arange(D) + 99.0, np.arange(D) + 0.5, np.arange(D)[::-1].copy()
    weights = rng.integers(0, 4, 200).astype(float)
    Z = X.astype(np.float64) - shift
    Z = Z / scale if scaled else Z
    Z = Z[:, order] if ordered else Z
    kind = torch.from_numpy(X).dtype
    held = Points.of(torch.tensor(Z, dtype=kind), sample_weight=torch.tensor(weights / 4).to(kind))
    passed = streamed(
        X,
        kind,
        weights=weights,
        held=held,
        shift=shift,
        scale=scale if scaled else None,
        order=order if ordered else None,
        unit=0.25,
    )
    model = kmeans_plusplus_start(torch.tensor(Z, dtype=kind), 2, seed=0)
    options = {"covariance_floor": 1e-4, "weight_smoothing": 0.1}
    one, two = (em_step(points, model, **options) for points in (held, passed))
    assert_same_model(one.model, two.model, rtol=5e-4 if dtype == np.float32 else 1e-10)
    assert one.log_likelihood == pytest.approx(two.log_likelihood, rel=1e-5)


@pytest.mark.parametrize("scale", [None, "ones"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (97, 1), (97, 3)])
@pytest.mark.parametrize("layout", ["C", "F", "read-only", "strided"])
def test_the_array_is_never_written_to(shape, dtype, scale, layout):
    X = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    given = {
        "C": X.copy(),
        "F": np.asfortranarray(X),
        "read-only": X.copy(),
        "strided": np.repeat(X, 2, axis=0)[::2],
    }[layout]
    given.flags.writeable = layout != "read-only"
    kind = torch.from_numpy(X).dtype
    D = shape[1]
    view = view_of(D, kind, shift=np.ones(D), scale=None if scale is None else np.ones(D))
    points = StreamedPoints.of(
        ArrayRows(given), view, centre=torch.zeros(D, dtype=kind), total=float(len(X))
    )
    model = GMM(torch.ones(1), torch.zeros(1, D), torch.eye(D)[None]).to(dtype=kind)
    em_step(points, model, covariance_floor=1e-3, weight_smoothing=0.0)
    em_step(
        points.project(torch.tensor([0]), None),
        model,
        index=torch.tensor([0]),
        covariance_floor=1e-3,
        weight_smoothing=0.0,
    )
    total = np.square(X.astype(np.float64) - 1).sum(axis=1).max()
    assert points.radius == pytest.approx(np.sqrt(total), rel=1e-6)
    np.testing.assert_array_equal(given, X)


def test_a_block_is_not_transposed_as_a_whole_for_the_forms_that_take_chunks():
    X, model = case(QuadraticDensity, torch.float64)
    held = Points.of(X)
    passed = streamed(X.numpy(), torch.float64, held=held)
    density, seen = model.density(passed), []

    def sums(points):
        found = density.sums(points, 1)
        seen.append("Z" in vars(points))
        return found

    passed.added(sums)
    assert seen == [False] * len(seen)
    assert len(seen) > 5


def test_progress_counts_every_row_in_every_pass():
    X, model = case(WhitenedDensity, torch.float64)
    passed, counted = streamed(X.numpy(), torch.float64, held=Points.of(X)), []
    passed.progress = counted.append
    em_step(passed, model, covariance_floor=1e-3, weight_smoothing=0.0)
    passed = passed.project(torch.tensor([0, 1]), None)
    em_step(passed, model, index=torch.tensor([0, 1]), covariance_floor=1e-3, weight_smoothing=0.0)
    assert sum(counted) == 2 * len(X)
    assert len(counted) > 10


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_with_gaps_have_the_same_step(weighted):
    rng = np.random.default_rng(4)
    X = random_points(4, N=300).numpy().copy()
    X[rng.random(X.shape) < 0.2] = np.nan
    weights = rng.integers(0, 3, 300).astype(float) if weighted else None
    held = IncompletePoints(
        torch.from_numpy(X), sample_weight=None if weights is None else torch.from_numpy(weights)
    )
    source = ArrayRows(X) if weights is None else WeightedRows(ArrayRows(X), weights)
    total = 300.0 if weights is None else weights.sum()
    passed = StreamedIncompletePoints(source, view_of(3, torch.float64), total)
    model = random_gmm(4)
    one, two = (incomplete_em_step(p, model, covariance_floor=1e-3) for p in (held, passed))
    assert_same_model(one.model, two.model, rtol=1e-10, atol=1e-11)
    assert one.log_likelihood == pytest.approx(two.log_likelihood, rel=1e-12)
