"""What the real-world runs say: tables, checks and a record, from saved results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from biglearn_core.experiments.published import PENDIGITS
from biglearn_core.experiments.realworld.run import MethodRun
from biglearn_core.experiments.record import rows
from biglearn_core.experiments.statistics import Sample, signed_rank

__all__ = ["checks", "differences", "over_sets", "paper_versus_ours", "record", "score_table"]

BASELINE = "Joint-EM"
SCORES = {"nmi": "NMI", "ari": "ARI", "acc": "ACC", "log_likelihood": "log-likelihood"}

_PARTS = ("test", "train")
_PUBLISHED = {"nmi": "nmi", "ari": "ari", "test_log_likelihood": "log_likelihood"}


def score_table(runs: Mapping[str, Sequence[MethodRun]]) -> pd.DataFrame:
    """Give mean ± standard deviation over the seeds of every score.

    Parameters
    ----------
    runs : mapping of str to sequence of MethodRun
        By set.

    Returns
    -------
    table : DataFrame
        Rows: set and method; columns: the scores on the test and the training part,
        log-likelihoods in nats, and seconds of one core.
    """
    table = {}
    for name, method, group in _groups(runs):
        cells = {("", "seeds"): str(len(group))}
        for part in _PARTS:
            for score, label in SCORES.items():
                cells[part, label] = Sample.of(_values(group, part, score)).with_std()
        cells["", "seconds"] = Sample.of([run.seconds for run in group]).with_std(1)
        table[name, method] = cells
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(["set", "method"])


def differences(runs: Mapping[str, Sequence[MethodRun]]) -> pd.DataFrame:
    """Compare the test scores of every method with those of Joint-EM, seed by seed.

    Parameters
    ----------
    runs : mapping of str to sequence of MethodRun
        By set; the seeds of Joint-EM and of the other methods are the same.

    Returns
    -------
    table : DataFrame
        One row per set, method and score: mean difference, Student's 95% interval of that mean
        over the seeds, low and high, and p of Wilcoxon's signed-rank test over them; NaN for a
        single seed.
    """
    baseline = {name: group for name, method, group in _groups(runs) if method == BASELINE}
    table = []
    for name, method, group in _groups(runs):
        if method == BASELINE:
            continue
        for score, label in SCORES.items():
            values = _above(group, baseline[name], "test", score)
            above = Sample.of(values)
            low, high = above.interval() or (np.nan, np.nan)
            p = signed_rank(values) if len(values) > 1 else np.nan
            table.append((name, method, label, above.mean, low, high, p))
    return pd.DataFrame(table, columns=["set", "method", "score", "mean", "low", "high", "p"])


def over_sets(table: pd.DataFrame) -> pd.DataFrame:
    """Judge every method beside Joint-EM once, over all sets.

    Parameters
    ----------
    table : DataFrame
        Of `differences`.

    Returns
    -------
    table : DataFrame
        Rows: method and score; columns: the median of the sets' mean differences, on how many sets
        it is above zero, on how many it is so or the other way by Wilcoxon's test over the seeds
        at 5%, and p of that test over the sets.
    """
    judged = {}
    for (method, score), group in table.groupby(["method", "score"], sort=False):
        means, tested = group["mean"], group["p"] < 0.05
        judged[method, score] = {
            "median of sets": f"{means.median():+.3f}",
            "sets above": f"{(means > 0).sum()}/{len(group)}",
            "above, below at 5%": f"{(tested & (means > 0)).sum()}, {(tested & (means < 0)).sum()}",
            "p over sets": f"{signed_rank(means):.3f}",
        }
    return pd.DataFrame.from_dict(judged, orient="index").rename_axis(["method", "test score"])


def paper_versus_ours(paper: Sequence[MethodRun], fair: Sequence[MethodRun]) -> pd.DataFrame:
    """Hold the published single seed of Pendigits beside our seeds, in both protocols.

    Parameters
    ----------
    paper, fair : sequence of MethodRun
        Of Pendigits, in the protocols of these names.

    Returns
    -------
    table : DataFrame
        Rows: method and score; the last column counts our seeds of the paper's protocol that lie
        below the published value.
    """
    table = {}
    for method, published in PENDIGITS.items():
        for name, value in published.items():
            score = _PUBLISHED[name]
            ours, theirs = (_values(_of(runs, method), "test", score) for runs in (paper, fair))
            table[method, SCORES[score]] = {
                "published, one seed": f"{value:.3f}",
                "ours (paper)": Sample.of(ours).with_std(),
                "range (paper)": f"{ours.min():.3f} to {ours.max():.3f}",
                "ours (fair)": Sample.of(theirs).with_std(),
                "range (fair)": f"{theirs.min():.3f} to {theirs.max():.3f}",
                "seeds below published (paper)": f"{(ours < value).sum()}/{len(ours)}",
            }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(["method", "test score"])


def checks(runs: Mapping[str, Sequence[MethodRun]]) -> list[str]:
    """State what was found, in lines that are the same on every machine.

    Parameters
    ----------
    runs : mapping of str to sequence of MethodRun
        By set, in the fair protocol.

    Returns
    -------
    lines : list of str
    """
    above = [
        name
        for name, group in runs.items()
        if np.mean(
            _above(_of(group, "BigLearn-EM"), _of(group, BASELINE), "train", "log_likelihood")
        )
        > 0
    ]
    return [
        "mean training log-likelihood of BigLearn-EM above Joint-EM's: "
        f"{len(above)}/{len(runs)} sets ({', '.join(above) or 'none'})"
    ]


def record(
    runs: Mapping[str, Sequence[MethodRun]], paper: Sequence[MethodRun] = ()
) -> dict[str, Any]:
    """Condense the runs to what is worth keeping in the repository.

    Parameters
    ----------
    runs : mapping of str to sequence of MethodRun
        By set, in the fair protocol.
    paper : sequence of MethodRun
        Of Pendigits in the paper's protocol.

    Returns
    -------
    record : dict
        JSON-able, as `experiments.record` states. "test_nmi_above_joint_em" is what a method has
        above Joint-EM in that score, seed by seed.
    """
    scores, costs = [], []
    for protocol, sets in (("fair", runs), ("paper", {"pendigits": paper})):
        for name, method, group in _groups(sets):
            seeds, baseline = [run.seed for run in group], _of(sets[name], BASELINE)
            paired = method != BASELINE and [run.seed for run in baseline] == seeds
            columns = {}
            for part, score in product(_PARTS, SCORES):
                unit = "nats" if score == "log_likelihood" else ""
                columns[protocol, f"{part}_{score}", unit] = _values(group, part, score)
                if paired:
                    above = _above(group, baseline, part, score)
                    columns[protocol, f"{part}_{score}_above_joint_em", unit] = above
            for count in ("n_iter", "n_empty"):
                columns[protocol, count, ""] = [getattr(run, count) for run in group]
            scores += rows(name, method, seeds, columns)
            columns = {
                (protocol, "converged", ""): [run.converged for run in group],
                (protocol, "seconds", "s"): [run.seconds for run in group],
            }
            costs += rows(name, method, seeds, columns)
    n_components = {name: group[0].model.n_components for name, group in runs.items()}
    return {
        "experiment": "realworld",
        "settings": {"n_components": n_components},
        "scores": scores,
        "costs": costs,
    }


def _groups(
    runs: Mapping[str, Sequence[MethodRun]],
) -> Iterable[tuple[str, str, list[MethodRun]]]:
    for name, group in runs.items():
        for method in dict.fromkeys(run.method for run in group):
            yield name, method, _of(group, method)


def _of(runs: Sequence[MethodRun], method: str) -> list[MethodRun]:
    return sorted((run for run in runs if run.method == method), key=lambda run: run.seed)


def _values(runs: Sequence[MethodRun], part: str, score: str) -> np.ndarray:
    return np.array([getattr(getattr(run, part), score) for run in runs])


def _above(
    runs: Sequence[MethodRun], baseline: Sequence[MethodRun], part: str, score: str
) -> np.ndarray:
    return _values(runs, part, score) - _values(baseline, part, score)
