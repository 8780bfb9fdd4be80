import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from biglearn_gan.data import Data, load_data
from biglearn_gan.measures import load_classifier, measure_images
from biglearn_gan.measures.classifier import NetworkClassifier
from biglearn_gan.measures.completions import score_completions
from biglearn_gan.measures.frechet import PrincipalComponents, frechet_distance
from biglearn_gan.measures.neighbours import (
    nearest_distances,
    precision_and_recall,
    two_sample_accuracy,
)
from biglearn_gan.measures.network import NetworkConfig, load_network, train_network
from biglearn_gan.measures.questions import HALVES, SHARES, image_questions
from biglearn_gan.rivals import IgnoreObserved, MeanFill, NearestFill
from tests.helpers import random_gmm

FEW = {"n_generated": 360, "n_completed": 40, "n_draws": 2, "n_masks": 5}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


@pytest.fixture(scope="module")
def classifier(digits):
    return load_classifier(digits)


def of_patches(side, patch):
    row, column = np.divmod(np.arange(side * side), side)
    groups = torch.from_numpy(row // patch * (side // patch) + column // patch)
    blank = torch.zeros(2, side * side)
    return Data("blank", blank, blank, groups, side)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", [5, 2])
def test_frechet_distance_is_that_of_the_matrix_root(seed, rank):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((40, rank)) @ rng.standard_normal((rank, 5))
    B = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 5)) + 1
    covariances = np.cov(A.T), np.cov(B.T)
    root = sqrtm(covariances[0] @ covariances[1] + (1e-12 * np.eye(5) if rank < 5 else 0))
    gap = ((A.mean(0) - B.mean(0)) ** 2).sum()
    expected = gap + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert frechet_distance(A, B) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(B, A) == pytest.approx(frechet_distance(A, B), rel=1e-6)
    assert frechet_distance(A, A) == pytest.approx(0, abs=1e-7)


