"""The comparison: every method trained, measured, and kept, on every data set and seed.

A model is kept under a key of its settings and of the code that trains it, its scores under one of
the model and of the code that measures: a change in a measure trains nothing anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from biglearn_core.experiments.jobs import Job, load_or_run, run_missing, seed_name
from biglearn_core.experiments.store import Result, ResultStore
from biglearn_core.system.devices import device_name
from biglearn_gan.data import DATA, Data, load_data
from biglearn_gan.methods import METHODS, settings_of
from biglearn_gan.scoring import score

__all__ = ["Comparison", "Run", "run"]

_EXPERIMENT = "biglearn_gan"
_MEASURING = score.__module__


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared.

    Parameters
    ----------
    data : tuple of str
        Of `DATA`.
    methods : tuple of str
        Of `METHODS`, each on those of the sets that it is for; "all" stands for all.
    seeds : tuple of int
    iterations : int or None
        Of every training, at most; as many as each has where None.

    Raises
    ------
    ValueError
        When a name is not known or twice there.
    """

    data: tuple[str, ...] = ("ring8", "gmm4", "digits")
    methods: tuple[str, ...] = ("all",)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    iterations: int | None = None

    def __post_init__(self) -> None:
        if "all" in self.methods:
            object.__setattr__(self, "methods", tuple(METHODS))
        for field, known in (("data", DATA), ("methods", tuple(METHODS))):
            for name in getattr(self, field):
                if name not in known:
                    raise ValueError(f"{field} has no {name!r}; there are: {', '.join(known)}")
        for field in ("data", "methods", "seeds"):
            values = getattr(self, field)
            if len(set(values)) < len(values):
                raise ValueError(f"{field} must differ from one another, got {values}")
        if min(self.seeds, default=0) < 0:
            raise ValueError(f"seeds must not be negative, got {self.seeds}")


@dataclass(frozen=True, eq=False)
class Run:
    """One method on one data set from one seed.

    Parameters
    ----------
    data, method : str
    seed : int
    scores : dict of str to float
        By measure.
    draws : dict of str to ndarray
        As from `scoring.score`.
    curves : dict of str to ndarray
        Losses of the training, with the iterations at which they were noted.
    seconds : float
        Wall clock of the training, on `device`.
    device : str
    """

    data: str
    method: str
    seed: int
    scores: dict[str, float]
    draws: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    seconds: float
    device: str


def run(
    comparison: Comparison,
    *,
    root: str | os.PathLike | None = None,
    device: torch.device | str = "cpu",
    n_jobs: int | None = None,
) -> list[Run]:
    """Run what is missing, go on with what was begun, load what is finished.

    Parameters
    ----------
    comparison : Comparison
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    device : torch.device or str, default "cpu"
        Of the trainings; measured is on the CPU.
    n_jobs : int, optional
        Processes of one thread each; when not given one per core, on a GPU one.

    Returns
    -------
    runs : list of Run
        Data set by data set, method by method, seed by seed.

    Raises
    ------
    ValueError
        When a state on disk is damaged or of other settings.
    OSError
        When the folder cannot be written.
    """
    device = torch.device(device)
    n_jobs = 1 if n_jobs is None and device.type != "cpu" else n_jobs
    wanted = [
        (work, seed)
        for data in comparison.data
        for method in comparison.methods
        if data in METHODS[method].data
        for work in [_Work.of(data, method, comparison.iterations, root, device)]
        for seed in comparison.seeds
    ]
    # Whose model another one uses is begun first, so that no process waits for it.
    order = sorted(range(len(wanted)), key=lambda i: METHODS[wanted[i][0].method].model_of or "")
    jobs = [Job(wanted[i][0].scores, seed_name(wanted[i][1]), wanted[i]) for i in order]
    results = run_missing(_measured, jobs, n_jobs=n_jobs, description="samplers")
    by_place = dict(zip(order, results, strict=True))
    return [_read(*wanted[i], by_place[i]) for i in range(len(wanted))]


@dataclass(frozen=True)
class _Model:
    data: str
    settings: Any


@dataclass(frozen=True)
class _Scores:
    method: str
    model: str


@dataclass(frozen=True, eq=False)
class _Work:
    """A method on a data set, and where its models and its scores lie."""

    data: str
    method: str
    settings: Any
    models: ResultStore
    scores: ResultStore
    device: torch.device

    @classmethod
    def of(
        cls,
        data: str,
        method: str,
        iterations: int | None,
        root: str | os.PathLike | None,
        device: torch.device,
    ) -> _Work:
        trained = METHODS[method].model_of or method
        settings = settings_of(trained, data, iterations=iterations)
        code = METHODS[trained].code
        models = ResultStore(_EXPERIMENT, _Model(data, settings), module=code, root=root)
        own = _Scores(method, models.key)
        scores = ResultStore(_EXPERIMENT, own, module=_MEASURING, root=root)
        return cls(data, method, settings, models, scores, device)


@threadpool_limits.wrap(limits=1)
def _measured(work: _Work, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = _data(work.data)
    model = load_or_run(work.models, seed_name(seed), _trained, work, seed)
    sampler = METHODS[work.method].restore(data, work.settings, model.part("weights"))
    scores, draws = score(sampler, data, seed=seed)
    return {"method": work.method, "data": work.data, "seed": seed, "scores": scores}, draws


def _trained(work: _Work, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    method = METHODS[METHODS[work.method].model_of or work.method]
    model = method.train(
        _data(work.data),
        work.settings,
        seed=seed,
        checkpoint=work.models.checkpoint(seed_name(seed)),
        device=work.device,
    )
    arrays = {f"weights/{name}": array for name, array in model.arrays.items()}
    arrays |= {f"curves/{name}": array for name, array in model.curves.items()}
    return {"seed": seed, "seconds": model.seconds, "device": device_name(work.device)}, arrays


def _read(work: _Work, seed: int, result: Result) -> Run:
    model = work.models.load(seed_name(seed))
    return Run(
        data=work.data,
        method=work.method,
        seed=seed,
        scores=result.summary["scores"],
        draws=result.arrays,
        curves=model.part("curves"),
        seconds=model.summary["seconds"],
        device=model.summary["device"],
    )


@lru_cache(maxsize=2)
def _data(name: str) -> Data:
    """Rows of this process, read once."""
    return load_data(name)
