"""Mixtures that BigLearn-EM fits to the training rows, as samplers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from biglearn_core.estimators import BigLearnEM
from biglearn_core.gmm import GMM
from biglearn_core.system.numbers import check_integer
from biglearn_gan.data import Data
from biglearn_gan.rivals.mixture import MixtureSampler

__all__ = ["fit_mixture_sampler"]

# Pixels up to which covariances of all of them are fitted; beyond, there are common factors.
_MOST_PIXELS = 100
_LEAST_NOISE = 0.01


def fit_mixture_sampler(
    data: Data, n_components: int, seed: int, *, n_rows: int = 10_000, n_factors: int = 64
) -> MixtureSampler:
    """Fit BigLearn-EM's mixture to the training rows.

    Parameters
    ----------
    data : Data
    n_components : int
        K; 1 gives a Gaussian.
    seed : int
        Of the search, of the rows and of the noise.
    n_rows : int, default 10000
        Images are fitted on so many at most, at random.
    n_factors : int, default 64
        Of images of more than 100 pixels.

    Returns
    -------
    sampler : MixtureSampler
        Over all coordinates, so that it answers every question exactly; for images its draws are
        clipped to [−1, 1].

    Raises
    ------
    ValueError
        When a number is out of range.

    Notes
    -----
    Images are no continuous data: noise as wide as one step of their values, uniform, is added to
    every pixel before the fit (uniform dequantisation; Theis et al., 2016). Without it pixels that
    never change lie on the floor of the covariances.

    In many pixels the mixture has common factors (Baek, McLachlan and Flack, 2010): BigLearn-EM is
    fitted to the scores z on the leading principal components V, and x = μ + V z + e, where e is
    independent noise of the variance that they leave in each pixel, at least 0.01. Component k is
    then N(μ + V m_k, V S_k Vᵀ + Ψ) over pixels. Their number and the least noise are ours.
    """
    check_integer("n_components", n_components, least=1)
    check_integer("n_rows", n_rows, least=n_components)
    if data.side is None:
        return MixtureSampler(_fit(data.train.cpu().double(), n_components, seed))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(data.train))[:n_rows]
    X = _dequantised(data.train.cpu()[chosen], rng)
    if data.n_features <= _MOST_PIXELS:
        mixture = _fit(X, n_components, seed)
    else:
        check_integer("n_factors", n_factors, least=1, most=data.n_features)
        mixture = _fit_factors(X, n_components, seed, n_factors)
    return MixtureSampler(mixture, clip=(-1.0, 1.0))


def _fit(X: Tensor, n_components: int, seed: int) -> GMM:
    estimator = BigLearnEM(n_components, random_state=seed, device="cpu")
    mixture = estimator.fit(X.numpy()).mixture_
    return mixture.to(device="cpu", dtype=torch.float64)


def _fit_factors(X: Tensor, n_components: int, seed: int, n_factors: int) -> GMM:
    centre, covariance = X.mean(0), torch.cov(X.T)
    V = torch.linalg.eigh(covariance).eigenvectors[:, -n_factors:]
    factors = _fit((X - centre) @ V, n_components, seed)
    left = covariance.diagonal() - ((V.T @ covariance).T * V).sum(1)
    noise = torch.diag(left.clamp_min(_LEAST_NOISE))
    covariances = V @ factors.covariances @ V.T
    covariances = (covariances + covariances.mT) / 2 + noise
    return GMM(factors.weights, centre + factors.means @ V.T, covariances)


def _dequantised(images: Tensor, rng: np.random.Generator) -> Tensor:
    values = np.unique(images.numpy())
    step = float(np.diff(values).min()) if len(values) > 1 else 0.0
    noise = rng.uniform(-0.5, 0.5, images.shape)
    return images.double() + step * torch.from_numpy(noise)
