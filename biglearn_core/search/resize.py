"""Mixtures of more or fewer components, from one that is known: the way from one K to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.search.climb import ranking
from biglearn_core.search.insert import Insertions, with_parts
from biglearn_core.search.swap import distinct

__all__ = ["with_divisions", "with_insertions", "without"]

# Share of the rows that insertions may take all together.
_MOST = 0.9


def with_insertions(model: GMM, insertions: Insertions, n: int, n_alternatives: int) -> list[GMM]:
    """Add the most rewarding components, at most one for every component that is there.

    Parameters
    ----------
    model : GMM
    insertions : Insertions
        With gains.
    n : int
        Components, at most.
    n_alternatives : int
        Ways to choose them, at most.

    Returns
    -------
    models : list of GMM
        The first with the insertions that gain most, others with the second to gain most in the
        first place and so on. Of at least one component more: where no insertion can be evaluated,
        the heaviest component is there twice.
    """
    best = distinct(insertions, len(insertions.gains)).tolist()
    owners = insertions.owners.tolist()
    models = []
    for first in best[:n_alternatives]:
        chosen = {owners[first]: first}
        for position in best:
            if len(chosen) == n:
                break
            chosen.setdefault(owners[position], position)
        models.append(_inserted(model, insertions, list(chosen.values())))
    K = model.n_components
    if not models:
        heaviest = int(model.weights.argmax())
        index = torch.tensor([*range(K), heaviest], device=model.device)
        weights = model.weights[index]
        weights[[heaviest, K]] /= 2
        return [model.with_parameters(weights, model.means[index], model.covariances[index])]
    return models


def _inserted(model: GMM, insertions: Insertions, positions: list[int]) -> GMM:
    left = max(1 - _MOST, 1 - insertions.weights[positions].sum().item())
    kept = model.with_parameters(model.weights * left, model.means, model.covariances)
    K = model.n_components
    return with_parts(kept, [(K + i, insertions, c) for i, c in enumerate(positions)])


def with_divisions(model: GMM, parts: tuple[Insertions, Insertions], n: int) -> list[GMM]:
    """Divide the components that gain most by it.

    Parameters
    ----------
    model : GMM
    parts : pair of Insertions
        Both parts of every component that could be divided; the gains are those of the division.
    n : int
        Components, at most.

    Returns
    -------
    models : list of GMM
        One, or none where no component could be divided.
    """
    first, second = parts
    best = ranking(first.gains)[:n].tolist()
    if not best:
        return []
    K = model.n_components
    replaced = [(int(first.owners[i]), first, i) for i in best]
    added = [(K + j, second, i) for j, i in enumerate(best)]
    return [with_parts(model, replaced + added)]


def without(model: GMM, merged: Insertions, losses: Tensor, n: int) -> GMM:
    """Merge the pairs that are missed least, no component in two of them.

    Parameters
    ----------
    model : GMM
    merged : Insertions
        Of every component and its heir.
    losses : Tensor of shape (K,)
    n : int
        Pairs at most.

    Returns
    -------
    model : GMM
        Of at least one component less.
    """
    used: set[int] = set()
    parts, dropped = [], []
    for k in ranking(-losses).tolist():
        heir = int(merged.owners[k])
        if used.isdisjoint((k, heir)):
            used.update((k, heir))
            parts.append((heir, merged, k))
            dropped.append(k)
        if len(dropped) == n:
            break
    model = with_parts(model, parts)
    kept = [k for k in range(model.n_components) if k not in dropped]
    weights = model.weights[kept]
    return model.with_parameters(
        weights / weights.sum(), model.means[kept], model.covariances[kept]
    )
