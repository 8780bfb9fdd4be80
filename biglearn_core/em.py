"""One EM step on a set of coordinates: the step that every matching task takes.

Joint-EM is this step on all coordinates; BigLearn-EM takes it on the joint law, on marginals and
on marginals of rotated data (Cong and Li, AAAI 2024, arXiv 2312.11926).

- E-step: responsibilities r_nk = π_k N(y_n | m_k, C_k) / Σ_j π_j N(y_n | m_j, C_j), of which their
  sums Σ_n r_nk, Σ_n r_nk y_n and Σ_n r_nk y_n y_nᵀ are kept alone (`GMM.density`).
- M-step: proportions, means and covariances from these sums.
- Floor: eigenvalues of the covariances of all coordinates below ε are raised to it, and α is added
  to the proportions.

Covariances that have something in common, or a prior, are fitted in the M-step alone
(`numerics.structures`, `numerics.prior`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.density import LEAST_PROPORTION, Moments
from biglearn_core.numerics.kernels import contiguous, kernels
from biglearn_core.numerics.linalg import floor_eigenvalues, has_eigenvalue_below, with_block
from biglearn_core.numerics.lowrank import LowRankCovariances, floor_to_low_rank, low_rank_pays
from biglearn_core.numerics.points import FitPoints
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.structures import structure_of
from biglearn_core.numerics.threads import each, one_thread_an_operation

__all__ = ["EMStep", "EMSteps", "em_step", "fit_covariances", "lockstep_em_step", "m_step"]

# Numbers in the covariances from which on each component is worth a thread.
_LARGE = 1_000_000


@dataclass(frozen=True)
class EMStep:
    """Outcome of one EM step.

    Parameters
    ----------
    model : GMM
        After the step.
    log_likelihood : float
        Weighted mean of log p(y_T) before the step, in nats.
    n_floored : int
        Components with an eigenvalue that was raised to the floor.
    n_empty : int
        Components with less than 1e-5 of the data.
    """

    model: GMM
    log_likelihood: float
    n_floored: int
    n_empty: int


@dataclass(frozen=True)
class EMSteps:
    """Outcome of one EM step of B mixtures of K components.

    Parameters
    ----------
    model : GMM
        The components of all mixtures after the step, one mixture after the other.
    log_likelihood : float64 Tensor of shape (B,)
        Weighted means of log p(y_T) before the step, in nats.
    log_prior : float64 Tensor of shape (B,)
        Log density of the covariances before the step under their prior, in nats a row; zero
        without a prior.
    floored : bool Tensor of shape (B, K)
        Components with an eigenvalue that was raised to the floor.
    empty : bool Tensor of shape (B, K)
        Components with less than 1e-5 of the data.
    """

    model: GMM
    log_likelihood: Tensor
    log_prior: Tensor
    floored: Tensor
    empty: Tensor

    def only(self) -> EMStep:
        """Give the outcome of the only mixture."""
        return EMStep(
            self.model,
            self.log_likelihood.item(),
            int(torch.count_nonzero(self.floored)),
            int(torch.count_nonzero(self.empty)),
        )


@one_thread_an_operation()
def em_step(
    points: FitPoints,
    model: GMM,
    *,
    index: Tensor | None = None,
    covariance_floor: float,
    weight_smoothing: float = 0.0,
    prior: CovariancePrior | None = None,
) -> EMStep:
    """Take one EM step for the law of some coordinates.

    Parameters
    ----------
    points : FitPoints
        The data, already restricted to `index`.
    model : GMM
        Over all D coordinates, in the same basis as the data. The step keeps the type of its
        covariances.
    index : int64 Tensor, optional
        The set T of coordinates to match; all when not given. Means outside T and covariance
        blocks outside T×T keep their values, up to the floor. For full covariances alone.
    covariance_floor : float
        ε, the least eigenvalue of every covariance.
    weight_smoothing : float, default 0
        α ≥ 0, added to every proportion before they are scaled to sum to one.
    prior : CovariancePrior, optional
        For joint steps alone.

    Returns
    -------
    step : EMStep

    Raises
    ------
    ValueError
        When a covariance is not positive definite, which a positive floor prevents as far as the
        dtype can hold the ratio of the largest eigenvalue to the floor; or when some coordinates
        of covariances that are not full, or that have a prior, are to be matched.
    """
    if index is not None and (model.covariance_type != "full" or prior is not None):
        raise ValueError(
            "matching tasks on some coordinates are defined for full covariances without a prior, "
            f"got covariance_type={model.covariance_type!r}: take joint steps"
        )
    stepped = _step(points, model, 1, index, covariance_floor, weight_smoothing, prior)
    return stepped.only()


@one_thread_an_operation()
def lockstep_em_step(
    points: FitPoints,
    mixtures: GMM,
    n_mixtures: int,
    *,
    covariance_floor: float,
    prior: CovariancePrior | None = None,
) -> EMSteps:
    """Take a joint EM step of several mixtures at once.

    Small data leave the time of a step to the number of operations, which is that of one mixture.

    Parameters
    ----------
    points : FitPoints
    mixtures : GMM
        The components of B mixtures of K, one mixture after the other; the weights of each mixture
        sum to one.
    n_mixtures : int
        B.
    covariance_floor : float
        ε.
    prior : CovariancePrior, optional

    Returns
    -------
    steps : EMSteps

    Raises
    ------
    ValueError
        As by `em_step`, when a covariance of any of them is not positive definite.
    """
    return _step(points, mixtures, n_mixtures, None, covariance_floor, 0.0, prior)


def _step(
    points: FitPoints,
    model: GMM,
    n_mixtures: int,
    index: Tensor | None,
    covariance_floor: float,
    weight_smoothing: float,
    prior: CovariancePrior | None,
) -> EMSteps:
    density = model.density(points, index)
    moments, log_likelihood = density.expectation(points, n_mixtures)
    proportions, means, covariances = m_step(moments, density.origins, points.total)
    means, covariances = means.to(model.dtype), covariances.to(model.dtype)
    log_prior, low_rank = torch.zeros_like(log_likelihood), None
    if index is not None:
        means = model.means.index_copy(1, index, means)
        covariances = with_block(model.covariances, index, covariances)
    if model.covariance_type == "full" and prior is None:
        covariances, floored, low_rank = _floor(covariances, covariance_floor)
    else:
        covariances, floored = fit_covariances(
            model, proportions, covariances, n_mixtures, floor=covariance_floor, prior=prior
        )
        if prior is not None:
            log_prior = prior.log_density(model.covariance_type, model.covariances, n_mixtures)
    weights = (proportions + weight_smoothing).to(model.dtype).view(n_mixtures, -1)
    weights = (weights / weights.sum(dim=1, keepdim=True)).flatten()
    return EMSteps(
        GMM.unchecked(weights, means, covariances, low_rank, model.covariance_type),
        log_likelihood / points.total,
        log_prior,
        floored.view(n_mixtures, -1),
        (proportions < LEAST_PROPORTION).view(n_mixtures, -1),
    )


def fit_covariances(
    model: GMM,
    proportions: Tensor,
    scatters: Tensor,
    n_mixtures: int = 1,
    *,
    floor: float,
    prior: CovariancePrior | None = None,
) -> tuple[Tensor, Tensor]:
    """Take the M-step of covariances of the type of a mixture.

    Parameters
    ----------
    model : GMM
        Before the step; the components of B mixtures of K, one mixture after the other.
    proportions : Tensor of shape (B K,)
    scatters : Tensor of shape (B K, D, D)
        Covariances of the points of every component about its mean.
    n_mixtures : int, default 1
        B.
    floor : float
        ε.
    prior : CovariancePrior, optional

    Returns
    -------
    covariances : Tensor of shape (B K, D, D)
    floored : bool Tensor of shape (B K,)
        Components with an eigenvalue that was raised to the floor.
    """
    structure = structure_of(model.covariance_type)
    weights = proportions.to(scatters.dtype).view(n_mixtures, -1)
    scatters = scatters.unflatten(0, weights.shape)
    if prior is not None:
        weights, scatters = prior.add(structure.name, weights, scatters)
    before = model.covariances.unflatten(0, weights.shape)
    covariances, floored = structure.fit(weights, scatters, floor, before=before)
    return covariances.flatten(0, 1), floored.flatten()


def m_step(moments: Moments, origins: Tensor, total: float) -> tuple[Tensor, Tensor, Tensor]:
    """Proportions, means and covariances from sums over the points.

    Parameters
    ----------
    moments : Moments
    origins : Tensor of shape (D,) or (K, D)
        About which they are taken.
    total : float
        Sum of the sample weights.

    Returns
    -------
    proportions : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
        Diagonal where the second moments are.

    Notes
    -----
    The mean is Σ r y / (N g) with g = max(1e-5, π̂): a component with less is drawn to the origin
    and onto the floor instead of dividing by nothing. The second moments are about the origins and
    corrected by the shift to the new means, which does not cancel as E[y yᵀ] − m mᵀ does.
    """
    if moments.second.dim() == 3 and (loops := kernels(moments.second)) is not None:
        return _compiled_m_step(loops, moments, origins, total)
    proportions = moments.counts / total
    mass = proportions.clamp_min(LEAST_PROPORTION).mul_(total)[:, None]
    share = moments.counts[:, None] / mass  # one, but for an empty component
    first = moments.first / mass
    shift = torch.addcmul(first, share - 1, origins)
    rest = torch.addcmul(first, share, shift, value=-1)
    if moments.second.dim() == 2:
        variances = torch.addcmul(moments.second / mass, first, shift, value=-1)
        variances.addcmul_(shift, rest, value=-1)
        return proportions, shift + origins, torch.diag_embed(variances)
    covariances = moments.second / mass[:, :, None]

    def about_the_means(part: slice) -> None:
        target = covariances[part]
        target.baddbmm_(first[part, :, None], shift[part, None, :], alpha=-1)
        target.baddbmm_(shift[part, :, None], rest[part, None, :], alpha=-1)

    large = covariances.numel() >= _LARGE
    each(about_the_means, [slice(k, k + 1) for k in range(len(mass))] if large else [slice(None)])
    return proportions, shift + origins, covariances


def _compiled_m_step(
    loops: ModuleType, moments: Moments, origins: Tensor, total: float
) -> tuple[Tensor, Tensor, Tensor]:
    sums = moments.counts, moments.first, moments.second, origins.expand(moments.first.shape)
    counts, first, second, origin = map(contiguous, sums)
    proportions = np.empty(len(counts))
    means, covariances = np.empty(first.shape, first.dtype), np.empty(second.shape, second.dtype)
    loops.maximise(
        *(counts, first, second, origin, total, LEAST_PROPORTION),
        *(proportions, means, covariances),
    )
    return (
        torch.from_numpy(proportions),
        torch.from_numpy(means),
        torch.from_numpy(covariances),
    )


def _floor(covariances: Tensor, floor: float) -> tuple[Tensor, Tensor, LowRankCovariances | None]:
    """Floored covariances, which were below, and their low-rank form where all were."""
    if low_rank_pays(covariances.shape[1]) and floor > 0:
        below = has_eigenvalue_below(covariances, floor)
        if below.all():
            covariances, low_rank = floor_to_low_rank(covariances, floor)
            return covariances, below, low_rank
    covariances, below = floor_eigenvalues(covariances, floor)
    return covariances, below, None
