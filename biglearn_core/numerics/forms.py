"""Which form of the density is taken: one for all points of a fit, row by row for a query.

Nothing else tells the forms apart. What follows asks a `Density`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from biglearn_core.numerics.density import Density, Form, Law, QuadraticDensity, WhitenedDensity
from biglearn_core.numerics.diagonal import DiagonalDensity, DiagonalLaw, is_diagonal
from biglearn_core.numerics.linalg import block_of
from biglearn_core.numerics.lowrank import LowRankCovariances, LowRankDensity, low_rank_forms
from biglearn_core.numerics.points import FitPoints, n_quadratic_features

__all__ = ["accurate_form", "choose_density", "list_forms"]

# From this many features per component on, writing the features out costs more than the product
# that they save (benchmarks/em_step.py).
_FEATURES_PER_COMPONENT = 30


def choose_density(
    points: FitPoints,
    weights: Tensor,
    means: Tensor,
    covariances: Tensor,
    low_rank: LowRankCovariances | None = None,
    *,
    index: Tensor | None = None,
    diagonal: bool = False,
) -> Density:
    """Prepare the cheapest form that is accurate on all points of a fit.

    Parameters
    ----------
    points : FitPoints
        Restricted to `index`.
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
        In the coordinates of the data, not centred.
    covariances : Tensor of shape (K, D, D)
    low_rank : LowRankCovariances, optional
        The covariances once more.
    index : int64 Tensor of shape (d,), optional
        Coordinates that the points show; all when not given.
    diagonal : bool, default False
        Whether no more than the diagonals of second moments are asked for.

    Returns
    -------
    density : Density

    Raises
    ------
    ValueError
        When a covariance is not positive definite.
    """
    if index is not None:
        means = means.index_select(1, index)
    if low_rank is not None:
        density = LowRankDensity.of(points, weights, means, low_rank, index)
        if density is not None:
            return density
    if diagonal and is_diagonal(covariances):
        variances = covariances.diagonal(dim1=1, dim2=2)
        if index is not None:
            variances = variances.index_select(1, index)
        diagonal_law = DiagonalLaw.of(weights, means, variances, points.centre)
        expanded = DiagonalDensity.of(diagonal_law, points)
        if expanded is not None:
            return expanded
    if index is not None:
        covariances = block_of(covariances, index)
    pays = _quadratic_pays(*means.shape)
    if pays:
        compiled = QuadraticDensity.compiled(points, weights, means, covariances)
        if compiled is not None:
            return compiled
    law = Law.of(weights, means, covariances, points.centre)
    density = QuadraticDensity.of(law, points) if pays else None
    return WhitenedDensity(law, points.dtype) if density is None else density


def list_forms(
    law: Law,
    centre: Tensor,
    dtype: torch.dtype,
    *,
    weights: Tensor,
    low_rank: LowRankCovariances | None = None,
    diagonal: bool = False,
) -> list[Form]:
    """List the forms in which rows at any distance can be evaluated, cheapest first.

    Parameters
    ----------
    law : Law
        About zero.
    centre : Tensor of shape (d,)
        Near which most rows are expected.
    dtype : torch.dtype
        Of the rows.
    weights : Tensor of shape (K,)
        Of the law.
    low_rank : LowRankCovariances, optional
        The covariances of the law once more.
    diagonal : bool, default False
        Whether they are diagonal.

    Returns
    -------
    forms : list of Form
        The reach of the last is infinite.
    """
    forms = []
    if low_rank is not None:
        forms = low_rank_forms(weights, law.means, low_rank, centre, dtype)
    if diagonal:
        diagonal_law = DiagonalLaw.of_law(law.about(centre))
        reaches = DiagonalDensity.reaches(diagonal_law, dtype)
        forms += [
            Form(r, DiagonalDensity.of_law(diagonal_law, products)) for r, products in reaches
        ]
    elif _quadratic_pays(*law.means.shape):
        near = law.about(centre)
        reaches = QuadraticDensity.reaches(near, dtype)
        forms += [
            Form(radius, QuadraticDensity.of_law(near, products)) for radius, products in reaches
        ]
    return [*forms, accurate_form(law, dtype)]


def accurate_form(law: Law, dtype: torch.dtype) -> Form:
    """Give the form that is accurate at any distance.

    Parameters
    ----------
    law : Law
        About zero: this form takes rows as they are, since a centre far from them would cost their
        digits.
    dtype : torch.dtype
        Of the rows.

    Returns
    -------
    form : Form
    """
    return Form(math.inf, WhitenedDensity(law, dtype), centred=False)


def _quadratic_pays(n_components: int, d: int) -> bool:
    return n_quadratic_features(d) <= _FEATURES_PER_COMPONENT * n_components
