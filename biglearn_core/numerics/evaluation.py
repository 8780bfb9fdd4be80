"""The densities of rows that a model is asked about: each as if it were the only one.

A fit centres the data on their mean and takes the form of the density that serves all of them. A
query may not: one row far out would move the centre and the form of all others. Here the centre is
the model's, the form is chosen row by row by the distance from it, and a row so far out that its
density is no number of its dtype still has its components compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.numerics.density import LOG_2PI, Form, Law
from biglearn_core.numerics.diagonal import is_diagonal
from biglearn_core.numerics.forms import accurate_form, list_forms
from biglearn_core.numerics.lowrank import LowRankCovariances
from biglearn_core.numerics.points import Chunk, squared_norms
from biglearn_core.numerics.threads import each, one_thread_an_operation

__all__ = ["Evaluation", "evaluate", "evaluate_differentiably", "is_far"]

# Working memory of one chunk.
_CHUNK_BYTES = 8 * 2**20

# Squared Mahalanobis distances beyond which a dtype's rounding would blur the responsibilities.
_TRUSTED = {torch.float32: 1e4, torch.float64: 1e10}

# Distances from the centre, in those of the means, beyond which directions alone are compared.
_BEYOND = 10.0

# Rounding of a sum of products, in units of eps.
_ROUNDING = 16


@dataclass(frozen=True)
class Evaluation:
    """Component log-densities of rows, in two parts.

    Parameters
    ----------
    relative : Tensor of shape (K, N)
        log π_k N(x_n | μ_k, Σ_k) less `shift`: finite for at least one component of every row.
    shift : Tensor of shape (N,) or None
        Zero where the log-densities are ordinary numbers, −inf where they are below the least
        number of the dtype. None where all are ordinary.
    """

    relative: Tensor
    shift: Tensor | None

    def component_log_prob(self) -> Tensor:
        """Log π_k N(x_n | μ_k, Σ_k), shape (K, N), in nats."""
        return self.relative if self.shift is None else self.relative + self.shift

    def log_prob(self) -> Tensor:
        """Log p(x_n), shape (N,), in nats."""
        total = self.relative.logsumexp(dim=0)
        return total if self.shift is None else total + self.shift

    def responsibilities(self) -> Tensor:
        """Posterior probabilities of the components, shape (K, N)."""
        return self.relative.softmax(dim=0)

    def labels(self) -> Tensor:
        """Most probable component of every row, shape (N,)."""
        return self.relative.argmax(dim=0)

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Put the rows of several evaluations one after the other.

        Parameters
        ----------
        parts : sequence of Evaluation
            At least one.

        Returns
        -------
        evaluation : Evaluation
        """
        relative = torch.cat([part.relative for part in parts], dim=1)
        if all(part.shift is None for part in parts):
            return cls(relative, None)
        shifts = [
            part.relative.new_zeros(part.relative.shape[1]) if part.shift is None else part.shift
            for part in parts
        ]
        return cls(relative, torch.cat(shifts))


