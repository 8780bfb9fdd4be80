"""How far a sampler is from laws that are known: the joint, the marginals, all conditionals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.system.numbers import check_integer
from biglearn_gan.data import Data
from biglearn_gan.measures.modes import ModeScores, score_modes
from biglearn_gan.measures.pit import conditional_cdf, distance_from_uniform
from biglearn_gan.measures.randomness import seeded
from biglearn_gan.measures.sliced import sliced_wasserstein
from biglearn_gan.measures.slices import conditional_divergences
from biglearn_gan.sampler import ConditionalSampler

__all__ = ["ExactScores", "measure_exact"]

_N_FLOORS = 8


@dataclass(frozen=True, eq=False)
class ExactScores:
    """A sampler beside the exact laws.

    Parameters
    ----------
    pairs : tuple of (tuple of int, int)
        Every (S, t): a coordinate t, and a set S of others, empty or not.
    ks : float64 ndarray of shape (P,)
        Of every pair, the Kolmogorov-Smirnov distance from uniform of F(x_t | x_S), where x_S is of
        test rows and x_t a draw.
    given : tuple of tuple of int
        Every S but all coordinates; the first is empty.
    swd : float64 ndarray of shape (Q,)
        Of every S, the sliced Wasserstein distance of (x_S, x_T) from fresh rows of the truth,
        where x_S is of test rows and x_T a draw; in the units of the data.
    swd_floor : float
        The same between two samples of the truth, on average over eight pairs.
    mode_scores : ModeScores or None
        Of joint draws; in two dimensions.
    conditional_kl : float64 ndarray of shape (2, 7), or None
        See `conditional_divergences`; in two dimensions.
    """

    pairs: tuple[tuple[tuple[int, ...], int], ...]
    ks: np.ndarray
    given: tuple[tuple[int, ...], ...]
    swd: np.ndarray
    swd_floor: float
    mode_scores: ModeScores | None = None
    conditional_kl: np.ndarray | None = None

    @property
    def marginal_ks_max(self) -> float:
        """Largest KS distance of a marginal."""
        return float(self._ks(conditional=False).max())

    @property
    def conditional_ks_mean(self) -> float:
        """KS distance of a conditional, on average over all."""
        return float(self._ks(conditional=True).mean())

    @property
    def conditional_ks_max(self) -> float:
        """Largest KS distance of a conditional."""
        return float(self._ks(conditional=True).max())

    @property
    def joint_swd(self) -> float:
        """Sliced Wasserstein distance of joint draws."""
        return float(self.swd[0])

    @property
    def conditional_swd_mean(self) -> float:
        """Sliced Wasserstein distance of (x_S, x_T), on average over all S that are not empty."""
        return float(self.swd[1:].mean())

    @property
    def modes(self) -> int | None:
        """Modes covered; None unless in two dimensions."""
        return None if self.mode_scores is None else self.mode_scores.modes

    @property
    def within(self) -> float | None:
        """Share of joint draws close to a mode; None unless in two dimensions."""
        return None if self.mode_scores is None else self.mode_scores.within

    @property
    def weight_kl(self) -> float | None:
        """Divergence of the modes' shares, in nats; None unless in two dimensions."""
        return None if self.mode_scores is None else self.mode_scores.weight_kl

    @property
    def conditional_kl_mean(self) -> float | None:
        """Divergence of a conditional, on average, in nats; None unless in two dimensions."""
        return None if self.conditional_kl is None else float(self.conditional_kl.mean())

    @property
    def conditional_kl_max(self) -> float | None:
        """Largest divergence of a conditional, in nats; None unless in two dimensions."""
        return None if self.conditional_kl is None else float(self.conditional_kl.max())

    def summary(self) -> dict[str, float]:
        """Give all numbers by name, without those that are None."""
        values = {name: getattr(self, name) for name in _SUMMARY}
        return {name: float(value) for name, value in values.items() if value is not None}

    def _ks(self, *, conditional: bool) -> np.ndarray:
        return self.ks[[bool(S) == conditional for S, _ in self.pairs]]


_SUMMARY = (
    "marginal_ks_max",
    "conditional_ks_mean",
    "conditional_ks_max",
    "joint_swd",
    "conditional_swd_mean",
    "swd_floor",
    "modes",
    "within",
    "weight_kl",
    "conditional_kl_mean",
    "conditional_kl_max",
)


def measure_exact(
    sampler: ConditionalSampler, data: Data, *, seed: int, n_rows: int = 5000
) -> ExactScores:
    """Measure a sampler where the law of the data is known.

    Parameters
    ----------
    sampler : ConditionalSampler
        Asked on the device of the data.
    data : Data
        With its truth.
    seed : int
        Of draws and directions. Questions are the test rows, the same for every seed.
    n_rows : int, default 5000
        Test rows, and draws in all else.

    Returns
    -------
    scores : ExactScores

    Raises
    ------
    ValueError
        When the truth of the data is not known, there are fewer test rows, or draws are not finite.
    """
    if data.truth is None:
        raise ValueError(f"the law of {data.name!r} is not known; measure images by measure_images")
    check_integer("n_rows", n_rows, least=2, most=len(data.test))
    device, truth = data.test.device, data.truth.to(device="cpu", dtype=torch.float64)
    rows = data.test[:n_rows]
    given = tuple(_proper_subsets(data.n_features))
    pairs, ks, swd, joint = [], [], [], rows
    for i, S in enumerate(given):
        observed = torch.zeros(data.n_features, dtype=torch.bool, device=device)
        observed[list(S)] = True
        generator = seeded(seed, 0, i, device=device)
        draws = _finite(sampler.sample(rows, observed, 1, generator=generator)[0], S)
        joint = joint if S else draws
        for t in sorted(set(range(data.n_features)) - set(S)):
            pairs.append((S, t))
            ks.append(distance_from_uniform(conditional_cdf(truth, draws, S, t)))
        swd.append(_distance_to_truth(truth, draws, seeded(seed, 1, i)))
    floors = []
    for i in range(_N_FLOORS):
        generator = seeded(seed, 2, i)
        floors.append(_distance_to_truth(truth, truth.sample(n_rows, generator)[0], generator))
    plane = data.n_features == 2
    return ExactScores(
        tuple(pairs),
        np.array(ks),
        given,
        np.array(swd),
        float(np.mean(floors)),
        score_modes(truth, joint) if plane else None,
        _divergences(sampler, truth, seed, rows) if plane else None,
    )


def _proper_subsets(n: int) -> Iterator[tuple[int, ...]]:
    for size in range(n):
        yield from combinations(range(n), size)


def _finite(draws: Tensor, given: tuple[int, ...]) -> Tensor:
    if not bool(draws.isfinite().all()):
        raise ValueError(
            f"{int((~draws.isfinite()).any(1).sum())} of {len(draws)} draws given coordinates "
            f"{list(given)} are not finite; this sampler cannot be measured"
        )
    return draws.cpu().double()


def _distance_to_truth(truth: GMM, draws: Tensor, generator: torch.Generator) -> float:
    fresh, _ = truth.sample(len(draws), generator)
    return sliced_wasserstein(draws, fresh, generator=generator)


def _divergences(sampler: ConditionalSampler, truth: GMM, seed: int, rows: Tensor) -> np.ndarray:
    return conditional_divergences(
        sampler, truth, seed=seed, n_draws=len(rows), dtype=rows.dtype, device=rows.device
    )
