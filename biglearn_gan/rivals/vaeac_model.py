"""The networks of a VAEAC, what it is trained with, and the bound that it raises.

A latent z is drawn from a prior that is told x_S, then x_T by a Gaussian decoder that is told x_S
and z (Ivanov, Figurnov and Vetrov, 2019). What is ours: the layers; standard deviations of the
decoder that are learned within bounds; a proposal that is told x_U, S and U, so that nobody sees
what is outside U.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from biglearn_core.system.numbers import check_integer, check_real
from biglearn_gan.data import DATA
from biglearn_gan.networks.vectors import FREQUENCIES
from biglearn_gan.tasks import TaskLaw, Tasks

__all__ = ["VAEAC", "Bound", "Gaussian", "VAEACConfig", "kl_divergence", "vaeac_config"]

# Of the latent's standard deviations: where both collapse, their ratio is still a number.
_LEAST_SD = 1e-3


@dataclass(frozen=True, kw_only=True)
class VAEACConfig:
    """Settings of one training.

    Parameters
    ----------
    data : {"ring8", "gmm4", "digits", "fashion"}
    iterations, batch_size : int
    p_whole, p_nothing_given : float
        As in `TaskLaw`.
    n_latent : int
        Length of z.
    width, depth : int
        Hidden layers of each of the three networks.
    fourier : bool
        Whether sines and cosines of what is seen are inputs too: for laws with sharp modes.
    learning_rate : float
        Of Adam; constant for the first half, then to zero as a cosine.
    least_sigma, most_sigma : float
        Bounds of the decoder's standard deviations, in the units of the data. Where the upper one
        is as wide as the data, the decoder can do without z, and the joint law of distant modes
        becomes one Gaussian.
    prior_mean_sd, prior_sd_rate : float
        σ_μ and σ_σ of the paper's regularisation, which keeps the prior's parameters from running
        away; the values are those of its authors' code.

    Raises
    ------
    TypeError, ValueError
        When a setting is out of range; names it.
    """

    data: str = "ring8"
    iterations: int = 6000
    batch_size: int = 128
    p_whole: float = 0.7
    p_nothing_given: float = 0.35
    n_latent: int = 8
    width: int = 128
    depth: int = 3
    fourier: bool = False
    learning_rate: float = 2e-3
    least_sigma: float = 0.02
    most_sigma: float = 0.5
    prior_mean_sd: float = 1e4
    prior_sd_rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.data not in DATA:
            raise ValueError(f"data must be one of {', '.join(DATA)}; got {self.data!r}")
        for name in ("iterations", "batch_size", "n_latent", "width", "depth"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("learning_rate", "least_sigma", "prior_mean_sd"):
            check_real(name, getattr(self, name), positive=True)
        check_real("prior_sd_rate", self.prior_sd_rate, least=0)
        check_real("most_sigma", self.most_sigma)
        if self.most_sigma < self.least_sigma:
            raise ValueError(
                f"most_sigma must be at least least_sigma, {self.least_sigma}; got "
                f"{self.most_sigma}"
            )
        self.tasks  # noqa: B018 - checks the probabilities

    @property
    def tasks(self) -> TaskLaw:
        """The law of the tasks."""
        return TaskLaw(p_whole=self.p_whole, p_nothing_given=self.p_nothing_given)


_SETTINGS: dict[str, dict[str, Any]] = {
    "ring8": {"iterations": 12_000, "fourier": True, "most_sigma": 0.15},
    "gmm4": {"iterations": 6000, "most_sigma": 0.3},
    "digits": {
        "iterations": 6000,
        "p_whole": 0.8,
        "n_latent": 32,
        "width": 256,
        "learning_rate": 1e-3,
        "least_sigma": 0.1,
        "most_sigma": 0.25,
    },
    "fashion": {
        "iterations": 12_000,
        "p_whole": 0.8,
        "n_latent": 64,
        "width": 512,
        "learning_rate": 1e-3,
        "least_sigma": 0.05,
        "most_sigma": 0.5,
    },
}


def vaeac_config(data: str, **changes: Any) -> VAEACConfig:
    """Give the settings that were found for a data set.

    Parameters
    ----------
    data : str
        As in `VAEACConfig`.
    **changes : object
        Settings to replace.

    Returns
    -------
    config : VAEACConfig
    """
    return VAEACConfig(data=data, **(_SETTINGS.get(data, {}) | changes))


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Independent Gaussians.

    Parameters
    ----------
    mean, sd : Tensor of shape (B, L)
    """

    mean: Tensor
    sd: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """Turn standard normal numbers into draws."""
        return self.mean + self.sd * noise

    def log_density(self, x: Tensor) -> Tensor:
        """Log density of every coordinate, in nats, of the shape of x."""
        z = (x - self.mean) / self.sd
        return -0.5 * z.square() - self.sd.log() - 0.5 * math.log(2 * math.pi)


def kl_divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """Kullback-Leibler divergence from p to q.

    Parameters
    ----------
    p, q : Gaussian
        Of shape (B, L).

    Returns
    -------
    divergence : Tensor of shape (B,)
        In nats.
    """
    ratio = p.sd / q.sd
    shift = (p.mean - q.mean) / q.sd
    return (0.5 * (ratio.square() + shift.square() - 1) - ratio.log()).sum(1)


