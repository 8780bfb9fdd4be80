"""What a fit has come to, and what it looked like iteration by iteration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from biglearn_core.em import EMStep
from biglearn_core.gmm import GMM
from biglearn_core.matching import TASK_KINDS, Task
from biglearn_core.system.persistence import take_columns
from biglearn_core.validation import check_finite_model

__all__ = ["FitResult", "History", "Trace"]


@dataclass(frozen=True)
class History:
    """Trace of a fit, one entry per iteration.

    Parameters
    ----------
    task : int8 ndarray of shape (n_iter,)
        Position in `matching.TASK_KINDS`: joint 0, marginal 1, transformed marginal 2.
    n_coordinates : int64 ndarray of shape (n_iter,)
        Size of T.
    log_likelihood : float64 ndarray of shape (n_iter,)
        Mean log p(y_T) before the last local step, in nats; of all coordinates in joint tasks.
    n_floored : int64 ndarray of shape (n_iter,)
        Components with an eigenvalue that the last local step raised to the floor.
    n_empty : int64 ndarray of shape (n_iter,)
        Components with less than 1e-5 of the data in the last local step.
    """

    task: np.ndarray
    n_coordinates: np.ndarray
    log_likelihood: np.ndarray
    n_floored: np.ndarray
    n_empty: np.ndarray

    def __len__(self) -> int:
        return len(self.task)


@dataclass(frozen=True)
class FitResult:
    """Outcome of a fit.

    Parameters
    ----------
    model : GMM
        After the last iteration.
    history : History
    n_iter : int
        Iterations done, those before a resume counted in.
    converged : bool
        Whether the log-likelihood rose by less than `tol` (always False for BigLearn-EM, which runs
        its schedule to the end).

    Examples
    --------
    >>> import torch
    >>> from biglearn_core import GMM, fit_joint_em
    >>> X = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    >>> result = fit_joint_em(X, GMM([1.0], [[0.0]], [[[1.0]]]), n_iter=9, tol=1e-6,
    ...                       covariance_floor=1e-5)
    >>> result.converged, result.n_iter, round(result.model.covariances.item(), 4)
    (True, 3, 0.34)
    """

    model: GMM
    history: History
    n_iter: int
    converged: bool

    @classmethod
    def of(cls, model: GMM, trace: Trace, *, converged: bool = False) -> FitResult:
        """Collect what a training loop has come to.

        Parameters
        ----------
        model : GMM
            Perhaps of inference mode, whose tensors autograd refuses: the result holds copies.
        trace : Trace
        converged : bool, default False

        Returns
        -------
        result : FitResult

        Raises
        ------
        ValueError
            When a parameter of the model is not finite.
        """
        check_finite_model(model)
        return cls(model.clone(), trace.freeze(), len(trace), converged)


class Trace:
    """History in the making.

    Parameters
    ----------
    rows : list of tuple, optional
        Fields of `History`, one row per iteration; none when not given.
    """

    def __init__(self, rows: list[tuple] | None = None) -> None:
        self._rows = rows or []

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, task: Task, step: EMStep) -> None:
        """Add an iteration.

        Parameters
        ----------
        task : Task
        step : EMStep
            The last of its local steps.
        """
        kind = TASK_KINDS.index(task.kind)
        size = step.model.n_features if task.index is None else len(task.index)
        self._rows.append((kind, size, step.log_likelihood, step.n_floored, step.n_empty))

    def freeze(self) -> History:
        """Give what has been added up to now."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(fields(History))
        types = (np.int8, np.int64, np.float64, np.int64, np.int64)
        return History(*(np.array(c, dtype=t) for c, t in zip(columns, types, strict=True)))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, source: str) -> Trace:
        """Go on from the columns of a `History`.

        Parameters
        ----------
        arrays : mapping of str to ndarray
        source : str
            What an error calls them.

        Returns
        -------
        trace : Trace

        Raises
        ------
        ValueError
            When a column is absent, or columns differ in length.
        """
        columns = take_columns(arrays, [field.name for field in fields(History)], source=source)
        return cls(list(zip(*(column.tolist() for column in columns), strict=True)))
