"""Insertions against likelihoods and moments written down by hand."""

import numpy as np
import pytest
import torch

from biglearn_core.gmm import GMM
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.insert import Sample, Starts, View, grow, moments_of, neighbourhoods
from tests.helpers import TOLERANCE, random_points
from tests.search.small import clusters, mixture_of, naive_mean, near


def with_one_more(model, insertions, c):
    a = insertions.weights[c]
    return GMM.unchecked(
        torch.cat([(1 - a) * model.weights, a[None]]),
        torch.cat([model.means, insertions.means[c, None]]),
        torch.cat([model.covariances, insertions.covariances[c, None]]),
    )


def weights_of(n, seed=0, dtype=torch.float64):
    return torch.tensor(np.random.default_rng(seed).uniform(0.1, 3, n), dtype=dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gain_is_the_rise_of_the_likelihood(dtype, weighted):
    X = random_points(0, N=300, dtype=dtype)
    sample = Sample(X, weights_of(300, dtype=dtype) if weighted else None, 1000)
    views = [View.of(sample, near(X, seed)) for seed in range(2)]
    rng = np.random.default_rng(0)
    starts = [neighbourhoods(sample, view, n, rng) for view, n in zip(views, (9, 6), strict=True)]
    grown = grow(sample, views, starts, constraint=Constraint(1e-3), n_steps=6)
    for view, insertions, n in zip(views, grown, (9, 6), strict=True):
        before = naive_mean(X, view.model, sample.shares.numpy())
        finite = insertions.gains.isfinite().nonzero().squeeze(1).tolist()
        assert len(insertions.gains) == n
        assert len(finite) > n // 2
        for c in finite:
            after = naive_mean(X, with_one_more(view.model, insertions, c), sample.shares.numpy())
            assert insertions.gains[c].item() == pytest.approx(after - before, abs=TOLERANCE[dtype])


def test_growing_raises_the_gain():
    X = random_points(1, N=300)
    sample = Sample(X, weights_of(300), 1000)
    view = View.of(sample, near(X, 1))
    starts = neighbourhoods(sample, view, 16, np.random.default_rng(0))
    gains = torch.stack(
        [
            grow(sample, [view], [starts], constraint=Constraint(1e-9), n_steps=n)[0].gains
            for n in (1, 2, 3, 6, 12)
        ]
    )
    gains = gains[:, gains.isfinite().all(dim=0)]
    assert gains.shape[1] > 8
    assert gains.diff(dim=0).min() > -1e-9
    assert (gains[-1] - gains[0]).min() > 1e-3


@pytest.mark.parametrize("batch", [4_000_000, 1000])
def test_batches_change_nothing(monkeypatch, batch):
    X = random_points(2, N=100)
    sample = Sample(X, None, 1000)
    view = View.of(sample, near(X, 2))
    starts = neighbourhoods(sample, view, 12, np.random.default_rng(0))
    monkeypatch.setattr("biglearn_core.search.insert._BATCH_NUMBERS", batch)
    grown = grow(sample, [view], [starts], constraint=Constraint(1e-6), n_steps=3)[0]
    for c in range(12):
        one = Starts(starts.members[c, None], starts.owners[c, None])
        alone = grow(sample, [view], [one], constraint=Constraint(1e-6), n_steps=3)[0]
        torch.testing.assert_close(alone.gains, grown.gains[c, None])
        torch.testing.assert_close(alone.means, grown.means[c, None])


@pytest.mark.parametrize("D", [1, 3])
def test_moments_are_the_weighted_ones(D):
    X, w = random_points(3, N=80, D=D) + 50, weights_of(80)
    members = torch.from_numpy(np.random.default_rng(1).uniform(0, 1, (4, 80)))
    found = moments_of(Sample(X, w, 100), members, torch.arange(4), constraint=Constraint(1e-9))
    for c in range(4):
        mass = (members[c] * w).numpy()
        assert found.weights[c].item() == pytest.approx(mass.sum() / w.sum().item())
        np.testing.assert_allclose(found.means[c], np.average(X, axis=0, weights=mass))
        expected = np.cov(X.numpy().T, aweights=mass, ddof=0).reshape(D, D)
        np.testing.assert_allclose(found.covariances[c], expected, atol=1e-9)
    assert found.owners.tolist() == [0, 1, 2, 3]
    assert not found.floored.any()
    low = X.clone()
    low[:, 0] = 0
    found = moments_of(Sample(low, w, 100), members, torch.arange(4), constraint=Constraint(0.01))
    assert found.floored.all()
    assert torch.linalg.eigvalsh(found.covariances)[:, 0].numpy() == pytest.approx(0.01)


def test_weights_act_as_copies():
    X = random_points(4, N=90)
    model = near(X, 4)
    w = torch.from_numpy(np.random.default_rng(0).integers(1, 4, 90))
    sample, copies = Sample(X, w.double(), 1000), Sample(X.repeat_interleave(w, dim=0), None, 1000)
    view = View.of(sample, model)
    starts = neighbourhoods(sample, view, 10, np.random.default_rng(0))
    repeated = Starts(starts.members.repeat_interleave(w, dim=1), starts.owners)
    options = {"constraint": Constraint(1e-6), "n_steps": 4}
    one = grow(sample, [view], [starts], **options)[0]
    other = grow(copies, [View.of(copies, model)], [repeated], **options)[0]
    finite = one.gains.isfinite() & other.gains.isfinite()
    assert finite.sum() > 5
    for name in ("gains", "weights", "means", "covariances"):
        ours, theirs = getattr(one, name)[finite], getattr(other, name)[finite]
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("centre", [(0.0, 6.0), (0.3, 0.1)])
@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_that_is_missed_is_found(seed, centre):
    held = clusters([(0, 0), (9, 0)], 300, 1.0, seed)
    missed = clusters([centre], 60, 0.1, seed + 10)
    X = torch.cat([held, missed])
    sample = Sample(X, None, 10_000)
    view = View.of(sample, mixture_of(held, torch.arange(2).repeat_interleave(300)))
    starts = neighbourhoods(sample, view, 24, np.random.default_rng(seed))
    grown = grow(sample, [view], [starts], constraint=Constraint(1e-4), n_steps=10)[0]
    best = grown.gains.argmax()
    torch.testing.assert_close(grown.means[best], missed.mean(dim=0), atol=0.1, rtol=0)
    assert grown.weights[best].item() == pytest.approx(60 / 660, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_few_rows_of_many_that_lie_too_densely_are_found(seed):
    held, dense = clusters([(0, 0)], 6000, 1.0, seed), clusters([(0.3, -0.2)], 40, 0.03, seed + 10)
    X = torch.cat([dense, held])
    sample = Sample(X, None, 10_000)
    view = View.of(sample, mixture_of(held, torch.zeros(6000, dtype=torch.long)))
    starts = neighbourhoods(sample, view, 24, np.random.default_rng(seed))
    grown = grow(sample, [view], [starts], constraint=Constraint(1e-6), n_steps=10)[0]
    best = grown.gains.argmax()
    torch.testing.assert_close(grown.means[best], dense.mean(dim=0), atol=0.02, rtol=0)


@pytest.mark.parametrize(("D", "n", "dtype"), [(16, 100, torch.float32), (64, 400, torch.float64)])
def test_a_tight_cluster_in_many_dimensions_has_a_gain(D, n, dtype):
    X = torch.cat(
        [clusters(np.zeros((1, D)), 900, 1.0, 0), clusters(4 * np.eye(D)[:1], n, 0.3, 1)]
    ).to(dtype)
    sample = Sample(X, None, 10_000)
    view = View.of(sample, mixture_of(X, torch.zeros(len(X))))
    members = (torch.arange(len(X)) >= 900).to(dtype)[None]
    starts = Starts(members, torch.zeros(1, dtype=torch.long))
    grown = grow(sample, [view], [starts], constraint=Constraint(1e-4), n_steps=4)[0]
    rise = naive_mean(X, with_one_more(view.model, grown, 0)) - naive_mean(X, view.model)
    assert rise > 1
    assert grown.gains.item() == pytest.approx(rise, rel=1e-4)


def test_neighbourhoods_hold_rows_of_their_owner():
    X = clusters([(0, 0), (20, 0), (0, 20)], 100, 0.5, 0)
    sample = Sample(X, None, 1000)
    view = View.of(sample, mixture_of(X, torch.arange(3).repeat_interleave(100)))
    starts = neighbourhoods(sample, view, 40, np.random.default_rng(0))
    sizes = starts.members.sum(dim=1)
    assert sizes.min() >= 6
    assert sizes.max() <= 100
    labels = torch.arange(3).repeat_interleave(100)
    for members, owner in zip(starts.members, starts.owners, strict=True):
        assert set(labels[members.bool()].tolist()) == {owner.item()}


def test_a_sample_is_thinned_evenly_and_drawn_by_weight():
    X = torch.arange(1000.0)[:, None]
    w = (torch.arange(1000) % 14 == 0).float()
    sample = Sample(X, w, 150)
    assert sample.X.squeeze(1).tolist() == list(range(0, 1000, 7))
    torch.testing.assert_close(sample.shares.sum(), torch.tensor(1.0))
    drawn = sample.draw(500, np.random.default_rng(0))
    assert (drawn % 2 == 0).all()
    assert len(drawn.unique()) > 60
