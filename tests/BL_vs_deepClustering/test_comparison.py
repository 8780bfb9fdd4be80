"""The deep clustering peers, their experiment, its tables and its command."""

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import wraps
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from biglearn_core.experiments.published import FASHION_PEERS
from biglearn_core.metrics import score_labels
from biglearn_core.reproduce.records import Record, read_record
from biglearn_core.system.persistence import load_arrays, save_arrays
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.comparison import (
    figures as plots,
    methods,
    run as deep,
    tables as summary,
)
from BL_vs_deepClustering.comparison.methods import METHODS, Method
from BL_vs_deepClustering.peers import autoencoder, dec, edesc, training
from BL_vs_deepClustering.peers.autoencoder import (
    Autoencoder,
    PretrainConfig,
    cluster_code,
    pretrain,
)
from BL_vs_deepClustering.peers.biglearn_pca import ComponentMixtureConfig
from BL_vs_deepClustering.peers.dec import DEC, IDEC, fit_dec, soft_assignment
from BL_vs_deepClustering.peers.edesc import EDESCConfig, fit_edesc
from BL_vs_deepClustering.peers.features import (
    FeatureMixtureConfig,
    cluster_features,
    to_unit_mean_variance,
)
from BL_vs_deepClustering.peers.shallow import KMeansConfig, cluster_kmeans, principal_components
from BL_vs_deepClustering.pixels import run as fashion
from BL_vs_deepClustering.pixels.run import Images
from tests.helpers import ROOT

K, D = 3, 20
TINY = PretrainConfig(
    hidden=(16, 12), n_code=4, n_epochs=20, batch_size=32, optimizer="adam", learning_rate=1e-2
)


def synthetic(n=150, n_pixels=D, seed=0):
    """Images of three classes that spread along few directions."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % K
    centres = rng.uniform(0, 1, (K, n_pixels))
    spread = rng.standard_normal((n, 2)) @ rng.normal(0, 0.1, (2, n_pixels))
    X = centres[classes] + spread + rng.normal(0, 0.05, (n, n_pixels))
    return Images(torch.tensor(X, dtype=torch.float32), classes)


@pytest.fixture(autouse=True)
def one_thread_and_no_cached_images():
    """Sums of two threads round differently from run to run; images of another test are others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    deep._images.cache_clear()
    yield
    torch.set_num_threads(threads)
    deep._images.cache_clear()


@pytest.fixture(scope="module")
def small():
    """Points and their pretrained autoencoder."""
    X = synthetic().X
    return X, pretrain(X, TINY, seed=0).model


def quick(config, **changes):
    return replace(config, batch_size=32, update_interval=5, n_init=2, **changes)


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


def test_edesc_target_comes_from_all_points(small, monkeypatch):
    X = small[0]
    pretrained = pretrain(X, replace(TINY, n_code=6), seed=1).model
    seen = []
    real = edesc.target_distribution
    monkeypatch.setattr(edesc, "target_distribution", lambda s: seen.append(len(s)) or real(s))
    fit_edesc(X, pretrained, K, EDESCConfig(n_directions=2, n_steps=4, chunk_size=32), seed=0)
    assert seen == [len(X)] * 4


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


def test_pretraining_learns_and_depends_on_the_seed_alone(small):
    X, model = small
    again = pretrain(X, TINY, seed=0)
    assert again.losses[-1] < again.losses[0]
    for a, b in zip(model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    other = pretrain(X, TINY, seed=1).model
    assert not torch.equal(model.encoder[0].weight, other.encoder[0].weight)


class Killed(BaseException):
    """Stands for the death of the process."""


@contextlib.contextmanager
def killed_after(saves):
    """Die in the block once its state has been saved so many times."""
    calls, real = [], training.save_arrays

    def save_and_die(*arguments):
        real(*arguments)
        calls.append(1)
        if len(calls) == saves:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "save_arrays", save_and_die)
        with pytest.raises(Killed):
            yield


def never_learns(monkeypatch, updates=10, restarts=2):
    """Make every training fail its trial after the given updates."""
    monkeypatch.setattr(autoencoder, "_UPDATES_TO_LEARN", updates)
    monkeypatch.setattr(autoencoder, "_LEARNED", 0.0)
    monkeypatch.setattr(autoencoder, "_MOST_RESTARTS", restarts)


