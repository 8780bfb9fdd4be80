"""Clusters of several components: those that overlap are merged, one pair after the other.

A mixture takes as many components as the density needs, and a cluster that is no Gaussian takes
several: components are not clusters. J.-P. Baudry, A. E. Raftery, G. Celeux, K. Lo and R. Gottardo,
"Combining mixture components for clustering", Journal of Computational and Graphical Statistics
19(2), 2010, merge that pair first which takes most from the entropy of the responsibilities. That
favours large clusters, whose many rows add up to much where they overlap little; here a pair counts
by the share of its own entropy that the rows leave. The density stays that of the mixture.

This promises nothing. What overlaps may be two clusters, and what does not may be one; where
clusters themselves overlap, merging joins them as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, rel_entr

from biglearn_core.estimators.rows import validate_weights
from biglearn_core.system.numbers import check_integer, check_real

__all__ = ["CombinedComponents", "combine_components"]

# Entropy of a row, in nats, below which components do not overlap.
_NO_OVERLAP = 1e-3

# Numbers that are worked on at once.
_BATCH_NUMBERS = 2_000_000


class _Mixture(Protocol):
    """Whatever tells the posterior probabilities of its components."""

    @property
    def predict_proba(self) -> Callable[[ArrayLike], np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class CombinedComponents:
    """Clusters that are made of the components of a mixture; the arrays are read-only.

    Parameters
    ----------
    labels : int64 ndarray of shape (N,)
        Most probable cluster of every row.
    proba : float64 ndarray of shape (N, C)
        Posterior probability of every cluster: the sum of those of its components.
    groups : tuple of C tuples of int
        Components of every cluster, in increasing order; clusters in the order of their first ones.
    entropies : float64 ndarray of shape (K,)
        −Σ_n w_n Σ_c t_nc log t_nc with K clusters, K − 1, ..., 1; in nats. The last is zero.
    merges : int64 ndarray of shape (K − 1, 2)
        The pair that is merged at every step from K to 1, each by its first component; the smaller
        first, by which what they make is called.
    overlaps : float64 ndarray of shape (K − 1,)
        How much the pair of every step overlaps, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import BigLearnEM, combine_components
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) + np.repeat([[0, 0], [20, 0]], 150, 0)
    >>> combined = combine_components(BigLearnEM(2, random_state=0).fit(X), X)
    >>> combined.n_clusters, combined.groups
    (2, ((0,), (1,)))
    """

    labels: np.ndarray
    proba: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    entropies: np.ndarray
    merges: np.ndarray
    overlaps: np.ndarray

    @property
    def n_clusters(self) -> int:
        """Number of clusters C."""
        return len(self.groups)

    def __repr__(self) -> str:
        K, C = len(self.entropies), self.n_clusters
        return f"CombinedComponents({K} components in {C} clusters: {list(self.groups)})"


def combine_components(
    estimator: _Mixture,
    X: ArrayLike,
    n_clusters: int | Literal["elbow"] | None = None,
    *,
    least_overlap: float = 0.1,
    sample_weight: ArrayLike | None = None,
) -> CombinedComponents:
    """Merge components that overlap on some rows into clusters.

    From K components down to one, always that pair is merged which overlaps most. The overlap of
    two clusters is the share of the entropy of "which of both?" that is left when the row is known:

        Σ_n w_n [η(t_na) + η(t_nb) − η(t_na + t_nb)] / [η(m_a) + η(m_b) − η(m_a + m_b)],

    with η(t) = −t log t and m_c = Σ_n w_n t_nc; the numerator is what merging takes from the
    entropy (Baudry et al., 2010). It is 0 where every row tells them apart and 1 where none does.
    Two Gaussians of equal weights overlap by 0.51, 0.24, 0.09 and 0.02 where they lie 2, 3, 4 and 5
    standard deviations apart.

    Parameters
    ----------
    estimator : fitted estimator
        `BigLearnEM`, `JointEM`, or another with `predict_proba`.
    X : array-like of shape (N, D)
        The rows that overlaps are taken over, as a rule those of `fit`.
    n_clusters : int or "elbow", optional
        C. When not given, pairs are merged as long as one overlaps by `least_overlap`. With
        "elbow", down to where the path of entropies has its elbow, as Baudry et al. read it off a
        plot: two straight lines of the entropy over the number of clusters, which meet at C, are
        fitted by least squares, and C is where both together are nearest, of 2, ..., K − 1. That
        may find clusters along curves, whose components barely overlap; it merges components that
        are clusters as well. All K stay where there are fewer than three, or where their entropy is
        below 0.001 nats a row.
    least_overlap : float, default 0.1
        From 0 to 1, where `n_clusters` is not given.
    sample_weight : array-like of shape (N,), optional
        Non-negative.

    Returns
    -------
    combined : CombinedComponents

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        When `n_clusters` is neither an integer in 1..K nor "elbow", `least_overlap` is out of
        range, or `X` or the weights are refused.

    Notes
    -----
    A row with gaps is uncertain for want of values, not since components overlap, and counts all
    the same: give it no weight where that misleads.

    The time is that of about N K² logarithms, some seconds for N = 10⁵ and K = 30, and the memory
    that of four tables of N × K numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from biglearn_core import BigLearnEM, combine_components
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 2)) + np.repeat([[0, 0], [2, 0], [20, 0]], 200, axis=0)
    >>> combined = combine_components(BigLearnEM(3, random_state=0).fit(X), X, n_clusters=2)
    >>> np.bincount(combined.labels).tolist() in ([400, 200], [200, 400])
    True
    """
    proba = estimator.predict_proba(X).astype(np.float64)
    proba /= proba.sum(axis=1, keepdims=True)
    N, K = proba.shape
    if isinstance(n_clusters, str):
        if n_clusters != "elbow":
            raise ValueError(f"n_clusters must be an integer or 'elbow', got {n_clusters!r}")
    elif n_clusters is not None:
        n_clusters = check_integer("n_clusters", n_clusters, least=1, most=K)
    least_overlap = check_real("least_overlap", least_overlap, least=0, most=1)
    weights = np.ones(N) if sample_weight is None else validate_weights(sample_weight, N)
    entropies, merges, overlaps = _merge_all(proba, weights)
    if n_clusters is None:
        apart = overlaps < least_overlap
        n_clusters = K - int(apart.argmax() if apart.any() else K - 1)
    elif n_clusters == "elbow":
        n_clusters = _elbow(entropies, weights.sum())
    groups = _groups(merges[: K - n_clusters], K)
    joined = np.stack([proba[:, list(group)].sum(axis=1) for group in groups], axis=1)
    labels = joined.argmax(axis=1)
    for found in (labels, joined, entropies, merges, overlaps):
        found.flags.writeable = False
    return CombinedComponents(labels, joined, groups, entropies, merges, overlaps)


def _merge_all(proba: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge down to one cluster; give the entropies on the way, the pairs and their overlaps."""
    K = proba.shape[1]
    clusters = _Clusters(proba, weights)
    of_pairs = np.full((K, K), -np.inf)
    for k in range(K - 1):
        of_pairs[k, k + 1 :] = clusters.overlaps(k, np.arange(k + 1, K))
    alive = np.arange(K)
    entropies = [clusters.entropy(alive)]
    merges, overlaps = np.empty((K - 1, 2), dtype=np.int64), np.empty(K - 1)
    for step in range(K - 1):
        first, second = map(int, np.unravel_index(of_pairs.argmax(), of_pairs.shape))
        merges[step], overlaps[step] = (first, second), of_pairs[first, second]
        clusters.merge(first, second)
        alive = alive[alive != second]
        of_pairs[second], of_pairs[:, second] = -np.inf, -np.inf
        below, above = alive[alive < first], alive[alive > first]
        of_pairs[below, first] = clusters.overlaps(first, below)
        of_pairs[first, above] = clusters.overlaps(first, above)
        entropies.append(clusters.entropy(alive))
    entropies[-1] = 0.0  # but for rounding
    return np.array(entropies), merges, overlaps


