"""The low-rank form of floored covariances: densities, moments, floor, and the EM step."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.stats import multivariate_normal

from biglearn_core import GMM, fit_biglearn_em
from biglearn_core.datasets.fashion_mnist import load_fashion_mnist
from biglearn_core.em import em_step
from biglearn_core.init import assignment_start, paper_start
from biglearn_core.matching import Task, run_task
from biglearn_core.numerics import linalg, lowrank
from biglearn_core.numerics.linalg import eigenpairs_above, floor_eigenvalues, haar_orthogonal
from biglearn_core.numerics.lowrank import LowRankCovariances, LowRankDensity, floor_to_low_rank
from biglearn_core.numerics.points import Chunk, Points
from biglearn_core.system import persistence

FLOOR = 0.05
K, D = 3, 60


@pytest.fixture(autouse=True)
def few_dimensions_are_many(monkeypatch):
    """Take the low-rank form in the few dimensions that a quick test can afford."""
    monkeypatch.setattr(lowrank, "_LEAST_DIMENSION", 8)


def data(seed, n=300, dtype=torch.float64):
    """Clusters that spread along a few directions, and hardly along the others."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(2, 1e-4, D)
    parts = [
        rng.standard_normal((n // K, D)) * scales @ haar_orthogonal(D, rng) + rng.normal(0, 1, D)
        for _ in range(K)
    ]
    return torch.tensor(np.concatenate(parts), dtype=dtype)


def start(X, seed):
    """Overlapping clusters on the floor, in their low-rank form."""
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, K, len(X)))
    rough = assignment_start(X, labels, K)
    return em_step(Points.of(X), rough, covariance_floor=FLOOR, weight_smoothing=0.1).model


def dense(model):
    return GMM(model.weights, model.means, model.covariances)


def naive_log_prob(X, weights, means, covariances):
    """Log π_k N(x | k) by scipy, in float64, shape (N, K)."""
    X = X.double().numpy()
    columns = [
        np.log(float(w)) + multivariate_normal(m.double().numpy(), c.double().numpy()).logpdf(X)
        for w, m, c in zip(weights, means, covariances, strict=True)
    ]
    return torch.from_numpy(np.stack(columns, axis=1))


def tasks(seed, size, n_features=D):
    """A joint, a marginal and a transformed task."""
    rng = np.random.default_rng(seed)
    index = np.sort(rng.choice(n_features, size, replace=False))
    return (
        Task("joint"),
        Task("marginal", index),
        Task("transformed", index, haar_orthogonal(n_features, rng)),
    )


def structured_and_naive(X, model, task):
    """The law that a task sees: by the low-rank density, and by scipy."""
    A = None if task.transform is None else torch.as_tensor(task.transform, dtype=X.dtype)
    index = None if task.index is None else torch.as_tensor(task.index)
    rotated = model if A is None else model.rotate(A)
    columns = slice(None) if index is None else index
    means = rotated.means[:, columns]
    points = Points.of(X).project(index, A)
    density = LowRankDensity.of(points, model.weights, means, rotated.low_rank, index)
    assert density is not None
    Y = X if A is None else X @ A.T
    covariances = rotated.covariances[:, columns][:, :, columns]
    return (
        density.log_prob(density.features(Chunk(points.Z, None))).T.double(),
        naive_log_prob(Y[:, columns], model.weights, means, covariances),
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-9)])
@pytest.mark.parametrize("seed", range(3))
def test_log_density_is_that_of_the_dense_covariances(seed, dtype, tolerance):
    X = data(seed, dtype=dtype)
    model = start(X, seed)
    for size in (55, 45):
        for task in tasks(seed, size):
            structured, naive = structured_and_naive(X, model, task)
            assert (structured - naive).abs().max() < tolerance


@pytest.mark.parametrize("seed", range(2))
def test_log_density_on_real_images(seed):
    try:
        images = load_fashion_mnist(download=False).images
    except OSError:
        pytest.skip("Fashion-MNIST is not here; load_fashion_mnist() fetches it")
    rng = np.random.default_rng(seed)
    X = torch.from_numpy(images[rng.choice(len(images), 2000, replace=False)]).float() / 255
    labels = torch.from_numpy(rng.integers(0, 4, len(X)))
    points, model = Points.of(X), assignment_start(X, labels, 4)
    for _ in range(3):
        model = em_step(points, model, covariance_floor=FLOOR, weight_smoothing=0.1).model
    for task in tasks(seed, 600, 784):
        structured, naive = structured_and_naive(X, model, task)
        assert (structured - naive).abs().max() < 1e-3