def test_a_training_that_does_not_learn_begins_anew(small, monkeypatch):
    X, _ = small
    never_learns(monkeypatch)
    with pytest.warns(UserWarning, match="no more than the mean image") as told:
        found = pretrain(X, TINY, seed=0)
    assert len(told) == found.restarts == 2
    assert len(found.losses) == TINY.n_epochs
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):  # the third weights are those that were kept
        third = Autoencoder(D, TINY.hidden, TINY.n_code, generator=generator)
    monkeypatch.setattr(autoencoder, "Autoencoder", lambda *a, **k: third)
    monkeypatch.setattr(autoencoder, "_UPDATES_TO_LEARN", 10**9)
    again = pretrain(X, TINY, seed=0)
    np.testing.assert_array_equal(again.losses, found.losses)


def test_one_that_learns_does_not(small):
    X, _ = small  # any warning is an error here
    assert pretrain(X, replace(TINY, n_epochs=101), seed=0).restarts == 0


@pytest.mark.filterwarnings("ignore:the autoencoder of seed")
@pytest.mark.parametrize("saves", [1, 3, 6])
def test_killed_around_a_restart_it_goes_on_to_the_same_weights(
    small, tmp_path, monkeypatch, saves
):
    X, _ = small
    never_learns(monkeypatch)
    unbroken = pretrain(X, TINY, seed=0)
    with killed_after(saves):
        pretrain(X, TINY, seed=0, checkpoint=tmp_path / "state.npz")
    begun = pretrain(X, TINY, seed=0, checkpoint=tmp_path / "state.npz")
    np.testing.assert_array_equal(begun.losses, unbroken.losses)
    assert begun.restarts == 2


def test_a_saved_autoencoder_is_the_same(small):
    X, model = small
    trained = autoencoder.Pretrained(model, np.arange(3.0), 1.5, restarts=2)
    arrays = trained.arrays()
    again = Autoencoder.from_arrays(arrays, TINY)
    assert torch.equal(again.encode(X), model.encode(X))
    assert torch.equal(again(X), model(X))
    np.testing.assert_array_equal(arrays["losses"], trained.losses)
    assert arrays["restarts"] == 2


def test_weights_start_in_their_range_and_the_rate_falls():
    generator = torch.Generator().manual_seed(0)
    model = Autoencoder(100, (50,), 3, generator=generator)
    for layer in (model.encoder[0], model.encoder[2], model.decoder[2]):
        assert (layer.weight.abs() <= layer.in_features**-0.5).all()
        assert layer.weight.abs().max() > 0.9 * layer.in_features**-0.5
        assert (layer.bias == 0).all()
    config = PretrainConfig(learning_rate=2e-3)
    assert [config.rate_at(x) for x in (0.0, 0.5, 0.75, 1.0)] == pytest.approx(
        [2e-3, 2e-3, 1e-3, 0.0]
    )
    kinds = [type(layer).__name__ for layer in model.encoder]
    assert kinds == ["Linear", "ReLU", "Linear"]  # a linear code


def test_mini_batches_cover_every_epoch_and_need_no_past():
    batches = training.MiniBatches(10, 4, seed=3, device=torch.device("cpu"))
    epochs = [[batches.rows(3 * epoch + i) for i in range(3)] for epoch in range(2)]
    for epoch in epochs:
        assert [len(rows) for rows in epoch] == [4, 4, 2]
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))
    assert torch.cat(epochs[0]).tolist() != torch.cat(epochs[1]).tolist()
    later = training.MiniBatches(10, 4, seed=3, device=torch.device("cpu"))
    assert torch.equal(later.rows(4), epochs[1][1])


def fits(X, pretrained, wide=None):
    wide = wide or pretrain(X, replace(TINY, n_code=6), seed=1).model
    config = EDESCConfig(n_directions=2, n_steps=6, n_init=2, checkpoint_every=2)
    return {
        "pretrain": lambda path: pretrain(X, TINY, seed=2, checkpoint=path),
        "dec": lambda path: fit_dec(
            X, pretrained, K, quick(DEC, max_updates=23, tol=0.0), seed=0, checkpoint=path
        ),
        "idec": lambda path: fit_dec(
            X, pretrained, K, quick(IDEC, max_updates=23, tol=0.0), seed=0, checkpoint=path
        ),
        "edesc": lambda path: fit_edesc(X, wide, K, config, seed=0, checkpoint=path),
    }


