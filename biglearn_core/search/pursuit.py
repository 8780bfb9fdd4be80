"""Marginals chosen, not drawn: those in which a component fits its own points worst.

The matching tasks of Cong and Li (AAAI 2024, arXiv 2312.11926) draw the marginals of rotated data
at random. Two classes under one component show in few of them, in many dimensions in next to none.
Whitened by their own moments, the points of a component look Gaussian in every direction where it
fits; where two classes lie apart the kurtosis is least, and where a tight cluster lies within a
wide one it is largest. The fixed-point iteration u ← E[z (uᵀz)³] − 3u finds such directions (A.
Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE
Transactions on Neural Networks 10(3), 1999), begun at the principal axes of extreme kurtosis. Two
Gaussians are fitted to each such marginal, and to that of the longest axis. All components are
worked on at once: O(n D²) to whiten, O(n D) an iteration for the direction, O(n) for the two
Gaussians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from biglearn_core.search.constraint import Constraint
from biglearn_core.search.insert import Insertions, Sample, Starts, View, moments_of

__all__ = ["Division", "best_of", "divide"]

# Steps towards a direction of extreme kurtosis, principal axes at which they begin to look for the
# least, and EM steps of two Gaussians on a marginal.
_ITERATIONS = 8
_STARTS = 6
_MARGINAL_STEPS = 10

# Two Gaussians on a marginal of unit variance start side by side, or one within the other.
_BESIDE = ((-0.6, 0.6), (0.64, 0.64))
_WITHIN = ((0.0, 0.0), (1.5, 0.2))

# Least variance of either: a marginal with ties would otherwise make a spike of it.
_LEAST_VARIANCE = 1e-2


@dataclass(frozen=True)
class Division:
    """Every component's points divided in two along one marginal.

    Parameters
    ----------
    gains : Tensor of shape (K,)
        Rise of the mean log-likelihood of the sample if each component alone became two, in nats;
        −inf for one that owns too few points.
    members : Tensor of shape (n,)
        Share of the second part in every point of the component that owns it.
    """

    gains: Tensor
    members: Tensor

    def starts(self, view: View, *, second: bool) -> Starts:
        """Start candidates in one part of every component.

        Parameters
        ----------
        view : View
        second : bool
            In the second part or in the first.

        Returns
        -------
        starts : Starts
            One for every component that could be divided.
        """
        owners = self.gains.isfinite().nonzero().squeeze(1)
        members = self.members if second else 1 - self.members
        return Starts((view.owners == owners[:, None]) * members, owners)

    def parts(
        self, sample: Sample, view: View, *, constraint: Constraint, on_all: bool = False
    ) -> tuple[Insertions, Insertions]:
        """Give both parts of every component that could be divided.

        Parameters
        ----------
        sample : Sample
        view : View
        constraint : Constraint
        on_all : bool, default False
            Whether the gain of a division is that on all coordinates, and not that on the marginal:
            where components have so few rows that it is judged by the optimism of the parts
            (`search.credit`), or where they may not take the form of the points.

        Returns
        -------
        first, second : Insertions
            From the moments of the points.
        """
        like = view.model.covariances[:1]
        first, second = (
            moments_of(sample, part.members, part.owners, constraint=constraint, like=like)
            for part in (self.starts(view, second=False), self.starts(view, second=True))
        )
        if not on_all:
            gains = self.gains[first.owners]
            return replace(first, gains=gains), replace(second, gains=gains)
        log_ratios = torch.stack(
            [
                part.log_ratios(sample, view.log_density) + part.weights.log()[:, None]
                for part in (first, second)
            ]
        )
        of_owner = view.log_shares[first.owners]
        change = log_ratios.logsumexp(dim=0).sub_(of_owner).mul_(view.shares[first.owners])
        gains = change @ sample.shares
        return replace(first, gains=gains), replace(second, gains=gains)


def divide(sample: Sample, view: View, *, longest_only: bool = False) -> list[Division]:
    """Divide the points of every component along chosen marginals.

    Parameters
    ----------
    sample : Sample
    view : View
    longest_only : bool, default False
        Whether to leave the directions of extreme kurtosis out.

    Returns
    -------
    divisions : list of Division
        Along the longest axis, along the direction of least kurtosis, both into parts side by side;
        and along that of largest kurtosis, into one part within the other.
    """
    n, D = sample.X.shape
    K = view.model.n_components
    owners = view.owners
    whitened, known = _whiten(sample, view)
    counts = _sums(sample.shares[:, None], owners, K)
    weights = sample.shares[:, None] / counts.clamp_min(torch.finfo(counts.dtype).tiny)[owners]
    marginals, shapes = [whitened[:, -1]], [_BESIDE]
    if D > 1 and not longest_only:
        marginals += _extremes(whitened, weights, owners, K)
        shapes += [_BESIDE, _WITHIN]
    # The marginals of a component are worked on as if they were those of so many components.
    M = len(marginals)
    copies = (owners + K * torch.arange(M, device=owners.device)[:, None]).flatten()
    start = whitened.new_tensor(shapes).repeat_interleave(K, dim=0).movedim(0, 2)
    gains, members = _two_gaussians(torch.cat(marginals), weights.repeat(M, 1), copies, start)
    gains = torch.where(known, gains.view(M, K) * counts.T, -torch.inf)
    return [Division(*found) for found in zip(gains, members.view(M, n), strict=True)]


def best_of(divisions: Sequence[Division], view: View) -> Division:
    """Take the most rewarding division of every component.

    Parameters
    ----------
    divisions : sequence of Division
    view : View

    Returns
    -------
    division : Division
    """
    gains, best = torch.stack([division.gains for division in divisions]).max(dim=0)
    members = torch.stack([division.members for division in divisions])
    return Division(gains, members.gather(0, best[view.owners][None])[0])


def _whiten(sample: Sample, view: View) -> tuple[Tensor, Tensor]:
    """Every row along the principal axes of its component's rows; which components have enough."""
    K, D = view.model.means.shape
    whitened = torch.zeros_like(sample.X)
    counts = torch.bincount(view.owners, minlength=K)
    known = counts > D + 1
    rows_of = view.owners.argsort(stable=True).split(counts.tolist())
    for rows in (rows_of[k] for k in known.nonzero().squeeze(1).tolist()):
        shares = sample.shares[rows] / sample.shares[rows].sum()
        residuals = sample.X[rows] - shares @ sample.X[rows]
        values, axes = torch.linalg.eigh((residuals.T * shares) @ residuals)
        type_ = torch.finfo(values.dtype)
        least = (type_.eps * values[-1]).clamp_min(type_.tiny)
        whitened[rows] = residuals @ (axes * values.clamp_min(least).rsqrt())
    return whitened, known


