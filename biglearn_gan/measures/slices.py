"""Conditionals in the plane at chosen values, by binned Kullback-Leibler divergences."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr

from biglearn_core.estimators.quantiles import mixture_quantile
from biglearn_core.gmm import GMM
from biglearn_gan.measures.randomness import seeded
from biglearn_gan.sampler import ConditionalSampler

__all__ = ["conditional_divergences"]

_N_VALUES = 7
_N_BINS = 64
_REACH = 4.0
# Ours: what the exact law makes rarer than this counts as this, so that a draw where there is
# nothing costs much, yet a finite amount that bins do not decide.
_RAREST = 1e-6


def conditional_divergences(
    sampler: ConditionalSampler,
    truth: GMM,
    *,
    seed: int,
    n_draws: int = 5000,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Estimate KL(model‖exact) of each coordinate of two, given the other at seven values.

    Parameters
    ----------
    sampler : ConditionalSampler
    truth : GMM
        float64, in two dimensions.
    seed : int
    n_draws : int, default 5000
        For each value.
    dtype, device
        Of the questions.

    Returns
    -------
    divergences : float64 ndarray of shape (2, 7)
        In nats; row i is given coordinate i at the middle quantiles of the sevenths of its true
        law. Over 64 equal bins that reach four standard deviations beyond the outermost means, and
        what lies outside them; a bin whose exact mass is below 10⁻⁶ counts as one of that mass.
    """
    levels = (np.arange(_N_VALUES) + 0.5) / _N_VALUES
    divergences = np.empty((2, _N_VALUES))
    for i in range(2):
        observed = torch.zeros(2, dtype=torch.bool, device=device)
        observed[i] = True
        values = torch.stack([_quantile(truth, i, level) for level in levels])
        x = torch.zeros(_N_VALUES, 2, dtype=dtype, device=device)
        x[:, i] = values.to(x)
        draws = sampler.sample(x, observed, n_draws, generator=seeded(seed, i, device=device))
        for j, value in enumerate(x[:, i].double().cpu()):
            law = truth.condition([i], value[None])
            sample = draws[:, j, 1 - i].double().cpu().numpy()
            divergences[i, j] = _binned_divergence(sample, law, _edges(truth.marginal([1 - i])))
    return divergences


def _quantile(truth: GMM, i: int, level: float) -> torch.Tensor:
    law = truth.marginal([i])
    deviations = law.covariances[:, 0].sqrt()
    return mixture_quantile(level, law.weights[:, None], law.means, deviations)[0]


def _edges(law: GMM) -> np.ndarray:
    reach = _REACH * law.covariances[:, 0, 0].sqrt()
    means = law.means[:, 0]
    low, high = (means - reach).min().item(), (means + reach).max().item()
    return np.concatenate([[-np.inf], np.linspace(low, high, _N_BINS + 1), [np.inf]])


def _binned_divergence(sample: np.ndarray, law: GMM, edges: np.ndarray) -> float:
    z = (edges[:, None] - law.means[:, 0].numpy()) / law.covariances[:, 0, 0].sqrt().numpy()
    exact = np.maximum(np.diff(ndtr(z) @ law.weights.numpy()), _RAREST)
    shares = np.histogram(sample, edges)[0] / len(sample)
    hit = shares > 0
    return float((shares[hit] * np.log(shares[hit] / exact[hit])).sum())
