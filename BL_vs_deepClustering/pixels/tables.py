"""What the Fashion-MNIST runs say: tables and verdicts, from saved results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from BL_vs_deepClustering.pixels.run import SeedRun, most_likely

__all__ = ["cost_table", "record", "score_table", "verdicts"]

_FAIR = "final model (fair)"
_PAPER = "best over iterations, chosen with labels (paper)"


def score_table(runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Give the scores of every seed under both protocols.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    table : DataFrame
        A row per seed, the log-likelihood in nats; the chosen one has the highest.
    """
    chosen = most_likely(runs).seed
    rows = {
        run.seed: {
            (_FAIR, "ACC"): run.final.acc,
            (_FAIR, "NMI"): run.final.nmi,
            (_FAIR, "ARI"): run.final.ari,
            (_PAPER, "ACC"): run.best.acc,
            (_PAPER, "NMI"): run.best.nmi,
            ("training", "log-likelihood"): run.log_likelihood,
            ("training", "chosen"): run.seed == chosen,
        }
        for run in runs
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")


def cost_table(runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Give time and memory of every seed.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    table : DataFrame
        A row per seed: device, minutes in all, seconds an iteration (the median) and for its
        scores, and peak memory of the process in gigabytes.
    """
    rows = {
        run.seed: {
            "device": run.device,
            "minutes": (run.trace.fit_seconds.sum() + run.trace.score_seconds.sum()) / 60,
            "seconds an iteration": float(pd.Series(run.trace.fit_seconds).median()),
            "seconds for scores": float(pd.Series(run.trace.score_seconds).median()),
            "peak memory, GB": run.peak_bytes / 1e9,
        }
        for run in runs
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")


def verdicts(runs: Sequence[SeedRun]) -> list[str]:
    """State what holds, in lines that do not depend on rounding.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    lines : list of str
    """
    n = len(runs)
    gained = sum(run.trace.log_likelihood[-1] > run.trace.log_likelihood[0] for run in runs)
    small = sum(run.peak_bytes <= 2e9 for run in runs)
    low_rank = sum(run.model.low_rank is not None for run in runs)
    return [
        f"training log-likelihood above that of the first iteration: {gained}/{n} seeds",
        f"every covariance a multiple of I plus few directions: {low_rank}/{n} seeds",
        f"peak memory at most 2 GB: {small}/{n} seeds",
    ]


def record(runs: Sequence[SeedRun], kmeans_runs: Sequence[SeedRun] = ()) -> dict[str, Any]:
    """Collect what the report needs.

    Parameters
    ----------
    runs : sequence of SeedRun
    kmeans_runs : sequence of SeedRun
        From the k-means start.

    Returns
    -------
    record : dict
    """
    return {
        "runs": [_condense(run) for run in runs],
        "kmeans_start": [_condense(run) for run in kmeans_runs],
        "chosen_by_log_likelihood": most_likely(runs).seed,
        "verdicts": verdicts(runs),
    }


def _condense(run: SeedRun) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "final": asdict(run.final),
        "best_chosen_with_labels": asdict(run.best),
        "log_likelihood": run.log_likelihood,
        "minutes": float(run.trace.fit_seconds.sum() + run.trace.score_seconds.sum()) / 60,
        "peak_bytes": run.peak_bytes,
        "device": run.device,
        "n_images": len(run.clusters),
        "n_iterations": len(run.trace),
    }
