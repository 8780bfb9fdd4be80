"""What every sampler here answers: draws of some coordinates given the others."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ConditionalSampler", "check_question"]


class ConditionalSampler(Protocol):
    """Sampler of the law of x_T given x_S for every S, T the rest (Cong, 2024, section 4.2).

    S empty asks for the joint law. A marginal is the joint law with the other coordinates left
    out, a conditional of some of T the conditional of all of T likewise.
    """

    def sample(
        self,
        x: Tensor,
        observed: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw n completions of every row.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            What is not observed is not looked at.
        observed : bool Tensor of shape (B, D) or (D,)
            S of every row, or of all.
        n : int
            Draws of a row.
        generator : torch.Generator, optional
            On the device of `x`; a fresh one, seeded by the operating system, when not given.

        Returns
        -------
        draws : Tensor of shape (n, B, D)
            Observed coordinates as in `x`, to the last bit.

        Raises
        ------
        ValueError
            When the shapes do not fit, or an observed coordinate is not finite.
        """
        ...


def check_question(
    x: Tensor, observed: Tensor, n: int, generator: torch.Generator | None, *, n_features: int
) -> tuple[Tensor, Tensor, torch.Generator]:
    """Check what a sampler is asked.

    Parameters
    ----------
    x, observed, n, generator
        As in `ConditionalSampler.sample`.
    n_features : int
        D of the sampler.

    Returns
    -------
    x : Tensor of shape (B, D)
        With zeros where it is not observed, so that nothing can look there.
    observed : bool Tensor of shape (B, D)
    generator : torch.Generator

    Raises
    ------
    ValueError
        As in `ConditionalSampler.sample`.
    """
    if x.ndim != 2 or x.shape[1] != n_features:
        raise ValueError(f"x must be of shape (B, {n_features}), got {tuple(x.shape)}")
    if observed.dtype != torch.bool or observed.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"observed must be bool of shape {tuple(x.shape)} or {tuple(x.shape[1:])}, got "
            f"{observed.dtype} of shape {tuple(observed.shape)}"
        )
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    observed = observed.expand(x.shape)
    seen = torch.where(observed, x, 0.0)
    if not bool(seen.isfinite().all()):
        row, j = (~seen.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"row {row} of x has {float(x[row, j])} in coordinate {j}, which is observed; what is "
            "missing belongs among the coordinates that are not observed"
        )
    if generator is None:
        generator = torch.Generator(device=x.device)
        generator.seed()
    return seen, observed, generator
