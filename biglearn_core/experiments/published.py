"""Figures that the paper's authors printed, against which this repository is held.

Source: outputs stored in the two notebooks of github.com/YulaiCong/
Big-Learning-Expectation-Maximization at commit e3764e8; figures only.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "FASHION_PEERS",
    "GMM25_JOINT_EM_FINAL_KL",
    "GMM25_MIN_KL",
    "GMM25_SEEDS",
    "PENDIGITS",
    "SCORES",
    "Quoted",
]

GMM25_SEEDS = (5079, 6395, 3325, 2580, 5755, 2488, 4515, 6607, 2432, 6064)

# Least test KL over the iterations, over the ten seeds, in nats.
GMM25_MIN_KL = MappingProxyType(
    {
        "Joint-EM": MappingProxyType(
            {
                "count": 10,
                "mean": 0.263266,
                "std": 0.034652,
                "min": 0.19538,
                "25%": 0.243661,
                "50%": 0.264564,
                "75%": 0.293947,
                "max": 0.301195,
            }
        ),
        "BigLearn-EM": MappingProxyType(
            {
                "count": 10,
                "mean": 0.030138,
                "std": 0.006392,
                "min": 0.02295,
                "25%": 0.025895,
                "50%": 0.028555,
                "75%": 0.032424,
                "max": 0.044714,
            }
        ),
    }
)

# Test KL of Joint-EM after 500 iterations, from the titles of the contour plots, in nats.
GMM25_JOINT_EM_FINAL_KL = MappingProxyType({5079: 0.30246, 6395: 0.23079, 3325: 0.29587})

# One seed (42), K = 12; BigLearn-EM scored by the mean of its last ten evaluations.
PENDIGITS = MappingProxyType(
    {
        "Joint-EM": MappingProxyType(
            {"nmi": 0.783615, "ari": 0.648063, "test_log_likelihood": 10.054336}
        ),
        "BigLearn-EM": MappingProxyType(
            {"nmi": 0.839935, "ari": 0.759315, "test_log_likelihood": 10.342240}
        ),
    }
)


class Quoted(NamedTuple):
    """Scores of a clustering of Fashion-MNIST, as its source states them.

    Parameters
    ----------
    source : str
    acc : float
    nmi, ari : float or None
        None where the source does not tell.
    """

    source: str
    acc: float
    nmi: float | None
    ari: float | None


# By the label of the method. The authors of BigLearn-EM store no figure.
FASHION_PEERS = MappingProxyType(
    {
        "K-means": Quoted("pixels; scikit-learn, ten starts", 0.4758, 0.5123, 0.3486),
        "AE + K-means": Quoted("DEC-keras", 0.6061, 0.6370, 0.4741),
        "DEC": Quoted("DEC-keras", 0.6184, 0.6509, 0.4941),
        "IDEC": Quoted("Breaking the Reclustering Barrier, ICLR 2025", 0.5359, None, None),
        "DCN": Quoted("Breaking the Reclustering Barrier, ICLR 2025", 0.4991, None, None),
        "DEC-DA": Quoted("its authors", 0.586, 0.636, None),
        "ClusterGAN": Quoted("mean of ten runs", 0.6119, 0.6157, 0.4617),
        "N2D": Quoted("paper", 0.672, 0.684, None),
    }
)

# How tables name scores of a clustering.
SCORES = MappingProxyType({"acc": "ACC", "nmi": "NMI", "ari": "ARI"})