def test_float32_where_it_would_cancel_goes_through_float64():
    X = 100 * data(0, dtype=torch.float32)
    low_rank = LowRankCovariances.spherical(torch.zeros(1, D), 0.05)
    model = GMM.unchecked(torch.ones(1), torch.zeros(1, D), low_rank.dense(), low_rank)
    naive = naive_log_prob(X, model.weights, model.means, model.covariances)
    relative = (model.component_log_prob(X).double() - naive).abs() / naive.abs()
    assert relative.max() < 1e-7  # rounding of the result alone


def test_density_is_left_to_the_dense_form_where_that_is_better():
    X = data(0)
    model = start(X, 0)
    few = torch.arange(6)
    view = Points.of(X).project(few, None)
    of = LowRankDensity.of
    assert of(view, model.weights, model.means[:, few], model.low_rank, few) is None
    many = torch.arange(sum(model.low_rank.ranks) // K)
    view = Points.of(X).project(many, None)
    assert of(view, model.weights, model.means[:, many], model.low_rank, many) is None
    far = Points.of(X * 1e9)
    assert of(far, model.weights, model.means, model.low_rank) is None


@pytest.mark.parametrize("seed", range(3))
def test_floor_is_that_of_the_whole_spectrum(seed):
    rng = np.random.default_rng(seed)
    matrices = rng.standard_normal((K, D, D)) / D
    matrices = matrices + matrices.transpose(0, 2, 1)  # indefinite
    floored, low_rank = floor_to_low_rank(torch.from_numpy(matrices), FLOOR)
    values, vectors = np.linalg.eigh(matrices)
    expected = vectors * np.maximum(values, FLOOR)[:, None] @ vectors.transpose(0, 2, 1)
    np.testing.assert_allclose(floored, expected, atol=1e-12)
    np.testing.assert_array_equal(low_rank.ranks, (values > FLOOR).sum(axis=1))
    assert torch.equal(low_rank.dense(), floored)


def test_eigenpairs_above_everything_are_none():
    values, vectors = eigenpairs_above(torch.eye(4), 2.0)
    assert values.shape == (0,)
    assert vectors.shape == (0, 4)


@pytest.mark.parametrize("failing", ["subset", "float32", "silently"])
def test_eigenpairs_survive_a_driver_that_does_not_converge(failing, monkeypatch):
    rng = np.random.default_rng(0)
    matrix = torch.from_numpy(rng.standard_normal((D, D))).float()
    matrix = matrix + matrix.T
    expected = torch.linalg.eigvalsh(matrix)
    real = torch.linalg.eigh

    def refuse(*args, **kwargs):
        raise scipy.linalg.LinAlgError("Internal Error.")

    def refuse_float32(matrices):
        if matrices.dtype == torch.float32:
            if failing == "silently":
                return tuple(torch.full_like(part, math.nan) for part in real(matrices))
            raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")
        return real(matrices)

    monkeypatch.setattr(linalg, "eigenpairs_in", refuse)
    if failing != "subset":
        monkeypatch.setattr(torch.linalg, "eigh", refuse_float32)
    values, vectors = eigenpairs_above(matrix, 1.0)
    assert values.dtype == vectors.dtype == torch.float32
    torch.testing.assert_close(values, expected[expected > 1])
    torch.testing.assert_close(vectors @ matrix, values[:, None] * vectors, atol=1e-4, rtol=0)
    floored, _ = floor_eigenvalues(matrix[None], 1.0)
    torch.testing.assert_close(torch.linalg.eigvalsh(floored[0]), expected.clamp_min(1))


def test_eigenvalues_on_the_floor_up_to_rounding_are_no_directions():
    rng = np.random.default_rng(0)
    V = torch.from_numpy(haar_orthogonal(D, rng)).float()
    values = torch.full((D,), FLOOR) + 1e-7 * torch.from_numpy(rng.standard_normal(D)).float()
    values[:3] = torch.tensor([20.0, 1.0, 0.06])
    _, low_rank = floor_to_low_rank((V * values @ V.T)[None], FLOOR)
    assert low_rank.ranks == (3,)
    variances, directions = low_rank.component(0)
    torch.testing.assert_close(variances, values[:3], atol=1e-5, rtol=0)
    assert (directions @ V[:, :3]).diagonal().abs().min() > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_rotation_is_that_of_the_dense_covariances(seed):
    X = data(seed)
    model = start(X, seed)
    A = torch.from_numpy(haar_orthogonal(D, np.random.default_rng(seed)))
    torch.testing.assert_close(model.rotate(A).covariances, model.transform(A).covariances)
    torch.testing.assert_close(dense(model).rotate(A).means, model.rotate(A).means)


@pytest.mark.parametrize("seed", range(3))
def test_tasks_end_where_the_dense_form_ends(seed, monkeypatch):
    X = data(seed)
    model = start(X, seed)
    for size in (50, 12, 1):
        for task in tasks(seed, size):
            options = {
                "n_local_steps": 3, "covariance_floor": FLOOR, "weight_smoothing": 0.1
            }  # fmt: skip
            structured = run_task(task, Points.of(X), model, **options)
            with monkeypatch.context() as patch:
                patch.setattr(lowrank, "_LEAST_DIMENSION", 10**6)
                naive = run_task(task, Points.of(X), dense(model), **options)
            assert structured.model.low_rank is not None
            assert naive.model.low_rank is None
            assert structured.n_floored == naive.n_floored == K
            assert structured.log_likelihood == pytest.approx(naive.log_likelihood, abs=1e-9)
            for name in ("weights", "means", "covariances"):
                torch.testing.assert_close(
                    getattr(structured.model, name),
                    getattr(naive.model, name),
                    rtol=1e-8,
                    atol=1e-9,
                )


def test_sample_weights_are_repeated_rows_in_low_rank_form():
    X = data(0)
    model = start(X, 0)
    counts = torch.from_numpy(np.random.default_rng(0).integers(0, 4, len(X)))
    weighted = em_step(Points.of(X, sample_weight=counts.double()), model, covariance_floor=FLOOR)
    repeated = em_step(Points.of(X.repeat_interleave(counts, 0)), model, covariance_floor=FLOOR)
    torch.testing.assert_close(weighted.model.covariances, repeated.model.covariances)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood)


