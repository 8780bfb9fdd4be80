"""Whatever a pass does to a block can be sent to another process, and so can what it finds."""

import pickle

import numpy as np
import pytest
import torch

from biglearn_core import BigLearnEM, JointEM, MixtureSelection, fit_joint_em
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.structures import COVARIANCE_TYPES
from biglearn_core.rows.arrays import ArrayRows
from tests.rows.small import clusters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class SentRows(ArrayRows):
    """Rows of which every pass goes through pickle, as to a process and back."""

    def __init__(self, X):
        super().__init__(X)
        self.sent = b""

    def fold(self, function, combine, *, progress=None):
        sent = pickle.dumps((function, combine))
        self.sent += sent
        result = super().fold(*pickle.loads(sent), progress=progress)
        return pickle.loads(pickle.dumps(result))


@pytest.fixture(autouse=True)
def _passes(monkeypatch):
    monkeypatch.setattr("biglearn_core.estimators.given.HELD_NUMBERS", 100)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_of_every_type(covariance_type):
    X = np.concatenate([clusters(), clusters(100)[:1].repeat(100, axis=0)])  # one row is heavy
    model = JointEM(3, covariance_type=covariance_type, max_iter=2, random_state=0)
    source = SentRows(X)
    expected = model.fit(ArrayRows(X)).mixture_
    found = model.fit(source).mixture_
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    diagonal = covariance_type in ("diag", "spherical", "EII", "EEI", "VEI", "EVI")
    assert (b"DiagonalDensity" if diagonal else b"QuadraticDensity") in source.sent


@pytest.mark.parametrize("form", ["WhitenedDensity", "LowRankDensity"])
def test_training_loops_of_other_forms(form):
    rng = np.random.default_rng(0)
    if form == "LowRankDensity":
        X = rng.standard_normal((300, 130)) * np.geomspace(2, 1e-2, 130)
    else:
        X = rng.standard_normal((300, 3)) + 1e9 * rng.integers(2, size=(300, 1)) * [1, 0, 0]
    start = kmeans_plusplus_start(torch.from_numpy(X), 2, seed=0)
    source = SentRows(X)
    expected, found = (
        fit_joint_em(rows, start, n_iter=3, covariance_floor=1e-2).model
        for rows in (ArrayRows(X), source)
    )
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert form.encode() in source.sent


def test_rows_with_gaps():
    X = clusters()
    X[X > 8] = np.nan
    model = BigLearnEM(3, random_state=0)
    expected = model.fit(ArrayRows(X)).lower_bound_
    source = SentRows(X)
    assert model.fit(source).lower_bound_ == expected
    assert b"_incomplete_sums" in source.sent


@pytest.mark.parametrize("criterion", ["bic", "icl"])
def test_criteria(criterion):
    model = MixtureSelection(
        covariance_type="full", max_components=2, criterion=criterion, max_iter=2, random_state=0
    )
    expected = model.fit(ArrayRows(clusters())).criterion_
    source = SentRows(clusters())
    assert model.fit(source).criterion_ == expected
    assert b"_sums_of_block" in source.sent
