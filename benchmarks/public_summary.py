"""What the rows of public_sets.py say, set by set and by size, and the figure of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from search_runs import TOLERANCE

# What others are compared with: method and effort.
RESTARTS = ("kmeans", 10)
COMPARED = {
    "below_kmeans": RESTARTS,
    "below_kmeans++": ("k-means++", 10),
    "below_labels": ("labels", 1),
}

# Differences to the best known log-likelihood count no more than this, in nats: one set on which
# spikes win would else decide the mean.
LEAST_D = -0.3


class SizeClass(NamedTuple):
    """Sets of at most so many rows, and more than those of the class before."""

    most_rows: float
    name: str


CLASSES = (
    SizeClass(1000, "≤ 1000"),
    SizeClass(3000, "1001–3000"),
    SizeClass(math.inf, "> 3000"),
)

# Colours that colour-blind readers can tell apart (Okabe and Ito), and the grey of a reference.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#000000", "#F0E442")
_MARKERS = "os^vDPX*"
_GREY = "0.5"


def summarise(rows: list[dict]) -> dict[str, list[dict]]:
    """Summarise the rows of runs.

    Parameters
    ----------
    rows : list of dict
        As `search_runs.run` measured them.

    Returns
    -------
    summary : dict
        `sets`, an entry for every set and method; `classes`, one for every size and method.
    """
    sets = by_set(rows)
    return {"sets": sets, "classes": by_class(sets)}


def by_set(rows: list[dict]) -> list[dict]:
    """Means over the seeds for every set and method.

    Parameters
    ----------
    rows : list of dict

    Returns
    -------
    entries : list of dict
        `best` is the highest log-likelihood of any method and seed on the set and `d` what is
        missing to it, in nats; `reached` is the share of fits that are there; `seconds` is a
        median.
    """
    best: dict[str, float] = {}
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        best[row["set"]] = max(best.get(row["set"], -np.inf), row["log_likelihood"])
        groups.setdefault((row["set"], row["method"], row["effort"]), []).append(row)
    entries = []
    for (name, method, effort), runs in groups.items():
        log_likelihood = np.array([row["log_likelihood"] for row in runs])
        d = log_likelihood - best[name]
        means = {
            "log_likelihood": log_likelihood.mean(),
            "d": d.mean(),
            "clipped_d": np.maximum(d, LEAST_D).mean(),
            "reached": (d > -TOLERANCE).mean(),
            "ari": np.mean([row["ari"] for row in runs]),
            "spurious": np.mean([row["spurious"] for row in runs]),
            "seconds": np.median([row["seconds"] for row in runs]),
        }
        size = {key: runs[0][key] for key in ("N", "D", "K")}
        entries.append(
            {"set": name, "method": method, "effort": effort, **size}
            | {"fits": len(runs), "best": best[name]}
            | {key: round(float(value), 6) for key, value in means.items()}
        )
    return entries


def by_class(entries: list[dict]) -> list[dict]:
    """Gather the entries of sets by size: every set counts the same, if restarts were measured.

    Parameters
    ----------
    entries : list of dict
        Of `by_set`.

    Returns
    -------
    classes : list of dict
        Times are in those of ten restarts from k-means; None where no set has what is compared.
    """
    found = {(e["set"], e["method"], e["effort"]): e for e in entries}
    entries = [e for e in entries if (e["set"], *RESTARTS) in found]
    groups: dict[tuple, list[dict]] = {}
    for entry in sorted(entries, key=lambda entry: class_of(entry["N"])):
        key = (class_of(entry["N"]), entry["method"], entry["effort"])
        groups.setdefault(key, []).append(entry)
    classes = []
    for (place, method, effort), own in groups.items():
        restarts = [found.get((e["set"], *RESTARTS)) for e in own]
        times = [
            e["seconds"] / r["seconds"] for e, r in zip(own, restarts, strict=True) if r is not None
        ]
        row = {
            "class": CLASSES[place].name,
            "method": method,
            "effort": effort,
            "sets": len(own),
            "reached": round(float(np.mean([e["reached"] for e in own])), 4),
            "clipped_d": round(float(np.mean([e["clipped_d"] for e in own])), 5),
            "time_median": round(float(np.median(times)), 3) if times else None,
            "time_max": round(max(times), 3) if times else None,
        }
        for field, other in COMPARED.items():
            pairs = [(e, found[e["set"], *other]) for e in own if (e["set"], *other) in found]
            lower = [e["log_likelihood"] < o["log_likelihood"] - TOLERANCE for e, o in pairs]
            row[field] = sum(lower) if pairs else None
        classes.append(row)
    return classes


def class_of(N: int) -> int:
    """Place in `CLASSES` of the class that N rows belong to."""
    return next(i for i, size in enumerate(CLASSES) if size.most_rows >= N)


def draw(classes: list[dict], labels: dict[str, str], path: Path) -> None:
    """Plot the share of fits at the best known likelihood against time, a panel a size.

    Parameters
    ----------
    classes : list of dict
        Of `by_class`.
    labels : dict of str to str
        Words for every method.
    path : Path
    """
    figure, panels = plt.subplots(
        1, len(CLASSES), figsize=(10, 4.6), sharex=True, sharey=True, layout="constrained"
    )
    reference, _ = COMPARED["below_labels"]
    curves = [method for method in labels if method != reference]
    looks = zip(curves, _COLOURS[: len(curves)], _MARKERS[: len(curves)], strict=True)
    looks = [(method, {"color": colour, "marker": marker}) for method, colour, marker in looks]
    legend = {}
    for axes, size in zip(panels, CLASSES, strict=True):
        own = [entry for entry in classes if entry["class"] == size.name]
        for method, look in looks:
            efforts = [e for e in own if e["method"] == method and e["time_median"] is not None]
            points = sorted((e["time_median"], 100 * e["reached"]) for e in efforts)
            if points:
                (line,) = axes.plot(*zip(*points, strict=True), **look)
                legend[labels[method]] = line
        for share in [100 * e["reached"] for e in own if e["method"] == reference]:
            line = axes.axhline(share, color=_GREY, linestyle="--")
            legend[f"{labels[reference]} (one run)"] = line
        n_sets = max((entry["sets"] for entry in own), default=0)
        axes.set(title=f"N {size.name}, {n_sets} sets", xscale="log", ylim=(-4, 104))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("fits at the best known likelihood (%)")
    panels[1].set_xlabel("processor time / that of ten restarts from k-means (median over sets)")
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
