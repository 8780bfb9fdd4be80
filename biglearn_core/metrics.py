"""Scores of a mixture: Kullback-Leibler divergences to the truth, agreement with labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.diagonal import DiagonalDensity
from biglearn_core.numerics.points import Points

__all__ = ["ClusteringScores", "Divergences", "KLEvaluator", "clustering_accuracy", "score_labels"]


@dataclass(frozen=True)
class Divergences:
    """Empirical Kullback-Leibler divergences from the truth q to a model p, in nats.

    Parameters
    ----------
    joint : float
        Mean of log q(x) − log p(x).
    marginal : tuple of float, length D
        The same for every single coordinate.
    conditional : tuple of float, length D
        Of all other coordinates given one: joint minus its marginal.
    """

    joint: float
    marginal: tuple[float, ...]
    conditional: tuple[float, ...]


class KLEvaluator:
    """Divergences from a known truth to models, on fixed points.

    Parameters
    ----------
    truth : GMM
        The law q that the points were drawn from.
    X : Tensor of shape (N, D)
    """

    def __init__(self, truth: GMM, X: Tensor) -> None:
        self._points = Points.of(X)
        coordinates = (torch.tensor([i], device=X.device) for i in range(truth.n_features))
        self._views = [(i, self._points.project(i, None)) for i in coordinates]
        self._entropies = self._mean_log_probs(truth)

    @torch.inference_mode()
    def __call__(self, model: GMM) -> Divergences:
        """Evaluate a model.

        Parameters
        ----------
        model : GMM
            Of the dtype and on the device of the points.

        Returns
        -------
        divergences : Divergences
        """
        log_probs = self._mean_log_probs(model)
        pairs = zip(self._entropies, log_probs, strict=True)
        joint, *marginal = (entropy - log_prob for entropy, log_prob in pairs)
        return Divergences(joint, tuple(marginal), tuple(joint - kl for kl in marginal))

    def _mean_log_probs(self, model: GMM) -> list[float]:
        """Mean log-densities of the joint law and of every coordinate's."""
        joint = model.mean_log_prob(self._points)
        density = DiagonalDensity.of_coordinates(
            self._points, model.weights, model.means, model.covariances
        )
        if density is not None:
            return [joint, *density.mean_log_probs(self._points, model.n_features)]
        return [joint, *(model.marginal(i).mean_log_prob(view) for i, view in self._views)]


@dataclass(frozen=True)
class ClusteringScores:
    """Agreement of clusters with classes.

    Parameters
    ----------
    nmi : float
        Normalised mutual information, arithmetic mean (scikit-learn's default).
    ari : float
        Adjusted Rand index.
    acc : float
        Accuracy under the best one-to-one matching of clusters to classes.
    """

    nmi: float
    ari: float
    acc: float


def score_labels(classes: ArrayLike, clusters: ArrayLike) -> ClusteringScores:
    """Score a clustering against known classes.

    Parameters
    ----------
    classes, clusters : array-like of int, shape (N,)

    Returns
    -------
    scores : ClusteringScores
    """
    return ClusteringScores(
        nmi=float(normalized_mutual_info_score(classes, clusters)),
        ari=float(adjusted_rand_score(classes, clusters)),
        acc=clustering_accuracy(classes, clusters),
    )


def clustering_accuracy(classes: ArrayLike, clusters: ArrayLike) -> float:
    """Share of points in the class that their cluster is matched to.

    Parameters
    ----------
    classes, clusters : array-like of int, shape (N,)
        Their numbers of distinct values may differ; the surplus stays unmatched.

    Returns
    -------
    accuracy : float
        Under the one-to-one matching of clusters to classes that makes it largest.
    """
    table = contingency_matrix(classes, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / np.size(classes))
