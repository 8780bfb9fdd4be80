"""Devices by name."""

from __future__ import annotations

import torch

__all__ = ["choose_device", "device_name"]


def choose_device(name: str | None = None) -> torch.device:
    """Find the device of a name.

    Parameters
    ----------
    name : str, optional
        "cpu", "cuda" or "cuda:N". When not given, the first GPU where there is one, else the CPU.

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        When it is not there; names those that are.
    """
    present = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name is None:
        return torch.device("cuda:0" if "cuda:0" in present else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in present:
        raise ValueError(f"device {name!r} is not there; there are: {', '.join(present)}")
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """Name a device for a record.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    name : str
        Model of the GPU, or "cpu".
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