def _extremes(whitened: Tensor, weights: Tensor, owners: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Coordinates of all rows along the directions of least and of largest kurtosis."""
    D = whitened.shape[1]
    kurtosis = _sums(weights * whitened.pow(4), owners, K)
    # The largest is the least with its sign turned. Every start of every component is worked on as
    # if it were a component of its own.
    n_starts = min(D, _STARTS)
    starts = torch.cat(
        [
            kurtosis.topk(n_starts, largest=False).indices.T.flatten(),
            kurtosis.argmax(dim=1),
        ]
    )
    sign = kurtosis.new_ones(len(starts), 1)
    sign[n_starts * K :] = -1
    u = torch.nn.functional.one_hot(starts, D).to(whitened)
    copies = owners + K * torch.arange(n_starts + 1, device=owners.device)[:, None]
    reached = torch.full_like(sign, torch.inf)
    best = u
    for _ in range(_ITERATIONS + 1):
        coordinates = torch.stack([(whitened * u[copy]).sum(dim=1) for copy in copies])
        found, cubes = _fourth_moments(whitened, weights, coordinates, copies, len(starts))
        better = sign * found < reached
        reached = torch.where(better, sign * found, reached)
        best = torch.where(better, u, best)
        u = cubes - 3 * u
        u = u / u.norm(dim=1, keepdim=True).clamp_min(torch.finfo(u.dtype).tiny)
    least = reached.view(-1, K)[:n_starts].argmin(dim=0)
    directions = best.view(-1, K, D)
    chosen = directions[least, torch.arange(K, device=owners.device)], directions[-1]
    return tuple((whitened * axis[owners]).sum(dim=1) for axis in chosen)


def _fourth_moments(
    whitened: Tensor, weights: Tensor, coordinates: Tensor, copies: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """E[(uᵀz)⁴] and E[z (uᵀz)³] along the directions of all starts, shapes (n, 1) and (n, D)."""
    cubes = weights.T * coordinates.pow(3)
    fourth = _sums((cubes * coordinates).flatten()[:, None], copies.flatten(), n)
    third = whitened.new_zeros(n, whitened.shape[1])
    for copy, cube in zip(copies, cubes, strict=True):
        third.index_add_(0, copy, whitened * cube[:, None])
    return fourth, third


def _two_gaussians(
    t: Tensor, weights: Tensor, owners: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """EM of two Gaussians on one marginal of every component's points.

    They differ in log density by a quadratic function of t, so that one sigmoid gives both
    responsibilities, and the sums over the first are what the second leaves of the totals.
    """
    means, variances = start
    K = start.shape[2]
    powers = weights * torch.stack([torch.ones_like(t), t, t.square()], dim=1)
    total = _sums(powers, owners, K).T
    shares = torch.full_like(means, 0.5)
    for _ in range(_MARGINAL_STEPS):
        members = _difference(t, owners, _coefficients(shares, means, variances)).sigmoid_()
        second = _sums(powers * members[:, None], owners, K).T
        mass, first, square = torch.stack([total - second, second], dim=1)
        shares = mass.clamp_min(torch.finfo(mass.dtype).eps)
        means = first / shares
        variances = (square / shares - means.square()).clamp_min(_LEAST_VARIANCE)
    coefficients = _coefficients(shares, means, variances)
    difference = _difference(t, owners, coefficients)
    excess = powers[:, :1] * torch.nn.functional.softplus(difference)[:, None]
    gains = (coefficients[:, 0] * total).sum(dim=0) + _sums(excess, owners, K)[:, 0]
    return gains + 0.5 * total[2], difference.sigmoid()


def _coefficients(shares: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Log density of both parts as a polynomial, shape (3, 2, K), less −½ log 2π."""
    linear = means / variances
    constants = shares.log() - 0.5 * (variances.log() + means * linear)
    return torch.stack([constants, linear, -0.5 / variances])


def _difference(t: Tensor, owners: Tensor, coefficients: Tensor) -> Tensor:
    """Log density of the second part less that of the first at every point, shape (n,)."""
    constant, linear, quadratic = (coefficients[:, 1] - coefficients[:, 0]).index_select(1, owners)
    return constant.addcmul_(linear.addcmul_(quadratic, t), t)


def _sums(rows: Tensor, owners: Tensor, K: int) -> Tensor:
    return rows.new_zeros(K, rows.shape[1]).index_add_(0, owners, rows)
