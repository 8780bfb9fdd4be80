"""What the 25-GMM runs say: tables, checks and a record, from saved results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from biglearn_core.experiments.gmm25.run import METHODS, SeedRun
from biglearn_core.experiments.published import GMM25_JOINT_EM_FINAL_KL, GMM25_MIN_KL
from biglearn_core.experiments.record import rows
from biglearn_core.experiments.statistics import Sample

__all__ = ["checks", "paper_versus_ours", "peers_table", "record", "score_table"]


def score_table(runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Describe the scores of both methods over the seeds.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    table : DataFrame
        Rows: protocol and method; columns: count, mean, std, min, quartiles, max of the test KL in
        nats.
    """
    scores = {("paper", m): [r.methods[m].min_kl for r in runs] for m in METHODS}
    scores |= {("fair", m): [r.methods[m].fair_kl for r in runs] for m in METHODS}
    return pd.DataFrame(scores).describe().T.astype({"count": int})


def peers_table(peers: Sequence[Mapping], runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Compare with estimators on the same data, each against the optimum of its own objective.

    Parameters
    ----------
    peers : sequence of mapping
        As from `gmm25.run_peers`.
    runs : sequence of SeedRun

    Returns
    -------
    table : DataFrame
        Per method: seeds, seeds within 2% of the optimum, mean test KL and seconds.
    """
    frame = pd.DataFrame(peers)
    ours = pd.DataFrame(
        {
            "method": method,
            "test_kl": run.methods[method].fair_kl,
            "optimum_kl": run.optimum_kl,
            "seconds": run.methods[method].seconds,
        }
        for method in METHODS
        for run in runs
    )
    frame = pd.concat([frame, ours])
    frame["at optimum"] = frame["test_kl"] <= 1.02 * frame["optimum_kl"]
    grouped = frame.groupby("method", sort=False)
    return pd.DataFrame(
        {
            "seeds": grouped.size(),
            "at optimum": grouped["at optimum"].sum(),
            "mean test KL (nats)": grouped["test_kl"].mean().round(4),
            "seconds per fit": grouped["seconds"].mean().round(2),
        }
    )


def paper_versus_ours(runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Hold the published figures beside ours, both protocols.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    table : DataFrame
    """
    table = {}
    for method in METHODS:
        published = GMM25_MIN_KL[method]
        theirs = Sample(published["mean"], published["std"], published["count"])
        mine = [run.methods[method] for run in runs]
        table[method] = {
            "published, least KL": theirs.with_std(4),
            "ours, least KL (paper)": Sample.of([run.min_kl for run in mine]).with_std(4),
            "ours, converged (fair)": Sample.of([run.fair_kl for run in mine]).with_std(4),
            "at the optimum (fair)": f"{sum(r.at_optimum(method) for r in runs)}/{len(runs)}",
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method")


def checks(runs: Sequence[SeedRun]) -> list[str]:
    """State what was found, in lines that are the same on every machine.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    lines : list of str
    """
    replayed = [
        f"Joint-EM, final test KL of seed {run.seed}: {run.methods['Joint-EM'].final_kl:.4f}, "
        f"published {GMM25_JOINT_EM_FINAL_KL[run.seed]:.4f}"
        for run in runs
        if run.seed in GMM25_JOINT_EM_FINAL_KL
    ]
    reached = {method: sum(run.at_optimum(method) for run in runs) for method in METHODS}
    return replayed + [
        f"{method}, converged model within 2% of the optimum: {n}/{len(runs)} seeds"
        for method, n in reached.items()
    ]


def record(runs: Sequence[SeedRun], *, experiment: str = "gmm25") -> dict[str, Any]:
    """Condense the runs to what is worth keeping in the repository.

    Parameters
    ----------
    runs : sequence of SeedRun
    experiment : str, default "gmm25"

    Returns
    -------
    record : dict
        JSON-able, as `experiments.record` states; "the truth" is the method of the optimum, which
        is found from the true parameters.
    """
    seeds = [run.seed for run in runs]
    optima = {("fair", "fair_kl", "nats"): [run.optimum_kl for run in runs]}
    scores, costs = rows("25-GMM", "the truth", seeds, optima), []
    for method in METHODS:
        mine = [run.methods[method] for run in runs]
        columns = {
            ("paper", "min_kl", "nats"): [run.min_kl for run in mine],
            ("paper", "final_kl", "nats"): [run.final_kl for run in mine],
            ("fair", "fair_kl", "nats"): [run.fair_kl for run in mine],
            ("fair", "at_optimum", ""): [run.at_optimum(method) for run in runs],
        }
        scores += rows("25-GMM", method, seeds, columns)
        seconds = {("both", "seconds", "s"): [run.seconds for run in mine]}
        costs += rows("25-GMM", method, seeds, seconds)
    iterations = {method: int(runs[0].methods[method].iterations[-1]) + 1 for method in METHODS}
    return {
        "experiment": experiment,
        "settings": {"iterations": iterations},
        "scores": scores,
        "costs": costs,
    }
