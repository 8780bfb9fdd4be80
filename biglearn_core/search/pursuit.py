"""Marginals chosen, not drawn: those in which a component fits its own points worst.

The matching tasks of Cong and Li (AAAI 2024, arXiv 2312.11926) draw the marginals of rotated data
at random. Two classes under one component show in few of them, in many dimensions in next to none.
Whitened by their own moments, the points of a component look Gaussian in every direction where it
fits; where two classes lie apart the kurtosis is least, and where a tight cluster lies within a
wide one it is largest. The fixed-point iteration u ← E[z (uᵀz)³] − 3u finds such directions (A.
Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE
Transactions on Neural Networks 10(3), 1999), begun at the principal axes of extreme kurtosis and
at the outer eigenvectors of the scatter of directions E[z zᵀ / ‖z‖²], which in many dimensions lean
towards such a direction where no axis does (two scatters of the same points differ most where they
are least Gaussian: D. Tyler, F. Critchley, L. Dümbgen and H. Oja, "Invariant co-ordinate
selection", JRSS B 71(3), 2009; directions alone let no row far out count for more than another).
Two Gaussians are fitted to each such marginal, and to that of the longest axis. All components are
worked on at once: O(n D²) to whiten and for the scatter, O(n D) an iteration for the direction,
O(n) for the two Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from biglearn_core.search.constraint import Constraint
from biglearn_core.search.insert import Insertions, Sample, Starts, View, moments_of

__all__ = ["Division", "best_of", "divide"]

# Steps towards a direction of extreme kurtosis; principal axes, and eigenvectors as many, at which
# they begin to look for the least; and EM steps of two Gaussians on a marginal.
_ITERATIONS = 8
_STARTS = 6
_MARGINAL_STEPS = 10

# Deviations of the squared distance from its mean, beyond which a row is far out.
_FAR = 4.0

# Numbers that the rows of components take that are worked on side by side.
_BLOCK_NUMBERS = 4_000_000

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
        −inf for one that owns too few points, or points of moments that overflow.
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
    shapes = [_BESIDE] if D == 1 or longest_only else [_BESIDE, _BESIDE, _WITHIN]
    gains = sample.X.new_full((len(shapes), K), -torch.inf)
    members = sample.X.new_zeros(len(shapes), n)
    for block in _blocks(sample, view.owners, K):
        z = _whitened(sample.X[block.rows], block.weights)
        marginals = [z[:, :, -1]]
        if len(shapes) > 1:
            marginals += _extremes(z, block.weights)
        start = z.new_tensor(shapes)[..., None].movedim(1, 0)
        found, second = _two_gaussians(torch.stack(marginals), block.weights, start)
        finite = found.isfinite()
        gains[:, block.components] = torch.where(finite, found * block.masses, -torch.inf)
        members[:, block.rows] = torch.where(finite[:, :, None], second, 0)
    return [Division(*found) for found in zip(gains, members, strict=True)]


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


@dataclass(frozen=True)
class _Block:
    """Components of about as many rows, to be worked on side by side.

    Parameters
    ----------
    components : int64 Tensor of shape (B,)
    masses : Tensor of shape (B,)
        Sums of the shares of their rows.
    rows : int64 Tensor of shape (B, m)
        Rows that each owns; its last one over and over where it has fewer than m.
    weights : Tensor of shape (B, m)
        Of every row in its component; zero for the repetitions.
    """

    components: Tensor
    masses: Tensor
    rows: Tensor
    weights: Tensor


def _blocks(sample: Sample, owners: Tensor, K: int) -> Iterator[_Block]:
    """Give the components that own enough rows, those of less than twice as many together."""
    counts = torch.bincount(owners, minlength=K)
    by_owner, last = owners.argsort(stable=True), counts.cumsum(0) - 1
    known = counts > sample.X.shape[1] + 1
    magnitude = torch.where(known, counts.log2().floor(), -1)
    for one in magnitude.unique().tolist():
        if one < 0:
            continue
        alike = (magnitude == one).nonzero().squeeze(1)
        place = torch.arange(int(counts[alike].max()), device=owners.device)
        at_once = max(1, _BLOCK_NUMBERS // (len(place) * sample.X.shape[1]))
        for components in alike.split(at_once):
            held, last_of = counts[components, None], last[components, None]
            rows = by_owner[torch.minimum(last_of - held + 1 + place, last_of)]
            shares = sample.shares[rows] * (place < held)
            masses = shares.sum(dim=1)
            weights = shares / masses.clamp_min(torch.finfo(masses.dtype).tiny)[:, None]
            yield _Block(components, masses, rows, weights)


def _whitened(X: Tensor, weights: Tensor) -> Tensor:
    """Rows of every component along its principal axes, the longest last, shape (B, m, D)."""
    residuals = X - weights[:, None, :] @ X
    values, axes = _eigh((residuals * weights[:, :, None]).mT @ residuals)
    type_ = torch.finfo(values.dtype)
    least = (type_.eps * values[:, -1:]).clamp_min(type_.tiny)
    return residuals @ (axes * values.clamp_min(least).rsqrt()[:, None, :])


def _eigh(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of symmetric matrices; those that overflow count as zero."""
    largest = moments.abs().amax(dim=(1, 2)).clamp_min(torch.finfo(moments.dtype).tiny)
    scaled = (moments / largest[:, None, None]).nan_to_num(0, 0, 0)
    values, vectors = torch.linalg.eigh(scaled)
    return values * largest[:, None], vectors


