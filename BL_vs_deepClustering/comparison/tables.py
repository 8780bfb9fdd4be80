"""What the deep clustering runs say: a table, checks and a record, with BigLearn-EM on pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from biglearn_core.experiments.published import FASHION_PEERS, SCORES
from biglearn_core.experiments.record import rows
from biglearn_core.experiments.statistics import Sample
from BL_vs_deepClustering.comparison.methods import METHODS, Config, shared_pretraining
from BL_vs_deepClustering.comparison.run import PeerRun
from BL_vs_deepClustering.pixels.run import SeedRun

__all__ = ["Entry", "checks", "entries", "pretrainings", "record", "score_table"]

_FINAL = "final model (fair)"
_BEST = "best on the way, chosen with labels"
_OTHERS = "quoted from others"


@dataclass(frozen=True, eq=False)
class Entry:
    """One method over its seeds.

    Parameters
    ----------
    method, label : str
        How records and tables name it.
    seeds : tuple of int
    final, best : dict of str to ndarray of shape (n_seeds,)
        By score: of the final models, and of the best on the way, chosen with labels.
    seconds : ndarray of shape (n_seeds,)
        Wall clock of a run with its pretraining.
    n_parameters : int
    device : str
    """

    method: str
    label: str
    seeds: tuple[int, ...]
    final: dict[str, np.ndarray]
    best: dict[str, np.ndarray]
    seconds: np.ndarray
    n_parameters: int
    device: str

    @property
    def is_ours(self) -> bool:
        """Whether the method is BigLearn-EM."""
        return self.method.startswith("biglearn")


def entries(runs: Sequence[PeerRun], pixels: Sequence[SeedRun] = ()) -> list[Entry]:
    """Collect the runs of every method.

    Parameters
    ----------
    runs : sequence of PeerRun
    pixels : sequence of SeedRun
        Of BigLearn-EM on raw pixels, as `fashion.run` gives them.

    Returns
    -------
    entries : list of Entry
        Peers first.
    """
    groups = {m: [run for run in runs if run.method == m] for m in METHODS}
    collected = [
        Entry(
            method=method,
            label=METHODS[method].label,
            seeds=tuple(run.seed for run in group),
            final=_by_score([run.final for run in group]),
            best=_by_score([run.best for run in group]),
            seconds=np.array([run.total_seconds for run in group]),
            n_parameters=group[0].n_parameters,
            device=group[0].device,
        )
        for method, group in groups.items()
        if group
    ]
    if pixels:
        collected.append(
            Entry(
                method="biglearn-pixels",
                label="BigLearn-EM on pixels",
                seeds=tuple(run.seed for run in pixels),
                final=_by_score([run.final for run in pixels]),
                best=_by_score([run.best for run in pixels]),
                seconds=np.array([run.trace.fit_seconds.sum() for run in pixels]),
                n_parameters=pixels[0].model.n_parameters,
                device=pixels[0].device,
            )
        )
    return collected


def score_table(runs: Sequence[PeerRun], pixels: Sequence[SeedRun] = ()) -> pd.DataFrame:
    """Set all methods side by side, and apart from them what others report.

    Parameters
    ----------
    runs : sequence of PeerRun
    pixels : sequence of SeedRun
        Of BigLearn-EM on raw pixels.

    Returns
    -------
    table : DataFrame
        A row per method: mean ± standard deviation over the seeds (no deviation for one seed) of
        the final model's scores and of the best on the way; seconds with pretraining, by wall
        clock; parameters needed to assign an image; quoted figures with their source. Quoted
        methods that the comparison lacks have rows with these alone.
    """
    table = {}
    for entry in entries(runs, pixels):
        cells: dict[tuple[str, str], str] = {("", "seeds"): str(len(entry.seeds))}
        for protocol, values in ((_FINAL, entry.final), (_BEST, entry.best)):
            cells |= {
                (protocol, label): Sample.of(values[score]).with_std()
                for score, label in SCORES.items()
            }
        cells["cost", "seconds"] = Sample.of(entry.seconds).with_std(0)
        cells["cost", "parameters"] = f"{entry.n_parameters:,}"
        table[entry.label] = cells
    not_run = {method.label for method in METHODS.values()} - set(table)
    for label, quoted in FASHION_PEERS.items():
        if label not in not_run:
            values = ((name, getattr(quoted, score)) for score, name in SCORES.items())
            cells = {(_OTHERS, name): f"{value:.3f}" for name, value in values if value is not None}
            table[label] = table.get(label, {}) | cells | {(_OTHERS, "source"): quoted.source}
    return pd.DataFrame.from_dict(table, orient="index").fillna("").rename_axis("method")


def checks(runs: Sequence[PeerRun]) -> list[str]:
    """State what holds, in lines that are the same on every machine.

    Parameters
    ----------
    runs : sequence of PeerRun

    Returns
    -------
    lines : list of str
    """
    methods = list(dict.fromkeys(run.method for run in runs))
    networks = [run for run in runs if "reconstruction" in run.curves]
    falling = sum(c[-1] < c[0] for c in (run.curves["reconstruction"] for run in networks))
    return [
        f"methods run: {len(methods)}/{len(METHODS)}",
        f"pretraining lowered the reconstruction error: {falling}/{len(networks)} runs",
    ]


def pretrainings(runs: Sequence[PeerRun]) -> dict[tuple[str, int], PeerRun]:
    """Give one run for every pretrained autoencoder.

    Parameters
    ----------
    runs : sequence of PeerRun

    Returns
    -------
    runs : dict of (str, int) to PeerRun
        By whose widths they are, "shared" or a method's, and by seed.
    """
    found = {}
    for run in runs:
        pretraining = METHODS[run.method].pretraining
        if pretraining is not None:
            widths = "shared" if pretraining is shared_pretraining else run.method
            found[widths, run.seed] = run
    return found


def record(
    runs: Sequence[PeerRun], config: Config, pixels: Sequence[SeedRun] = ()
) -> dict[str, Any]:
    """Condense the runs to what is worth keeping in the repository.

    Parameters
    ----------
    runs : sequence of PeerRun
    config : Config
        Of these runs.
    pixels : sequence of SeedRun

    Returns
    -------
    record : dict
        JSON-able, as `experiments.record` states, with the errors of every pretraining by epoch in
        `curves`.
    """
    collected = entries(runs, pixels)
    scores, costs, curves = [], [], []
    for entry in collected:
        n, parts = len(entry.seeds), (("fair", entry.final), ("paper", entry.best))
        columns = {(p, score, ""): part[score] for p, part in parts for score in SCORES}
        columns["both", "n_parameters", ""] = [entry.n_parameters] * n
        scores += rows("Fashion-MNIST", entry.method, entry.seeds, columns)
        columns = {("both", "seconds_with_pretraining", "s"): entry.seconds}
        if mine := [run for run in runs if run.method == entry.method]:
            columns |= {
                ("both", name, unit): [getattr(run, name) for run in mine]
                for name, unit in (
                    ("seconds", "s"), ("n_steps", ""), ("converged", ""), ("n_threads", "")
                )
            }  # fmt: skip
        costs += rows("Fashion-MNIST", entry.method, entry.seeds, columns)
    pretrained = pretrainings(runs)
    for widths in dict.fromkeys(widths for widths, _ in pretrained):
        by_seed = {seed: run for (whose, seed), run in pretrained.items() if whose == widths}
        errors = [run.curves["reconstruction"].tolist() for run in by_seed.values()]
        where = ("Fashion-MNIST", f"pretraining, {widths}", list(by_seed))
        scores += rows(*where, {("both", "final_error", ""): [curve[-1] for curve in errors]})
        seconds = [run.pretrain_seconds for run in by_seed.values()]
        costs += rows(*where, {("both", "seconds", "s"): seconds})
        keys = dict(zip(("dataset", "method", "seeds"), where, strict=True))
        curves.append({**keys, "metric": "errors_by_epoch", "values": errors})
    return {
        "experiment": "deep_clustering",
        "settings": asdict(config),
        "labels": {entry.method: entry.label for entry in collected},
        "device": collected[0].device,
        "scores": scores,
        "costs": costs,
        "curves": curves,
    }


def _by_score(scores: Sequence[Any]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(s, name) for s in scores]) for name in SCORES}
