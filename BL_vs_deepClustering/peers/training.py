"""What the peers share: optimizers, mini-batches, passes over all points, outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from biglearn_core.system.numbers import check_real

__all__ = [
    "Clustering",
    "MiniBatches",
    "OptimizerConfig",
    "count_parameters",
    "hard_labels",
    "in_chunks",
]

# Rows of one pass without gradients: few enough that the widest layer stays in the cache.
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Clustering:
    """Outcome of a peer, found without labels.

    Parameters
    ----------
    clusters : int16 ndarray of shape (N,)
        Of the final model.
    history : int16 ndarray of shape (T, N)
        Clusters on the way: at every renewal of the target, or of every start. What a choice with
        labels would choose from.
    n_parameters : int
        Numbers that the final model needs to assign a point.
    n_steps : int
        Gradient steps, or iterations of the start that was kept.
    converged : bool
        Whether its own rule stopped it, not the limit on its steps.
    seconds : float
        Wall clock of the fit alone.
    curves : dict of str to float64 ndarray
        What it saw of itself on the way.
    """

    clusters: np.ndarray
    history: np.ndarray
    n_parameters: int
    n_steps: int
    converged: bool
    seconds: float
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a network is trained.

    Parameters
    ----------
    optimizer : {"sgd", "adam"}
    learning_rate, momentum : float
        Momentum of SGD alone.
    """

    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.optimizer not in ("sgd", "adam"):
            raise ValueError(f'optimizer must be "sgd" or "adam", got {self.optimizer!r}')
        check_real("learning_rate", self.learning_rate, positive=True)
        check_real("momentum", self.momentum, least=0)

    def make_optimizer(self, module: nn.Module) -> Optimizer:
        """Give the optimizer of a module's parameters.

        Parameters
        ----------
        module : Module

        Returns
        -------
        optimizer : Optimizer
        """
        parameters, options = module.parameters(), {"lr": self.learning_rate, "fused": True}
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=self.momentum, **options)
        return torch.optim.Adam(parameters, **options)


class MiniBatches:
    """Rows of every mini-batch, of a new permutation in every epoch.

    Parameters
    ----------
    n_rows : int
    batch_size : int
    seed : int
    device : torch.device
        Of the indices.

    Notes
    -----
    The rows are a function of seed and step alone, so a run that goes on sees those that an
    unbroken one sees.
    """

    def __init__(self, n_rows: int, batch_size: int, *, seed: int, device: torch.device) -> None:
        self.per_epoch = -(-n_rows // batch_size)
        self._n_rows = n_rows
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._epoch = -1

    def rows(self, step: int) -> Tensor:
        """Give the rows of a step.

        Parameters
        ----------
        step : int

        Returns
        -------
        rows : int64 Tensor of shape (batch_size,)
            Fewer at the end of an epoch.
        """
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng((self._seed, epoch)).permutation(self._n_rows)
            self._order = torch.as_tensor(order, device=self._device)
            self._epoch = epoch
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], X: Tensor) -> Tensor:
    """Apply a row-wise function to many rows, without gradients.

    Parameters
    ----------
    function : callable
    X : Tensor of shape (N, D)

    Returns
    -------
    outcome : Tensor of shape (N, ...)
    """
    return torch.cat([function(chunk) for chunk in X.split(_CHUNK)])


def hard_labels(soft: Tensor) -> np.ndarray:
    """Give every point to the cluster that has most of it.

    Parameters
    ----------
    soft : Tensor of shape (N, K)
        Assignments or affinities.

    Returns
    -------
    clusters : int16 ndarray of shape (N,)
    """
    return soft.argmax(dim=1).cpu().numpy().astype(np.int16)


def count_parameters(*modules: nn.Module) -> int:
    """Count the numbers in the parameters of modules.

    Parameters
    ----------
    *modules : Module

    Returns
    -------
    n_parameters : int
    """
    return sum(p.numel() for module in modules for p in module.parameters())
