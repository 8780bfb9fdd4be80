"""The samplers that are compared: BigLearn-GAN under its objectives, and its rivals. A row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from biglearn_core.system.stopwatch import Stopwatch
from biglearn_gan.config import Config
from biglearn_gan.data import DATA, Data
from biglearn_gan.generator import GeneratorSampler
from biglearn_gan.loop import Trained
from biglearn_gan.rivals.fills import IgnoreObserved, MeanFill, NearestFill
from biglearn_gan.rivals.fitted import FittedMixture, MixtureConfig, fit_mixture
from biglearn_gan.rivals.mixture import MixtureSampler
from biglearn_gan.rivals.vaeac import VAEACConfig, VAEACSampler, train_vaeac, vaeac_config
from biglearn_gan.sampler import ConditionalSampler
from biglearn_gan.settings import config_for
from biglearn_gan.training import train

__all__ = ["EXACT", "IMAGES", "METHODS", "Method", "Model", "settings_of"]

EXACT = ("ring8", "gmm4")
IMAGES = ("digits", "fashion")


@dataclass(frozen=True, eq=False)
class Model:
    """What a training leaves behind.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        From which the sampler is restored.
    seconds : float
        Wall clock of the training.
    curves : mapping of str to ndarray
        What it saw of itself.
    """

    arrays: Mapping[str, np.ndarray]
    seconds: float = 0.0
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, trained: Trained) -> Self:
        """Keep the outcome of a training."""
        curves = {"iterations": trained.iterations, **trained.curves}
        return cls(trained.sampler.arrays(), trained.seconds, curves)


@dataclass(frozen=True)
class Untrained:
    """The settings of a sampler that has none."""


@dataclass(frozen=True)
class Method:
    """A sampler in the comparison.

    Parameters
    ----------
    label : str
        Its name in tables and figures.
    settings : callable
        Called as settings(name of the data), gives a frozen dataclass.
    train : callable
        Called as train(data, settings, seed=seed, checkpoint=path, device=device), gives a `Model`.
    restore : callable
        Called as restore(data, settings, arrays), gives the sampler.
    code : str
        The module whose code, with what it imports, decides model and sampler.
    data : tuple of str
        Sets that it is for.
    model_of : str, optional
        The method whose model it uses, where it has none of its own.
    """

    label: str
    settings: Callable[[str], Any]
    train: Callable[..., Model]
    restore: Callable[..., ConditionalSampler]
    code: str
    data: tuple[str, ...] = DATA
    model_of: str | None = None


def settings_of(method: str, data: str, *, iterations: int | None = None) -> Any:
    """Give the settings of a method on a data set.

    Parameters
    ----------
    method : str
        Of `METHODS`.
    data : str
    iterations : int, optional
        Of its training, at most, where it has such.

    Returns
    -------
    settings : frozen dataclass
    """
    settings = METHODS[method].settings(data)
    own = getattr(settings, "iterations", None)
    if iterations is None or own is None:
        return settings
    return replace(settings, iterations=min(own, iterations))


def _gan(
    label: str,
    objective: str,
    *,
    restore: Callable[..., ConditionalSampler] = GeneratorSampler.from_arrays,
    **changes: Any,
) -> Method:
    return Method(
        label=label,
        settings=partial(config_for, objective=objective),
        train=_train_gan,
        restore=restore,
        code=train.__module__,
        **changes,
    )


def _ignoring_gan(
    data: Data, settings: Config, arrays: Mapping[str, np.ndarray]
) -> ConditionalSampler:
    return IgnoreObserved(GeneratorSampler.from_arrays(data, settings, arrays))


def _vaeac(label: str, *, noise: bool = True, **changes: Any) -> Method:
    return Method(
        label=label,
        settings=vaeac_config,
        train=_train_vaeac,
        restore=partial(VAEACSampler.from_arrays, noise=noise),
        code=train_vaeac.__module__,
        **changes,
    )


def _train_vaeac(data: Data, settings: VAEACConfig, **options: Any) -> Model:
    return Model.of(train_vaeac(data, settings, **options))


def _train_gan(data: Data, settings: Config, **options: Any) -> Model:
    return Model.of(train(data, settings, **options))


def _mixture(label: str, n_components: Mapping[str, int]) -> Method:
    return Method(
        label=label,
        settings=lambda name: MixtureConfig(n_components=n_components[name]),
        train=_fit_mixture,
        restore=lambda data, settings, arrays: FittedMixture.from_arrays(arrays).sampler(),
        code=fit_mixture.__module__,
        data=tuple(n_components),
    )


def _fit_mixture(data: Data, settings: MixtureConfig, *, seed: int, **options: Any) -> Model:
    clock = Stopwatch()
    mixture = fit_mixture(data, settings, seed)
    return Model(mixture.arrays(), clock.read())


def _untrained(
    label: str, sampler: Callable[[Data], ConditionalSampler], data: tuple[str, ...] = DATA
) -> Method:
    return Method(
        label=label,
        settings=lambda name: Untrained(),
        train=lambda data, settings, **options: Model({}),
        restore=lambda data, settings, arrays: sampler(data),
        code=MeanFill.__module__,
        data=data,
    )


# In the order of the tables.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "joint": _gan("GAN of the joint law alone", "joint"),
        "big": _gan("BigLearn-GAN", "big"),
        "communication": _gan("BigLearn-GAN + communication", "communication"),
        "energy": _gan("BigLearn-GAN + energy score (ours)", "energy"),
        "energy-alone": _gan("energy score alone", "energy alone"),
        # The number of the truth where there is one; of images, three for every class.
        "mixture": _mixture(
            "mixture by BigLearn-EM", {"ring8": 8, "gmm4": 5, "digits": 30, "fashion": 30}
        ),
        "gaussian": _mixture("one Gaussian", {"gmm4": 1, "digits": 1, "fashion": 1}),
        "vaeac": _vaeac("VAEAC, trained by likelihood"),
        "vaeac-means": _vaeac(
            "VAEAC, its decoder's means", noise=False, data=IMAGES, model_of="vaeac"
        ),
        "pasted": _gan(
            "BigLearn-GAN + energy score, x_S pasted",
            "energy",
            restore=_ignoring_gan,
            data=IMAGES,
            model_of="energy",
        ),
        "mean": _untrained("mean fill", lambda data: MeanFill(data.train)),
        "nearest": _untrained("1-NN fill", lambda data: NearestFill(data.train, k=1)),
        "nearest-10": _untrained("10-NN fill", lambda data: NearestFill(data.train, k=10)),
        "ignoring": _untrained(
            "exact joint law, x_S ignored",
            lambda data: IgnoreObserved(MixtureSampler(data.truth)),
            EXACT,
        ),
        "exact": _untrained("exact", lambda data: MixtureSampler(data.truth), EXACT),
    }
)