class _Clusters:
    """Posterior probabilities of clusters, and what each adds to the entropy of every row."""

    def __init__(self, proba: np.ndarray, weights: np.ndarray) -> None:
        self._shares = proba.T.copy()
        self._terms = entr(self._shares)
        self._weights = weights
        self._masses = self._shares @ weights

    def entropy(self, clusters: np.ndarray) -> float:
        """Add up the terms of some clusters, in nats."""
        return float((self._terms[clusters] @ self._weights).sum())

    def merge(self, first: int, second: int) -> None:
        """Add the second cluster to the first."""
        self._shares[first] += self._shares[second]
        self._terms[first] = entr(self._shares[first])
        self._masses[first] += self._masses[second]

    def overlaps(self, one: int, others: np.ndarray) -> np.ndarray:
        """Tell how much a cluster overlaps with each of others."""
        left = np.zeros(len(others))
        size = max(1, _BATCH_NUMBERS // max(1, len(others)))
        for low in range(0, len(self._weights), size):
            rows = slice(low, low + size)
            # Row by row, since sums over all of them would drown a small overlap in rounding.
            apart = self._terms[one, rows] + self._terms[others, rows]
            together = entr(self._shares[one, rows] + self._shares[others, rows])
            left += (apart - together) @ self._weights[rows]
        masses = self._masses[one], self._masses[others]
        whole = -sum(rel_entr(mass, sum(masses)) for mass in masses)
        # Without any row, there is nothing to tell apart.
        overlaps = np.divide(left, whole, out=np.zeros(len(others)), where=whole > 0)
        return overlaps.clip(0, 1)


def _elbow(entropies: np.ndarray, n_rows: float) -> int:
    """Choose the number of clusters at which two straight lines through the entropies meet."""
    K = len(entropies)
    if K < 3 or entropies[0] < _NO_OVERLAP * n_rows:
        return K
    numbers, values = np.arange(1, K + 1), entropies[::-1]

    def misfit(n_clusters: int) -> float:
        parts = slice(n_clusters), slice(n_clusters - 1, K)
        return sum(_squares_left(numbers[part], values[part]) for part in parts)

    return min(range(2, K), key=misfit)


def _squares_left(x: np.ndarray, y: np.ndarray) -> float:
    """Sum the squares that a straight line leaves."""
    line = np.stack([np.ones(len(x)), x], axis=1)
    coefficients, *_ = np.linalg.lstsq(line, y)
    return float(((y - line @ coefficients) ** 2).sum())


def _groups(merges: np.ndarray, n_components: int) -> tuple[tuple[int, ...], ...]:
    members = {k: [k] for k in range(n_components)}
    for first, second in merges.tolist():
        members[first] = sorted(members[first] + members.pop(second))
    return tuple(map(tuple, members.values()))