def outcome(found):
    if hasattr(found, "losses"):
        weights = {name: t.numpy() for name, t in found.model.state_dict().items()}
        return {"losses": found.losses, **weights}
    return {"history": found.history, **found.curves}


@pytest.mark.parametrize("name", ["pretrain", "dec", "idec", "edesc"])
@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_run_goes_on_to_the_same_result(small, tmp_path, name, saves):
    fit = fits(*small)[name]
    unbroken = outcome(fit(None))
    path = tmp_path / "state.npz"
    with killed_after(saves):
        fit(path)
    begun = outcome(fit(path))
    for key, value in unbroken.items():
        np.testing.assert_array_equal(begun[key], value, err_msg=key)


def test_a_state_of_other_settings_is_refused(small, tmp_path):
    X, _ = small
    path = tmp_path / "state.npz"
    pretrain(X, TINY, seed=0, checkpoint=path)
    for other, message in (
        (lambda: pretrain(X, TINY, seed=1, checkpoint=path), "seed: 0 there, 1 now"),
        (lambda: pretrain(X + 1, TINY, seed=0, checkpoint=path), r"data: float32 \(150, 20\) "),
        (lambda: pretrain(X[1:], TINY, seed=0, checkpoint=path), r"data: .*\(149, 20\)"),
        (lambda: pretrain(X, replace(TINY, batch_size=30), seed=0, checkpoint=path), "batch_size"),
    ):
        with pytest.raises(ValueError, match=rf"state\.npz.*other settings or data \(.*{message}"):
            other()
    with training.matmul_precision("medium"), pytest.raises(ValueError, match="precision: highest"):
        pretrain(X, TINY, seed=0, checkpoint=path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="not a readable"):
        pretrain(X, TINY, seed=0, checkpoint=path)


@pytest.mark.parametrize("name", ["dec", "idec", "edesc"])
def test_a_state_from_another_autoencoder_is_refused(small, tmp_path, name):
    X, pretrained = small
    path = tmp_path / "state.npz"
    with killed_after(1):
        fits(X, pretrained)[name](path)
    other, wide = (pretrain(X, replace(TINY, n_code=n, n_epochs=1), seed=3).model for n in (4, 6))
    again = fits(X, other, wide)[name]
    with pytest.raises(ValueError, match=r"state\.npz.*\(start: \w+ there, \w+ now\)"):
        again(path)


def spoil(arrays, kind):
    """Leave something out of a state, or put something wrong into it."""
    module = [n for n in arrays if n.startswith("module/")]
    optimizer = [n for n in arrays if n.startswith("optimizer/")]
    if kind == "nan":
        return arrays | {module[0]: arrays[module[0]] * np.nan}
    if kind == "shape":
        return arrays | {module[0]: arrays[module[0]][:1]}
    if kind == "word":
        return arrays | {module[0]: np.array("word")}
    left_out = {"module": module[:1], "losses": ["arrays/losses"]}.get(kind)
    if kind == "optimizer":  # all of one parameter
        left_out = [n for n in optimizer if n.startswith(optimizer[0].rpartition("/")[0] + "/")]
    return {n: a for n, a in arrays.items() if n not in left_out}


@pytest.mark.parametrize("name", ["pretrain", "dec", "idec", "edesc"])
@pytest.mark.parametrize("kind", ["nan", "shape", "word", "module", "optimizer", "losses"])
def test_a_damaged_state_is_named_with_the_remedy(small, tmp_path, name, kind):
    path = tmp_path / "state.npz"
    fit = fits(*small)[name]
    with killed_after(1):
        fit(path)
    save_arrays(path, spoil(load_arrays(path), kind))
    with pytest.raises(ValueError, match=r"(?s)state\.npz is damaged \(.*delete it"):
        fit(path)


def test_kmeans_keeps_the_least_inertia():
    X = synthetic().X
    found = cluster_kmeans(X, 5, KMeansConfig(n_init=6), seed=0)
    best = int(found.curves["inertia"].argmin())
    np.testing.assert_array_equal(found.clusters, found.history[best])
    for labels, inertia in zip(found.history, found.curves["inertia"], strict=True):
        groups = [X[labels == k].double() for k in range(5)]
        own = sum((g - g.mean(0)).square().sum().item() for g in groups)
        assert own == pytest.approx(inertia, rel=1e-3)  # centres of the last update but one


