"""The matching tasks: which coordinates are given, and which are learnt (our reading of the paper).

A task is a pair (S, T) of disjoint sets of units, T not empty: the law of x_T given x_S. S empty
and T everything is the joint law, S empty a marginal, the rest are conditionals.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_core.system.numbers import check_real

__all__ = ["TaskLaw", "Tasks"]


@dataclass(frozen=True, eq=False)
class Tasks:
    """A task for every row of a batch.

    Parameters
    ----------
    given : bool Tensor of shape (B, G)
        S: units that are given.
    whole : bool Tensor of shape (B, G)
        U = S ∪ T: units that the discriminator sees.
    """

    given: Tensor
    whole: Tensor

    def of_coordinates(self, groups: Tensor) -> Tasks:
        """Give the same tasks as sets of coordinates.

        Parameters
        ----------
        groups : int64 Tensor of shape (D,)
            As in `Data`.

        Returns
        -------
        tasks : Tasks
            Of shape (B, D).
        """
        return Tasks(self.given[:, groups], self.whole[:, groups])


@dataclass(frozen=True, kw_only=True)
class TaskLaw:
    """How tasks are drawn: first U, then S within it.

    Parameters
    ----------
    p_whole : float
        Probability that U is everything; else every unit is in it with probability ½, one at least.
    p_nothing_given : float
        Probability that S is empty; else every unit of U is given at a rate that is drawn for the
        row, uniformly from 0 to 1, and where all would be, one is not.

    Raises
    ------
    ValueError
        When one is no probability.
    """

    p_whole: float = 0.7
    p_nothing_given: float = 0.35

    def __post_init__(self) -> None:
        for name in ("p_whole", "p_nothing_given"):
            check_real(name, getattr(self, name), least=0, most=1)

    def draw(self, n: int, n_groups: int, generator: torch.Generator) -> Tasks:
        """Draw the tasks of a batch.

        Parameters
        ----------
        n : int
            B.
        n_groups : int
            G.
        generator : torch.Generator

        Returns
        -------
        tasks : Tasks
            Of shape (B, G), on the generator's device.
        """
        uniform = _Uniform(n, n_groups, generator)
        whole = uniform.rows() < self.p_whole
        whole = whole | _not_empty(uniform.units() < 0.5, uniform.units())
        return Tasks(self.draw_given(whole, generator), whole)

    def draw_given(self, whole: Tensor, generator: torch.Generator) -> Tensor:
        """Draw S for given U: a second task on the same coordinates, for communication.

        Parameters
        ----------
        whole : bool Tensor of shape (B, G)
        generator : torch.Generator

        Returns
        -------
        given : bool Tensor of shape (B, G)
            A proper subset of `whole` in every row.
        """
        uniform = _Uniform(*whole.shape, generator)
        something = uniform.rows() >= self.p_nothing_given
        given = whole & something & (uniform.units() < uniform.rows())
        learnt = _not_empty(whole & ~given, torch.where(whole, uniform.units(), -1.0))
        return whole & ~learnt


class _Uniform:
    def __init__(self, n: int, n_groups: int, generator: torch.Generator) -> None:
        self._shape, self._generator = (n, n_groups), generator

    def rows(self) -> Tensor:
        return self._draw(self._shape[0], 1)

    def units(self) -> Tensor:
        return self._draw(*self._shape)

    def _draw(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, device=self._generator.device)


def _not_empty(subset: Tensor, priority: Tensor) -> Tensor:
    """Put the unit of highest priority into every subset that is empty."""
    first = torch.zeros_like(subset).scatter_(1, priority.argmax(1, keepdim=True), True)
    return torch.where(subset.any(1, keepdim=True), subset, first)
