"""A mixture in three lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from biglearn_core.numerics.parameters import Parameters

__all__ = ["describe"]

# Entries of a list that are shown.
_SHOWN = 6


def describe(model: Parameters) -> str:
    """Tell what a mixture is: its size, its weights, and its features by name or its means.

    Parameters
    ----------
    model : Parameters

    Returns
    -------
    text : str
        Three lines, whatever the size.
    """
    (K, D), kind = model.means.shape, type(model).__name__
    dtype = str(model.dtype).removeprefix("torch.")
    form = "" if model.covariance_type == "full" else f", covariance_type={model.covariance_type!r}"
    if model.feature_names is None:
        means = (_short(map(_number, mean[:_SHOWN].tolist()), D) for mean in model.means[:_SHOWN])
        last = f"means: {_short((f'({mean})' for mean in means), K)}"
    else:
        last = f"features: {_short(map(repr, model.feature_names[:_SHOWN]), D)}"
    return "\n".join(
        (
            f"{kind}(K={K}, D={D}, dtype={dtype}, device={model.device}{form})",
            f"  weights: {_short(map(_number, model.weights[:_SHOWN].tolist()), K)}",
            f"  {last}",
        )
    )


def _number(value: float) -> str:
    return f"{value:.3g}"


def _short(entries: Iterable[str], n: int) -> str:
    """Join the first few of n entries."""
    return ", ".join([*entries, *(["…"] if n > _SHOWN else [])])
