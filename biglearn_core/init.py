"""Where EM starts: the paper's blind start, k-means, k-means++, random points."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import floor_eigenvalues
from biglearn_core.numerics.lowrank import LowRankCovariances
from biglearn_core.numerics.threads import one_thread_a_call

__all__ = [
    "assignment_start",
    "drawn_in",
    "kmeans_plusplus_start",
    "kmeans_start",
    "paper_start",
    "random_points_start",
]

# Scales from which on points are drawn in.
_FAR_OUT = 1e4


def paper_start(
    n_components: int,
    n_features: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> GMM:
    """Draw the paper's start: π uniform, μ_k ~ N(0, I), Σ_k = I, blind to the data's scale.

    Parameters
    ----------
    n_components : int
    n_features : int
    generator : torch.Generator
        On the CPU, so that the start is the same on every device.
    dtype : torch.dtype, default float32
    device : torch.device or str, default "cpu"

    Returns
    -------
    model : GMM

    Notes
    -----
    The means are drawn in float32, as in the reference, and then converted.
    """
    _check_components(n_components)
    means = torch.randn(n_components, n_features, generator=generator)
    return _spherical(means.to(device=device, dtype=dtype), 1.0)


def random_points_start(X: Tensor, n_components: int, *, seed: int) -> GMM:
    """Put the means on distinct rows of the data, with the covariance of all data.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_components : int
        At most N.
    seed : int

    Returns
    -------
    model : GMM
    """
    _check_components(n_components, X)
    rows = np.random.default_rng(seed).choice(X.shape[0], n_components, replace=False)
    return _with_data_covariance(X, X[torch.as_tensor(rows, device=X.device)])


def kmeans_plusplus_start(
    X: Tensor,
    n_components: int,
    *,
    seed: int,
    sample_weight: Tensor | None = None,
    positions: Tensor | None = None,
) -> GMM:
    """Put the means on rows drawn by k-means++, and assign every point to the nearest.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_components : int
        At most N.
    seed : int
    sample_weight : Tensor of shape (N,), optional
    positions : Tensor of shape (N, D), optional
        Where k-means++ sees the points; `drawn_in` gives such.

    Returns
    -------
    model : GMM
        Weights, means and covariances of the nearest-mean cells; cells without spread get the
        mean variance of all cells.
    """
    _check_components(n_components, X)
    seen = X if positions is None else positions
    data = seen.cpu().numpy()
    shares = None if sample_weight is None else sample_weight.cpu().numpy()
    centres, _ = kmeans_plusplus(data, n_components, sample_weight=shares, random_state=seed)
    centres = torch.as_tensor(centres, dtype=X.dtype, device=X.device)
    labels = torch.cdist(seen, centres).argmin(dim=1)
    return assignment_start(X, labels, n_components, sample_weight=sample_weight)


def kmeans_start(
    X: Tensor,
    n_components: int,
    *,
    seed: int,
    n_init: int = 1,
    sample_weight: Tensor | None = None,
    positions: Tensor | None = None,
) -> GMM:
    """Run k-means and take its clusters' weights, means and covariances.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    n_components : int
        At most N.
    seed : int
    n_init : int, default 1
        Runs of k-means, the best of which is taken.
    sample_weight : Tensor of shape (N,), optional
    positions : Tensor of shape (N, D), optional
        Where k-means sees the points; `drawn_in` gives such.

    Returns
    -------
    model : GMM
    """
    _check_components(n_components, X)
    with one_thread_a_call(), warnings.catch_warnings():
        # Fewer distinct points than components: the empty clusters are given a place below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = KMeans(n_components, n_init=n_init, random_state=seed).fit_predict(
            (X if positions is None else positions).cpu().numpy(),
            sample_weight=None if sample_weight is None else sample_weight.cpu().numpy(),
        )
    labels = torch.as_tensor(labels, device=X.device).long()
    return assignment_start(X, labels, n_components, sample_weight=sample_weight)


def drawn_in(X: Tensor) -> Tensor:
    """Draw rows that are far out nearer, for arithmetic that would lose the others' digits.

    Parameters
    ----------
    X : Tensor of shape (N, D)
        At unit scale.

    Returns
    -------
    positions : Tensor of shape (N, D)
        Unchanged up to ten thousand scales, beyond that growing with the logarithm, so that what is
        apart stays apart.
    """
    if X.abs().amax() <= _FAR_OUT:
        return X
    excess = (X.abs() / _FAR_OUT).clamp_min(1)
    return torch.where(excess > 1, X.sign() * _FAR_OUT * (1 + excess.log()), X)


def assignment_start(
    X: Tensor, labels: Tensor, n_components: int, *, sample_weight: Tensor | None = None
) -> GMM:
    """Weights, means and covariances of given clusters: one M-step from hard labels.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    labels : int64 Tensor of shape (N,)
        In 0..K−1.
    n_components : int
    sample_weight : Tensor of shape (N,), optional

    Returns
    -------
    model : GMM
        Covariances are floored at a thousandth of the mean variance within clusters, so that
        clusters of few points start with a spread; an empty cluster starts at the data mean.
    """
    shares = X.new_ones(X.shape[0]) if sample_weight is None else sample_weight.to(X.dtype)
    shares = shares / shares.sum()
    weights = X.new_zeros(n_components).index_add_(0, labels, shares)
    means = (shares @ X).repeat(n_components, 1)
    covariances = X.new_zeros(n_components, X.shape[1], X.shape[1])
    for k in weights.nonzero().squeeze(1).tolist():
        members = labels == k
        share = shares[members] / weights[k]
        means[k] = share @ X[members]
        residuals = X[members] - means[k]
        covariances[k] = residuals.T @ (share[:, None] * residuals)
    variances = covariances.diagonal(dim1=1, dim2=2).mean(dim=1)
    # Not far from the typical variance: one cluster around a row far out is not typical, nor is the
    # single row that has all the weight.
    typical = variances[weights > 0].median()
    within = (weights @ variances).clamp(1e-6 * typical, 10 * typical).item()
    floor = 1e-3 * within if within > 0 else _overall_variance(X)
    covariances, _ = floor_eigenvalues(covariances, floor)
    # A sum of so many shares is one but for their rounding.
    return GMM.unchecked(weights / weights.sum(), means, covariances)


def _with_data_covariance(X: Tensor, means: Tensor) -> GMM:
    K = means.shape[0]
    residuals = X - X.mean(dim=0)
    covariance = residuals.T @ residuals / X.shape[0]
    covariances, _ = floor_eigenvalues(covariance[None], 1e-3 * _overall_variance(X))
    weights = X.new_full((K,), 1 / K)
    return GMM.unchecked(weights, means.clone(), covariances.expand(K, -1, -1).clone())


def _spherical(means: Tensor, variance: float) -> GMM:
    K, D = means.shape
    weights = means.new_full((K,), 1 / K)
    identity = torch.eye(D, dtype=means.dtype, device=means.device)
    return GMM.unchecked(
        weights,
        means,
        (variance * identity).repeat(K, 1, 1),
        LowRankCovariances.spherical(means, variance),
    )


def _overall_variance(X: Tensor) -> float:
    """Mean variance of the coordinates; one where all points coincide."""
    return (X - X.mean(dim=0)).square().mean().item() or 1.0


def _check_components(n_components: int, X: Tensor | None = None) -> None:
    if n_components < 1:
        raise ValueError(f"n_components must be at least 1, got {n_components}")
    if X is not None and X.shape[0] < n_components:
        raise ValueError(
            f"n_components={n_components} needs as many points, got {X.shape[0]}: use fewer "
            "components or more data"
        )