def test_principal_components_are_those_of_the_singular_values():
    X = np.random.default_rng(0).standard_normal((30, 6)) * np.arange(1, 7)
    _, values, directions = np.linalg.svd(X - X.mean(0))
    projected = PrincipalComponents(X.astype(np.float32), 3)(X)
    expected = (X - X.mean(0)) @ directions[:3].T
    np.testing.assert_allclose(np.abs(projected), np.abs(expected), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((projected**2).sum(0), values[:3] ** 2, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    real, drawn = rng.standard_normal((30, 2)), 1 + 0.7 * rng.standard_normal((30, 2))

    def in_support(points, sample, k=3):
        radii = [sorted(np.linalg.norm(sample - s, axis=1))[k] for s in sample]
        return np.mean([
            any(np.linalg.norm(p - s) <= r for s, r in zip(sample, radii, strict=True))
            for p in points
        ])  # fmt: skip

    found = precision_and_recall(torch.tensor(real), torch.tensor(drawn), k=3)
    assert found == pytest.approx((in_support(drawn, real), in_support(real, drawn)))
    assert 0.2 < found[1] < 1


@pytest.mark.parametrize("seed", range(3))
def test_two_sample_accuracy_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((25, 3)), 0.5 + rng.standard_normal((25, 3))
    pooled, label = np.concatenate([A, B]), np.repeat([0, 1], 25)
    hits = 0
    for i, j_label in enumerate(label):
        distances = np.linalg.norm(pooled - pooled[i], axis=1)
        distances[i] = np.inf
        hits += label[distances.argmin()] == j_label
    assert two_sample_accuracy(torch.tensor(A), torch.tensor(B)) == pytest.approx(hits / 50)


def test_two_samples_of_one_law_are_not_told_apart():
    A, B = torch.randn(2, 1000, 4, generator=seeded(0))
    assert two_sample_accuracy(A, B) == pytest.approx(0.5, abs=0.05)
    assert two_sample_accuracy(A, A + 100) == 1
    assert precision_and_recall(A, A + 100) == (0, 0)


def test_samples_of_two_sizes_are_refused():
    for measure in (precision_and_recall, two_sample_accuracy):
        with pytest.raises(ValueError, match="one shape"):
            measure(torch.zeros(9, 2), torch.zeros(8, 2))


def test_nearest_distances_by_brute_force_and_of_copies():
    among = 100 + torch.randn(700, 5, generator=seeded(0))
    X = torch.cat([among[:3], 100 + torch.randn(600, 5, generator=seeded(1))])
    found = nearest_distances(X, among)
    assert bool((found[:3] == 0).all())
    expected = np.linalg.norm(X.numpy()[:, None] - among.numpy(), axis=2).min(1)
    np.testing.assert_allclose(found[3:], expected[3:], rtol=0.02)


@pytest.mark.parametrize(("side", "patch", "half"), [(8, 2, 4), (28, 4, 12)])
def test_halves_are_whole_units_on_one_side(side, patch, half):
    data = of_patches(side, patch)
    rng = np.random.default_rng(0)
    questions = image_questions(data, 2, n_masks=2, rng=rng)
    row, column = np.divmod(np.arange(side * side), side)
    expected = {
        "top": row < half, "bottom": row >= side - half,
        "left": column < half, "right": column >= side - half,
    }  # fmt: skip
    for name in HALVES:
        assert np.array_equal(questions[name], np.tile(expected[name], (2, 1)))


@pytest.mark.parametrize(
    ("side", "patch", "counts"), [(8, 2, (12, 8, 4, 2)), (28, 4, (37, 24, 12, 6))]
)
def test_random_masks_observe_a_share_of_whole_units(side, patch, counts):
    data = of_patches(side, patch)
    first, again, other = (
        image_questions(data, 30, n_masks=10, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    for name, count in zip(SHARES, counts, strict=True):
        masks = first[name]
        of_units = torch.zeros(30, data.n_groups).index_add_(1, data.groups, masks.float())
        assert set(of_units.unique().tolist()) == {0, patch**2}
        assert bool((of_units.sum(1) == count * patch**2).all())
        assert len(masks.unique(dim=0)) == 10
        assert torch.equal(masks, again[name])
        assert not torch.equal(masks, other[name])


class ByBrightness:
    """Classifies by the rounded mean."""

    def labels(self, X):
        return X.mean(1).round().long()

    def features(self, X):
        return X[:, :2].double()


def test_completions_by_hand():
    images = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    observed = torch.tensor([[True, False], [True, False]])
    draws = torch.tensor([[[1.0, 3.0], [2.0, 2.0]],
                          [[1.0, 1.2], [2.0, 6.0]],
                          [[1.0, 0.6], [2.0, 4.0]]])  # fmt: skip
    scores = score_completions(draws, images, torch.tensor([1, 2]), observed, ByBrightness())
    assert scores.accuracy == 0.5  # 2 and 2
    assert scores.vote == 1  # of 2, 1, 1 and of 2, 4, 3: the lowest of a tie
    assert scores.rmse == pytest.approx(np.sqrt(4 / 2))
    assert scores.rmse_of_mean == pytest.approx(np.sqrt((0.6**2 + 2**2) / 2))
    variances = [np.var([3, 1.2, 0.6], ddof=1), np.var([2, 6, 4], ddof=1)]
    assert scores.spread == pytest.approx(np.sqrt(np.mean(variances)))


def test_training_rows_are_the_reference_of_the_joint(digits, classifier):
    scores = measure_images(NearestFill(digits.train), digits, seed=0, classifier=classifier, **FEW)
    assert scores.nearest == 0
    assert scores.nearest_of_test == pytest.approx(2.143, abs=1e-3)
    assert scores.two_sample == pytest.approx(0.5, abs=0.08)
    assert min(scores.precision, scores.recall) > 0.9
    assert scores.class_tv < 0.1
    for question in scores.completions.values():
        assert question.spread == 0
        assert question.accuracy == question.vote
        assert question.rmse == pytest.approx(question.rmse_of_mean)


def test_more_observed_is_completed_better(digits, classifier):
    scores = measure_images(
        NearestFill(digits.train, k=10), digits, seed=0, classifier=classifier, **FEW
    )
    accuracies = [scores.completions[name].accuracy for name in SHARES]
    assert accuracies == sorted(accuracies, reverse=True)
    errors = [scores.completions[name].rmse for name in SHARES]
    assert errors == sorted(errors)


def test_one_image_for_all_has_no_recall(digits, classifier):
    mean = measure_images(MeanFill(digits.train), digits, seed=0, classifier=classifier, **FEW)
    rows = measure_images(NearestFill(digits.train), digits, seed=0, classifier=classifier, **FEW)
    assert mean.recall == 0
    assert mean.two_sample == 1
    assert mean.class_tv > 0.8
    for name in ("frechet_pca", "frechet_features"):
        assert getattr(mean, name) > 20 * getattr(rows, name)


def test_every_sampler_is_asked_the_same_questions(digits, classifier):
    class Recording:
        def __init__(self, sampler):
            self.sampler, self.asked = sampler, []

        def sample(self, x, observed, n, *, generator=None):
            self.asked.append((x.clone(), observed.clone(), n))
            return self.sampler.sample(x, observed, n, generator=generator)

    samplers = [
        Recording(sampler)
        for sampler in (MeanFill(digits.train), IgnoreObserved(NearestFill(digits.train)))
    ]
    for sampler in samplers:
        measure_images(sampler, digits, seed=4, classifier=classifier, **FEW)
    first, second = (sampler.asked for sampler in samplers)
    assert len(first) == len(second) == 9
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
        assert a[2] == b[2]


def test_a_summary_is_flat_and_repeats_itself(digits, classifier):
    sampler = NearestFill(digits.train)
    summaries = [
        measure_images(sampler, digits, seed=seed, classifier=classifier, **FEW).summary()
        for seed in (1, 1, 2)
    ]
    assert summaries[0] == summaries[1] != summaries[2]
    assert all(type(value) is float for value in summaries[0].values())
    questions = (*HALVES, *SHARES)
    measures = ("accuracy", "vote", "rmse", "rmse_of_mean", "spread")
    assert set(summaries[0]) == {
        "frechet_pca", "frechet_features", "precision", "recall", "two_sample", "nearest",
        "nearest_of_test", "class_tv",
        *(f"{measure}_{question}" for measure, question in itertools.product(measures, questions)),
    }  # fmt: skip


def test_what_cannot_be_measured_is_refused(digits, classifier):
    sampler = MeanFill(digits.train)
    with pytest.raises(ValueError, match="n_draws must be at least 2"):
        measure_images(sampler, digits, seed=0, classifier=classifier, n_draws=1)
    ring = load_data("ring8")
    with pytest.raises(ValueError, match="no labelled images"):
        measure_images(MeanFill(ring.train), ring, seed=0)
    sampler.sample = lambda x, observed, n, **_: torch.full((n, *x.shape), torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        measure_images(sampler, digits, seed=0, classifier=classifier, **FEW)


def test_the_machine_reads_digits(digits, classifier):
    accuracy = (classifier.labels(digits.test) == digits.test_labels).double().mean()
    assert accuracy > 0.985
    assert classifier.features(digits.test).shape == (360, 45)


def two_kinds(n=400, side=8):
    """Bars that lie or stand, in noise."""
    X = 0.3 * torch.randn(n, side, side, generator=seeded(0))
    labels = torch.arange(n) % 2
    X[labels == 0, side // 2] += 1
    X[labels == 1, :, side // 2] += 1
    return X.flatten(1), labels


def test_a_network_learns_and_is_the_same_every_time():
    X, labels = two_kinds()
    config = NetworkConfig(channels=(4, 8), n_hidden=16, batch_size=32)
    networks = [train_network(X[:300], labels[:300], 8, config) for _ in range(2)]
    assert (networks[0](X[300:]).argmax(1) == labels[300:]).double().mean() > 0.95
    for a, b in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(a, b)
    other = train_network(X[:300], labels[:300], 8, dataclasses.replace(config, seed=1))
    assert not torch.equal(other.last.weight, networks[0].last.weight)


def test_a_network_is_trained_once_and_kept(tmp_path, monkeypatch):
    X, labels = two_kinds()
    config = NetworkConfig(channels=(4, 8), n_hidden=16, n_epochs=1)
    first = load_network(X, labels, 8, config=config, root=tmp_path)
    monkeypatch.setattr("biglearn_gan.measures.network.train_network", None)
    again = load_network(X, labels, 8, config=config, root=tmp_path)
    assert torch.equal(first(X), again(X))
    with pytest.raises(TypeError):  # other images have another network
        load_network(X + 1, labels, 8, config=config, root=tmp_path)


def test_many_images_have_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr("biglearn_gan.measures.classifier._MOST_ROWS_OF_A_MACHINE", 100)
    X, labels = two_kinds()
    data = Data("bars", X, X[:50], torch.arange(64), 8, labels, labels[:50])
    classifier = load_classifier(data, root=tmp_path)
    assert isinstance(classifier, NetworkClassifier)
    features = classifier.features(X)
    assert features.shape == (400, 64)
    assert features.dtype == torch.float64
    # In pieces as at once.
    monkeypatch.setattr("biglearn_gan.measures.classifier._CHUNK", 7)
    torch.testing.assert_close(classifier.features(X), features, rtol=1e-4, atol=1e-5)


def test_a_mixture_is_measured_as_images(digits, classifier):
    from biglearn_gan.rivals import MixtureSampler

    sampler = MixtureSampler(random_gmm(0, K=2, D=64), clip=(-1, 1))
    scores = measure_images(sampler, digits, seed=0, classifier=classifier, **FEW)
    assert scores.two_sample > 0.9
    assert all(question.spread > 0 for question in scores.completions.values())
