"""Twenty-five Gaussians from one corner: joint matching, big learning, and what else was tried."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from biglearn_core.experiments.jobs import Job, run_missing
from biglearn_core.experiments.principle import corner
from biglearn_core.experiments.principle.corner import (
    Exploration,
    Settings,
    read_exploration,
    run_plan,
)
from biglearn_core.experiments.principle.exploration import Plan
from biglearn_core.experiments.published import GMM25_SEEDS
from biglearn_core.experiments.store import ResultStore

__all__ = ["BEST", "PLANS", "TRIED", "Config", "run"]

BEST = "big learning, dwell 200"

_BEST = Plan(dwell=200, learning_rate=0.3, final_rate=0.02, decay_from=0.5, joint_from=0.9)
_SHORT = Plan(n_steps=60_000)

# The published schedules, and the best that was found.
PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "joint only": Plan(p_joint=1.0, joint_from=0.0),
        "big learning, dwell 20": Plan(),
        "big learning, dwell 1": Plan(dwell=1),
        BEST: _BEST,
    }
)

# What was tried on the way, in 3,000 iterations. The best was chosen on the published seeds.
_FALLS = dataclasses.replace(_BEST, dwell=20, n_steps=60_000)
TRIED: Mapping[str, Plan] = MappingProxyType(
    {
        "as published, but shorter": _SHORT,
        "rate 0.3, falls": _FALLS,
        "rate 1, falls": dataclasses.replace(_FALLS, learning_rate=1.0),
        "dwell 100": dataclasses.replace(_SHORT, dwell=100),
        "dwell 100, rate 0.3, falls": dataclasses.replace(_FALLS, dwell=100),
    }
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the exploration; the defaults are the published ones, where there are any.

    Parameters
    ----------
    seeds : tuple of int
        One start, one sequence of tasks and one of samples each; the published comment's.
    plans : tuple of str
        Of `PLANS`.
    tried : tuple of str
        Of `TRIED`.
    scale : float
        Share of every plan's steps that is run.
    n_frames : int
        States kept along every run of `plans`, evenly spaced.

    Raises
    ------
    ValueError
        When a plan is unknown.
    """

    seeds: tuple[int, ...] = GMM25_SEEDS
    plans: tuple[str, ...] = tuple(PLANS)
    tried: tuple[str, ...] = tuple(TRIED)
    scale: float = 1.0
    n_frames: int = 100

    def __post_init__(self) -> None:
        for names, known in ((self.plans, PLANS), (self.tried, TRIED)):
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"there is no plan {unknown[0]!r}; known are {sorted(known)}")


def run(
    config: Config, *, root: str | os.PathLike | None = None, n_jobs: int | None = None
) -> tuple[dict[str, Exploration], dict[str, Exploration]]:
    """Run every plan on all seeds, or load what is finished.

    Parameters
    ----------
    config : Config
    root : path-like, optional
        Folder of results; results/ of the repository when not given.
    n_jobs : int, optional
        Parallel processes; one per core when not given. Results do not depend on it.

    Returns
    -------
    plans, tried : dict of str to Exploration
        By name.
    """
    wanted = [(name, PLANS[name], config.n_frames) for name in config.plans]
    wanted += [(name, TRIED[name], 1) for name in config.tried]
    jobs = []
    for _, plan, n_frames in wanted:
        n_tasks = max(round(config.scale * plan.n_steps / plan.dwell / n_frames), 1) * n_frames
        own = Settings(dataclasses.replace(plan, n_steps=n_tasks * plan.dwell), n_frames)
        store = ResultStore("principle", own, module=corner.__name__, root=root)
        text = "-".join(map(str, config.seeds))
        jobs.append(Job(store, f"seeds_{text}", (own, config.seeds)))
    results = run_missing(run_plan, jobs, n_jobs=n_jobs, description="25 Gaussians, plans")
    runs = [read_exploration(*pair) for pair in zip((w[0] for w in wanted), results, strict=True)]
    n = len(config.plans)
    return {r.name: r for r in runs[:n]}, {r.name: r for r in runs[n:]}
