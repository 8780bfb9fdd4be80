"""The settings that were found for each data set, the same for every objective and seed."""

from __future__ import annotations

from dataclasses import replace

from biglearn_gan.config import Config

__all__ = ["config_for"]

_SETTINGS = {
    "ring8": Config(
        data="ring8", fourier=True, energy_weight=0.5, p_nothing_given=0.05, penalty_every=2
    ),
    "gmm4": Config(data="gmm4", penalty_every=4),
    "digits": Config(
        data="digits",
        iterations=6000,
        batch_size=128,
        p_whole=0.8,
        energy_weight=0.5,
        width=256,
        n_noise=32,
        learning_rate=5e-4,
        penalty=0.5,
        last_penalty=0.1,
        penalty_every=4,
    ),
    "fashion": Config(
        data="fashion",
        iterations=6000,
        batch_size=64,
        p_whole=0.8,
        energy_weight=0.05,
        width=32,
        depth=2,
        n_noise=64,
        convolutions=True,
        learning_rate=5e-4,
        penalty=0.3,
        last_penalty=0.05,
        penalty_every=4,
        average=0.998,
    ),
}


def config_for(data: str, objective: str = "big", **changes: object) -> Config:
    """Give the settings of a data set under an objective.

    Parameters
    ----------
    data, objective : str
        As in `Config`.
    **changes : object
        Settings to replace.

    Returns
    -------
    config : Config

    Raises
    ------
    TypeError, ValueError
        When a name is not known or a setting is out of range.
    """
    if data not in _SETTINGS:
        raise ValueError(f"there are no settings for {data!r}; there are: {', '.join(_SETTINGS)}")
    return replace(_SETTINGS[data], objective=objective, **changes)
