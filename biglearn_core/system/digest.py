"""Fingerprints of what a saved state depends on, and what has changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor

__all__ = ["differences", "digest"]


def digest(*parts: Tensor | np.ndarray | None) -> str:
    """Fingerprint arrays.

    Parameters
    ----------
    *parts : Tensor, ndarray or None
        On any device.

    Returns
    -------
    digest : str
        Half of the SHA-256 of dtypes, shapes and values, in hexadecimal digits; that of a single
        array comes with its dtype and shape in plain words. "none" for None alone.
    """
    total = hashlib.sha256()
    words = []
    for part in parts:
        if part is None:
            words.append("none")
            total.update(b"none")
            continue
        array = part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)
        words.append(f"{array.dtype} {array.shape}")
        total.update(words[-1].encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    if words == ["none"]:
        return "none"
    figures = total.hexdigest()[:32]
    return f"{words[0]} {figures}" if len(parts) == 1 else figures


def differences(saved: Mapping[str, str], own: Mapping[str, str]) -> str:
    """Tell in which entries two descriptions differ.

    Parameters
    ----------
    saved, own : mapping of str to str
        That of a file, and that of now.

    Returns
    -------
    text : str
        "name: this there, that now" for each; empty where none differs.
    """
    names = [*own, *(name for name in saved if name not in own)]
    return ", ".join(
        f"{name}: {saved.get(name, 'not given')} there, {own.get(name, 'not given')} now"
        for name in names
        if saved.get(name) != own.get(name)
    )