def _extremes(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of all rows along the directions of least and of largest kurtosis."""
    B, _, D = z.shape
    kurtosis = (weights[:, None, :] @ z.pow(4)).squeeze(1)
    axes = torch.eye(D, dtype=z.dtype, device=z.device)
    square = z.square().sum(dim=2, keepdim=True)
    inverse = square.clamp_min(torch.finfo(z.dtype).eps).reciprocal()
    _, eigenvectors = _eigh((z * (weights[:, :, None] * inverse)).mT @ z)
    n_starts = min(D, _STARTS)
    lowest = axes[kurtosis.topk(n_starts, largest=False).indices], eigenvectors.mT[:, -n_starts:]
    highest = axes[kurtosis.argmax(dim=1, keepdim=True)], eigenvectors.mT[:, :1]
    u = torch.cat([*lowest, *highest], dim=1)
    n_lowest = 2 * n_starts
    # The largest is the least with its sign turned.
    sign = z.new_ones(u.shape[1])
    sign[n_lowest:] = -1
    # Rows far out, as strays of other components, would hide classes behind their fourth powers.
    near = square < D + _FAR * math.sqrt(2 * D)
    shares = weights[:, :, None] * (near | (sign < 0))
    reached, best = torch.full_like(u[:, :, 0], torch.inf), u
    for _ in range(_ITERATIONS + 1):
        coordinates = z @ u.mT
        cubes = coordinates.pow(3).mul_(shares)
        found = sign * (cubes * coordinates).sum(dim=1)
        better = found < reached
        reached = torch.where(better, found, reached)
        best = torch.where(better[:, :, None], u, best)
        u = cubes.mT @ z - 3 * u
        u = u / u.norm(dim=2, keepdim=True).clamp_min(torch.finfo(u.dtype).tiny)
    chosen = (
        reached[:, :n_lowest].argmin(dim=1),
        n_lowest + reached[:, n_lowest:].argmin(dim=1),
    )
    every = torch.arange(B, device=z.device)
    return tuple((z @ best[every, one][:, :, None]).squeeze(2) for one in chosen)


def _two_gaussians(t: Tensor, weights: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """EM of two Gaussians on marginals of every component's rows, all of unit variance.

    They differ in log density by a quadratic function of t, so that one sigmoid gives both
    responsibilities, and the sums over the first are what the second leaves of the totals.

    Parameters
    ----------
    t : Tensor of shape (M, B, m)
    weights : Tensor of shape (B, m)
    start : Tensor of shape (2, M, 2, 1)
        Means and variances of both parts, for every marginal.

    Returns
    -------
    gains : Tensor of shape (M, B)
        Of the mean log-likelihood of the component's rows, in nats.
    second : Tensor of shape (M, B, m)
        Share of the second Gaussian in every row.
    """
    means, variances = start.movedim(2, 1).expand(-1, -1, -1, t.shape[1])
    powers = torch.stack([torch.ones_like(t), t, t.square()], dim=3).mul_(weights[:, :, None])
    total = powers.sum(dim=2).movedim(2, 0)
    shares = torch.full_like(means, 0.5)
    for _ in range(_MARGINAL_STEPS):
        members = _difference(t, _coefficients(shares, means, variances)).sigmoid_()
        second = (members[:, :, None, :] @ powers).squeeze(2).movedim(2, 0)
        mass, first, square = torch.stack([total - second, second], dim=1)
        shares = mass.clamp_min(torch.finfo(mass.dtype).eps)
        means = first / shares
        variances = (square / shares - means.square()).clamp_min(_LEAST_VARIANCE)
    coefficients = _coefficients(shares, means, variances)
    difference = _difference(t, coefficients)
    excess = (weights * torch.nn.functional.softplus(difference)).sum(dim=2)
    gains = (coefficients[:, 0] * total).sum(dim=0) + excess
    return gains + 0.5 * total[2], difference.sigmoid()


def _coefficients(shares: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Log density of both parts as a polynomial, shape (3, 2, M, B), less −½ log 2π."""
    linear = means / variances
    constants = shares.log() - 0.5 * (variances.log() + means * linear)
    return torch.stack([constants, linear, -0.5 / variances])


def _difference(t: Tensor, coefficients: Tensor) -> Tensor:
    """Log density of the second part less that of the first at every row."""
    constant, linear, quadratic = (coefficients[:, 1] - coefficients[:, 0])[..., None]
    return (quadratic * t).add_(linear).mul_(t).add_(constant)
