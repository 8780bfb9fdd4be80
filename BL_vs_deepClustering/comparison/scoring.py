"""Scores of a peer's clusters, as they are saved."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from biglearn_core.metrics import score_labels
from BL_vs_deepClustering.peers.training import Clustering

__all__ = ["scored"]


def scored(
    clustering: Clustering, classes: np.ndarray
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Score clusters against the classes, which nothing before this has seen.

    Parameters
    ----------
    clustering : Clustering
    classes : int ndarray of shape (N,)

    Returns
    -------
    summary : dict
        JSON-able: scores of the final model, and the numbers that the clustering tells of itself.
    arrays : dict of str to ndarray
        "score/acc", "score/nmi" and "score/ari", a value per row of the history; "curve/..." as the
        clustering has them; "clusters" of the final model.
    """
    scores = [score_labels(classes, clusters) for clusters in clustering.history]
    own = ("seconds", "n_parameters", "n_steps", "converged")
    summary = {
        "final": asdict(score_labels(classes, clustering.clusters)),
        **{name: getattr(clustering, name) for name in own},
    }
    arrays = {f"score/{n}": np.array([getattr(s, n) for s in scores]) for n in summary["final"]}
    arrays |= {f"curve/{name}": np.asarray(curve) for name, curve in clustering.curves.items()}
    return summary, arrays | {"clusters": clustering.clusters}
