"""A fitted model on rows, as the explorer shows it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import get_tags

from biglearn_core.displays.arguments import check_mixture_estimator
from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.estimators.rows import validate_rows
from biglearn_core.explorer.panels import Panel

__all__ = ["FittedOnRows"]


class FittedOnRows:
    """A fitted mixture and rows that it answers for.

    Parameters
    ----------
    estimator : MixtureEstimator
        Fitted.
    X : array-like of shape (N, D)
        NaN where missing, if the estimator allows it. Rows without a value in the columns shown
        are left out of the picture.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        When it is no estimator of a mixture, has one feature, or `X` is not what `predict` takes.
    """

    def __init__(self, estimator: MixtureEstimator, X: ArrayLike) -> None:
        check_mixture_estimator(estimator)
        if estimator.n_features_in_ < 2:
            raise ValueError(
                "the model has one feature, but two make the picture: MixtureDisplay shows it"
            )
        names = getattr(estimator, "feature_names_in_", None)
        D = estimator.n_features_in_
        self.columns = tuple(f"feature {j}" for j in range(D)) if names is None else tuple(names)
        allow_nan = get_tags(estimator).input_tags.allow_nan
        rows = validate_rows(estimator, X, allow_nan=allow_nan, reset=False)
        self.values = rows.astype(np.float64)
        self.name = type(estimator).__name__
        self._mixture = estimator.mixture_.to(device="cpu", dtype=torch.float64)
        responsibilities = estimator.predict_proba(X)
        self._labels = responsibilities.argmax(axis=1)
        self._largest = responsibilities.max(axis=1).astype(np.float64)
        self._log_likelihood = float(estimator.score(X))

    def panels(self, features: tuple[int, int], shown: np.ndarray) -> list[Panel]:
        """Say what is seen of the model in two columns.

        Parameters
        ----------
        features : pair of int
        shown : int64 ndarray of shape (n,)
            Rows that are drawn.

        Returns
        -------
        panels : list of Panel
            One.
        """
        mixture = self._mixture.marginal(list(features))
        return [
            Panel(
                title=self.name,
                task="fitted",
                log_likelihood=self._log_likelihood,
                weights=mixture.weights.numpy(),
                means=mixture.means.numpy(),
                covariances=mixture.covariances.numpy(),
                labels=self._labels[shown],
                responsibilities=self._largest[shown],
                directions=np.empty((0, 2)),
            )
        ]
