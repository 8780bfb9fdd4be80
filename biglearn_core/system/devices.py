"""Devices by name, and the memory that they have."""

from __future__ import annotations

import os
from pathlib import Path

import torch

__all__ = ["available_bytes", "check_memory", "choose_device", "device_name"]

_MEMINFO = Path("/proc/meminfo")

# What a container may use at most, in the two versions of Linux's control groups.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def choose_device(name: str | None = None) -> torch.device:
    """Find the device of a name.

    Parameters
    ----------
    name : str, optional
        "cpu", "cuda" or "cuda:N". "cuda" is torch's current GPU (`torch.cuda.set_device`), the
        first one if nobody has chosen; so is "auto", or none, where there is a GPU, else the CPU.

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        When it is not there; names those that are.
    """
    present = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    current = f"cuda:{torch.cuda.current_device()}" if len(present) > 1 else "cuda:0"
    if name is None or name == "auto":
        return torch.device(current if len(present) > 1 else "cpu")
    wanted = current if name == "cuda" else name
    if wanted not in present:
        raise ValueError(
            f"device {name!r} is not there; there are: {', '.join(present)}; name one of them, or "
            'use "auto"'
        )
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


def available_bytes(device: torch.device) -> int | None:
    """Tell how much memory can still be had.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    n_bytes : int or None
        On a GPU, what is free or kept by torch for reuse; on Linux, what the system counts as
        available, or the limit of the container where that is less. None where nobody tells.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    entries = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    known = [1024 * int(entries["MemAvailable"].split()[0])] if "MemAvailable" in entries else []
    limits = [path.read_text().strip() for path in _CONTAINER_LIMITS if os.access(path, os.R_OK)]
    return min(known + [int(limit) for limit in limits if limit.isdigit()], default=None)


def check_memory(n_bytes: int, device: torch.device, *, purpose: str) -> None:
    """Refuse what cannot fit into memory, before anything is allocated.

    Parameters
    ----------
    n_bytes : int
        Least memory needed.
    device : torch.device
    purpose : str
        What needs it, for the error.

    Raises
    ------
    ValueError
        When there is less; tells both numbers.
    """
    available = available_bytes(device)
    if available is not None and n_bytes > available:
        raise ValueError(
            f"{purpose} needs {n_bytes / 1e9:.1f} GB at least, and {available / 1e9:.1f} GB are "
            f"available on {device}: use fewer components, features or rows, or a larger machine"
        )
