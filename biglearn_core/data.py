"""What a training loop works on: a tensor or a source of rows, checked, as points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.agreement import check_alike
from biglearn_core.gmm import GMM
from biglearn_core.numerics.points import FitPoints, Points, is_near
from biglearn_core.numerics.streamed import BlockView, StreamedPoints
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.rows.survey import Survey, extent_of, survey
from biglearn_core.system.processes import Processes
from biglearn_core.validation import (
    Facts,
    check_data,
    check_mixture,
    check_sample_weight,
    check_start,
)

__all__ = ["TrainingData", "mean_log_prob"]

# Rows that are compared with the mean of all.
_SAMPLED_ROWS = 1000


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Checked data of a training loop.

    Parameters
    ----------
    facts : Facts
        Of the rows of all processes.
    processes : Processes
    tensor : Tensor of shape (N, D), optional
        The rows of this process.
    sample_weight : Tensor of shape (N,), optional
        Scaled.
    source : RowSource, optional
        The rows of this process, where they are no tensor, with their weights.
    seen : Survey, optional
        Of the source.
    """

    facts: Facts
    processes: Processes
    tensor: Tensor | None = None
    sample_weight: Tensor | None = None
    source: RowSource | None = None
    seen: Survey | None = None

    @classmethod
    def of(
        cls,
        X: Tensor | RowSource,
        init: GMM,
        *,
        sample_weight: Tensor | None,
        processes: Processes,
    ) -> TrainingData:
        """Check data, start and weights.

        Parameters
        ----------
        X : Tensor of shape (N, D) or RowSource
        init : GMM
        sample_weight : Tensor of shape (N,), optional
        processes : Processes

        Returns
        -------
        data : TrainingData

        Raises
        ------
        TypeError, ValueError
            As `fit_joint_em`.
        """
        processes.together(lambda: check_mixture(init))
        if not isinstance(X, RowSource):
            facts = Facts.of(X, processes)
            check_data(facts)
            processes.together(lambda: check_start(facts, init, n_held=X.numel()))
            weights = check_sample_weight(sample_weight, X, processes)
            return cls(facts, processes, tensor=X, sample_weight=weights)
        if sample_weight is not None:
            raise TypeError(
                "a source of rows has its weights in itself: open it with them, and leave "
                "sample_weight out"
            )
        check_alike(X.n_features, X.dtype.itemsize, processes, X.feature_names)
        seen = survey(X, _SAMPLED_ROWS, processes)
        facts = _facts(seen, X, init)
        check_data(facts)
        processes.together(lambda: check_start(facts, init, n_held=0))
        return cls(facts, processes, source=X, seen=seen)

    def points(self, chunk_size: int | None) -> FitPoints:
        """Give the data as EM steps take them.

        Parameters
        ----------
        chunk_size : int or None

        Returns
        -------
        points : FitPoints
        """
        if self.tensor is not None:
            return Points.of(
                self.tensor,
                sample_weight=self.sample_weight,
                chunk_size=chunk_size,
                processes=self.processes,
            )
        assert self.source is not None
        assert self.seen is not None
        extent, facts = self.seen.extent, self.facts
        unit = extent.weight_unit
        view = BlockView(np.zeros(facts.n_features), None, None, unit, facts.dtype, facts.device)
        mean = torch.from_numpy(extent.mean).to(facts.device, facts.dtype)
        rows = torch.from_numpy(self.seen.sample.rows).to(facts.device)
        return StreamedPoints.of(
            self.source,
            view,
            centre=mean if is_near(mean, rows) else torch.zeros_like(mean),
            total=extent.total * unit,
            chunk_size=chunk_size,
            processes=self.processes,
        )

    def describe(self) -> dict[str, str]:
        """Tell which rows and weights these are, for a checkpoint.

        Returns
        -------
        words : dict of str to str
            The same however the rows are ordered, held and divided among processes.
        """
        if self.source is not None and self.seen is not None:
            return self.seen.extent.describe(self.source.dtype)
        assert self.tensor is not None
        rows, weights = self.tensor.detach().cpu().numpy(), None
        if self.sample_weight is not None:
            weights = self.sample_weight.detach().cpu().double().numpy()
        return extent_of(Block(rows, weights)).of_all(self.processes).describe(rows.dtype)


def _facts(seen: Survey, source: RowSource, init: GMM) -> Facts:
    extent = seen.extent
    if extent.n_rows == 0:
        raise ValueError(f"{source.label} holds no row of positive weight")
    dtype = torch.from_numpy(np.empty(0, dtype=source.dtype)).dtype
    low, high, mean = map(torch.from_numpy, (extent.low, extent.high, extent.mean))
    n_bad = extent.n_incomplete + extent.n_infinite
    return Facts(extent.n_rows, source.n_features, dtype, init.device, low, high, mean, n_bad)


def mean_log_prob(
    X: Tensor | RowSource, model: GMM, sample_weight: Tensor | None, processes: Processes
) -> float:
    """Weighted mean of log p(x) over the rows of a training loop.

    Parameters
    ----------
    X, sample_weight, processes
        As in `TrainingData.of`.
    model : GMM

    Returns
    -------
    mean : float
        In nats.
    """
    data = TrainingData.of(X, model, sample_weight=sample_weight, processes=processes)
    return model.mean_log_prob(data.points(None))
