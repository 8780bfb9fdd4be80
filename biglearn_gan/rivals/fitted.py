"""Mixtures that BigLearn-EM fits to the training rows, as samplers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from biglearn_core.estimators import BigLearnEM
from biglearn_core.gmm import GMM
from biglearn_core.system.numbers import check_integer
from biglearn_gan.data import Data
from biglearn_gan.rivals.mixture import MixtureSampler

__all__ = ["FittedMixture", "MixtureConfig", "fit_mixture", "fit_mixture_sampler"]

# Pixels up to which covariances of all of them are fitted; beyond, there are common factors.
_MOST_PIXELS = 100
_LEAST_NOISE = 0.01


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How a mixture is fitted.

    Parameters
    ----------
    n_components : int
        K; 1 gives a Gaussian.
    n_rows : int
        Images are fitted on so many at most, at random.
    n_factors : int
        Of images of more than 100 pixels.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    n_components: int
    n_rows: int = 10_000
    n_factors: int = 64

    def __post_init__(self) -> None:
        check_integer("n_components", self.n_components, least=1)
        check_integer("n_rows", self.n_rows, least=max(2, self.n_components))
        check_integer("n_factors", self.n_factors, least=1)


@dataclass(frozen=True, eq=False)
class FittedMixture:
    """A mixture over coordinates, or over factors that they have in common.

    Parameters
    ----------
    law : GMM
        float64, over the coordinates or over F factors z.
    clip : tuple of float, optional
        Range of pixels.
    centre : float64 Tensor of shape (D,), optional
        With the next two, x = centre + directions z + e; None where the law is that of x itself.
    directions : float64 Tensor of shape (D, F), optional
    noise : float64 Tensor of shape (D,), optional
        Variances of e, whose coordinates are independent.
    """

    law: GMM
    clip: tuple[float, float] | None = None
    centre: Tensor | None = None
    directions: Tensor | None = None
    noise: Tensor | None = None

    def sampler(self) -> MixtureSampler:
        """Give the sampler of the law over all coordinates."""
        if self.centre is None:
            return MixtureSampler(self.law, clip=self.clip)
        V = self.directions
        shared = V @ self.law.covariances @ V.T
        covariances = (shared + shared.mT) / 2 + torch.diag(self.noise)
        mixture = GMM(self.law.weights, self.centre + self.law.means @ V.T, covariances)
        return MixtureSampler(mixture, clip=self.clip)

    def arrays(self) -> dict[str, np.ndarray]:
        """Write everything into named arrays, for a file."""
        arrays = self.law.arrays()
        if self.clip is not None:
            arrays["clip"] = np.array(self.clip)
        for name in ("centre", "directions", "noise"):
            if (tensor := getattr(self, name)) is not None:
                arrays[name] = tensor.numpy()
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Restore what `arrays` wrote.

        Parameters
        ----------
        arrays : mapping of str to ndarray

        Returns
        -------
        mixture : FittedMixture

        Raises
        ------
        ValueError
            When they hold no mixture.
        """
        names = ("centre", "directions", "noise")
        factors = {name: torch.from_numpy(arrays[name]) for name in names if name in arrays}
        clip = tuple(arrays["clip"].tolist()) if "clip" in arrays else None
        return cls(GMM.from_arrays(arrays), clip, **factors)


def fit_mixture(data: Data, config: MixtureConfig, seed: int) -> FittedMixture:
    """Fit BigLearn-EM's mixture to the training rows.

    Parameters
    ----------
    data : Data
    config : MixtureConfig
    seed : int
        Of the search, of the rows and of the noise.

    Returns
    -------
    mixture : FittedMixture
        The law of all coordinates, so that its sampler answers every question exactly; for images
        its draws are clipped to [−1, 1].

    Raises
    ------
    ValueError
        When there are more factors than pixels.

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
    if data.side is None:
        return FittedMixture(_fit(data.train.cpu().double(), config, seed))
    clip = (-1.0, 1.0)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(data.train))[: config.n_rows]
    X = _dequantised(data.train.cpu()[chosen], rng)
    if data.n_features <= _MOST_PIXELS:
        return FittedMixture(_fit(X, config, seed), clip)
    check_integer("n_factors", config.n_factors, least=1, most=data.n_features)
    centre, covariance = X.mean(0), torch.cov(X.T)
    V = torch.linalg.eigh(covariance).eigenvectors[:, -config.n_factors :].contiguous()
    left = covariance.diagonal() - ((covariance @ V) * V).sum(1)
    law = _fit((X - centre) @ V, config, seed)
    return FittedMixture(law, clip, centre, V, left.clamp_min(_LEAST_NOISE))


def fit_mixture_sampler(
    data: Data, n_components: int, seed: int, *, n_rows: int = 10_000, n_factors: int = 64
) -> MixtureSampler:
    """Fit BigLearn-EM's mixture and give its sampler at once; see `fit_mixture`.

    Parameters
    ----------
    data : Data
    n_components : int
    seed : int
    n_rows, n_factors : int
        As in `MixtureConfig`.

    Returns
    -------
    sampler : MixtureSampler

    Raises
    ------
    ValueError
        When a number is out of range.
    """
    config = MixtureConfig(n_components=n_components, n_rows=n_rows, n_factors=n_factors)
    return fit_mixture(data, config, seed).sampler()


def _fit(X: Tensor, config: MixtureConfig, seed: int) -> GMM:
    estimator = BigLearnEM(config.n_components, random_state=seed, device="cpu")
    mixture = estimator.fit(X.numpy()).mixture_
    return mixture.to(device="cpu", dtype=torch.float64)


def _dequantised(images: Tensor, rng: np.random.Generator) -> Tensor:
    values = np.unique(images.numpy())
    step = float(np.diff(values).min()) if len(values) > 1 else 0.0
    noise = rng.uniform(-0.5, 0.5, images.shape)
    return images.double() + step * torch.from_numpy(noise)