def test_principal_components_keep_units_and_variance():
    X = synthetic().X
    Z = principal_components(X, 3)
    values = np.linalg.eigvalsh(np.cov(X.numpy().T.astype(np.float64)))[::-1]
    np.testing.assert_allclose(Z.var(axis=0, ddof=1), values[:3], rtol=1e-4)


def test_feature_mixture_keeps_the_highest_likelihood_and_ignores_scale():
    Z = torch.tensor(principal_components(synthetic().X, 4))
    config = FeatureMixtureConfig(n_init=2, n_iterations=5)
    options = {"seed": 0, "n_projection": 7, "clock": Stopwatch()}
    found = cluster_features(Z, K, config, **options)
    best = int(found.curves["log_likelihood"].argmax())
    assert len(found.history) == 4
    np.testing.assert_array_equal(found.clusters, found.history[best])
    assert found.n_parameters == 7 + (K - 1) + K * 4 + K * 10
    scaled = cluster_features(64 * Z + 8, K, config, **options)
    assert score_labels(found.clusters, scaled.clusters).ari > 0.99
    unit = to_unit_mean_variance(Z)
    assert unit.square().mean().item() == pytest.approx(1, rel=1e-4)
    with pytest.raises(ValueError, match="nothing to cluster"):
        to_unit_mean_variance(torch.ones(5, 2))


CONFIG = deep.Config(seeds=(0, 1), n_images=90, n_clusters=3, n_epochs=2, n_updates=3, n_steps=3)


def with_rows(patch, rows):
    """Change some fields of the rows of methods."""
    changed = {name: replace(deep.METHODS[name], **fields) for name, fields in rows.items()}
    patch.setattr(deep, "METHODS", {**deep.METHODS, **changed})


def few_components(patch):
    """Let BigLearn-EM take five principal components."""
    settings = ComponentMixtureConfig(n_directions=5)
    with_rows(patch, {"biglearn-pca": {"settings": lambda common: settings}})


@contextlib.contextmanager
def synthetic_images():
    """Put ninety synthetic images of 784 pixels in the place of Fashion-MNIST.

    Their principal components are five.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "load_images", lambda n, *, device: synthetic(n, 784))
        few_components(patch)
        deep._images.cache_clear()
        yield patch
        deep._images.cache_clear()


@pytest.fixture
def images():
    with synthetic_images():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Every method on synthetic images, run once."""
    root = tmp_path_factory.mktemp("deep")
    with synthetic_images():
        runs = deep.run(CONFIG, root=root, n_jobs=1)
    return root, runs


def same_peers(runs, others):
    for run, other in zip(runs, others, strict=True):
        for name in ("method", "seed", "final", "n_steps", "converged", "n_parameters"):
            assert getattr(run, name) == getattr(other, name)
        for name in ("clusters", "acc", "nmi", "ari"):
            np.testing.assert_array_equal(getattr(run, name), getattr(other, name))
        for name, curve in run.curves.items():
            np.testing.assert_array_equal(curve, other.curves[name])


def test_every_method_is_run_scored_and_saved(finished):
    root, runs = finished
    assert [(r.method, r.seed) for r in runs] == [(m, s) for m in METHODS for s in (0, 1)]
    classes = synthetic(90, 784).classes
    for run in runs:
        assert run.final == score_labels(classes, run.clusters)
        assert run.best.acc >= max(run.final.acc, run.acc.max())
        assert run.n_parameters > 0
    assert len(list(root.glob("autoencoder/*/seed_*.json"))) == 4  # two widths, two seeds
    assert not list(root.glob("**/*.checkpoint.npz"))
    by_method = {run.method: run for run in runs}
    shared = by_method["dec"].curves["reconstruction"]
    np.testing.assert_array_equal(shared, by_method["biglearn-ae"].curves["reconstruction"])
    saved = json.loads(next(root.glob("dec/*/seed_0.json")).read_text())
    assert saved["final"]["acc"] == next(run for run in runs if run.method == "dec").final.acc


