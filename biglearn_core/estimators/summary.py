"""The components of a mixture as a table, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from biglearn_core.estimators.frames import frame
from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import cholesky

if TYPE_CHECKING:
    import pandas

__all__ = ["summarise"]


def summarise(
    mixture: GMM, feature_names: Sequence[str], responsibilities: np.ndarray | None = None
) -> pandas.DataFrame:
    """Describe every component of a mixture.

    Parameters
    ----------
    mixture : GMM
        On the CPU.
    feature_names : sequence of D str
    responsibilities : float64 ndarray of shape (K, N), optional
        Of rows, which are counted where they are given.

    Returns
    -------
    table : pandas.DataFrame
        As `MixtureEstimator.summary` tells.

    Raises
    ------
    ImportError
        Without pandas.
    """
    means = mixture.means.double().numpy()
    covariances = mixture.covariances.double()
    deviations = covariances.diagonal(dim1=1, dim2=2).sqrt().numpy()
    factors = cholesky(covariances).diagonal(dim1=1, dim2=2)
    columns: dict[str, Any] = {"weight": mixture.weights.double().numpy()}
    if responsibilities is not None:
        labels, uncertain = responsibilities.argmax(axis=0), 1 - responsibilities.max(axis=0)
        rows = np.bincount(labels, minlength=len(means))
        total = np.bincount(labels, uncertain, minlength=len(means))
        columns["rows"] = rows
    columns |= {f"mean {n}": column for n, column in zip(feature_names, means.T, strict=True)}
    columns |= {f"sd {n}": column for n, column in zip(feature_names, deviations.T, strict=True)}
    columns["volume"] = factors.log().sum(dim=1).numpy()
    if responsibilities is not None:
        columns["uncertainty"] = np.divide(
            total, rows, out=np.full(len(rows), np.nan), where=rows > 0
        )
    return frame(columns, index=range(len(means)))
