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

__all__ = ["Counts", "summarise"]


class Counts:
    """Rows of every component, and how uncertain they are.

    Parameters
    ----------
    n_components : int
        K.
    """

    def __init__(self, n_components: int) -> None:
        self.rows = np.zeros(n_components, dtype=np.int64)
        self._uncertain = np.zeros(n_components)

    def add(self, responsibilities: np.ndarray) -> None:
        """Count some rows.

        Parameters
        ----------
        responsibilities : float64 ndarray of shape (K, n)
        """
        labels, uncertain = responsibilities.argmax(axis=0), 1 - responsibilities.max(axis=0)
        self.rows += np.bincount(labels, minlength=len(self.rows))
        self._uncertain += np.bincount(labels, uncertain, minlength=len(self.rows))

    @property
    def uncertainty(self) -> np.ndarray:
        """Mean of 1 − max_k r_nk over the rows of every component; NaN where there is none."""
        unknown = np.full(len(self.rows), np.nan)
        return np.divide(self._uncertain, self.rows, out=unknown, where=self.rows > 0)


def summarise(
    mixture: GMM, feature_names: Sequence[str], counted: Counts | None = None
) -> pandas.DataFrame:
    """Describe every component of a mixture.

    Parameters
    ----------
    mixture : GMM
        On the CPU.
    feature_names : sequence of D str
    counted : Counts, optional
        Of rows, where some are given.

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
    if counted is not None:
        columns["rows"] = counted.rows
    columns |= {f"mean {n}": column for n, column in zip(feature_names, means.T, strict=True)}
    columns |= {f"sd {n}": column for n, column in zip(feature_names, deviations.T, strict=True)}
    columns["volume"] = factors.log().sum(dim=1).numpy()
    if counted is not None:
        columns["uncertainty"] = counted.uncertainty
    return frame(columns, index=range(len(means)))
