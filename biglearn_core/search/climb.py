"""Joint EM steps to convergence, ending on the model that was evaluated last."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from biglearn_core.em import EMStep
from biglearn_core.gmm import GMM

__all__ = ["Climb", "climb"]

# Steps of the last gain that a climb towards a goal may be away from it.
_HORIZON = 10


@dataclass(frozen=True)
class Climb:
    """A model with its log-likelihood, and how it was reached.

    Parameters
    ----------
    model : GMM
    log_likelihood : float
        Mean log p(x) of that very model, in nats.
    n_floored : int
        Components with an eigenvalue that the last step raised to the floor.
    n_empty : int
        Components with less than 1e-5 of the data in the last step.
    n_steps : int
        EM steps taken.
    converged : bool
        Whether the last step gained less than the tolerance.
    """

    model: GMM
    log_likelihood: float
    n_floored: int
    n_empty: int
    n_steps: int
    converged: bool


def climb(
    step: Callable[[GMM], EMStep],
    model: GMM,
    *,
    n_iter: int,
    tol: float,
    goal: float = -math.inf,
) -> Climb:
    """Take EM steps while they gain.

    Parameters
    ----------
    step : callable
        One EM step from a model.
    model : GMM
    n_iter : int
        Steps at most, besides the one that evaluates the last model.
    tol : float
        Gain of the mean log-likelihood that is too small to go on, in nats.
    goal : float, optional
        Mean log-likelihood to reach: the climb is given up once some more steps of the last gain
        would not get there.

    Returns
    -------
    climb : Climb
        Never less likely than `model`: a step that the covariance floor turned downhill is taken
        back.
    """
    current = step(model)
    n_steps, converged = 1, False
    while n_steps <= n_iter and not converged:
        following = step(current.model)
        n_steps += 1
        gain = following.log_likelihood - current.log_likelihood
        converged = gain < tol
        if gain < 0 or following.log_likelihood + _HORIZON * gain < goal:
            break
        model, current = current.model, following
    return Climb(
        model, current.log_likelihood, current.n_floored, current.n_empty, n_steps, converged
    )
