"""Training of networks: how they are computed, their weights, and their state on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from biglearn_core.system.digest import differences, digest
from biglearn_core.system.persistence import load_arrays, save_arrays

__all__ = [
    "Checkpoint",
    "Linear",
    "MatmulPrecision",
    "check_precision",
    "matmul_precision",
    "put_weights",
    "training_arithmetic",
    "weights_drawn_from",
    "weights_of",
]

MatmulPrecision = Literal["highest", "high", "medium"]


@contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Set how torch multiplies float32 matrices inside a block.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        As in `torch.set_float32_matmul_precision`: float32 throughout; or factors rounded to TF32
        ("high") or bfloat16 ("medium"), sums in float32, where the processor has fast
        instructions for that (AMX, tensor cores). Elsewhere it changes nothing but `Linear`.

    Raises
    ------
    ValueError
        When it is none of these.
    """
    check_precision(precision)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Linear(nn.Linear):
    """Linear layer whose products take "medium" precision on more processors.

    Of processors that multiply bfloat16, torch's own setting uses those with AMX alone. On one that
    has the instructions of AVX-512 only, this layer rounds both factors of its three products, and
    their outcomes, to bfloat16; sums stay in float32. Weights, what goes in and what comes out have
    the dtype of any linear layer. Everywhere else it is `torch.nn.Linear`.
    """

    def forward(self, X: Tensor) -> Tensor:
        """Transform points.

        Parameters
        ----------
        X : Tensor of shape (N, in_features)

        Returns
        -------
        Y : Tensor of shape (N, out_features)
        """
        medium = torch.get_float32_matmul_precision() == "medium"
        if not (medium and X.device.type == "cpu" and _multiplies_bfloat16_without_amx()):
            return super().forward(X)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(X).to(X.dtype)


@cache
def _multiplies_bfloat16_without_amx() -> bool:
    has = torch.cpu.get_capabilities()
    return has.get("avx512_bf16", False) and not has.get("amx_bf16", False)


@contextmanager
def training_arithmetic(precision: MatmulPrecision) -> Iterator[None]:
    """Set how numbers are treated while a network is trained.

    Denormal numbers count as zero: the momentum of a unit that no point excites decays into them
    and stays there, where it changes no weight but makes every update several times as long.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        As in `matmul_precision`.
    """
    flushed = bool(torch.tensor(1e-39) * 1 == 0)  # torch tells the setting in no other way
    torch.set_flush_denormal(True)
    try:
        with matmul_precision(precision):
            yield
    finally:
        torch.set_flush_denormal(flushed)


def check_precision(precision: str) -> None:
    """Refuse what `matmul_precision` does not know.

    Parameters
    ----------
    precision : str

    Raises
    ------
    ValueError
        Names what there is.
    """
    known = get_args(MatmulPrecision)
    if precision not in known:
        raise ValueError(f"precision must be one of {', '.join(known)}; got {precision!r}")


@contextmanager
def weights_drawn_from(seed: int) -> Iterator[None]:
    """Let modules that are made inside the block draw their first weights from a seed.

    Parameters
    ----------
    seed : int

    Notes
    -----
    Modules draw from torch's global generator of the CPU, which is as before after the block.
    """
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed GPUs, too, whose generators are not put back.
        torch.default_generator.manual_seed(seed)
        yield


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    """Copy the weights of a module, as they are now.

    Parameters
    ----------
    module : Module

    Returns
    -------
    arrays : dict of str to ndarray
        By name.
    """
    # On the CPU .numpy() alone would be a view, which changes as training goes on.
    return {name: value.cpu().numpy().copy() for name, value in module.state_dict().items()}


def put_weights(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Put weights into a module.

    Parameters
    ----------
    module : Module
    arrays : mapping of str to ndarray
        As from `weights_of`.

    Raises
    ------
    RuntimeError
        When they are those of another module.
    """
    module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})


class Checkpoint:
    """State of a training on disk: a module, its optimizer, and arrays beside them.

    Parameters
    ----------
    path : path-like, optional
        An .npz file; nothing is kept when not given.
    data : Tensor
    start : Module, optional
        Trained before, which this training goes on from.
    **settings : object
        All else that tells this training from others, by name. A state under other settings, of
        other data or from another start is refused, and the error names what differs.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        *,
        data: Tensor,
        start: nn.Module | None = None,
        **settings: Any,
    ) -> None:
        self._path = None if path is None else Path(path)
        if self._path is not None:
            weights = [] if start is None else start.state_dict().values()
            self._conditions = {name: str(value) for name, value in settings.items()}
            self._conditions |= {
                "data": digest(data),
                "start": digest(*weights),
                "precision": torch.get_float32_matmul_precision(),
            }

    def load(
        self, module: nn.Module, optimizer: Optimizer, *, names: Sequence[str]
    ) -> dict[str, np.ndarray] | None:
        """Put a saved state into a module and its optimizer.

        Parameters
        ----------
        module : Module
        optimizer : Optimizer
        names : sequence of str
            Of the arrays that were saved beside.

        Returns
        -------
        arrays : dict of str to ndarray, or None
            None, and nothing is touched, where there is no state.

        Raises
        ------
        ValueError
            When the state is damaged or of another training; names the file.
        """
        if self._path is None or not self._path.exists():
            return None
        parts: dict[str, dict[str, np.ndarray]] = {
            name: {} for name in ("condition", "module", "optimizer", "arrays")
        }
        for name, array in load_arrays(self._path).items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = array
        saved = {name: str(value) for name, value in parts["condition"].items()}
        if text := differences(saved, self._conditions):
            raise ValueError(
                f"{self._path} is the state of a training with other settings or data ({text}); "
                "delete it or name another folder"
            )
        try:
            _put(parts, module, optimizer)
            return {name: parts["arrays"][name] for name in names}
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path} is damaged ({error}); delete it") from error

    def save(
        self, module: nn.Module, optimizer: Optimizer, arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Write the state, whole or not at all.

        Parameters
        ----------
        module : Module
        optimizer : Optimizer
        arrays : mapping of str to array-like
        """
        if self._path is None:
            return
        content = {f"condition/{name}": np.array(text) for name, text in self._conditions.items()}
        for name, tensor in module.state_dict().items():
            content[f"module/{name}"] = tensor.cpu().numpy()
        for number, entries in optimizer.state_dict()["state"].items():
            for name, tensor in entries.items():
                content[f"optimizer/{number}/{name}"] = tensor.cpu().numpy()
        content |= {f"arrays/{name}": np.asarray(array) for name, array in arrays.items()}
        save_arrays(self._path, content)


def _put(
    parts: Mapping[str, Mapping[str, np.ndarray]], module: nn.Module, optimizer: Optimizer
) -> None:
    """Put what a file holds into a module and its optimizer."""
    for array in (*parts["module"].values(), *parts["optimizer"].values()):
        if not np.isfinite(array).all():
            raise ValueError("it holds numbers that are not finite")
    put_weights(module, parts["module"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, array in parts["optimizer"].items():
        number, _, entry = name.partition("/")
        state.setdefault(int(number), {})[entry] = torch.tensor(array)
    groups = optimizer.state_dict()["param_groups"]
    if state and sorted(state) != sorted(i for group in groups for i in group["params"]):
        raise ValueError("it lacks the optimizer's state of some parameters")
    optimizer.load_state_dict({"state": state, "param_groups": groups})
