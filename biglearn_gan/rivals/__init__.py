"""Samplers to compare with: mixtures, among them the truth where it is known, and simple fills."""

from biglearn_gan.rivals.fills import IgnoreObserved, MeanFill, NearestFill
from biglearn_gan.rivals.fitted import (
    FittedMixture,
    MixtureConfig,
    fit_mixture,
    fit_mixture_sampler,
)
from biglearn_gan.rivals.mixture import MixtureSampler

__all__ = [
    "FittedMixture",
    "IgnoreObserved",
    "MeanFill",
    "MixtureConfig",
    "MixtureSampler",
    "NearestFill",
    "fit_mixture",
    "fit_mixture_sampler",
]
