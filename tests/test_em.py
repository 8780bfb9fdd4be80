"""The EM step against an independent loop, scikit-learn, and its own laws."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from biglearn_core.em import em_step
from biglearn_core.gmm import GMM
from biglearn_core.init import random_points_start
from biglearn_core.matching import Task, run_task
from biglearn_core.numerics import forms
from biglearn_core.numerics.points import Points
from tests.helpers import TOLERANCE, assert_same_model, parameters, random_gmm, random_points
from tests.oracle import naive_em_step, naive_log_prob

FLOOR = 1e-3


def rotation(seed, D):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0]


def run_one(X, model, *, index=None, A=None, weights=None, chunk_size=None, steps=1, **options):
    kind = "joint" if index is None else "marginal" if A is None else "transformed"
    points = Points.of(X, sample_weight=weights, chunk_size=chunk_size)
    task = Task(kind, None if index is None else np.array(index), A)
    options = {"covariance_floor": FLOOR, "weight_smoothing": 0.1, **options}
    return run_task(task, points, model, n_local_steps=steps, **options)


@pytest.fixture(params=["quadratic", "whitened"])
def form(request, monkeypatch):
    """Run a test with both forms of the density."""
    if request.param == "whitened":
        monkeypatch.setattr(forms, "_FEATURES_PER_COMPONENT", 0)
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["joint", "marginal", "transformed"])
def test_step_agrees_with_the_naive_loop(form, kind, seed, dtype):
    D = 4
    model, X = random_gmm(seed, D=D, dtype=dtype), random_points(seed, N=60, D=D, dtype=dtype)
    index = {"joint": list(range(D)), "marginal": [1, 3], "transformed": [0, 2, 3]}[kind]
    A = rotation(seed, D) if kind == "transformed" else np.eye(D)
    weights = np.random.default_rng(seed).uniform(0.2, 2.0, len(X))

    step = run_one(
        X,
        model,
        index=None if kind == "joint" else index,
        A=A if kind == "transformed" else None,
        weights=torch.tensor(weights, dtype=dtype),
    )

    expected = naive_em_step(
        X.double().numpy(),
        *parameters(model),
        index=index,
        A=A,
        floor=FLOOR,
        smoothing=0.1,
        sample_weight=weights,
    )
    for ours, theirs in zip(parameters(step.model), expected[:3], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    assert step.log_likelihood == pytest.approx(expected[3], abs=TOLERANCE[dtype])


@pytest.mark.parametrize("seed", range(4))
def test_step_agrees_with_scikit_learn(form, seed):
    model, X = random_gmm(seed), random_points(seed)
    weights, means, covariances = parameters(model)
    peer = GaussianMixture(
        4,
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        reg_covar=0.0,
        max_iter=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one step is what we ask for
        peer.fit(X.numpy())

    step = em_step(Points.of(X), model, covariance_floor=0.0)

    np.testing.assert_allclose(step.model.weights, peer.weights_, rtol=1e-10)
    np.testing.assert_allclose(step.model.means, peer.means_, rtol=1e-10)
    np.testing.assert_allclose(step.model.covariances, peer.covariances_, rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), D=st.integers(1, 5), K=st.integers(1, 6))
def test_matching_all_coordinates_is_joint_matching(seed, D, K):
    model, X = random_gmm(seed, K=K, D=D), random_points(seed, N=50, D=D)
    joint = run_one(X, model, steps=2)
    everything = list(range(D))
    assert_same_model(run_one(X, model, index=everything, steps=2).model, joint.model)
    turned = run_one(X, model, index=everything, A=rotation(seed, D), steps=2)
    assert_same_model(turned.model, joint.model)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 3))
def test_transform_by_the_identity_is_marginal_matching(seed, size):
    model, X = random_gmm(seed, D=4), random_points(seed, N=50, D=4)
    index = np.random.default_rng(seed).permutation(4)[:size]
    marginal = run_one(X, model, index=index)
    assert_same_model(run_one(X, model, index=index, A=np.eye(4)).model, marginal.model)


def test_a_full_transform_really_is_the_same_law():
    """The shortcut "all coordinates: joint task" against the step in the rotated basis."""
    model, X = random_gmm(0), random_points(0)
    A = torch.tensor(rotation(0, 3))
    turned = em_step(Points.of(X @ A.T), model.transform(A), covariance_floor=FLOOR)
    straight = em_step(Points.of(X), model, covariance_floor=FLOOR)
    assert_same_model(turned.model.transform(A.T), straight.model)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_permuting_components_permutes_the_step(seed):
    model, X = random_gmm(seed), random_points(seed, N=50)
    order = torch.tensor(np.random.default_rng(seed).permutation(4))
    shuffled = GMM(model.weights[order], model.means[order], model.covariances[order])
    step, other = run_one(X, model).model, run_one(X, shuffled).model
    assert_same_model(GMM(step.weights[order], step.means[order], step.covariances[order]), other)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_integer_weights_are_repeated_rows(seed):
    model, X = random_gmm(seed), random_points(seed, N=40)
    times = torch.tensor(np.random.default_rng(seed).integers(0, 4, 40))
    times[0] = 1
    weighted = run_one(X, model, index=[0, 2], weights=times.double())
    repeated = run_one(X.repeat_interleave(times, dim=0), model, index=[0, 2])
    assert_same_model(weighted.model, repeated.model)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood)


@pytest.mark.parametrize("chunk_size", [1, 7, 199, 200, 10**6])
def test_chunks_add_up_to_the_whole(form, chunk_size):
    model, X = random_gmm(1), random_points(1)
    weights = torch.linspace(0.5, 2, len(X), dtype=X.dtype)
    whole = run_one(X, model, weights=weights)
    chunked = run_one(X, model, weights=weights, chunk_size=chunk_size)
    assert_same_model(chunked.model, whole.model)
    assert chunked.log_likelihood == pytest.approx(whole.log_likelihood)


def test_step_outside_the_block_changes_nothing():
    model, X = random_gmm(2, D=4), random_points(2, D=4)
    step = em_step(Points.of(X[:, [0, 2]]), model, index=torch.tensor([0, 2]), covariance_floor=0)
    assert torch.equal(step.model.means[:, [1, 3]], model.means[:, [1, 3]])
    untouched = step.model.covariances[:, [0, 1], [1, 3]]
    torch.testing.assert_close(untouched, model.covariances[:, [0, 1], [1, 3]])
    assert not torch.allclose(step.model.means[:, 0], model.means[:, 0])


@pytest.mark.parametrize("seed", range(5))
def test_likelihood_never_falls_in_joint_steps(seed):
    X = random_points(seed, N=500)
    model, points = random_points_start(X, 3, seed=seed), Points.of(X)
    trace = []
    for _ in range(40):
        step = em_step(points, model, covariance_floor=1e-6)
        assert step.n_floored == 0
        trace.append(step.log_likelihood)
        model = step.model
    assert min(np.diff(trace)) > -1e-12


def test_data_far_from_the_origin_lose_nothing():
    """E[yyᵀ] − mmᵀ about the origin would lose every digit here."""
    model, X = random_gmm(3, dtype=torch.float32), random_points(3, dtype=torch.float32)
    shift = 4096.0  # exact in float32
    moved = GMM(model.weights, model.means + shift, model.covariances)
    near, far = run_one(X, model), run_one(X + shift, moved)
    torch.testing.assert_close(far.model.covariances, near.model.covariances, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sharp_components_fall_back_to_an_accurate_form(dtype):
    """Deviations of 0.1 beside a spread of a thousand: float32 features would be nats off."""
    rng = np.random.default_rng(0)
    centres = torch.tensor([[-1000.0, 0.0], [1000.0, 3.0]], dtype=dtype)
    labels = torch.tensor(rng.integers(2, size=100))
    noise = torch.tensor(rng.standard_normal((100, 2)), dtype=dtype)
    X = centres[labels] + 0.1 * noise
    covariances = 1e-2 * torch.eye(2, dtype=dtype).repeat(2, 1, 1)
    model = GMM(torch.tensor([0.5, 0.5], dtype=dtype), centres, covariances)
    exact = naive_log_prob(X.double().numpy(), *parameters(model))
    tolerance = {torch.float32: 1e-2, torch.float64: 1e-6}[dtype]  # float32 rounds X − centre
    nearest = exact.argmax(axis=1)
    rows = np.arange(len(X))
    ours = model.component_log_prob(X).numpy()
    np.testing.assert_allclose(ours[rows, nearest], exact[rows, nearest], atol=tolerance)


@pytest.mark.parametrize("K", [1, 3, 30])
def test_few_points_one_dimension_and_duplicates(K):
    X = torch.tensor([[1.0], [1.0], [5.0]], dtype=torch.float64)
    start = GMM(
        torch.full((K,), 1 / K, dtype=torch.float64),
        torch.linspace(0, 6, K, dtype=torch.float64)[:, None],
        torch.ones(K, 1, 1, dtype=torch.float64),
    )
    model = run_one(X, start, steps=50, weight_smoothing=0.0).model
    assert torch.isfinite(model.log_prob(X)).all()
    assert model.covariances.min() >= FLOOR * (1 - 1e-12)
    assert model.weights.sum() == pytest.approx(1)


def test_empty_component_goes_to_the_origin_and_is_counted():
    """The reference's behaviour with g = max(1e-5, π̂): no division by nothing."""
    X = random_points(0) + 50
    model = random_gmm(0)
    far = model.means.clone()
    far += 50
    far[0] = -1e4
    step = em_step(Points.of(X), GMM(model.weights, far, model.covariances), covariance_floor=FLOOR)
    assert step.n_empty == 1
    assert step.n_floored >= 1
    torch.testing.assert_close(step.model.means[0], torch.zeros(3, dtype=torch.float64))
    assert step.model.weights[0] < 1e-12
