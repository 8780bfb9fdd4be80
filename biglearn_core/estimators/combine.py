"""Clusters of several components: those that overlap are merged, one pair after the other.

A mixture takes as many components as the density needs, and a cluster that is no Gaussian takes
several: components are not clusters. J.-P. Baudry, A. E. Raftery, G. Celeux, K. Lo and R. Gottardo,
"Combining mixture components for clustering", Journal of Computational and Graphical Statistics
19(2), 2010, merge those pairs that tell the rows apart least, by the entropy of the
responsibilities. The density stays that of the mixture.

This promises nothing. What overlaps may be two clusters, and what does not may be one; where
clusters themselves overlap, merging joins them as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from biglearn_core.estimators.rows import validate_weights
from biglearn_core.system.numbers import check_integer

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
    n_clusters: int | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> CombinedComponents:
    """Merge components that overlap on some rows into clusters.

    From K components down to one, always that pair is merged which lowers the entropy most (Baudry
    et al., 2010). Components are not clusters, and neither need be what this gives: see the number
    of clusters as a question, and the path of entropies as an aid.

    Parameters
    ----------
    estimator : fitted estimator
        `BigLearnEM`, `JointEM`, or another with `predict_proba`.
    X : array-like of shape (N, D)
        The rows that the entropy is taken over, as a rule those of `fit`.
    n_clusters : int, optional
        C. When not given, where the path of entropies has its elbow: two straight lines of the
        entropy over the number of clusters, which meet at C, are fitted by least squares, and C is
        where both together are nearest, of 2, ..., K − 1. All K components stay where there are
        fewer than three, or where their entropy is below 0.001 nats a row, so that none overlap.
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
        When `n_clusters` is no integer in 1..K, or `X` or the weights are refused.

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
    if n_clusters is not None:
        n_clusters = check_integer("n_clusters", n_clusters, least=1, most=K)
    weights = np.ones(N) if sample_weight is None else validate_weights(sample_weight, N)
    entropies, merges = _merge_all(proba, weights)
    if n_clusters is None:
        n_clusters = _elbow(entropies, weights.sum())
    groups = _groups(merges[: K - n_clusters], K)
    joined = np.stack([proba[:, list(group)].sum(axis=1) for group in groups], axis=1)
    labels = joined.argmax(axis=1)
    for found in (labels, joined, entropies, merges):
        found.flags.writeable = False
    return CombinedComponents(labels, joined, groups, entropies, merges)


def _merge_all(proba: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge down to one cluster; give the entropies on the way, and the pairs."""
    K = proba.shape[1]
    clusters = _Clusters(proba, weights)
    gains = np.full((K, K), -np.inf)
    for k in range(K - 1):
        gains[k, k + 1 :] = clusters.gains(k, np.arange(k + 1, K))
    alive = np.arange(K)
    entropies = [clusters.entropy(alive)]
    merges = np.empty((K - 1, 2), dtype=np.int64)
    for step in range(K - 1):
        first, second = map(int, np.unravel_index(gains.argmax(), gains.shape))
        merges[step] = first, second
        clusters.merge(first, second)
        alive = alive[alive != second]
        gains[second], gains[:, second] = -np.inf, -np.inf
        below, above = alive[alive < first], alive[alive > first]
        gains[below, first] = clusters.gains(first, below)
        gains[first, above] = clusters.gains(first, above)
        entropies.append(clusters.entropy(alive))
    entropies[-1] = 0.0  # but for rounding
    return np.array(entropies), merges


class _Clusters:
    """Posterior probabilities of clusters, and what each adds to the entropy of every row."""

    def __init__(self, proba: np.ndarray, weights: np.ndarray) -> None:
        self._shares = proba.T.copy()
        self._terms = entr(self._shares)
        self._weights = weights

    def entropy(self, clusters: np.ndarray) -> float:
        """Add up the terms of some clusters, in nats."""
        return float((self._terms[clusters] @ self._weights).sum())

    def merge(self, first: int, second: int) -> None:
        """Add the second cluster to the first."""
        self._shares[first] += self._shares[second]
        self._terms[first] = entr(self._shares[first])

    def gains(self, one: int, others: np.ndarray) -> np.ndarray:
        """Tell what merging a cluster with each of others takes from the entropy, in nats."""
        gains = np.zeros(len(others))
        size = max(1, _BATCH_NUMBERS // max(1, len(others)))
        for low in range(0, len(self._weights), size):
            rows = slice(low, low + size)
            # Row by row, since sums over all of them would drown a small overlap in rounding.
            apart = self._terms[one, rows] + self._terms[others, rows]
            together = entr(self._shares[one, rows] + self._shares[others, rows])
            gains += (apart - together) @ self._weights[rows]
        return gains


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
