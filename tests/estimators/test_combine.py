"""Merging of components against brute force and known groups."""

import itertools

import numpy as np
import pytest
from scipy.stats import entropy, norm
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from biglearn_core import BigLearnEM, CombinedComponents, combine_components


class Told:
    """A mixture of which the posterior probabilities are known."""

    def __init__(self, proba):
        self.proba = proba

    def predict_proba(self, X):
        return self.proba[X]


def told(seed, *, N=60, K=6, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(K, 0.3), N).astype(dtype), rng.uniform(0, 2, N)


def total(proba, groups, weights):
    joined = np.stack([proba[:, list(group)].sum(axis=1) for group in groups])
    return weights @ entropy(joined)


def overlap_of(proba, a, b, weights):
    """Conditional entropy of which of both, given the row, beside its entropy."""
    pair = np.stack([proba[:, list(group)].sum(axis=1) for group in (a, b)])
    together = weights * pair.sum(axis=0)
    return together @ entropy(pair) / (together.sum() * entropy(pair @ weights))


def by_brute_force(proba, weights):
    """Every step tries all pairs, each with its overlap written down anew."""
    groups = [(k,) for k in range(proba.shape[1])]
    path = [(groups, total(proba, groups, weights), None)]
    while len(groups) > 1:
        overlap, a, b = max(
            (overlap_of(proba, a, b, weights), a, b) for a, b in itertools.combinations(groups, 2)
        )
        rest = [group for group in groups if group not in (a, b)]
        groups = sorted([*rest, tuple(sorted(a + b))])
        path.append((groups, total(proba, groups, weights), overlap))
    return path


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_merging_is_that_of_brute_force(seed, weighted):
    proba, weights = told(seed)
    given = weights if weighted else None
    path = by_brute_force(proba, weights if weighted else np.ones(len(proba)))
    for n_clusters in range(1, 7):
        groups, value, overlap = path[6 - n_clusters]
        found = combine_components(Told(proba), np.arange(60), n_clusters, sample_weight=given)
        assert found.groups == tuple(groups)
        assert found.n_clusters == n_clusters
        assert found.entropies[6 - n_clusters] == pytest.approx(value, abs=1e-9)
        if n_clusters < 6:
            assert found.overlaps[5 - n_clusters] == pytest.approx(overlap, abs=1e-9)
        joined = np.stack([proba[:, list(g)].sum(axis=1) for g in groups], axis=1)
        np.testing.assert_allclose(found.proba, joined)
        np.testing.assert_array_equal(found.labels, joined.argmax(axis=1))


def test_merges_lead_to_the_groups():
    proba, _ = told(0)
    found = combine_components(Told(proba), np.arange(60), 2)
    groups = {k: {k} for k in range(6)}
    for first, second in found.merges[:4]:
        assert first < second
        groups[first] |= groups.pop(second)
    assert [set(group) for group in found.groups] == list(groups.values())
    assert repr(found).startswith("CombinedComponents(6 components in 2 clusters: [(0,")


def test_weights_are_copies_and_order_does_not_matter():
    proba, _ = told(1)
    copies = np.random.default_rng(0).integers(0, 3, len(proba))
    for choice in (None, "elbow"):
        weighted = combine_components(Told(proba), np.arange(60), choice, sample_weight=copies)
        repeated = combine_components(Told(proba), np.repeat(np.arange(60), copies), choice)
        assert weighted.groups == repeated.groups
        np.testing.assert_allclose(weighted.entropies, repeated.entropies, rtol=1e-12)
        np.testing.assert_allclose(weighted.overlaps, repeated.overlaps, rtol=1e-12)
    order = np.array([3, 1, 5, 0, 2, 4])
    permuted = combine_components(Told(proba[:, order]), np.arange(60), 3)
    plain = combine_components(Told(proba), np.arange(60), 3)
    assert {frozenset(order[list(g)].tolist()) for g in permuted.groups} == {
        frozenset(g) for g in plain.groups
    }


def test_blocks_of_rows_are_the_whole(monkeypatch):
    proba, _ = told(2)
    whole = combine_components(Told(proba), np.arange(60), 2)
    monkeypatch.setattr("biglearn_core.estimators.combine._BATCH_NUMBERS", 17)
    blocks = combine_components(Told(proba), np.arange(60), 2)
    assert blocks.groups == whole.groups
    np.testing.assert_allclose(blocks.entropies, whole.entropies)


def test_a_cluster_of_several_components_is_made_whole_again():
    rng = np.random.default_rng(0)
    bent = rng.uniform(-np.pi / 2, np.pi / 2, 500)
    moon = 6 * np.stack([np.cos(bent), np.sin(bent)], axis=1)
    ball = rng.normal([30.0, 0.0], 1.0, (300, 2))
    X = np.concatenate([moon, ball, -moon - [25.0, 0.0]])
    X += 0.3 * rng.standard_normal(X.shape)
    truth = np.repeat([0, 1, 2], [500, 300, 500])
    model = BigLearnEM(9, random_state=0).fit(X)
    assert adjusted_rand_score(truth, model.predict(X)) < 0.8
    found = combine_components(model, X, 3)
    assert adjusted_rand_score(truth, found.labels) == 1
    assert found.entropies[-3] < 1e-3 * len(X)
    elbow = combine_components(model, X, "elbow")
    assert adjusted_rand_score(truth, elbow.labels) > adjusted_rand_score(truth, model.predict(X))
    assert combine_components(model, X, 9).labels.tolist() == model.predict(X).tolist()


