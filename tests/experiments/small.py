"""Settings that run an experiment in a second, and what makes two of its runs the same."""

import dataclasses

import numpy as np

from biglearn_core.experiments.gmm25 import run as gmm25
from biglearn_core.experiments.principle import run as principle
from biglearn_core.experiments.realworld import run as realworld
from tests.helpers import assert_same_model

GMM25 = gmm25.Config(
    seeds=(1, 2), n_train=150, n_test=200, joint_iterations=6, biglearn_iterations=8, n_snapshots=4
)
REALWORLD = realworld.Config(
    dataset="glass",
    seeds=(0, 1),
    biglearn_iterations=12,
    joint_iterations=15,
    evaluate_every=4,
    peer_inits=1,
    peer_iterations=20,
)
PRINCIPLE = principle.Config(
    seeds=(1, 2),
    plans=("joint only", "big learning, dwell 20"),
    tried=("dwell 100",),
    scale=0.0004,
    n_frames=2,
)
OURS = ("BigLearn-EM", "Joint-EM")


def same_gmm25(a, b):
    for left, right in zip(a, b, strict=True):
        assert (left.seed, left.optimum_kl) == (right.seed, right.optimum_kl)
        for method in gmm25.METHODS:
            one, other = left.methods[method], right.methods[method]
            np.testing.assert_array_equal(one.kl, other.kl)
            assert_same_model(one.final, other.final, rtol=0, atol=0)
            assert_same_model(one.fair, other.fair, rtol=0, atol=0)


def same_realworld(a, b):
    assert [(r.method, r.seed) for r in a] == [(r.method, r.seed) for r in b]
    for left, right in zip(a, b, strict=True):
        assert (left.train, left.test, left.n_iter) == (right.train, right.test, right.n_iter)
        np.testing.assert_array_equal(left.curve, right.curve)
        assert_same_model(left.model, right.model, rtol=0, atol=0)


def same_principle(a, b):
    """Compare landscapes, descents and explorations, one by one; times do not count."""
    for left, right in zip(a, b, strict=True):
        assert type(left) is type(right)
        for name, value in dataclasses.asdict(left).items():
            if name != "seconds":
                np.testing.assert_array_equal(value, getattr(right, name))
