"""Problems, and the methods that the two benchmarks of the search measure on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from estimators_common import FLOOR
from sklearn.mixture import GaussianMixture

from biglearn_core import GMM, BigLearnEM

# Options of BigLearnEM that are measured: name of the method, words for it, what is not default.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "biglearn": ("BigLearnEM", {}),
    "biglearn-plain": ("BigLearnEM, plain likelihood", {"plain_likelihood": True}),
}

Start = Literal["kmeans", "k-means++"]


@dataclass(frozen=True)
class Problem:
    """Data to be fitted.

    Parameters
    ----------
    X : float64 ndarray of shape (N, D)
        Standardised.
    labels : int ndarray of shape (N,)
        Classes from 1 on; 0 is noise, which is fitted but not scored.
    K : int
        Components that a fit has.
    truth : GMM, optional
        What the rows were drawn from, in the same units.
    """

    X: np.ndarray
    labels: np.ndarray
    K: int
    truth: GMM | None = None

    def reference(self) -> GMM:
        """Return the truth, or the moments of the classes where it is not known."""
        return self.truth if self.truth is not None else moments(self.X, self.labels)


@dataclass(frozen=True)
class Task:
    """One fit to be made.

    Parameters
    ----------
    problem : Problem
    effort : int
        Searches or starts.
    seed : int
    budget : float, optional
        Processor seconds that a method may take which is held to the time of another.
    """

    problem: Problem
    effort: int
    seed: int
    budget: float | None = None


@dataclass(frozen=True)
class Method:
    """A row of the benchmark.

    Parameters
    ----------
    name : str
        Its name on the command line and in the results.
    label : str
        Its name in tables and figures.
    fit : callable
        Gives the mixture of a task, which is then polished.
    efforts : tuple of int
    most_seeds, most_rows, most_components : int, default inf
        Where it stops to be worth its time.
    budgeted : bool
        Whether it needs `Task.budget`.
    """

    name: str
    label: str
    fit: Callable[[Task], GMM]
    efforts: tuple[int, ...] = (1,)
    most_seeds: float = math.inf
    most_rows: float = math.inf
    most_components: float = math.inf
    budgeted: bool = False

    def takes(self, problem: Problem) -> bool:
        """Whether the method is measured on a problem of this size."""
        return len(problem.X) <= self.most_rows and self.most_components >= problem.K


def moments(X: np.ndarray, labels: np.ndarray) -> GMM:
    """Mixture of the moments of the classes from 1 on, eigenvalues raised to the floor."""
    classes = [X[labels == k] for k in np.unique(labels[labels > 0])]
    covariances = []
    for rows in classes:
        values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True).reshape(2 * rows.shape[1:]))
        covariance = (vectors * np.maximum(values, FLOOR)) @ vectors.T
        covariances.append((covariance + covariance.T) / 2)
    sizes = np.array([len(rows) for rows in classes])
    return as_mixture(sizes / sizes.sum(), [rows.mean(axis=0) for rows in classes], covariances)


def as_mixture(weights: Sequence, means: Sequence, covariances: Sequence) -> GMM:
    """Mixture of NumPy's parameters."""
    return GMM(*(torch.from_numpy(np.array(p, float)) for p in (weights, means, covariances)))


def fit_variant(task: Task, **options: Any) -> GMM:
    """Fit BigLearnEM, `effort` searches."""
    model = BigLearnEM(
        task.problem.K, n_init=task.effort, random_state=task.seed, device="cpu", **options
    )
    return model.fit(task.problem.X).mixture_


def variants(*efforts: int) -> tuple[Method, ...]:
    """List the variants of BigLearnEM as methods, the default with more searches as well."""
    return tuple(
        Method(name, label, partial(fit_variant, **options), (1,) if options else efforts)
        for name, (label, options) in VARIANTS.items()
    )


def fit_restarts(task: Task, *, init: Start) -> GMM:
    """Fit scikit-learn's GaussianMixture from `effort` starts, and keep its best."""
    model = _restarts(task.problem, init=init, n_init=task.effort, seed=task.seed)
    return as_mixture(model.weights_, model.means_, model.covariances_)


def fit_restarts_in_time(task: Task, *, init: Start) -> GMM:
    """Fit from single starts, one at least, until the budget is used up, and keep the best."""
    ends = time.process_time() + task.budget
    best = None
    for start in count(1000 * task.seed):
        model = _restarts(task.problem, init=init, n_init=1, seed=start)
        if best is None or model.lower_bound_ > best.lower_bound_:
            best = model
        if time.process_time() >= ends:
            return as_mixture(best.weights_, best.means_, best.covariances_)


def _restarts(problem: Problem, *, init: Start, n_init: int, seed: int) -> GaussianMixture:
    model = GaussianMixture(
        problem.K,
        n_init=n_init,
        init_params=init,
        reg_covar=FLOOR,
        tol=1e-5,
        max_iter=500,
        random_state=seed,
    )
    return model.fit(problem.X)


def fit_reference(task: Task) -> GMM:
    """Take the truth, or the moments of the classes; the polish is then EM from there."""
    return task.problem.reference()