@dataclass(frozen=True, eq=False)
class Bound:
    """Evidence lower bound of log p(x_T | x_S), in nats, and what is added to it.

    Parameters
    ----------
    reconstruction : Tensor of shape (B,)
        log p(x_T | x_S, z) for one z of the proposal.
    divergence : Tensor of shape (B,)
        From the proposal to the prior.
    regularisation : Tensor of shape (B,)
        Log density of the prior network's outputs under the paper's normal-gamma law, up to a
        constant.
    """

    reconstruction: Tensor
    divergence: Tensor
    regularisation: Tensor

    @property
    def elbo(self) -> Tensor:
        """The bound itself, of shape (B,)."""
        return self.reconstruction - self.divergence


class VAEAC(nn.Module):
    """Prior p(z | x_S, S), proposal q(z | x_U, S, U) and decoder p(x_T | x_S, S, z).

    Parameters
    ----------
    n_features : int
        D.
    config : VAEACConfig
    """

    def __init__(self, n_features: int, config: VAEACConfig) -> None:
        super().__init__()
        width, depth, n_latent = config.width, config.depth, config.n_latent
        self._sigmas = math.log(config.least_sigma), math.log(config.most_sigma)
        self._mean_sd, self._sd_rate = config.prior_mean_sd, config.prior_sd_rate
        self._frequencies = FREQUENCIES if config.fourier else ()
        n_inputs = (1 + 2 * len(self._frequencies)) * n_features
        self.seen = _layers(n_inputs + n_features, width, depth)
        self.prior_head = nn.Linear(width, 2 * n_latent)
        self.proposal = nn.Sequential(
            *_layers(n_inputs + 2 * n_features, width, depth), nn.Linear(width, 2 * n_latent)
        )
        self.decoder = nn.Sequential(
            *_layers(width + n_latent, width, depth), nn.Linear(width, 2 * n_features)
        )

    def prior(self, seen: Tensor, given: Tensor) -> tuple[Gaussian, Tensor]:
        """Give the law of z from what is observed.

        Parameters
        ----------
        seen : Tensor of shape (B, D)
            x with zeros outside S.
        given : bool Tensor of shape (B, D)
            S.

        Returns
        -------
        law : Gaussian
            Of shape (B, n_latent).
        features : Tensor of shape (B, width)
            What the decoder is told of x_S and S; the paper's skip connections.
        """
        features = self.seen(torch.cat([*self._waves(seen), given.to(seen.dtype)], 1))
        return _latent(self.prior_head(features)), features

    def propose(self, x: Tensor, tasks: Tasks) -> Gaussian:
        """Give the law of z that training draws from.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Outside U it is not looked at.
        tasks : Tasks
            Of shape (B, D).

        Returns
        -------
        law : Gaussian
            Of shape (B, n_latent).
        """
        whole, given = tasks.whole.to(x.dtype), tasks.given.to(x.dtype)
        known = torch.where(tasks.whole, x, 0.0)
        return _latent(self.proposal(torch.cat([*self._waves(known), given, whole - given], 1)))

    def decode(self, features: Tensor, z: Tensor) -> Gaussian:
        """Give the law of every coordinate.

        Parameters
        ----------
        features : Tensor of shape (B, width)
            From `prior`.
        z : Tensor of shape (B, n_latent)

        Returns
        -------
        law : Gaussian
            Of shape (B, D).
        """
        mean, raw = self.decoder(torch.cat([features, z], 1)).chunk(2, 1)
        least, most = self._sigmas
        return Gaussian(mean, (least + (most - least) * torch.sigmoid(raw)).exp())

    def bound(self, x: Tensor, tasks: Tasks, noise: Tensor) -> Bound:
        """Bound the log likelihood of a batch of tasks.

        Parameters
        ----------
        x : Tensor of shape (B, D)
        tasks : Tasks
            Of shape (B, D).
        noise : Tensor of shape (B, n_latent)
            Standard normal.

        Returns
        -------
        bound : Bound
        """
        prior, features = self.prior(torch.where(tasks.given, x, 0.0), tasks.given)
        proposal = self.propose(x, tasks)
        learnt = tasks.whole & ~tasks.given
        law = self.decode(features, proposal.at(noise))
        # Zeros where nothing is scored: a missing value there must not reach the gradient.
        log_density = law.log_density(torch.where(learnt, x, 0.0))
        of_mean = -0.5 * (prior.mean / self._mean_sd).square()
        of_sd = self._sd_rate * (prior.sd.log() - prior.sd)
        return Bound(
            torch.where(learnt, log_density, 0.0).sum(1),
            kl_divergence(proposal, prior),
            (of_mean + of_sd).sum(1),
        )

    def _waves(self, x: Tensor) -> list[Tensor]:
        """Give x, and its sines and cosines."""
        return [x, *(wave(f * x) for f in self._frequencies for wave in (torch.sin, torch.cos))]


class _Residual(nn.Module):
    """A layer beside the identity, of normed inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layer = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + F.silu(self.layer(self.norm(h)))


def _layers(n_inputs: int, width: int, depth: int) -> nn.Sequential:
    first = [nn.Linear(n_inputs, width), nn.SiLU()]
    return nn.Sequential(*first, *(_Residual(width) for _ in range(depth - 1)))


def _latent(outputs: Tensor) -> Gaussian:
    mean, raw = outputs.chunk(2, 1)
    return Gaussian(mean, F.softplus(raw) + _LEAST_SD)