def test_a_new_method_is_a_row_and_shows_everywhere(finished, images, monkeypatch, tmp_path):
    """A module of its own beside; here it is one that is there."""
    root, runs = finished
    row = Method(label="N2D", fit=cluster_kmeans, settings=lambda common: KMeansConfig(n_init=1))
    for module in (methods, deep, summary, plots):
        monkeypatch.setattr(module, "METHODS", {**module.METHODS, "n2d": row})
    config = replace(CONFIG, methods=("all",))
    assert config.methods[-1] == "n2d"
    shutil.copytree(root, tmp_path / "copy")
    new = deep.run(config, root=tmp_path / "copy", n_jobs=1)
    same_peers(new[: len(runs)], runs)
    assert [(run.method, run.seed) for run in new[len(runs) :]] == [("n2d", 0), ("n2d", 1)]
    mine = summary.score_table(new).loc["N2D"]
    assert mine["", "seeds"] == "2"
    assert mine["quoted from others", "ACC"] == f"{FASHION_PEERS['N2D'].acc:.3f}"
    assert summary.record(new, config)["labels"]["n2d"] == "N2D"
    assert "N2D" in [t.get_text() for t in plots.plot_comparison(new).axes[0].get_yticklabels()]


def test_finished_runs_are_read(finished, images, monkeypatch):
    root, runs = finished
    monkeypatch.setattr(deep, "load_images", refusing(deep.load_images))
    again = deep.run(CONFIG, root=root, n_jobs=1)
    for run, other in zip(again, runs, strict=True):
        np.testing.assert_array_equal(run.clusters, other.clusters)
        assert run.seconds == other.seconds


def test_labels_change_scores_alone(images, monkeypatch, tmp_path):
    config = replace(CONFIG, seeds=(0,))
    runs = deep.run(config, root=tmp_path / "true", n_jobs=1)
    assert len(runs) == len(METHODS)
    permuted = np.random.default_rng(5).permutation(90)

    def other_labels(n, *, device):
        own = synthetic(n, 784)
        return Images(own.X, own.classes[permuted])

    monkeypatch.setattr(deep, "load_images", other_labels)
    deep._images.cache_clear()
    blind = deep.run(config, root=tmp_path / "permuted", n_jobs=1)
    for run, other in zip(runs, blind, strict=True):
        np.testing.assert_array_equal(run.clusters, other.clusters)
        assert not np.array_equal(run.acc, other.acc)


def refusing(function):
    """Stand for a function that must not be called."""

    @wraps(function)
    def call(*arguments, **options):
        raise AssertionError("something was computed again")

    return call


def test_a_run_killed_between_methods_goes_on(images, monkeypatch, tmp_path):
    config = replace(CONFIG, seeds=(0,), methods=("ae-kmeans", "dec"))

    @wraps(cluster_code)
    def killed(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        with_rows(patch, {"ae-kmeans": {"fit": killed}})
        with pytest.raises(Killed):
            deep.run(config, root=tmp_path, n_jobs=1)
    assert len(list(tmp_path.glob("*/*/seed_0.json"))) == 2  # the autoencoder and DEC
    monkeypatch.setattr(deep, "pretrain", refusing(pretrain))  # what is finished is not begun again
    with_rows(monkeypatch, {"dec": {"fit": refusing(fit_dec)}})
    assert [run.method for run in deep.run(config, root=tmp_path, n_jobs=1)] == ["ae-kmeans", "dec"]


def test_an_autoencoder_that_two_methods_need_is_trained_once(tmp_path):
    """The second of two processes waits for the first."""
    code = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from tests.BL_vs_deepClustering import test_comparison as tests
from functools import wraps
from pathlib import Path
from biglearn_core.experiments import jobs
deep, method, folder = tests.deep, sys.argv[1], Path({str(tmp_path)!r})
deep.load_images = lambda n, *, device: tests.synthetic(n, 784)
real, lock = deep.pretrain, jobs.run_lock
@wraps(real)
def pretrain(*arguments, **options):
    (folder / f"trained_by_{{method}}").touch()
    deadline = time.monotonic() + 120
    while len(list(folder.glob("at_lock_*"))) < 2:
        assert time.monotonic() < deadline, "the other process has not come"
        time.sleep(0.02)
    return real(*arguments, **options)
def run_lock(path, **options):
    if path.parent.parent.name == "autoencoder":
        (folder / f"at_lock_{{method}}").touch()
    return lock(path, **options)
deep.pretrain, jobs.run_lock = pretrain, run_lock
config = tests.replace(tests.CONFIG, seeds=(0,), methods=(method,))
(run,) = deep.run(config, root=folder, n_jobs=1)
print(run.pretrain_seconds)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, method], stdout=subprocess.PIPE, text=True)
        for method in ("ae-kmeans", "dec")
    ]
    printed = [process.communicate(timeout=300)[0] for process in started]
    assert printed[0] == printed[1] != ""
    assert len(list(tmp_path.glob("trained_by_*"))) == 1
    assert len(list(tmp_path.glob("autoencoder/*/seed_0.json"))) == 1


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precision_is_of_the_networks_alone_and_is_put_back(
    images, monkeypatch, tmp_path, precision
):
    seen, flushed = {}, {}

    def telling(name, real):
        @wraps(real)
        def call(*arguments, **options):
            seen[name] = torch.get_float32_matmul_precision()
            flushed[name] = bool(torch.tensor(1e-39) * 1 == 0)
            return real(*arguments, **options)

        return call

    chosen = ("ae-kmeans", "dec", "edesc", "biglearn-ae")
    monkeypatch.setattr(deep, "pretrain", telling("pretrain", pretrain))
    with_rows(monkeypatch, {m: {"fit": telling(m, METHODS[m].fit)} for m in chosen})
    config = replace(CONFIG, seeds=(0,), methods=chosen, precision=precision)
    deep.run(config, root=tmp_path, n_jobs=1)
    trained = {"pretrain", "dec", "edesc"}
    assert seen == {name: precision if name in trained else "highest" for name in seen}
    assert flushed == {name: name in trained for name in seen}
    assert len(seen) == 5
    assert torch.tensor(1e-39) * 1 > 0
    assert torch.get_float32_matmul_precision() == "highest"


