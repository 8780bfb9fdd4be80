"""Saved results of whole experiments, read with the entries that tables and claims rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from biglearn_core.experiments.published import GMM25_MIN_KL
from biglearn_core.reproduce.documents import (
    MisshapenError,
    Shape,
    count,
    each,
    entries,
    flag,
    items,
    number,
    or_null,
    read_json,
    text,
)

__all__ = ["EXPERIMENTS", "read_record"]


def read_record(path: Path, experiment: str) -> dict[str, Any]:
    """Read the summary of a full run, or a result of record.

    Parameters
    ----------
    path : Path
    experiment : str
        One of `EXPERIMENTS`, whose entries are checked; of others, only that they have some.

    Returns
    -------
    record : dict
        As the experiment's `record` gives it.

    Raises
    ------
    ValueError
        When it is damaged or has another shape; names the file, what was found and the remedy.
    OSError
        When it cannot be read.
    """
    remedy = "delete it and run `make reproduce`"
    if path.parent.name == "record":
        remedy += f", or restore it by `git checkout -- {path}`"
    return read_json(path, _SHAPES.get(experiment, entries({})), remedy=remedy)


def _seed(value: Any) -> None:
    if not value.isdecimal():
        raise MisshapenError("a seed", value)


def _hits(value: Any) -> None:
    entries({"at_optimum": count, "n_seeds": count, "seconds_per_fit": number})(value)
    if value["n_seeds"] < max(1, value["at_optimum"]):
        raise MisshapenError("n_seeds of at least 1 and at_optimum", value)


def _group(value: Any) -> None:
    scores = ("test_nmi", "test_ari", "test_log_likelihood")
    needed = {"seeds": items(count), "seconds": _MOMENTS, **dict.fromkeys(scores, _MOMENTS)}
    entries(needed, {f"{score}_above_joint_em": _MOMENTS for score in scores})(value)
    if not value["seeds"]:
        raise MisshapenError("a seed", value)
    for score in scores:
        if len(value["seeds"]) > 1 and value[score]["std"] is None:
            raise MisshapenError(f"a deviation of {score} over several seeds", value[score])


_SCORES = ("acc", "nmi", "ari")
_MOMENTS = entries({"mean": number, "std": or_null(number)})
_FINAL = entries(dict.fromkeys(_SCORES, number))
_FINAL_MOMENTS = entries(dict.fromkeys(_SCORES, _MOMENTS))
_RUN = dict.fromkeys(("min_kl", "final_kl", "fair_kl", "seconds"), number)
_METHODS = {
    "final": _FINAL_MOMENTS,
    "best_chosen_with_labels": _FINAL_MOMENTS,
    "seconds_with_pretraining": _MOMENTS,
    "n_seeds": count,
}
_DEEP = {"settings": entries({"n_images": count}), "methods": each(entries(_METHODS))}
_FASHION = {
    "seed": count,
    "final": _FINAL,
    "best_chosen_with_labels": _FINAL,
    "log_likelihood": number,
    "minutes": number,
    "n_images": count,
}


def _record(needed: dict[str, Shape], optional: dict[str, Shape] | None = None) -> Shape:
    return entries(needed, {"versions": each(text), **(optional or {})})


_SHAPES = {
    "gmm25": _record({
        "seeds": each(
            entries(dict.fromkeys(GMM25_MIN_KL, entries({**_RUN, "at_optimum": flag}))), key=_seed
        )
    }),
    "gmm25_hundred": _record(dict.fromkeys(GMM25_MIN_KL, _hits)),
    "realworld": _record({"fair": each(each(_group))}, {"paper": each(each(_group))}),
    "fashion": _record({"runs": items(entries(_FASHION))}),
    "deep_clustering": _record(_DEEP),
    "deep_clustering_seeds": _record(_DEEP),
}  # fmt: skip

EXPERIMENTS = tuple(_SHAPES)
