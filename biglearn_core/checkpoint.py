"""State of a BigLearn-EM fit on disk, with everything that it depends on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.gmm import GMM
from biglearn_core.history import History, Trace
from biglearn_core.matching import Schedule
from biglearn_core.system.digest import differences
from biglearn_core.system.persistence import load_arrays, save_arrays, take_columns
from biglearn_core.system.processes import ALONE, Processes

__all__ = ["Checkpoint", "check_path"]

_CONDITION = "condition/"
_PROBABILITIES = ("p_joint", "p_marginal")


class Checkpoint:
    """Model and history of a fit on disk, beside the conditions under which they came about.

    Parameters
    ----------
    path : path-like, optional
        An .npz file; nothing is kept when not given.
    every : int, default 1
        Iterations between two writes.
    n_iter : int
        Iterations that the fit is to have in all.
    conditions : mapping of str to object
        By name, everything that the state depends on. A state under other conditions is refused,
        and the error names those that differ.
    schedule : Schedule, optional
        Of the matching tasks, where they are drawn.
    processes : Processes, optional
        Of which the first reads and writes.

    Raises
    ------
    TypeError
        When `path` is no path.

    Notes
    -----
    Task probabilities are kept as the numbers that the iterations used: what is on disk depends on
    those alone, whether they are constants or come from a function, and whatever `n_iter` is. A fit
    with constant ones can be extended; one whose probabilities follow the progress cannot, as other
    tasks would have been drawn.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        *,
        every: int = 1,
        n_iter: int,
        conditions: Mapping[str, Any],
        schedule: Schedule | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self._path = None if path is None else Path(path)
        self._every = every
        self._schedule = schedule
        self._n_iter = n_iter
        self._processes = processes
        self._conditions = {name: str(value) for name, value in conditions.items()}
        if schedule is not None:
            for name in ("seed", "beta", "transform"):
                self._conditions[name] = str(getattr(schedule, name))
        self._probabilities: list[tuple[float, float]] = []
        self._beside: dict[str, np.ndarray] = {}

    def load(self, start: GMM) -> tuple[GMM, Trace]:
        """Give the state to go on from.

        Parameters
        ----------
        start : GMM

        Returns
        -------
        model : GMM
            On the device of the start; the start itself where there is no state yet.
        trace : Trace
            Of the iterations that led to it.

        Raises
        ------
        ValueError
            When the file is damaged, of another fit, or further on than `n_iter`; names the file.
        """
        found = self.read()
        if found is None:
            return start, Trace()
        model, trace, _ = found
        if model.means.shape != start.means.shape or model.dtype != start.dtype:
            raise ValueError(
                f"{self._path} is damaged: it holds means of shape {tuple(model.means.shape)} in "
                f"{model.dtype}, the start {tuple(start.means.shape)} in {start.dtype}; delete it"
            )
        return model.to(device=start.device), trace

    def read(self) -> tuple[GMM, Trace, dict[str, np.ndarray]] | None:
        """Read the state, if there is one.

        Returns
        -------
        model : GMM
            On the CPU.
        trace : Trace
        arrays : dict of str to ndarray
            All that the file holds.

        Raises
        ------
        ValueError
            As `load`.
        """
        if self._path is None:
            return None
        arrays = self._processes.arrays_of_first(self._arrays)
        if not arrays:
            return None
        self._require_same_conditions(arrays)
        trace = Trace.from_arrays(arrays, source=str(self._path))
        if len(trace) > self._n_iter:
            raise ValueError(
                f"{self._path} holds {len(trace)} iterations, more than n_iter={self._n_iter}: ask "
                "for as many, delete it, or name another file"
            )
        if self._schedule is not None:
            self._require_same_probabilities(arrays, len(trace))
        try:
            model = GMM.from_arrays(arrays, source=str(self._path))
        except ValueError as error:
            raise ValueError(f"{error}; delete the file") from error
        return model, trace, arrays

    def _arrays(self) -> dict[str, np.ndarray]:
        return load_arrays(self._path) if self._path is not None and self._path.exists() else {}

    def keep_beside(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Have arrays written with every state.

        Parameters
        ----------
        arrays : mapping of str to ndarray
        """
        self._beside = dict(arrays)

    def save(self, model: GMM, trace: Trace, *, last: bool) -> None:
        """Write the state, whole or not at all, if it is time for that.

        Parameters
        ----------
        model : GMM
        trace : Trace
            Up to this model.
        last : bool
            Whether the fit ends here.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        if self._path is None or not (last or len(trace) % self._every == 0):
            return
        if self._processes.rank > 0:
            return
        history = trace.freeze()
        arrays = {field.name: getattr(history, field.name) for field in fields(History)}
        arrays |= model.arrays()
        if model.low_rank is not None:  # a tenth of the bytes, and what the next step starts from
            del arrays["covariances"]
        if self._schedule is not None:
            used = self._used_probabilities(len(trace))
            arrays |= dict(zip(_PROBABILITIES, used, strict=True))
        arrays |= {_CONDITION + name: np.array(text) for name, text in self._conditions.items()}
        save_arrays(self._path, arrays | self._beside)

    def _used_probabilities(self, n: int) -> np.ndarray:
        """Probabilities of the first n iterations, shape (2, n); a function is asked once each."""
        assert self._schedule is not None
        for iteration in range(len(self._probabilities), n):
            self._probabilities.append(self._schedule.probabilities(iteration / self._n_iter))
        return np.reshape(self._probabilities[:n], (n, 2)).T

    def _require_same_conditions(self, arrays: Mapping[str, np.ndarray]) -> None:
        saved = {
            name.removeprefix(_CONDITION): str(value)
            for name, value in arrays.items()
            if name.startswith(_CONDITION)
        }
        if not saved:
            raise ValueError(
                f"{self._path} does not tell which fit it is of, so it is no checkpoint of this "
                "version: delete it, or name another file"
            )
        self._refuse(differences(saved, self._conditions))

    def _require_same_probabilities(self, arrays: Mapping[str, np.ndarray], n: int) -> None:
        own = self._used_probabilities(n)
        saved = take_columns(arrays, ("task", *_PROBABILITIES), source=str(self._path))[1:]
        for name, there, now in zip(_PROBABILITIES, saved, own, strict=True):
            for i in np.flatnonzero(there != now)[:1]:
                self._refuse(
                    f"{name}: {there[i]} there, {now[i]} now, in iteration {i} of n_iter="
                    f"{self._n_iter}"
                )

    def _refuse(self, text: str) -> None:
        if text:
            raise ValueError(
                f"{self._path} is the checkpoint of a fit with other settings or data ({text}): "
                "delete it, or name another file"
            )


def check_path(path: str | os.PathLike | None, processes: Processes) -> None:
    """Check the name of a checkpoint, before the state of a fit is described for it.

    Parameters
    ----------
    path : path-like or None
    processes : Processes
        That fit together.

    Raises
    ------
    TypeError
        When it is no path.
    ValueError
        In all processes, when some have one and others none.
    ProcessesError
        When it is no path in another process.
    """
    processes.together(lambda: _check_kind(path))
    if len(set(processes.gather_texts("" if path is None else "given"))) > 1:
        raise ValueError(
            "checkpoint must be given in all processes, or in none: the first reads and writes it "
            "for all"
        )


def _check_kind(path: str | os.PathLike | None) -> None:
    if path is not None and not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint must be a path, got {type(path).__name__}")
