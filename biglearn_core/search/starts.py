"""Starts of a search: many at once by k-means++, and one grown from a single Gaussian."""

from __future__ import annotations

import numpy as np
import torch

from biglearn_core.gmm import GMM
from biglearn_core.search.climb import Step, race
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.insert import Sample, View, moments_of, with_parts
from biglearn_core.search.pursuit import divide

__all__ = ["grown_start", "plusplus_starts"]

# EM steps after every division of a start that grows.
_STEPS = 3

# Least variance of a cell, as a share of the mean variance within all cells.
_LEAST_SHARE = 1e-3


def plusplus_starts(
    sample: Sample, n_components: int, n: int, *, constraint: Constraint, rng: np.random.Generator
) -> list[GMM]:
    """Draw rows by k-means++ for several starts at once, and take the cells around them.

    Parameters
    ----------
    sample : Sample
    n_components : int
        K.
    n : int
        Starts.
    constraint : Constraint
    rng : numpy.random.Generator

    Returns
    -------
    starts : list of GMM
        Weights, means and covariances of the cells (D. Arthur and S. Vassilvitskii, "k-means++: the
        advantages of careful seeding", SODA 2007, without their local trials).
    """
    X, shares = sample.X, sample.shares
    rows = sample.draw(n, rng)
    nearest = X.new_full((n, len(X)), torch.inf)
    cells = torch.zeros(n, len(X), dtype=torch.long, device=X.device)
    for k in range(n_components):
        distances = torch.cdist(X[rows], X, compute_mode="donot_use_mm_for_euclid_dist").square_()
        cells = torch.where(distances < nearest, k, cells)
        nearest = torch.minimum(nearest, distances)
        cumulative = (nearest * shares).cumsum(dim=1)
        drawn = torch.from_numpy(rng.random(n)).to(X) * cumulative[:, -1]
        rows = torch.searchsorted(cumulative, drawn[:, None]).squeeze(1).clamp_max_(len(X) - 1)
    members = torch.nn.functional.one_hot(cells, n_components).movedim(2, 1).flatten(0, 1)
    owners = torch.zeros(len(members), dtype=torch.long, device=X.device)
    found = moments_of(sample, members.to(X.dtype), owners, constraint=constraint)
    starts = []
    for i in range(n):
        part = slice(i * n_components, (i + 1) * n_components)
        weights = found.weights[part] / found.weights[part].sum()
        covariances = found.covariances[part].clone()
        variances = covariances.diagonal(dim1=1, dim2=2)
        variances += _LEAST_SHARE * (weights @ variances.mean(dim=1))
        starts.append(constraint.of_type(GMM.unchecked(weights, found.means[part], covariances)))
    return starts


def grown_start(
    sample: Sample, n_components: int, step: Step, *, constraint: Constraint
) -> GMM | None:
    """Divide a single Gaussian until there are enough, always where the marginal gains most.

    k-means sees no classes that differ along a short axis alone; the chosen marginals do.

    Parameters
    ----------
    sample : Sample
    n_components : int
        K.
    step : callable
        EM step on the sample.
    constraint : Constraint

    Returns
    -------
    start : GMM or None
        None where no component can be divided any more.
    """
    everything = torch.ones_like(sample.shares)[None]
    owner = torch.zeros(1, dtype=torch.long, device=sample.X.device)
    one = moments_of(sample, everything, owner, constraint=constraint)
    one_component = GMM.unchecked(torch.ones_like(one.weights), one.means, one.covariances)
    model = constraint.of_type(one_component)
    while model.n_components < n_components:
        view = View.of(sample, model)
        division = max(divide(sample, view), key=lambda found: found.gains.max().item())
        first, second = division.parts(sample, view, constraint=constraint)
        if len(first.gains) == 0:
            return None
        best = int(first.gains.argmax())
        divided = with_parts(
            model, [(int(first.owners[best]), first, best), (model.n_components, second, best)]
        )
        ((_, model),) = race(step, [constraint.of_type(divided)], rounds=((_STEPS, 1),))
    return model
