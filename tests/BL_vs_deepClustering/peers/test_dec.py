"""DEC and IDEC against their formulae: targets, losses, the stop."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from BL_vs_deepClustering.peers import dec
from BL_vs_deepClustering.peers.dec import DEC, IDEC, fit_dec, soft_assignment
from tests.BL_vs_deepClustering.small import D, K, quick


def naive_soft_assignment(Z, centres):
    q = np.empty((len(Z), len(centres)))
    for i in range(len(Z)):
        for j in range(len(centres)):
            q[i, j] = (1 + np.sum((Z[i] - centres[j]) ** 2)) ** -1
        q[i] /= sum(q[i])
    return q


def naive_target(q):
    n, k = q.shape
    frequencies = [sum(q[i, j] for i in range(n)) for j in range(k)]
    p = np.array([[q[i, j] ** 2 / frequencies[j] for j in range(k)] for i in range(n)])
    for i in range(n):
        p[i] = p[i] / sum(p[i])
    return p


@pytest.mark.parametrize("seed", range(3))
def test_soft_assignment_and_target_are_the_formulae(seed):
    rng = np.random.default_rng(seed)
    Z, centres = 2 * rng.standard_normal((30, 4)), rng.standard_normal((5, 4))
    q = soft_assignment(torch.tensor(Z), torch.tensor(centres))
    np.testing.assert_allclose(q, naive_soft_assignment(Z, centres), rtol=1e-12)
    p = dec.target_distribution(q)
    np.testing.assert_allclose(p, naive_target(q.numpy()), rtol=1e-12)


@pytest.mark.parametrize("config", [DEC, IDEC])
def test_loss_is_mean_divergence_and_mean_error(small, config):
    X, pretrained = small
    model = dec._Model(pretrained, K, keep_decoder=config.keep_decoder)
    model.centres.data = pretrained.encode(X[:K])
    rows = X[:40]
    q = naive_soft_assignment(pretrained.encode(rows).numpy(), model.centres.detach().numpy())
    p = naive_target(q)
    wanted = config.clustering_weight * np.mean(np.sum(p * np.log(p / q), axis=1))
    if config is IDEC:
        assert config.clustering_weight == 0.1
        with torch.no_grad():
            wanted += np.mean((pretrained(rows) - rows).numpy() ** 2)
    loss = model.loss(rows, torch.tensor(p, dtype=torch.float32), config.clustering_weight)
    assert loss.item() == pytest.approx(wanted, rel=1e-4)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("config", [DEC, IDEC])
def test_targets_come_from_all_points(small, monkeypatch, config):
    """The mini-batches' targets are rows of one target of all points, renewed with the model."""
    X, pretrained = small
    seen, targets = [], []
    real, real_loss = dec.target_distribution, dec._Model.loss

    def target(q):
        seen.append(len(q))
        targets.append(real(q))
        return targets[-1]

    def loss(self, x, p, weight):
        whole = targets[-1]
        position = [int((point == X).all(dim=1).nonzero()) for point in x]
        torch.testing.assert_close(p, whole[position], rtol=0, atol=0)
        return real_loss(self, x, p, weight)

    monkeypatch.setattr(dec, "target_distribution", target)
    monkeypatch.setattr(dec._Model, "loss", loss)
    fit_dec(X, pretrained, K, quick(config, max_updates=12, tol=0.0), seed=0)
    assert seen == [len(X)] * 3  # updates 0, 5 and 10
    assert not torch.equal(targets[0], targets[1])


@pytest.mark.parametrize(
    ("changes", "tol", "rounds"),
    [
        ([0.5, 0.02, 0.0009, 0.5], 1e-3, 3),
        ([0.5, 0.02, 0.001, 0.5], 1e-3, 4),
        ([0.5, 0.02, 0.0, 0.5], 0.0, 4),
    ],
)
def test_it_stops_when_fewer_labels_change_than_the_tolerance(
    small, monkeypatch, changes, tol, rounds
):
    X, pretrained = small
    shares = iter(changes)
    monkeypatch.setattr(dec, "changed_share", lambda clusters, previous: next(shares))
    found = fit_dec(X, pretrained, K, quick(DEC, max_updates=18, tol=tol), seed=0)
    assert found.converged is (rounds < len(changes))
    assert len(found.curves["changed_labels"]) == rounds
    assert found.n_steps == (5 * rounds if rounds < 4 else 18)
    assert len(found.history) == rounds + 1
    np.testing.assert_array_equal(found.history[-1], found.clusters)


def test_changed_share_counts_points():
    assert dec.changed_share(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 2])) == 0.25


def test_dec_sharpens_its_assignments(small, monkeypatch):
    X, pretrained = small
    before = pretrained.encoder[0].weight.clone()
    confidence, real = [], dec.target_distribution

    def target(q):
        confidence.append(q.max(dim=1).values.mean().item())
        return real(q)

    monkeypatch.setattr(dec, "target_distribution", target)
    found = fit_dec(X, pretrained, K, quick(DEC, max_updates=100, tol=0.0), seed=0)
    assert confidence[-1] > confidence[0]
    assert torch.equal(before, pretrained.encoder[0].weight)  # a copy was trained
    widths = [D, 16, 12, 4]
    n_weights = sum((a + 1) * b for a, b in pairwise(widths))
    assert found.n_parameters == n_weights + K * 4