def test_precision_is_put_back_after_an_error():
    with pytest.raises(KeyError), training.matmul_precision("medium"):
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_damaged_autoencoder_is_made_anew_and_nothing_else(finished, images, tmp_path):
    root, runs = finished
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").glob("autoencoder/*/seed_1.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="damaged and made anew"):
        again = deep.run(CONFIG, root=tmp_path / "copy", n_jobs=1)
    same_peers(again, runs)


def test_keys_depend_on_settings_and_on_the_networks_code(monkeypatch, tmp_path):
    def keys(config):
        device = torch.device("cpu")
        return {m: deep._peer(m, config, tmp_path, device).store.key for m in config.methods}

    own = keys(CONFIG)
    more_epochs = keys(replace(CONFIG, n_epochs=9))
    assert {m for m in own if own[m] != more_epochs[m]} == {
        *("ae-kmeans", "dec", "idec", "edesc", "biglearn-ae")
    }
    other = keys(replace(CONFIG, precision="medium"))
    assert {m for m in own if own[m] != other[m]} == {
        *("ae-kmeans", "dec", "idec", "edesc", "biglearn-ae")
    }
    assert keys(replace(CONFIG, seeds=(7,), methods=("dec",)))["dec"] == own["dec"]
    with monkeypatch.context() as patch:
        few_components(patch)
        assert {m for m in own if own[m] != keys(CONFIG)[m]} == {"biglearn-pca"}
    real = Path.read_text
    for file, old, new, touched in (
        ("shallow.py", "covariance_eigh", "full", {"kmeans", "pca-gmm", "biglearn-pca"}),
        ("autoencoder.py", "bound = 1 /", "bound = 2 /",
         {"ae-kmeans", "dec", "idec", "edesc", "biglearn-ae"}),
        ("scoring.py", "clustering.clusters)", "clustering.history[-1])", set(METHODS)),
        ("metrics.py", "acc=clustering_accuracy", "acc=1 - clustering_accuracy", set(METHODS)),
        ("gmm.py", "class GMM", "class Mixture", {"biglearn-pca", "biglearn-ae"}),
    ):  # fmt: skip

        def changed(path, *, file=file, old=old, new=new, **options):
            text = real(path, **options)
            assert path.name != file or old in text
            return text.replace(old, new) if path.name == file else text

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", changed)
            assert {m for m in own if own[m] != keys(CONFIG)[m]} == touched


def test_table_and_record_keep_protocols_and_sources_apart(finished):
    _, runs = finished
    table = summary.score_table(runs)
    mine = [run for run in runs if run.method == "dec"]
    values = np.array([run.final.acc for run in mine])
    row = table.loc["DEC"]
    wanted = f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"
    assert row["final model (fair)", "ACC"] == wanted
    best = np.mean([run.best.nmi for run in mine])
    assert row["best on the way, chosen with labels", "NMI"].startswith(f"{best:.3f}")
    assert row["quoted from others", "ACC"] == f"{FASHION_PEERS['DEC'].acc:.3f}"
    assert row["quoted from others", "source"] == "DEC-keras"
    assert table.loc["N2D"]["final model (fair)", "ACC"] == ""
    assert set(table.index) >= {"ClusterGAN", "EDESC", "BigLearn-EM on AE code"}
    document = json.loads(json.dumps(summary.record(runs, CONFIG)))
    record = Record.of({**document, "versions": {}})
    final, best, steps = (
        record.find("Fashion-MNIST", *address)
        for address in (("fair", "dec", "acc"), ("paper", "dec", "acc"), ("both", "dec", "n_steps"))
    )
    assert final.by_seed == {run.seed: run.final.acc for run in mine}
    assert final.mean == pytest.approx(values.mean())
    assert best.by_seed == {run.seed: run.best.acc for run in mine}
    assert steps.by_seed == {run.seed: run.n_steps for run in mine}
    errors = [run.curves["reconstruction"] for run in mine]
    shared, edesc = document["curves"]
    assert shared["seeds"] == edesc["seeds"] == [0, 1]
    assert shared["values"] == [curve.tolist() for curve in errors]
    last = record.find("Fashion-MNIST", "both", "pretraining, shared", "final_error")
    assert last.values == tuple(curve[-1] for curve in errors)
    one_seed = [run for run in runs if run.seed == 0]
    assert "±" not in summary.score_table(one_seed).loc["DEC"]["final model (fair)", "ACC"]
    assert summary.checks(runs)[0].endswith("8/8")


def test_pixels_stand_beside_the_others(finished, tmp_path):
    _, runs = finished
    config = fashion.Config(n_images=90, n_components=3, n_iterations=1, n_local_steps=1)
    store = deep.ResultStore("fashion", config, module=fashion.__name__, root=tmp_path)
    raw = [fashion.run_seed(config, 0, synthetic(90, 784), store=store)]
    row = summary.score_table(runs, raw).loc["BigLearn-EM on pixels"]
    assert row["final model (fair)", "ACC"] == f"{raw[0].final.acc:.3f}"
    assert row["cost", "parameters"] == f"{2 + 3 * 784 + 3 * 784 * 785 // 2:,}"
    axes = plots.plot_comparison(runs, raw).axes
    assert [t.get_text() for t in axes[0].get_yticklabels()][-1] == "BigLearn-EM on pixels"


def test_figures_show_what_the_runs_hold(finished):
    _, runs = finished
    axes = plots.plot_comparison(runs).axes
    assert [axis.get_xlabel() for axis in axes] == ["ACC", "NMI", "ARI"]
    crosses = [
        line.get_xdata()[0]
        for line in axes[0].lines
        if line.get_marker() == "x" and len(line.get_xdata())
    ]
    wanted = [FASHION_PEERS[name].acc for name in ("K-means", "AE + K-means", "DEC", "IDEC")]
    assert sorted(crosses) == sorted(wanted)
    losses, changes, scores = plots.plot_training(runs).axes
    assert len(losses.lines) == 4  # two autoencoders, two seeds
    assert len(changes.lines) == 5  # DEC and IDEC, two seeds, and the stop rule
    assert len(scores.lines) == 6


@pytest.fixture
def command(monkeypatch, images):
    path = ROOT / "BL_vs_deepClustering" / "main_deep_clustering.py"
    spec = importlib.util.spec_from_file_location("main_deep_clustering", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    return module.main


def arguments(folder, *more):
    return [
        *("--data_size", "200", "--epochs", "1", "--updates", "2", "--steps", "1"),
        *("--device", "cpu", "--jobs", "1", "--out_dir", str(folder), *more),
    ]


def test_command_runs_methods_and_writes_the_record(command, tmp_path, capsys):
    record = tmp_path / "record.json"
    options = arguments(tmp_path, "--method", "ae-kmeans", "dec", "--seeds", "3", "4")
    assert command([*options, "--record", str(record)]) == 0
    printed = capsys.readouterr().out
    written = read_record(record, "deep_clustering_seeds")
    accuracies = {a.method: e for a, e in written.scores.items() if a[1::2] == ("fair", "acc")}
    assert set(accuracies) == {"ae-kmeans", "dec"}
    assert accuracies["dec"].seeds == (3, 4)
    assert re.search(rf"DEC .*{accuracies['dec'].with_std()} ", printed)
    assert written.settings["n_images"] == 200
    assert written.versions["torch"]
    assert len(list(tmp_path.glob("dec/*/seed_*.npz"))) == 2
    assert command(options) == 0  # reads what is there
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--method", "dce"], r"invalid choice: 'dce'.*edesc"),
        (["--device", "cuda:7"], r"'cuda:7' is not there; there are: cpu"),
        (["--device", "tpu"], r"'tpu' is not there"),
        (["--epochs", "0"], r"at least 1, got 0"),
        (["--epochs", "two"], r"--epochs: must be a whole number, got two"),
        (["--seeds", "-1"], r"--seeds: must be a whole number from 0 to 4294967295, got -1"),
        (["--seeds", "0", str(2**64)], r"from 0 to 4294967295, got 18446744073709551616"),
        (["--seeds", str(2**32)], r"from 0 to 4294967295, got 4294967296"),
        (["--seeds", "nan"], r"--seeds: must be a whole number, got nan"),
    ],
)
def test_command_refuses(command, tmp_path, capsys, option, message):
    with pytest.raises(SystemExit) as refused:
        command([*arguments(tmp_path), *option])
    assert refused.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: deep.Config(methods=("dce",)), r"no method 'dce'; there are: kmeans, .*edesc"),
        (lambda: replace(DEC, optimizer="lion"), r"sgd.*adam.*'lion'"),
        (lambda: deep.Config(seeds=(0, 1, 0)), r"seeds must differ .*\(0, 1, 0\)"),
        (lambda: deep.Config(methods=("dec", "dec")), r"methods must differ"),
        (lambda: deep.Config(seeds=(-1,)), r"must not be negative, got \(-1,\)"),
        (lambda: deep.Config(n_epochs=0), r"n_epochs must be at least 1, got 0"),
        (lambda: deep.Config(precision="low"), r"highest, high, medium; got 'low'"),
        (lambda: PretrainConfig(optimizer="lion"), r"sgd.*adam.*'lion'"),
        (lambda: replace(DEC, max_updates=0), r"max_updates must be at least 1, got 0"),
        (lambda: EDESCConfig(n_steps=0), r"n_steps must be at least 1, got 0"),
        (lambda: PretrainConfig(n_epochs=0), r"n_epochs must be at least 1, got 0"),
        (lambda: FeatureMixtureConfig(n_init=0), r"n_init must be at least 1, got 0"),
        (lambda: replace(DEC, max_updates=2**64), r"max_updates must be at most"),
        (lambda: replace(DEC, learning_rate=np.nan), r"learning_rate must be finite"),
        (lambda: replace(IDEC, tol=-1.0), r"tol must be finite and non-negative"),
        (lambda: PretrainConfig(momentum=np.inf), r"momentum must be finite"),
        (lambda: PretrainConfig(batch_size=0), r"batch_size must be at least 1, got 0"),
        (lambda: EDESCConfig(smoothing=np.nan), r"smoothing must be finite"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_edesc_refuses_a_code_of_another_width(small):
    X, pretrained = small
    with pytest.raises(ValueError, match=r"3 x 5 = 15 entries, this autoencoder's has 4"):
        fit_edesc(X, pretrained, K, EDESCConfig(), seed=0)


def test_published_settings():
    assert (DEC.optimizer, DEC.learning_rate, DEC.momentum) == ("sgd", 0.01, 0.9)
    assert (IDEC.optimizer, IDEC.learning_rate, IDEC.clustering_weight) == ("adam", 1e-3, 0.1)
    for config in (DEC, IDEC):
        assert (config.batch_size, config.update_interval) == (256, 140)
        assert (config.tol, config.n_init) == (1e-3, 20)
    assert PretrainConfig().hidden == (500, 500, 2000)
    assert PretrainConfig().n_code == 10
    shared = PretrainConfig()
    assert (shared.optimizer, shared.learning_rate, shared.momentum) == ("sgd", 1.0, 0.9)
    own = EDESCConfig().pretraining(10)
    assert (own.hidden, own.n_code, own.n_epochs, own.batch_size) == ((500, 500, 1000), 50, 50, 512)
    assert (own.optimizer, own.learning_rate) == ("adam", 1e-3)
    assert METHODS["edesc"].pretraining(deep.Config()).n_epochs == 50
    assert METHODS["edesc"].pretraining(deep.Config(n_epochs=3)).n_epochs == 3
    assert autoencoder.CodeKMeansConfig().n_init == 20
