"""What the deep clustering runs say: a table, lines and a record, beside BigLearn-EM on pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from biglearn_core.experiments.published import FASHION_PEERS, LABELS, QUOTED, SCORES
from BL_vs_deepClustering.comparison.run import METHODS, Config, PeerRun
from BL_vs_deepClustering.pixels.run import SeedRun

__all__ = [
    "Entry",
    "entries",
    "pretrainings",
    "record",
    "score_table",
    "standing",
    "verdicts",
]

_FINAL = "final model (fair)"
_BEST = "best on the way, chosen with labels"
_OTHERS = "quoted from others"


@dataclass(frozen=True, eq=False)
class Entry:
    """One method over its seeds.

    Parameters
    ----------
    method : str
        Key of `LABELS`.
    seeds : tuple of int
    final, best : dict of str to ndarray of shape (n_seeds,)
        By score: of the final models, and of the best on the way, chosen with labels.
    seconds : ndarray of shape (n_seeds,)
        Wall clock of a run with its pretraining.
    n_parameters : int
    device : str
    """

    method: str
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
        methods that were not run have rows with these alone.
    """
    rows = {}
    for entry in entries(runs, pixels):
        row: dict[tuple[str, str], str] = {("", "seeds"): str(len(entry.seeds))}
        for protocol, values in ((_FINAL, entry.final), (_BEST, entry.best)):
            row |= {(protocol, label): _mean_std(values[s]) for s, label in SCORES.items()}
        row["cost", "seconds"] = _mean_std(entry.seconds, digits=0)
        row["cost", "parameters"] = f"{entry.n_parameters:,}"
        rows[LABELS[entry.method]] = row | _quoted(QUOTED.get(entry.method))
    rows |= {
        source.partition(" (")[0]: _quoted(source)
        for source in FASHION_PEERS
        if source not in QUOTED.values()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("method")
    return table


def standing(runs: Sequence[PeerRun], pixels: Sequence[SeedRun] = ()) -> str:
    """Say how BigLearn-EM's best variant stands to the best peer, by the mean final ACC.

    Parameters
    ----------
    runs : sequence of PeerRun
    pixels : sequence of SeedRun

    Returns
    -------
    line : str
    """
    collected = entries(runs, pixels)
    ours = [entry for entry in collected if entry.is_ours]
    peers = [entry for entry in collected if not entry.is_ours]
    if not ours or not peers:
        return "no comparison: it needs a variant of BigLearn-EM and a peer"
    best, peer = (max(group, key=lambda e: e.final["acc"].mean()) for group in (ours, peers))
    (mine, n), (theirs, m) = ((e.final["acc"].mean(), len(e.seeds)) for e in (best, peer))
    side = "above" if mine > theirs else "not above"
    return (
        f"{LABELS[best.method]} (ACC {mine:.3f}, {n} seed{'s' * (n > 1)}) stands {side} the best "
        f"peer, {LABELS[peer.method]} ({theirs:.3f}, {m} seed{'s' * (m > 1)}): "
        f"{mine - theirs:+.3f}"
    )


def verdicts(runs: Sequence[PeerRun]) -> list[str]:
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
        By whose widths they are, "shared" or "edesc", and by seed.
    """
    return {
        ("edesc" if run.method == "edesc" else "shared", run.seed): run
        for run in runs
        if "reconstruction" in run.curves
    }


def record(
    runs: Sequence[PeerRun], config: Config, pixels: Sequence[SeedRun] = ()
) -> dict[str, Any]:
    """Collect what the report needs.

    Parameters
    ----------
    runs : sequence of PeerRun
    config : Config
        Of these runs.
    pixels : sequence of SeedRun

    Returns
    -------
    record : dict
        JSON-able: settings; by method the mean and the standard deviation of every score over its
        seeds, and its runs; the errors of every pretraining by epoch.
    """
    pretrained: dict[str, list[dict[str, Any]]] = {}
    for (widths, seed), run in pretrainings(runs).items():
        errors = run.curves["reconstruction"]
        pretrained.setdefault(widths, []).append({
            "seed": seed,
            "final_error": float(errors[-1]),
            "errors_by_epoch": errors.tolist(),
            "seconds": run.pretrain_seconds,
        })  # fmt: skip
    return {
        "settings": asdict(config),
        "methods": {
            entry.method: {
                "final": {name: _moments(values) for name, values in entry.final.items()},
                "best_chosen_with_labels": {
                    name: _moments(values) for name, values in entry.best.items()
                },
                "seconds_with_pretraining": _moments(entry.seconds),
                "n_parameters": entry.n_parameters,
                "n_seeds": len(entry.seeds),
                "seeds": list(entry.seeds),
                "device": entry.device,
                "runs": [_run(run) for run in runs if run.method == entry.method],
            }
            for entry in entries(runs, pixels)
        },
        "pretraining": pretrained,
        "standing": standing(runs, pixels),
    }


def _run(run: PeerRun) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "final": asdict(run.final),
        "seconds": run.seconds,
        "n_steps": run.n_steps,
        "converged": run.converged,
        "n_threads": run.n_threads,
    }


def _by_score(scores: Sequence[Any]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(s, name) for s in scores]) for name in SCORES}


def _quoted(source: str | None) -> dict[tuple[str, str], str]:
    if source is None:
        return {}
    values = zip(SCORES.values(), FASHION_PEERS[source], strict=True)
    row = {(_OTHERS, label): f"{value:.3f}" for label, value in values if value is not None}
    return row | {(_OTHERS, "source"): source.partition(" (")[2].removesuffix(")")}


def _moments(values: np.ndarray) -> Mapping[str, float | None]:
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "std": spread}


def _mean_std(values: np.ndarray, *, digits: int = 3) -> str:
    mean = f"{values.mean():.{digits}f}"
    return f"{mean} ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else mean
