"""What the 25-GMM runs say: tables and verdicts, from saved results and published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biglearn_core.experiments.gmm25.run import METHODS, SeedRun
from biglearn_core.experiments.published import GMM25_JOINT_EM_FINAL_KL, GMM25_MIN_KL, GMM25_SEEDS

__all__ = ["paper_versus_ours", "peers_table", "record", "score_table", "verdicts"]


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


def peers_table(rows: Sequence[Mapping], runs: Sequence[SeedRun]) -> pd.DataFrame:
    """Compare with estimators on the same data, each against the optimum of its own objective.

    Parameters
    ----------
    rows : sequence of mapping
        As from `gmm25.run_peers`.
    runs : sequence of SeedRun

    Returns
    -------
    table : DataFrame
        Per method: seeds, seeds within 2% of the optimum, mean test KL and seconds.
    """
    frame = pd.DataFrame(rows)
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
    rows = []
    for method in METHODS:
        published = GMM25_MIN_KL[method]
        paper = np.array([run.methods[method].min_kl for run in runs])
        fair = np.array([run.methods[method].fair_kl for run in runs])
        rows.append(
            {
                "method": method,
                "published, least KL": f"{published['mean']:.4f} ± {published['std']:.4f}",
                "ours, least KL (paper)": _mean_std(paper),
                "ours, converged (fair)": _mean_std(fair),
                "at the optimum (fair)": f"{sum(r.at_optimum(method) for r in runs)}/{len(runs)}",
            }
        )
    return pd.DataFrame(rows).set_index("method")


def verdicts(runs: Sequence[SeedRun]) -> list[str]:
    """State what was reproduced, in lines that hold on every machine.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    lines : list of str
    """
    lines = []
    replayed = {run.seed: run.methods["Joint-EM"].final_kl for run in runs}
    shared = [seed for seed in GMM25_JOINT_EM_FINAL_KL if seed in replayed]
    if shared:
        equal = sum(abs(replayed[s] - GMM25_JOINT_EM_FINAL_KL[s]) < 5e-5 for s in shared)
        lines.append(
            f"Joint-EM, final test KL equal to the published one to 4 decimals: "
            f"{equal}/{len(shared)} seeds"
        )
    if [run.seed for run in runs] == list(GMM25_SEEDS):
        for method in METHODS:
            scores = np.array([run.methods[method].min_kl for run in runs])
            published = GMM25_MIN_KL[method]
            close = abs(scores.mean() - published["mean"]) <= 1e-3
            lines.append(
                f"{method}, ten-seed mean of the least test KL within 0.001 of the published "
                f"{published['mean']:.4f}: {'yes' if close else 'no'}"
            )
    for method in METHODS:
        n = sum(run.at_optimum(method) for run in runs)
        lines.append(f"{method}, converged model within 2% of the optimum: {n}/{len(runs)} seeds")
    return lines


def record(runs: Sequence[SeedRun]) -> dict:
    """Condense the runs to what is worth keeping in the repository.

    Parameters
    ----------
    runs : sequence of SeedRun

    Returns
    -------
    record : dict
        JSON-able.
    """
    return {
        "seeds": {
            str(run.seed): {
                "optimum_kl": run.optimum_kl,
                **{
                    method: {
                        "min_kl": run.methods[method].min_kl,
                        "final_kl": run.methods[method].final_kl,
                        "fair_kl": run.methods[method].fair_kl,
                        "at_optimum": run.at_optimum(method),
                        "seconds": run.methods[method].seconds,
                    }
                    for method in METHODS
                },
            }
            for run in runs
        },
        "verdicts": verdicts(runs),
    }


def _mean_std(values: np.ndarray) -> str:
    spread = values.std(ddof=1) if len(values) > 1 else float("nan")
    return f"{values.mean():.4f} ± {spread:.4f}"
