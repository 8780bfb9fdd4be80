"""Joint-EM and BigLearn-EM on the same rows from the same start, one task at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from biglearn_core.data import TrainingData
from biglearn_core.explorer.panels import Panel, directions_of, task_in_words
from biglearn_core.explorer.settings import Settings, start_of
from biglearn_core.explorer.tables import Table
from biglearn_core.gmm import GMM
from biglearn_core.matching import Schedule, Task, run_task
from biglearn_core.numerics.points import FitPoints
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.system.processes import Processes
from biglearn_core.validation import check_log_likelihood, check_options

__all__ = ["METHODS", "SideBySide", "SteppedFit"]

METHODS = ("Joint-EM", "BigLearn-EM")


class SteppedFit:
    """A fit that goes on by one task when it is asked to.

    Parameters
    ----------
    name : str
    points : FitPoints
    start : GMM
    schedule : Schedule, optional
        Of the tasks; all are joint when not given.
    n_local_steps : int
        EM steps a task.
    covariance_floor, weight_smoothing : float
        As in `em_step`.

    Attributes
    ----------
    model : GMM
        After the last task; `fit_biglearn_em`, or `fit_joint_em` with W iterations a task, has the
        same to the last bit.
    task : Task or None
        The last one.
    log_likelihood : list of float
        Mean over the rows in nats, at the start and after every task.
    """

    def __init__(
        self,
        name: str,
        points: FitPoints,
        start: GMM,
        *,
        schedule: Schedule | None = None,
        n_local_steps: int,
        covariance_floor: float,
        weight_smoothing: float,
    ) -> None:
        self.name = name
        self.model = start
        self.task: Task | None = None
        self._points = points
        self._schedule = schedule
        self._options: dict[str, Any] = {
            "n_local_steps": n_local_steps,
            "covariance_floor": covariance_floor,
            "weight_smoothing": weight_smoothing,
        }
        self.log_likelihood = [start.mean_log_prob(points)]

    def step(self) -> None:
        """Match the next law.

        Raises
        ------
        ValueError
            When the fit has failed in numbers; it is then as it was.
        """
        iteration = len(self.log_likelihood) - 1
        joint = Task("joint")
        task = joint if self._schedule is None else self._schedule.task(iteration)
        step = run_task(task, self._points, self.model, prior=None, **self._options)
        check_log_likelihood(step.log_likelihood, iteration, self.model.dtype)
        value = step.model.mean_log_prob(self._points)
        self.model, self.task = step.model, task
        self.log_likelihood.append(value)


class SideBySide:
    """Both fits of one table.

    Parameters
    ----------
    table : Table
    settings : Settings

    Attributes
    ----------
    fits : tuple of SteppedFit
        Joint-EM and BigLearn-EM.
    start : GMM
        Of both.

    Raises
    ------
    TypeError, ValueError
        As `fit_biglearn_em`; when a start from the data has more components than there are rows.
    """

    def __init__(self, table: Table, settings: Settings) -> None:
        self.table, self.settings = table, settings
        self.start = start_of(table, settings)
        data = TrainingData.of(
            table.X, self.start, sample_weight=None, processes=Processes.of(None)
        )
        _, options = check_options(
            data.facts,
            n_iter=0,
            covariance_floor=settings.covariance_floor,
            weight_smoothing=settings.smoothing,
            callback=None,
            chunk_size=None,
        )
        floor, W = options["covariance_floor"], settings.n_local_steps
        with torch.inference_mode(), one_thread_an_operation():
            points = data.points(None)
            joint = SteppedFit(
                METHODS[0],
                points,
                self.start,
                n_local_steps=W,
                covariance_floor=floor,
                weight_smoothing=0.0,
            )
            biglearn = SteppedFit(
                METHODS[1],
                points,
                self.start,
                schedule=settings.schedule(len(table.columns)),
                n_local_steps=W,
                covariance_floor=floor,
                weight_smoothing=options["weight_smoothing"],
            )
        self.fits = (joint, biglearn)

    @property
    def n_tasks(self) -> int:
        """Tasks that both fits have done."""
        return len(self.fits[-1].log_likelihood) - 1

    @property
    def n_steps(self) -> int:
        """EM steps that each of the fits has taken."""
        return self.n_tasks * self.settings.n_local_steps

    def step(self, n_tasks: int = 1) -> None:
        """Let both fits go on.

        Parameters
        ----------
        n_tasks : int, default 1

        Raises
        ------
        ValueError
            When a fit has failed in numbers.
        """
        with torch.inference_mode(), one_thread_an_operation():
            for _ in range(n_tasks):
                for fit in self.fits:
                    fit.step()

    def panels(self, features: tuple[int, int], shown: np.ndarray) -> list[Panel]:
        """Say what is seen of both fits in two columns.

        Parameters
        ----------
        features : pair of int
        shown : int64 ndarray of shape (n,)
            Rows that are drawn.

        Returns
        -------
        panels : list of Panel
        """
        with one_thread_an_operation():
            return [self._panel(fit, features, shown) for fit in self.fits]

    def _panel(self, fit: SteppedFit, features: tuple[int, int], shown: np.ndarray) -> Panel:
        table, model, plane = self.table, fit.model, list(features)
        evaluation = model.evaluate(table.X[torch.from_numpy(shown)])
        largest, labels = evaluation.responsibilities().max(dim=0)
        scale = table.scale[plane]
        covariances = model.covariances[:, plane][:, :, plane].numpy()
        return Panel(
            title=fit.name,
            task=task_in_words(fit.task, table.columns, features),
            log_likelihood=fit.log_likelihood[-1],
            weights=model.weights.numpy(),
            means=model.means[:, plane].numpy() * scale + table.offset[plane],
            covariances=covariances * np.outer(scale, scale),
            labels=labels.numpy(),
            responsibilities=largest.numpy(),
            directions=directions_of(fit.task, features) * scale,
        )
