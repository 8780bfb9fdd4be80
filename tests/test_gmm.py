"""The mixture's laws against scipy, numpy and each other."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import TOLERANCE, assert_same_model, parameters, random_gmm, random_points
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import naive_log_prob

from biglearn_core.gmm import GMM


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_densities_agree_with_scipy(seed, dtype):
    model, X = random_gmm(seed, dtype=dtype), random_points(seed, dtype=dtype)
    expected = naive_log_prob(X.double().numpy(), *parameters(model))
    tolerance = {"atol": 10 * TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    np.testing.assert_allclose(model.component_log_prob(X), expected, **tolerance)
    total = np.logaddexp.reduce(expected, axis=1)
    np.testing.assert_allclose(model.log_prob(X), total, **tolerance)
    np.testing.assert_allclose(
        model.responsibilities(X), np.exp(expected - total[:, None]), **tolerance
    )
    np.testing.assert_array_equal(model.predict(X), expected.argmax(axis=1))
    assert model.log_prob(X).dtype == dtype


def test_chunked_evaluation_is_the_whole():
    model, X = random_gmm(0), random_points(0)
    torch.testing.assert_close(model.log_prob(X, chunk_size=13), model.log_prob(X))


def test_no_points_give_no_densities():
    assert random_gmm(0).log_prob(torch.empty(0, 3, dtype=torch.float64)).shape == (0,)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_joint_is_marginal_times_conditional(seed):
    model, X = random_gmm(seed), random_points(seed, N=5)
    known = np.random.default_rng(seed).permutation(3)[:2].tolist()
    rest = [i for i in range(3) if i not in known]
    for x in X:
        conditional = model.condition(known, x[known]).log_prob(x[None, rest])
        marginal = model.marginal(known).log_prob(x[None, known])
        torch.testing.assert_close(conditional + marginal, model.log_prob(x[None]))


def test_conditional_of_one_gaussian_is_the_textbook_formula():
    model = random_gmm(4, K=1)
    _, (mean,), (C,) = parameters(model)
    conditional = model.condition([1], torch.tensor([0.7]))
    expected_mean = mean[[0, 2]] + C[[0, 2], 1] / C[1, 1] * (0.7 - mean[1])
    expected_covariance = C[np.ix_([0, 2], [0, 2])] - np.outer(C[[0, 2], 1], C[1, [0, 2]]) / C[1, 1]
    np.testing.assert_allclose(conditional.means[0], expected_mean, rtol=1e-6)
    np.testing.assert_allclose(conditional.covariances[0], expected_covariance)


def test_marginal_of_all_coordinates_is_the_joint():
    model = random_gmm(5)
    assert_same_model(model.marginal([0, 1, 2]), model)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_linear_image_changes_the_density_by_the_determinant(seed):
    model, X = random_gmm(seed), random_points(seed, N=20)
    A = torch.tensor(np.random.default_rng(seed).standard_normal((3, 3)) + 3 * np.eye(3))
    image = model.transform(A).log_prob(X @ A.T) + torch.linalg.slogdet(A).logabsdet
    torch.testing.assert_close(image, model.log_prob(X), rtol=1e-6, atol=1e-6)


def test_projection_is_the_marginal():
    model = random_gmm(6)
    A = torch.eye(3, dtype=torch.float64)[[2, 0]]
    assert_same_model(model.transform(A), model.marginal([2, 0]))


def test_samples_have_the_moments_of_the_law():
    model = random_gmm(7)
    X, z = model.sample(200_000, torch.Generator().manual_seed(1))
    weights, means, covariances = parameters(model)
    np.testing.assert_allclose(np.bincount(z, minlength=4) / len(z), weights, atol=5e-3)
    for k in range(4):
        np.testing.assert_allclose(X[z == k].mean(dim=0), means[k], atol=0.05)
        np.testing.assert_allclose(np.cov(X[z == k].T), covariances[k], atol=0.1)


def test_samples_follow_the_generator():
    model = random_gmm(8)
    first, _ = model.sample(5, torch.Generator().manual_seed(3))
    again, _ = model.sample(5, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert not torch.equal(model.sample(5)[0], model.sample(5)[0])


def test_save_and_load(tmp_path):
    model = random_gmm(9, dtype=torch.float32)
    model.save(tmp_path / "model.npz")
    loaded = GMM.load(tmp_path / "model.npz")
    assert loaded.dtype == torch.float32
    assert_same_model(loaded, model, rtol=0, atol=0)


def test_instances_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        random_gmm(0).weights = torch.ones(4)


def test_conversion_keeps_the_law():
    model = random_gmm(0)
    assert model.to(dtype=torch.float32).dtype == torch.float32
    assert_same_model(model.to(dtype=torch.float32), model, rtol=1e-6)


GOOD = {
    "weights": torch.tensor([0.5, 0.5]),
    "means": torch.zeros(2, 2),
    "covariances": torch.eye(2).repeat(2, 1, 1),
}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"weights": torch.tensor([0.5, 0.6])}, ValueError, "sum to 1"),
        ({"weights": torch.tensor([1.5, -0.5])}, ValueError, "non-negative"),
        ({"weights": torch.tensor([1.0])}, ValueError, r"weights must have shape \(2,\)"),
        ({"weights": [0.5, 0.5]}, TypeError, "must be a torch.Tensor, got list"),
        ({"weights": torch.tensor([1, 0])}, TypeError, "int64"),
        ({"weights": torch.tensor([0.5, 0.5]).double()}, TypeError, "share dtype"),
        ({"means": torch.zeros(2)}, ValueError, r"means must have shape \(K, D\)"),
        ({"means": torch.tensor([[0.0, float("nan")]] * 2)}, ValueError, "means must be finite"),
        ({"covariances": torch.eye(2)}, ValueError, "covariances must have shape"),
        ({"covariances": torch.ones(2, 2, 2)}, ValueError, "not positive definite"),
        (
            {"covariances": torch.tensor([[[1.0, 0.5], [0.0, 1.0]]] * 2)},
            ValueError,
            "must be symmetric",
        ),
    ],
)
def test_bad_parameters_are_refused(change, error, text):
    with pytest.raises(error, match=text):
        GMM(**{**GOOD, **change})


def test_bad_points_and_indices_are_refused():
    model = GMM(**GOOD)
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        model.log_prob(torch.zeros(3, 5))
    with pytest.raises(TypeError, match="convert one"):
        model.log_prob(torch.zeros(3, 2, dtype=torch.float64))
    with pytest.raises(TypeError, match="ndarray"):
        model.log_prob(np.zeros((3, 2)))
    for index, text in [([], "non-empty"), ([0, 0], "repeat"), ([2], r"0\.\.1")]:
        with pytest.raises(ValueError, match=text):
            model.marginal(index)
    with pytest.raises(ValueError, match="leave at least one"):
        model.condition([0, 1], torch.zeros(2))
    with pytest.raises(ValueError, match=r"shape \(1,\)"):
        model.condition([0], torch.zeros(2))
    with pytest.raises(ValueError, match="at least 1"):
        model.sample(0)
    with pytest.raises(ValueError, match=r"shape \(d, 2\)"):
        model.transform(torch.eye(3))
