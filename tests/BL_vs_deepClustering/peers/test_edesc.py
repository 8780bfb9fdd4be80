"""EDESC against its formulae: affinities, penalty, start, gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from BL_vs_deepClustering.peers import dec, edesc
from BL_vs_deepClustering.peers.autoencoder import pretrain
from BL_vs_deepClustering.peers.edesc import EDESCConfig, fit_edesc
from tests.BL_vs_deepClustering.small import TINY, K


@pytest.mark.parametrize("seed", range(3))
def test_subspace_affinity_and_penalty_are_the_formulae(seed):
    rng = np.random.default_rng(seed)
    n, k, d, eta = 12, 4, 3, 5.0
    Z, basis = rng.standard_normal((n, k * d)), rng.standard_normal((k * d, k * d))
    s = np.empty((n, k))
    for i in range(n):
        for j in range(k):
            projected = basis[:, j * d : (j + 1) * d].T @ Z[i]
            s[i, j] = (projected @ projected + eta * d) / ((eta + 1) * d)
        s[i] /= s[i].sum()
    found = edesc.subspace_affinity(
        torch.tensor(Z), torch.tensor(basis), n_clusters=k, smoothing=eta
    )
    np.testing.assert_allclose(found, s, rtol=1e-12)
    gram, identity = basis.T @ basis, np.eye(k * d)
    outside = 1 - np.kron(np.eye(k), np.ones((d, d)))
    wanted = np.linalg.norm(gram * identity - identity) + np.linalg.norm(gram * outside)
    penalty = edesc.subspace_penalty(torch.tensor(basis), n_clusters=k)
    assert penalty.item() == pytest.approx(wanted, rel=1e-12)


def test_subspaces_start_from_the_singular_vectors_of_every_group():
    rng = np.random.default_rng(0)
    Z, labels = rng.standard_normal((60, 6)), np.arange(60) % 3
    basis = edesc.start_subspaces(torch.tensor(Z), labels, n_clusters=3, n_directions=2).numpy()
    for k in range(3):
        vectors = np.linalg.svd(Z[labels == k].T)[0][:, :2]
        own = basis[:, 2 * k : 2 * k + 2]
        np.testing.assert_allclose(np.abs((own * vectors).sum(axis=0)), 1, rtol=1e-10)
    with pytest.raises(ValueError, match=r"group of 1 points cannot span 2 directions"):
        edesc.start_subspaces(torch.tensor(Z[:3]), labels[:3], n_clusters=3, n_directions=2)


def test_edesc_step_in_chunks_is_the_gradient_of_the_whole(small):
    X = small[0]
    pretrained = pretrain(X, replace(TINY, n_code=6), seed=1).model
    config = EDESCConfig(n_directions=2, chunk_size=37, learning_rate=1e-2)
    options = {"n_clusters": K, "smoothing": config.smoothing}
    models = [edesc._Model(pretrained, 6) for _ in range(2)]
    basis = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    for model in models:
        model.D.data = basis.clone()
    target = dec.target_distribution(models[0].affinity(X, K, config))
    sgd = torch.optim.SGD(models[0].parameters(), lr=0.0)
    loss = edesc._step(models[0], sgd, X, target, K, config)
    Z = models[1].encoder(X)
    s = edesc.subspace_affinity(Z, models[1].D, **options)
    whole = (
        torch.mean((models[1].decoder(Z) - X) ** 2)
        + config.clustering_weight * torch.mean(target * (target / s).log())
        + config.penalty_weight * edesc.subspace_penalty(models[1].D, n_clusters=K)
    )
    whole.backward()
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    for found, wanted in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, atol=1e-7, rtol=1e-4)


def test_edesc_target_comes_from_all_points(small, monkeypatch):
    X = small[0]
    pretrained = pretrain(X, replace(TINY, n_code=6), seed=1).model
    seen = []
    real = edesc.target_distribution
    monkeypatch.setattr(edesc, "target_distribution", lambda s: seen.append(len(s)) or real(s))
    fit_edesc(X, pretrained, K, EDESCConfig(n_directions=2, n_steps=4, chunk_size=32), seed=0)
    assert seen == [len(X)] * 4


def test_edesc_refuses_a_code_of_another_width(small):
    X, pretrained = small
    with pytest.raises(ValueError, match=r"3 x 5 = 15 entries, this autoencoder's has 4"):
        fit_edesc(X, pretrained, K, EDESCConfig(), seed=0)
