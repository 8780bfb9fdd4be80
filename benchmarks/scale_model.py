"""What a pass costs: a model fitted to the measurements of scale.py, and a figure of these.

Seconds a pass = max(compute, disk) + all-reduce. Its assumptions stand in what `model_of` gives.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from biglearn_core.displays.style import COLOURS, tidy
from biglearn_core.experiments.style import new_figure
from biglearn_core.numerics.points import n_quadratic_features
from biglearn_core.system.persistence import write_atomically

# Rows, features, components and machines of the extrapolation, and the network between these.
FAR = {"N": 10**10, "D": 50, "K": 64, "machines": 64}
NETWORK_BYTES_A_SECOND = 1.25e9

# Of what the seconds a row are made.
TERMS = ("row", "feature", "product", "component")

# Form of the density whose cost the terms are.
FORM = "QuadraticDensity"


def terms(D: int, K: int) -> list[float]:
    """List what a row costs: itself, its features, the products, the exponentials."""
    F = n_quadratic_features(D)
    return [1.0, F, F * K, K]


def bytes_of_sums(D: int, K: int) -> int:
    """Bytes that an EM step sends: counts, first and second moments, and the log-likelihood."""
    return 8 * (K + K * D + K * D * D + 1)


def fitted(rows: list[list[float]], seconds: list[float]) -> tuple[list[float], list[float]]:
    """Find non-negative coefficients of least relative error, and give these errors, too."""
    A, y = np.array(rows), np.array(seconds)
    found, _ = nnls(A / y[:, None], np.ones(len(y)))
    return found.tolist(), (A @ found / y - 1).tolist()


def model_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Fit the model to whatever has been measured.

    Parameters
    ----------
    rows : list of dict
        Of scale.py.

    Returns
    -------
    model : dict
    """
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_group.setdefault(row["group"], []).append(row)
    passes = [row for row in by_group.get("passes", []) if row.get("form") == FORM]
    one = [row for row in passes if row["case"]["threads"] == 1]
    if len(one) < len(TERMS):
        return {}
    shapes = [(row["case"]["D"], row["case"]["K"]) for row in one]
    seconds = [row["seconds_to_compute"] / row["case"]["N"] for row in one]
    compute, errors = fitted([terms(*shape) for shape in shapes], seconds)
    model: dict[str, Any] = {
        "seconds_a_row": dict(zip(TERMS, compute, strict=True)),
        "relative_errors": {
            f"D={D} K={K}": round(e, 3) for (D, K), e in zip(shapes, errors, strict=True)
        },
    }
    two = [row for row in passes if row["case"]["threads"] == 2]
    threads = 1.0
    for row in two:
        same = {"D": row["case"]["D"], "K": row["case"]["K"]}
        alone = next(r for r in one if {n: r["case"][n] for n in same} == same)
        threads = alone["seconds_to_compute"] / row["seconds_to_compute"]
        model["two_threads_gain"] = threads
    ranks = [row for row in by_group.get("ranks", []) if row["case"]["task"] == "rank"]
    model["ranks"] = [_against_model(row, compute) for row in ranks]
    reduces = [row for row in by_group.get("ranks", []) if row["case"]["task"] == "reduce"]
    disks = by_group.get("disk", [])
    if reduces and disks:
        model["far"] = _far(model, compute, threads, reduces[0], disks[0])
    return model


def _against_model(row: dict[str, Any], compute: list[float]) -> dict[str, Any]:
    """Set passes that the model was not fitted to beside what it says of them."""
    case = row["case"]
    expected = case["N"] / case["size"] * float(np.dot(compute, terms(case["D"], case["K"])))
    return {"size": case["size"], "measured": row["seconds"], "by_the_model": expected}


def _far(
    model: dict[str, Any],
    compute: list[float],
    threads: float,
    reduce: dict[str, Any],
    disk: dict[str, Any],
) -> dict[str, Any]:
    """Extrapolate to many rows on many machines."""
    sizes = {int(n): s for n, s in reduce["seconds_of_bytes"].items()}
    (latency, a_byte), errors = fitted([[1.0, n] for n in sizes], list(sizes.values()))
    model["all_reduce"] = {
        "latency": latency,
        "seconds_a_byte": a_byte,
        "relative_errors": [round(e, 3) for e in errors],
    }
    D, K, machines = FAR["D"], FAR["K"], FAR["machines"]
    n = FAR["N"] / machines
    a_row = float(np.dot(compute, terms(D, K)))
    read = 8 * D * n / disk["bytes_a_second"]["cold"]
    sent = bytes_of_sums(D, K)
    wire = 2 * (machines - 1) / machines * sent * max(a_byte, 1 / NETWORK_BYTES_A_SECOND)
    reduced = 2 * math.ceil(math.log2(machines)) * latency + wire
    of_cores = {f"{cores} cores": n * a_row / gain for cores, gain in ((2, threads), (16, 16.0))}
    return {
        **FAR,
        "rows_a_machine": n,
        "bytes_sent_a_pass": sent,
        "seconds_to_read": read,
        "seconds_to_reduce": reduced,
        "seconds_to_compute": of_cores,
        "seconds_a_pass": {name: max(s, read) + reduced for name, s in of_cores.items()},
        "assumptions": [
            "float64, full covariances; the form of the density is the quadratic one, as in every "
            "shape that was measured",
            "the machines are as this one and hold equal shares; the slowest sets the pace of all",
            "two cores gain what two threads gain here; sixteen cores are sixteen times one, which "
            "has not been measured",
            "each reads its rows from a disk of its own as fast as this one reads what its cache "
            "does not have, while it computes",
            "an all-reduce takes 2 log2(machines) latencies, and sends twice the sums over a "
            "network of 10 Gbit/s, or as fast as two processes here where that is slower",
            "no machine fails, nothing else runs on them",
        ],
    }


def draw(rows: list[dict[str, Any]], model: dict[str, Any], path: Path) -> None:
    """Draw time and peak memory against the number of rows.

    Parameters
    ----------
    rows : list of dict
    model : dict
    path : Path
    """
    fits = sorted((r for r in rows if r["group"] == "fits"), key=lambda r: r["case"]["N"])
    if not fits:
        return
    D, K = fits[0]["case"]["D"], fits[0]["case"]["K"]
    N = np.array([row["case"]["N"] for row in fits])
    passes = [(n, s) for n, row in zip(N, fits, strict=True) if (s := row.get("seconds_a_pass"))]
    figure, ((left, right),) = new_figure(1, 2, width=4.5, height=3.6)
    blue, red, green, *_ = COLOURS
    seconds = [row["seconds"] for row in fits]
    left.plot(N, seconds, "o-", color=blue, label=f"BigLearnEM({K}), whole fit")
    if passes:
        left.plot(*zip(*passes, strict=True), "s", color=green, label="one pass of it")
    if model:
        a_row = np.dot(list(model["seconds_a_row"].values()), terms(D, K))
        a_pass = N * a_row / model.get("two_threads_gain", 1.0)
        left.plot(N, a_pass, "--", color=red, label="one pass, by the model")
    left.set_ylabel("seconds, two threads")
    peaks = [row["peak_bytes"] / 2**20 for row in fits]
    right.plot(N, peaks, "o-", color=blue, label="peak beyond imports")
    right.plot(N, N * D * 8 / 2**20, "--", color=red, label="the rows themselves")
    right.set_ylabel("memory (MiB)")
    for axes in (left, right):
        tidy(axes).set(xscale="log", yscale="log", xlabel=f"rows of {D} features")
        axes.legend(frameon=False)
    with write_atomically(path) as file:
        figure.savefig(file, dpi=150, format="png")
