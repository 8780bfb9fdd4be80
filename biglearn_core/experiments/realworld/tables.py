"""What the real-world runs say: tables and verdicts, from saved results and published figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy.stats import t as student

from biglearn_core.experiments.published import PENDIGITS
from biglearn_core.experiments.realworld.run import MethodRun

__all__ = ["differences", "paper_versus_ours", "record", "score_table", "verdicts"]

BASELINE = "Joint-EM"
SCORES = {"nmi": "NMI", "ari": "ARI", "acc": "ACC", "log_likelihood": "log-likelihood"}

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
    rows = {}
    for name, method, group in _groups(runs):
        row = {("", "seeds"): str(len(group))}
        for part in ("test", "train"):
            for score, label in SCORES.items():
                row[part, label] = _mean_std(_values(group, part, score))
        row["", "seconds"] = _mean_std(np.array([run.seconds for run in group]), digits=1)
        rows[name, method] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["set", "method"])


def differences(
    runs: Mapping[str, Sequence[MethodRun]], *, part: str = "test", confidence: float = 0.95
) -> pd.DataFrame:
    """Compare every method with Joint-EM, seed by seed.

    Parameters
    ----------
    runs : mapping of str to sequence of MethodRun
        By set; the seeds of Joint-EM and of the other methods are the same.
    part : {"test", "train"}
    confidence : float, default 0.95

    Returns
    -------
    table : DataFrame
        One row per set, method and score: mean difference and Student's interval of that mean over
        the seeds, low and high; NaN for a single seed.
    """
    baseline = {name: group for name, method, group in _groups(runs) if method == BASELINE}
    rows = []
    for name, method, group in _groups(runs):
        if method == BASELINE:
            continue
        for score, label in SCORES.items():
            pairs = _values(group, part, score) - _values(baseline[name], part, score)
            half = np.nan
            if len(pairs) > 1:
                quantile = student.ppf((1 + confidence) / 2, len(pairs) - 1)
                half = quantile * pairs.std(ddof=1) / np.sqrt(len(pairs))
            mean = pairs.mean()
            rows.append((name, method, label, mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["set", "method", "score", "mean", "low", "high"])


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
    rows = {}
    for method, published in PENDIGITS.items():
        for name, value in published.items():
            score = _PUBLISHED[name]
            ours, theirs = (_values(_of(runs, method), "test", score) for runs in (paper, fair))
            rows[method, SCORES[score]] = {
                "published, one seed": f"{value:.3f}",
                "ours (paper)": _mean_std(ours),
                "range (paper)": f"{ours.min():.3f} to {ours.max():.3f}",
                "ours (fair)": _mean_std(theirs),
                "range (fair)": f"{theirs.min():.3f} to {theirs.max():.3f}",
                "seeds below published (paper)": f"{(ours < value).sum()}/{len(ours)}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["method", "test score"])


def verdicts(runs: Mapping[str, Sequence[MethodRun]], paper: Sequence[MethodRun] = ()) -> list[str]:
    """State what holds, in lines that are the same on every machine.

    Parameters
    ----------
    runs : mapping of str to sequence of MethodRun
        By set, in the fair protocol.
    paper : sequence of MethodRun
        Of Pendigits in the paper's protocol, ten seeds or more; no line where there are fewer.

    Returns
    -------
    lines : list of str
    """
    lines = []
    for part, label in (("train", "training"), ("test", "test")):
        table = differences(runs, part=part)
        ours = table[(table["method"] == "BigLearn-EM") & (table["score"] == "log-likelihood")]
        above = ours[ours["mean"] > 0]["set"].tolist()
        lines.append(
            f"mean {label} log-likelihood of BigLearn-EM above Joint-EM's: "
            f"{len(above)}/{len(ours)} sets ({', '.join(above) or 'none'})"
        )
    if len(_of(paper, "BigLearn-EM")) >= 10:
        for method, published in PENDIGITS.items():
            for name, value in published.items():
                ours = _values(_of(paper, method), "test", _PUBLISHED[name])
                inside = ours.min() <= value <= ours.max()
                lines.append(
                    f"Pendigits, {method}, published {SCORES[_PUBLISHED[name]]} {value:.3f} within "
                    f"the range of our {len(ours)} seeds: {'yes' if inside else 'no'}"
                )
    return lines


def record(
    runs: Mapping[str, Sequence[MethodRun]], paper: Sequence[MethodRun] = ()
) -> dict[str, dict]:
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
        JSON-able: mean and standard deviation by protocol, set, method, part and score, the
        log-likelihoods in nats, and of what a method has above Joint-EM, seed by seed; what paper
        and fair protocol say.
    """
    protocols = {"fair": runs} | ({"paper": {"pendigits": paper}} if paper else {})
    return {
        **{
            protocol: {
                name: {
                    method: _condense(group, _of(sets[name], BASELINE))
                    for _, method, group in _groups({name: sets[name]})
                }
                for name in sets
            }
            for protocol, sets in protocols.items()
        },
        "verdicts": verdicts(runs, paper),
    }


def _condense(group: Sequence[MethodRun], baseline: Sequence[MethodRun]) -> dict:
    columns = {
        f"{part}_{score}": _values(group, part, score)
        for part in ("test", "train")
        for score in SCORES
    }
    if group[0].method != BASELINE and [r.seed for r in baseline] == [r.seed for r in group]:
        for part in ("test", "train"):
            for score in SCORES:
                theirs = _values(baseline, part, score)
                columns[f"{part}_{score}_above_joint_em"] = columns[f"{part}_{score}"] - theirs
    for name in ("seconds", "n_iter", "n_empty"):
        columns[name] = np.array([getattr(run, name) for run in group], dtype=float)
    return {
        "seeds": [run.seed for run in group],
        "converged": sum(run.converged for run in group),
        **{
            name: {
                "mean": values.mean(),
                "std": values.std(ddof=1) if len(values) > 1 else None,
                "min": values.min(),
                "max": values.max(),
            }
            for name, values in columns.items()
        },
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
    return np.array([asdict(getattr(run, part))[score] for run in runs])


def _mean_std(values: np.ndarray, *, digits: int = 3) -> str:
    spread = values.std(ddof=1) if len(values) > 1 else float("nan")
    return f"{values.mean():.{digits}f} ± {spread:.{digits}f}"