def proba_of_path(gains):
    """Pairs of components that overlap each on rows of their own, so that each gain is known."""
    K = len(gains) + 1
    rows = [np.eye(K)[np.arange(K)].repeat(50, axis=0)]
    for k, n in enumerate(gains):
        row = np.zeros(K)
        row[[0, k + 1]] = 0.5
        rows.append(np.tile(row, (n, 1)))
    return np.concatenate(rows)


def test_the_elbow_of_a_path_with_one():
    proba = proba_of_path([2, 2, 2, 100, 100, 100])
    found = combine_components(Told(proba), np.arange(len(proba)), "elbow")
    assert found.n_clusters == 4
    assert found.groups[0] == (0, 4, 5, 6)


@pytest.mark.parametrize(("distance", "overlap"), [(2, 0.51), (3, 0.24), (4, 0.09), (5, 0.02)])
def test_overlap_of_two_gaussians_by_numerical_integration(distance, overlap):
    x = np.linspace(-15, 15, 30001)
    both = np.stack([norm.pdf(x, mean) for mean in (-distance / 2, distance / 2)], axis=1)
    proba = both / both.sum(axis=1, keepdims=True)
    weights = both.sum(axis=1)
    found = combine_components(Told(proba), np.arange(len(x)), sample_weight=weights)
    assert found.overlaps[0] == pytest.approx(overlap, abs=0.005)
    assert found.n_clusters == (1 if overlap >= 0.1 else 2)
    least = found.overlaps[0]
    for least_overlap, n_clusters in ((least, 1), (least + 1e-6, 2), (0, 1), (1, 2)):
        again = combine_components(
            Told(proba), np.arange(len(x)), least_overlap=least_overlap, sample_weight=weights
        )
        assert again.n_clusters == n_clusters


def test_a_small_cluster_that_is_another_one_counts_as_much_as_large_ones():
    """By what merging takes from the entropy alone, the large ones come first, barely touching."""
    twins = np.tile([0.5, 0.5, 0, 0], (20, 1))
    apart, blurred = np.repeat(np.eye(4)[2:], 5000, axis=0), np.tile([0, 0, 0.5, 0.5], (500, 1))
    proba = np.concatenate([twins, apart, blurred])
    found = combine_components(Told(proba), np.arange(len(proba)))
    assert found.groups == ((0, 1), (2,), (3,))
    np.testing.assert_allclose(found.overlaps, [1, 500 / 10500, 0], atol=1e-12)


def test_components_without_rows_are_apart():
    proba = np.concatenate([np.eye(2).repeat(10, axis=0), np.zeros((20, 2))], axis=1)
    found = combine_components(Told(proba), np.arange(20))
    assert found.n_clusters == 4
    np.testing.assert_array_equal(found.overlaps, 0)


@pytest.mark.parametrize(
    ("proba", "n_clusters"),
    [
        (np.ones((5, 1)), 1),
        (np.full((5, 2), 0.5), 2),
        (np.eye(6).repeat(20, axis=0), 6),
        (0.99998 * np.eye(6).repeat(20, axis=0) + 0.00002 / 6, 6),
    ],
)
def test_all_components_stay_where_there_is_no_elbow(proba, n_clusters):
    found = combine_components(Told(proba), np.arange(len(proba)), "elbow")
    assert found.n_clusters == n_clusters
    assert found.entropies.shape == (n_clusters,)
    assert found.entropies[-1] == 0


def test_single_precision_and_gaps_and_other_mixtures():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 2)) + np.repeat([[0, 0], [2, 0], [30, 0], [30, 2]], 100, axis=0)
    model = BigLearnEM(4, random_state=0).fit(X.astype(np.float32))
    found = combine_components(model, X.astype(np.float32), 2)
    assert found.proba.dtype == np.float64
    np.testing.assert_allclose(found.proba.sum(axis=1), 1, rtol=1e-12)
    truth = np.repeat([0, 1], 200)
    assert adjusted_rand_score(truth, found.labels) == 1
    theirs = combine_components(GaussianMixture(4, random_state=0, n_init=5).fit(X), X, 2)
    assert adjusted_rand_score(truth, theirs.labels) == 1
    X[rng.random(400) < 0.1, 1] = np.nan
    gaps = combine_components(BigLearnEM(4, random_state=0).fit(X), X, 2)
    assert adjusted_rand_score(truth, gaps.labels) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_clusters": 0}, "n_clusters must be at least 1"),
        ({"n_clusters": 7}, "n_clusters must be at most 6"),
        ({"n_clusters": 2.0}, "n_clusters must be an integer"),
        ({"n_clusters": "knee"}, "must be an integer or 'elbow', got 'knee'"),
        ({"least_overlap": 1.5}, "least_overlap must be .* at most 1, got 1.5"),
        ({"least_overlap": np.nan}, "least_overlap"),
        ({"sample_weight": np.ones(3)}, "sample_weight"),
        ({"sample_weight": -np.ones(60)}, "non-negative"),
    ],
)
def test_what_makes_no_clusters_is_refused(options, text):
    proba, _ = told(0)
    with pytest.raises((TypeError, ValueError), match=text):
        combine_components(Told(proba), np.arange(60), **options)
    with pytest.raises(NotFittedError):
        combine_components(BigLearnEM(2), np.zeros((5, 2)))


def test_what_was_combined_is_frozen():
    found = combine_components(Told(told(0)[0]), np.arange(60))
    assert isinstance(found, CombinedComponents)
    with pytest.raises(AttributeError):
        found.labels = None
    for array in (found.labels, found.proba, found.entropies, found.merges, found.overlaps):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