def evaluate(
    X: Tensor,
    weights: Tensor,
    means: Tensor,
    covariances: Tensor,
    low_rank: LowRankCovariances | None = None,
    *,
    diagonal: bool = False,
    chunk_size: int | None = None,
) -> Evaluation:
    """Evaluate the components at rows that have nothing to do with each other.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        Finite; on the device and in the dtype of the parameters.
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
    low_rank : LowRankCovariances, optional
        The covariances once more.
    diagonal : bool, default False
        Whether the covariances are of a type that is diagonal.
    chunk_size : int, optional
        Rows evaluated at once; picked from a memory bound when not given.

    Returns
    -------
    evaluation : Evaluation

    Raises
    ------
    ValueError
        When a covariance is not positive definite.
    """
    # Unlike the mean of the means, the median is not moved by a component far out.
    centre = means.median(dim=0).values
    law = Law.of(weights, means, covariances, torch.zeros_like(centre))
    forms = list_forms(
        law,
        centre,
        X.dtype,
        weights=weights,
        low_rank=low_rank,
        diagonal=diagonal and is_diagonal(covariances),
    )
    size = chunk_size or max(1, _CHUNK_BYTES // forms[0].density.bytes_per_point)
    with one_thread_an_operation():
        parts = each(lambda rows: _evaluate_rows(rows, law, centre, forms), X.split(size))
    return Evaluation.joined(parts)


def is_far(log_prob: Tensor, log_constants: Tensor) -> Tensor:
    """Rows that are too far from every component for their log-densities to be compared.

    Parameters
    ----------
    log_prob : Tensor of shape (K, N)
        Log π_k N(x_n | μ_k, Σ_k) as computed: NaN where it overflowed.
    log_constants : Tensor, broadcastable to (K, N)
        Their largest values, at the means.

    Returns
    -------
    far : bool Tensor of shape (N,)
    """
    least = log_constants.amax(dim=0) - 0.5 * _TRUSTED[log_prob.dtype]
    return ~(log_prob.amax(dim=0) >= least)


def _evaluate_rows(X: Tensor, law: Law, centre: Tensor, forms: Sequence[Form]) -> Evaluation:
    """Evaluate a chunk, every row in the first form that reaches it."""
    radii = squared_norms((X - centre).T.contiguous()).sqrt_()
    last = len(forms) - 1
    if len(radii) == 0 or (last > 0 and radii.max().item() <= forms[0].reach):
        return Evaluation(_log_prob(forms[0], X, centre), None)
    chosen = torch.full_like(radii, last, dtype=torch.long)
    for i in range(last - 1, -1, -1):
        chosen.masked_fill_(radii <= forms[i].reach, i)
    log_prob = X.new_empty(len(law.means), len(X))
    for i in chosen.unique().tolist():
        rows = (chosen == i).nonzero().squeeze(1)
        log_prob[:, rows] = _log_prob(forms[i], X[rows], centre)
    # Within their reach the other forms are accurate, however many deviations away a row is.
    far = is_far(log_prob, law.log_constants[:, None]) & (chosen == last)
    if not far.any():
        return Evaluation(log_prob, None)
    return _with_far_rows(X, law, centre, log_prob, far.nonzero().squeeze(1))


def _log_prob(form: Form, X: Tensor, centre: Tensor) -> Tensor:
    points = (X - centre if form.centred else X).T.contiguous()
    return form.density.log_prob(form.density.features(Chunk(points, None))).to(X.dtype)


def _with_far_rows(
    X: Tensor, law: Law, centre: Tensor, log_prob: Tensor, far: Tensor
) -> Evaluation:
    """Replace what the dtype has blurred: in float64 first, then by comparing directions."""
    rows = X[far].double()
    relative = log_prob.new_zeros(log_prob.shape, dtype=torch.float64).copy_(log_prob)
    shift = relative.new_zeros(X.shape[0])
    exact = _log_prob(accurate_form(law, torch.float64), rows, law.centre)
    highest = exact.amax(dim=0)
    relative[:, far], shift[far] = exact - highest, highest
    # Squares blur the differences where the means are close together as seen from the row.
    near = law.about(centre.double())
    extent = near.means[~torch.isneginf(law.log_constants)].abs().amax()
    beyond = (rows - near.centre).abs().amax(dim=1) > _BEYOND * extent
    beyond = is_far(exact, law.log_constants[:, None]) & beyond | ~torch.isfinite(highest)
    if beyond.any():
        relative[:, far[beyond]], shift[far[beyond]] = _compare_directions(rows[beyond], near)
    return Evaluation(relative.to(X.dtype), shift.to(X.dtype))


def _compare_directions(X: Tensor, law: Law) -> tuple[Tensor, Tensor]:
    """Compare components at rows so far out that the squares of distances say nothing.

    With x = s u, log π_k N(x | μ_k, Σ_k) = −s² A_k + s B_k + C_k, where A_k and B_k depend on the
    direction u alone. The largest s² A_k and s B_k are split off before anything is multiplied by
    s, so that nothing overflows, and where all A_k agree to rounding, as of equal covariances, B_k
    decides. s is the larger of the row and the origin, for either may be zero.

    Returns
    -------
    relative : Tensor of shape (K, n)
    shift : Tensor of shape (n,)
        −inf where the log-density is below the least number.

    Raises
    ------
    ValueError
        When the means themselves are so far apart that nothing can be compared.
    """
    sizes = X.abs().amax(dim=1).clamp_min(law.centre.abs().max())
    sizes = sizes.where(sizes > 0, 1.0)
    directions = (X / sizes[:, None] - law.centre / sizes[:, None]).T
    along = law.whitening @ directions
    at_mean = (law.whitening @ law.means[:, :, None]).squeeze(2)
    A = 0.5 * along.square().sum(dim=1)
    B = (at_mean[:, None, :] @ along).squeeze(1)
    absent = torch.isneginf(law.log_constants)[:, None]
    C = (law.log_constants - 0.5 * at_mean.square().sum(dim=1))[:, None]
    eps = _ROUNDING * torch.finfo(A.dtype).eps
    least = A.masked_fill(absent, torch.inf).amin(dim=0)
    excess = A - least
    excess = excess.masked_fill(excess <= eps * least, 0.0)
    slopes = (B - sizes * excess).masked_fill(absent, -torch.inf)
    steepest = slopes.amax(dim=0)
    gaps = steepest - slopes
    gaps = gaps.masked_fill(gaps <= eps * B.abs().amax(dim=0), 0.0)
    relative = C - sizes * gaps
    lost = ~torch.isfinite(relative.amax(dim=0)) | (C.isneginf() & ~absent).any()
    if lost.any():
        raise ValueError(
            f"{lost.sum()} rows cannot be compared with the components: means so far apart, or "
            "covariances so small, that distances in standard deviations leave float64. Rescale "
            "the data"
        )
    return relative, sizes * (steepest - sizes * least)


class _WithValue(torch.autograd.Function):
    """A value that is known more accurately, with the gradient of the formula."""

    @staticmethod
    def forward(ctx, formula: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def evaluate_differentiably(
    X: Tensor, weights: Tensor, means: Tensor, covariances: Tensor
) -> Evaluation:
    """Evaluate for automatic differentiation, by the formula and nothing else.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)

    Returns
    -------
    evaluation : Evaluation
        Its graph holds N·K·D numbers. Where the formula is blurred, far out, its values are those
        of `evaluate`.
    """
    factors = torch.linalg.cholesky(covariances.double())
    residuals = X.double() - means.double()[:, None]
    whitened = torch.linalg.solve_triangular(factors, residuals.mT, upper=False)
    log_determinants = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    constants = (weights.double().log() - log_determinants - 0.5 * X.shape[1] * LOG_2PI)[:, None]
    log_prob = constants - 0.5 * whitened.square().sum(dim=1)
    with torch.no_grad():
        shift = log_prob.amax(dim=0)
        far = is_far(log_prob, constants)
        rows = X[far].double()
        exact = evaluate(rows, weights.double(), means.double(), covariances.double())
    relative = log_prob - shift
    if far.any():
        relative = relative.masked_scatter(far, _WithValue.apply(log_prob[:, far], exact.relative))
        shift[far] = 0.0 if exact.shift is None else exact.shift
    return Evaluation(relative.to(X.dtype), shift.to(X.dtype))
