"""What the fuzz tests share: how many cases, which estimators, what holds of every fit.

The cases are the same in every run. For more of them, and others each time,

    BIGLEARN_FUZZ=20 pytest tests/fuzz

runs twenty times as many from fresh seeds; hypothesis prints how to repeat one that fails.
"""

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from biglearn_core import GMM, BigLearnEM, JointEM

MORE = int(os.environ.get("BIGLEARN_FUZZ", "1"))


def cases(n):
    return settings(
        max_examples=n * MORE,
        derandomize=MORE == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def of_table(kind, n_components, seed):
    if kind == "default":
        return BigLearnEM(n_components, max_iter=20, tol=1e-3, random_state=seed)
    if kind == "paper":
        return BigLearnEM(n_components, preset="paper", max_iter=3, random_state=seed)
    init = ("kmeans", "k-means++", "random")[seed % 3]
    return JointEM(n_components, init=init, max_iter=50, random_state=seed)


def must_fit(model, table, sample_weight):
    """Whether there is no reason to refuse the table, by what the README promises."""
    X = table.plain()
    if sample_weight is not None:
        X = X[sample_weight / sample_weight.max() > np.finfo(X.dtype).tiny]
    incomplete = np.isnan(table.plain()).any()
    if len(table.values) < model.n_components or np.isnan(X).all(axis=0).any():
        return False
    if incomplete and (isinstance(model, JointEM) or model.preset == "paper"):
        return False
    sizes = np.abs(X[np.isfinite(X) & (X != 0)])
    edge = 1e6 if model.preset == "paper" else 1e12 if X.dtype == np.float32 else 1e100
    if model.preset == "default" and any(_spans(column) >= _SPANS[X.dtype] for column in X.T):
        return False
    return len(sizes) == 0 or (sizes.max() < edge and sizes.min() > 1 / edge)


# A row farther away than so many scales is refused: its square would leave the dtype.
_SPANS = {np.dtype(np.float32): 1e14, np.dtype(np.float64): 1e140}


def _spans(column):
    """Width of a feature in units of its least step, which its scale is at least."""
    values = np.unique(column[~np.isnan(column)]).astype(np.float64)
    with np.errstate(over="ignore"):  # a width of more steps than float64 holds
        return np.ptp(values) / np.diff(values).min() if len(values) > 1 else 0.0


def assert_law(model, table):
    K, D = model.n_components, table.values.shape[1]
    law = model.mixture_
    for array, shape in (
        (model.weights_, (K,)),
        (model.means_, (K, D)),
        (model.covariances_, (K, D, D)),
    ):
        assert array.shape == shape
        assert array.dtype == table.dtype
        assert np.isfinite(array).all()
    GMM(law.weights, law.means, law.covariances)
    assert np.isfinite(model.lower_bound_)
    again = GMM.from_arrays(law.arrays())
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(again, name), getattr(law, name))


def assert_numbers(model, table, X, sample_weight):
    score = model.score(X, sample_weight=sample_weight)
    scores = model.score_samples(X)
    if not np.isfinite(scores if sample_weight is None else scores[sample_weight > 0]).all():
        return
    tolerance = 1e-2 if table.dtype == np.float32 else 1e-6
    assert score == pytest.approx(model.lower_bound_, rel=tolerance, abs=tolerance)
    assert np.isfinite(model.aic(X)) == np.isfinite(scores).all()
    assert np.isfinite(model.bic(X)) == np.isfinite(scores).all()
    if sample_weight is not None and sample_weight.max() < 1e100:
        assert np.isfinite(model.aic(X, sample_weight=sample_weight))
        assert np.isfinite(model.bic(X, sample_weight=sample_weight))
