"""The objectives: what generator and discriminator learn from a batch of matching tasks.

At the optimum of the plain objective the logit f(x_U; S, T) is log q(x_U) − log q(x_S) − log
p(x_T | x_S), up to a number for every (S, T), as data and model are compared in pairs. For two
tasks i and j with the same U, f_j − f_i is then the logit "model i against model j": the
communication objective is the same game on that difference. It needs no further network. The
published text states the two objectives as its equations 5 and 6; this form of them is our reading.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["energy_score", "gradient_penalty", "lead"]


def lead(ahead: Tensor, behind: Tensor) -> Tensor:
    """Loss of the player who wants one logit above another, in pairs.

    The relativistic pairing of Jolicoeur-Martineau (2019): the discriminator wants data ahead of
    the model, the generator the model ahead of data, under the same task and the same x_S.

    Parameters
    ----------
    ahead, behind : Tensor of shape (B,)

    Returns
    -------
    loss : Tensor, a number in nats
    """
    return softplus(behind - ahead).mean()


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Half the mean squared gradient of the logit: R1 on data, R2 on the model's draws.

    Without both, the relativistic game need not converge (Huang et al., 2024).

    Parameters
    ----------
    discriminate : callable
        x of shape (B, D) to logits of shape (B,).
    x : Tensor of shape (B, D)

    Returns
    -------
    penalty : Tensor, a number
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminate(x).sum(), x, create_graph=True)
    return gradient.square().sum(1).mean() / 2


def energy_score(x: Tensor, first: Tensor, second: Tensor, whole: Tensor) -> Tensor:
    """Energy score of two draws for the same x_S, on U: least in expectation at the law itself.

    E|x′ − x| − E|x′ − x″| / 2 (Gneiting and Raftery, 2007) is strictly proper for every conditional
    law, so it shares its optimum with the game: one more cooperating task. It is ours, not the
    paper's.

    Parameters
    ----------
    x : Tensor of shape (B, D)
        Data.
    first, second : Tensor of shape (B, D)
        Independent draws given x_S.
    whole : bool Tensor of shape (B, D)
        U.

    Returns
    -------
    score : Tensor, a number in the units of x
    """
    to_data = (_distance(first, x, whole) + _distance(second, x, whole)) / 2
    return (to_data - _distance(first, second, whole) / 2).mean()


def _distance(a: Tensor, b: Tensor, whole: Tensor) -> Tensor:
    # The root has no slope at 0, where a draw meets its pair.
    return ((a - b) * whole).square().sum(1).add(1e-12).sqrt()
