"""What the Fashion-MNIST runs say: tables, checks and a record, from saved results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from biglearn_core.experiments.published import SCORES
from biglearn_core.experiments.record import rows
from BL_vs_deepClustering.pixels.run import SeedRun, most_likely

__all__ = ["checks", "cost_table", "record", "score_table"]

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
    table = {
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
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("seed")


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
    table = {
        run.seed: {
            "device": run.device,
            "minutes": _minutes(run),
            "seconds an iteration": float(pd.Series(run.trace.fit_seconds).median()),
            "seconds for scores": float(pd.Series(run.trace.score_seconds).median()),
            "peak memory, GB": run.peak_bytes / 1e9,
        }
        for run in runs
    }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("seed")


def checks(runs: Sequence[SeedRun]) -> list[str]:
    """State what holds, in lines that do not depend on rounding.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    lines : list of str
    """
    n = len(runs)
    gained = sum(_rose(run) for run in runs)
    small = sum(run.peak_bytes <= 2e9 for run in runs)
    low_rank = sum(run.model.low_rank is not None for run in runs)
    return [
        f"training log-likelihood above that of the first iteration: {gained}/{n} seeds",
        f"every covariance a multiple of I plus few directions: {low_rank}/{n} seeds",
        f"peak memory at most 2 GB: {small}/{n} seeds",
    ]


def record(runs: Sequence[SeedRun], kmeans_runs: Sequence[SeedRun] = ()) -> dict[str, Any]:
    """Condense the runs to what is worth keeping in the repository.

    Parameters
    ----------
    runs : sequence of SeedRun
    kmeans_runs : sequence of SeedRun
        From the k-means start.

    Returns
    -------
    record : dict
        JSON-able, as `experiments.record` states.
    """
    scores, costs = [], []
    for method, group in (("BigLearn-EM", runs), ("BigLearn-EM, k-means start", kmeans_runs)):
        if not group:
            continue
        columns = {
            (protocol, score, ""): [getattr(getattr(run, part), score) for run in group]
            for protocol, part in (("fair", "final"), ("paper", "best"))
            for score in SCORES
        }
        columns["fair", "log_likelihood", "nats"] = [run.log_likelihood for run in group]
        if group is runs:
            columns["both", "likelihood_rose", ""] = [_rose(run) for run in group]
            columns["both", "low_rank", ""] = [run.model.low_rank is not None for run in group]
        seeds = [run.seed for run in group]
        scores += rows("Fashion-MNIST", method, seeds, columns)
        columns = {
            ("both", "minutes", "min"): [_minutes(run) for run in group],
            ("both", "peak_bytes", "bytes"): [run.peak_bytes for run in group],
        }
        costs += rows("Fashion-MNIST", method, seeds, columns)
    return {
        "experiment": "fashion",
        "settings": {"n_images": len(runs[0].clusters), "n_iterations": len(runs[0].trace)},
        "device": runs[0].device,
        "scores": scores,
        "costs": costs,
    }


def _rose(run: SeedRun) -> bool:
    return bool(run.trace.log_likelihood[-1] > run.trace.log_likelihood[0])


def _minutes(run: SeedRun) -> float:
    return float(run.trace.fit_seconds.sum() + run.trace.score_seconds.sum()) / 60
