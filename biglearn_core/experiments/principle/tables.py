"""What the principle simulations say: tables, checks and a record, from saved results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from biglearn_core.experiments.principle.corner import Exploration
from biglearn_core.experiments.principle.dwelling import JOINT_ONLY, DwellRun
from biglearn_core.experiments.principle.landscapes import Landscape, MonteCarlo
from biglearn_core.experiments.principle.run import PLANS, TRIED
from biglearn_core.experiments.record import rows
from biglearn_core.experiments.statistics import Sample

__all__ = [
    "PAIR",
    "PLANE",
    "checks",
    "coverage_table",
    "dwell_name",
    "dwell_table",
    "landscape_table",
    "record",
    "variants_table",
]

PAIR, PLANE = "two Gaussians", "25 Gaussians"


def landscape_table(landscapes: Mapping[str, Landscape]) -> pd.DataFrame:
    """Tell of every landscape its spurious minima and its basin.

    Parameters
    ----------
    landscapes : mapping of str to Landscape

    Returns
    -------
    table : DataFrame
        Per task or mean of tasks: spurious minima with μ₁ < μ₂ (their mirror images left out), the
        least value there and the largest of the surface in nats, and the share of the starts that
        descend to an optimum; a dash where the task is zero on a plateau or along a valley.
    """
    table = {}
    for name, own in landscapes.items():
        half = [f"({a:.2f}, {b:.2f})" for a, b in own.spurious.tolist() if a < b]
        table[name] = {
            "spurious minima": ", ".join(half) or "none",
            "value (nats)": f"{own.spurious_value:.4f}" if half else "–",
            "maximum (nats)": f"{abs(own.surface.max()):.3f}",
            "basin": "–" if own.basin is None else f"{own.basin:.3f}",
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("task")


def dwell_name(dwell: int) -> str:
    """Name the descents of a dwell."""
    return "joint only" if dwell == JOINT_ONLY else f"dwell {dwell}"


def dwell_table(runs: Sequence[DwellRun]) -> pd.DataFrame:
    """Tell how many starts reach an optimum.

    Parameters
    ----------
    runs : sequence of DwellRun

    Returns
    -------
    table : DataFrame
        Per dwell: sequences of angles, mean ± standard deviation of the share of starts, and the
        least.
    """
    table = {
        dwell_name(run.dwell): {
            "sequences": len(run.seeds) or "–",
            "starts that reach an optimum": Sample.of(run.success).with_std(),
            "least": f"{run.success.min():.3f}",
        }
        for run in runs
    }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("marginal tasks")


def coverage_table(runs: Mapping[str, Exploration]) -> pd.DataFrame:
    """Tell how many of the 25 modes every plan finds.

    Parameters
    ----------
    runs : mapping of str to Exploration

    Returns
    -------
    table : DataFrame
    """
    table = {}
    for name, run in runs.items():
        last = run.coverage[-1]
        kl = run.kl[np.isfinite(run.kl)]
        table[name] = {
            "iterations": f"{run.iterations[-1]:g}",
            "modes found": Sample.of(last).with_std(1),
            "least": last.min(),
            "seeds at 25": f"{(last == 25).sum()}/{len(last)}",
            "KL[q‖p] (nats)": Sample.of(kl).with_std(2) if len(kl) else "–",
            "broke down": len(last) - len(kl),
            "seconds": round(run.seconds, 1),
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("plan")


def variants_table(tried: Mapping[str, Exploration]) -> list[dict[str, Any]]:
    """List what was tried, with every setting and the modes found by seed.

    Parameters
    ----------
    tried : mapping of str to Exploration

    Returns
    -------
    variants : list of dict
        JSON-able; what broke down counts as no mode.
    """
    return [
        {
            "name": name,
            **dataclasses.asdict({**TRIED, **PLANS}[name]),
            "n_steps": int(run.steps[-1]),
            "covered": run.coverage[-1].tolist(),
            "broke_down": int((~np.isfinite(run.kl)).sum()),
        }
        for name, run in tried.items()
    ]


def checks(landscapes: Mapping[str, Landscape], runs: Sequence[DwellRun]) -> list[str]:
    """State what was found without a seed, in lines that are the same on every machine.

    Parameters
    ----------
    landscapes : mapping of str to Landscape
    runs : sequence of DwellRun

    Returns
    -------
    lines : list of str
    """
    lines = []
    for name, own in landscapes.items():
        n = len(own.spurious)
        value = f", the lowest at {own.spurious_value:.3f} nats" if n else ""
        lines.append(f"{name}: {n or 'no'} spurious minima{value}")
    every = {run.dwell: run.success for run in runs}
    lines.append(f"joint only: {every[JOINT_ONLY][0]:.3f} of the starts reach an optimum")
    if 20 in every:
        lines.append(f"dwell 20: at least {every[20].min():.3f} under every sequence of angles")
    return lines


def record(
    landscapes: Mapping[str, Landscape],
    monte_carlo: MonteCarlo,
    runs: Sequence[DwellRun],
    plans: Mapping[str, Exploration],
    tried: Mapping[str, Exploration],
    fresh: Exploration,
) -> dict[str, Any]:
    """Condense the simulations to what is worth keeping in the repository.

    Parameters
    ----------
    landscapes : mapping of str to Landscape
    monte_carlo : MonteCarlo
    runs : sequence of DwellRun
    plans, tried : mapping of str to Exploration
    fresh : Exploration
        The best plan on seeds that had no part in its choice.

    Returns
    -------
    record : dict
        JSON-able, as `experiments.record` states. What is exact has the one seed 0. `variants` is
        the table of what was tried.
    """
    scores, costs = [], []
    for name, own in landscapes.items():
        columns = {
            ("paper", "spurious_minima", ""): [len(own.spurious)],
            ("paper", "least", "nats"): [max(float(own.surface.min()), 0.0)],
            ("paper", "maximum", "nats"): [abs(float(own.surface.max()))],
        }
        if len(own.spurious):
            columns["paper", "spurious_value", "nats"] = [own.spurious_value]
        if own.basin is not None:
            columns["paper", "basin", ""] = [own.basin]
        scores += rows(PAIR, name, [0], columns)
    error = {("paper", "deviation", "nats"): [monte_carlo.error]}
    scores += rows(PAIR, "joint, from samples", [0], error)
    for run in runs:
        success = {("fair", "success", ""): run.success}
        scores += rows(PAIR, dwell_name(run.dwell), run.seeds or [0], success)
    for name, run in {**plans, f"{fresh.name}, new seeds": fresh}.items():
        broken = ~np.isfinite(run.kl)
        columns = {
            ("paper", "covered", ""): run.coverage[-1],
            ("paper", "broke_down", ""): broken,
        }
        if not broken.any():
            columns["paper", "forward_kl", "nats"] = run.kl
        scores += rows(PLANE, name, run.seeds, columns)
        costs += rows(PLANE, name, [0], {("both", "seconds", "s"): [run.seconds]})
    return {
        "experiment": "principle",
        "settings": {"steps": {name: int(run.steps[-1]) for name, run in plans.items()}},
        "scores": scores,
        "costs": costs,
        "variants": variants_table({**plans, **tried}),
    }