def test_paper_start_is_of_rank_zero():
    X = data(0, dtype=torch.float32)
    model = paper_start(K, D, generator=torch.Generator().manual_seed(0))
    assert model.low_rank.ranks == (0,) * K
    naive = naive_log_prob(X, model.weights, model.means, model.covariances)
    assert (model.component_log_prob(X).double() - naive).abs().max() < 1e-3


def test_covariances_above_the_floor_stay_dense():
    X = data(0)
    step = em_step(Points.of(X), start(X, 0), covariance_floor=1e-9)
    assert step.n_floored == 0
    assert step.model.low_rank is None


def test_saved_models_keep_the_low_rank_form(tmp_path):
    model = start(data(0), 0)
    model.save(tmp_path / "model.npz")
    loaded = GMM.load(tmp_path / "model.npz")
    assert loaded.low_rank.ranks == model.low_rank.ranks
    assert torch.equal(loaded.low_rank.dense(), model.covariances)
    arrays = persistence.load_arrays(tmp_path / "model.npz")
    arrays["excesses"] = 2 * arrays["excesses"]
    persistence.save_arrays(tmp_path / "model.npz", arrays)
    with pytest.raises(ValueError, match="low-rank form differ"):
        GMM.load(tmp_path / "model.npz")


def test_conversions_keep_the_low_rank_form():
    model = start(data(0), 0)
    converted = model.to(dtype=torch.float32)
    assert converted.low_rank.directions.dtype == converted.dtype == torch.float32
    torch.testing.assert_close(converted.low_rank.dense(), converted.covariances)


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_chunks_change_nothing(chunk_size):
    X = data(0)
    model = start(X, 0)
    options = {"n_iter": 3, "covariance_floor": FLOOR, "weight_smoothing": 0.1, "seed": 0}
    whole = fit_biglearn_em(X, model, **options).model
    chunked = fit_biglearn_em(X, model, chunk_size=chunk_size, **options).model
    torch.testing.assert_close(chunked.covariances, whole.covariances)
    torch.testing.assert_close(
        model.component_log_prob(X, chunk_size=chunk_size), model.component_log_prob(X)
    )
