"""The end of a fit on rows that are read in passes: from the search on a sample to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import numpy as np
import torch

from biglearn_core.checkpoint import Checkpoint
from biglearn_core.em import EMStep, em_step
from biglearn_core.estimators.given import PassedRows
from biglearn_core.estimators.scaling import UnitScale
from biglearn_core.fit import joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult, Trace
from biglearn_core.numerics.points import FitPoints
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.missing import StreamedIncompletePoints, incomplete_em_step
from biglearn_core.search.search import MOVES, SearchHistory, SearchResult
from biglearn_core.system.processes import Processes

__all__ = ["climb_on_all"]

# Of the history of a search, in the state.
_SEARCH = "search/"


def climb_on_all(
    rows: PassedRows,
    scale: UnitScale,
    device: torch.device,
    constraint: Constraint,
    *,
    search: Callable[[], FitResult | SearchResult],
    n_iter: int,
    tol: float,
    state: Checkpoint,
) -> tuple[FitResult | SearchResult, float]:
    """Search on the sample, and take joint EM steps on all rows from what it has found.

    Parameters
    ----------
    rows : PassedRows
    scale : UnitScale
    device : torch.device
    constraint : Constraint
    search : callable
        Not called where the state has its outcome.
    n_iter, tol
        As in `fit_joint_em`.
    state : Checkpoint
        Written after the search, and after every pass.

    Returns
    -------
    result : FitResult or SearchResult
        As the search gives it, with the model, log-likelihood and steps after the last pass; the
        history of a `FitResult` is that of the passes.
    log_likelihood : float
        Mean of all rows at unit scale, in nats.
    """
    known = state.read()
    searched: FitResult | SearchResult | None = None
    if known is None:
        searched = search()
        model, trace = _shared(searched.model, rows.processes), Trace()
        history = searched.history if isinstance(searched, SearchResult) else None
        state.keep_beside({} if history is None else _arrays(history))
        state.save(model, trace, last=True)
    else:
        model, trace, arrays = known
        model = model.to(device=device)
        history = _history(arrays)
        state.keep_beside({} if history is None else _arrays(history))
    points = rows.points(scale, model.dtype, device)
    step = _stepper(points, constraint)

    def told(iteration: int, model: GMM) -> None:
        rows.progress.tell(f"pass {iteration + 1}")

    with torch.inference_mode():
        done = joint_em(step, model, trace, n_iter=n_iter, tol=tol, state=state, callback=told)
        model = _shared(done.model, rows.processes)
        log_likelihood = _mean_log_prob(points, model, step)
    done = replace(done, model=model.clone())
    if history is None:
        return done, log_likelihood
    return _as_search(searched, history, done, log_likelihood), log_likelihood


def _stepper(
    points: FitPoints | StreamedIncompletePoints, constraint: Constraint
) -> Callable[[GMM], EMStep]:
    take: Callable[..., EMStep] = em_step
    if isinstance(points, StreamedIncompletePoints):
        take = incomplete_em_step
    return partial(take, points, covariance_floor=constraint.floor, prior=constraint.prior)


def _mean_log_prob(
    points: FitPoints | StreamedIncompletePoints, model: GMM, step: Callable[[GMM], EMStep]
) -> float:
    if isinstance(points, StreamedIncompletePoints):
        return step(model).log_likelihood
    return model.mean_log_prob(points)


def _shared(model: GMM, processes: Processes) -> GMM:
    """Give all processes the model of the first, of which theirs may differ by rounding."""
    if processes.size == 1:
        return model
    parameters = map(processes.from_first, (model.weights, model.means, model.covariances))
    return model.dense().with_parameters(*parameters)


def _as_search(
    searched: FitResult | SearchResult | None,
    history: SearchHistory,
    done: FitResult,
    log_likelihood: float,
) -> SearchResult:
    """Put the passes at the end of a search."""
    n_floored = int(done.history.n_floored[-1]) if len(done.history) else 0
    n_empty = int(done.history.n_empty[-1]) if len(done.history) else 0
    row = (
        int(history.start[-1]),
        MOVES.index("joint"),
        log_likelihood,
        True,
        done.n_iter,
        n_floored,
        n_empty,
    )
    whole = SearchHistory.of([*history.rows(), row], history.stopped)
    return SearchResult(
        done.model,
        log_likelihood,
        done.converged,
        int(whole.n_steps.sum()),
        n_floored,
        n_empty,
        searched.gain_of_thinness if isinstance(searched, SearchResult) else 0.0,
        whole,
    )


def _arrays(history: SearchHistory) -> dict[str, np.ndarray]:
    return {_SEARCH + f.name: np.asarray(getattr(history, f.name)) for f in fields(history)}


def _history(arrays: dict[str, np.ndarray]) -> SearchHistory | None:
    if _SEARCH + "stopped" not in arrays:
        return None
    *columns, stopped = (arrays[_SEARCH + field.name] for field in fields(SearchHistory))
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    return SearchHistory.of(rows, str(stopped))
