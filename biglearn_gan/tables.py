"""What the comparison says: tables, differences with their intervals, checks and a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from biglearn_core.experiments.record import rows
from biglearn_core.experiments.statistics import Sample
from biglearn_gan.measures.questions import HALVES, SHARES
from biglearn_gan.methods import METHODS, settings_of
from biglearn_gan.run import Run

__all__ = [
    "COMPLETION_MEASURES",
    "MEASURES",
    "Measure",
    "checks",
    "completion_table",
    "difference_table",
    "record",
    "score_table",
]


@dataclass(frozen=True)
class Measure:
    """How a number is told.

    Parameters
    ----------
    label : str
    decimals : int
    sense : {-1, 0, 1}
        Whether less is better, more is, or it is told beside a reference.
    """

    label: str
    decimals: int = 3
    sense: int = -1


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "conditional_ks_mean": Measure("conditional KS, mean"),
        "conditional_ks_max": Measure("conditional KS, largest"),
        "marginal_ks_max": Measure("marginal KS, largest"),
        "conditional_swd_mean": Measure("conditional SWD, mean"),
        "joint_swd": Measure("joint SWD"),
        "swd_floor": Measure("SWD of the truth from itself", sense=0),
        "modes": Measure("modes covered", 1, 1),
        "within": Measure("within 3 sd (truth 0.989)", sense=1),
        "weight_kl": Measure("KL of mode weights (nats)", 4),
        "conditional_kl_mean": Measure("conditional KL, mean (nats)", 2),
        "conditional_kl_max": Measure("conditional KL, largest (nats)", 2),
        "frechet_pca": Measure("Fréchet distance, PCA"),
        "frechet_features": Measure("Fréchet distance, features", 2),
        "precision": Measure("precision", sense=1),
        "recall": Measure("recall", sense=1),
        "two_sample": Measure("two-sample accuracy (best 0.5)", sense=0),
        "nearest": Measure("distance to training images", 2, 0),
        "nearest_of_test": Measure("the same of test images", 2, 0),
        "class_tv": Measure("total variation of classes"),
    }
)

COMPLETION_MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "accuracy": Measure("accuracy of one completion", sense=1),
        "vote": Measure("accuracy of the vote of 20", sense=1),
        "rmse": Measure("RMSE of one completion"),
        "rmse_of_mean": Measure("RMSE of the mean of 20"),
        "spread": Measure("deviation between draws", sense=0),
    }
)


def score_table(
    runs: Sequence[Run], data: str, *, measures: Sequence[str] | None = None
) -> pd.DataFrame:
    """Set every method's measures side by side.

    Parameters
    ----------
    runs : sequence of Run
    data : str
    measures : sequence of str, optional
        Of `MEASURES`; those that the data set has when not given.

    Returns
    -------
    table : DataFrame
        A row a method, in the order of `METHODS`; means ± standard deviations over the seeds.
    """
    present = {name for run in runs if run.data == data for name in run.scores}
    measures = [name for name in measures or MEASURES if name in present]
    table = {}
    for method, own in _by_method(runs, data).items():
        told = {MEASURES[name].label: _told(own, name, MEASURES[name]) for name in measures}
        seconds = Sample.of([run.seconds for run in own]).with_std(0)
        table[METHODS[method].label] = told | {"seeds": len(own), "training (s)": seconds}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method")


def completion_table(runs: Sequence[Run], data: str, *, measure: str) -> pd.DataFrame:
    """Set one measure of every method's completions side by side, question by question.

    Parameters
    ----------
    runs : sequence of Run
    data : str
    measure : str
        Of `COMPLETION_MEASURES`.

    Returns
    -------
    table : DataFrame
        A row a method; a column a question: the half, or the share of patches, that is observed.
    """
    how = COMPLETION_MEASURES[measure]
    table = {
        METHODS[method].label: {
            question: _told(own, f"{measure}_{question}", how) for question in (*HALVES, *SHARES)
        }
        for method, own in _by_method(runs, data).items()
    }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method")


def difference_table(
    runs: Sequence[Run], pairs: Sequence[tuple[str, str]], *, measures: Mapping[str, Measure]
) -> pd.DataFrame:
    """Tell what one method gains over another, seed by seed, and whether an interval bears it.

    Parameters
    ----------
    runs : sequence of Run
    pairs : sequence of (str, str)
        A method, and the one it is compared with.
    measures : mapping of str to Measure

    Returns
    -------
    table : DataFrame
        Rows: data set, pair and measure; the mean difference with its 95% interval (Student's), and
        "better" or "worse" where zero lies outside of it.
    """
    table = []
    for data in dict.fromkeys(run.data for run in runs):
        by_method = _by_method(runs, data)
        for first, second in pairs:
            if first not in by_method or second not in by_method:
                continue
            for name, measure in measures.items():
                gap = _gap(by_method[first], by_method[second], name)
                if gap is not None:
                    table.append({
                        "data": data,
                        "pair": f"{METHODS[first].label} − {METHODS[second].label}",
                        "measure": measure.label,
                        "difference": gap.with_interval(measure.decimals, sign="+"),
                        "reading": _reading(gap, measure.sense),
                    })  # fmt: skip
    place = ["data", "pair", "measure"]
    return pd.DataFrame(table, columns=[*place, "difference", "reading"]).set_index(place)


def checks(runs: Sequence[Run]) -> list[str]:
    """State what was found, in lines that are the same on every machine.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    lines : list of str
    """
    lines = []
    for data in dict.fromkeys(run.data for run in runs):
        by_method = _by_method(runs, data)
        if {"exact", "ignoring", "big"} <= set(by_method):
            ks = {
                name: Sample.of(_values(by_method[name], "conditional_ks_mean")).mean
                for name in ("exact", "ignoring", "big")
            }
            lines += [
                f"{data}, the measures: exact conditionals within 0.025 of uniform: "
                f"{_yes(ks['exact'] < 0.025)}",
                f"{data}: conditionals of BigLearn-GAN nearer to the exact ones than draws that "
                f"ignore x_S: {_yes(ks['big'] < ks['ignoring'])}",
            ]
    return lines


def record(runs: Sequence[Run], *, iterations: int | None = None) -> dict[str, Any]:
    """Condense the runs to what is worth keeping in the repository.

    Parameters
    ----------
    runs : sequence of Run
    iterations : int, optional
        Of the comparison: those of every training, at most.

    Returns
    -------
    record : dict
        JSON-able, as `experiments.record` states.
    """
    scores, costs, settings = [], [], {}
    for data in dict.fromkeys(run.data for run in runs):
        for method, own in _by_method(runs, data).items():
            seeds = [run.seed for run in own]
            columns = {("fair", name, ""): _values(own, name) for name in sorted(own[0].scores)}
            scores += rows(data, method, seeds, columns)
            seconds = {("both", "seconds", "s"): [run.seconds for run in own]}
            costs += rows(data, method, seeds, seconds)
            config = settings_of(METHODS[method].model_of or method, data, iterations=iterations)
            if hasattr(config, "iterations"):
                settings.setdefault(data, {})[method] = config.iterations
    return {
        "experiment": "biglearn_gan",
        "settings": {"iterations": settings},
        "labels": {method: METHODS[method].label for method in METHODS},
        "scores": scores,
        "costs": costs,
    }


def _by_method(runs: Sequence[Run], data: str) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        if run.data == data:
            grouped.setdefault(run.method, []).append(run)
    return {method: grouped[method] for method in METHODS if method in grouped}


def _values(runs: Sequence[Run], name: str) -> list[float]:
    return [run.scores[name] for run in runs if name in run.scores]


def _told(runs: Sequence[Run], name: str, measure: Measure) -> str:
    values = _values(runs, name)
    return Sample.of(values).with_std(measure.decimals) if values else "–"


def _gap(first: Sequence[Run], second: Sequence[Run], name: str) -> Sample | None:
    """Difference on the seeds that both have; None where fewer than two."""
    gap = Sample.of_differences(
        *({run.seed: run.scores[name] for run in runs if name in run.scores}
          for runs in (first, second))
    )  # fmt: skip
    return gap if gap is not None and gap.n > 1 else None


def _reading(gap: Sample, sense: int) -> str:
    low, high = gap.interval()
    if low <= 0 <= high or not sense:
        return "–"
    return "better" if gap.mean * sense > 0 else "worse"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
