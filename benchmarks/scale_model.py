"""What a pass costs: a model fitted to the measurements of scale.py, and a figure of these.

Seconds a pass = max(compute, disk) + all-reduce. Its assumptions stand in what `model_of` gives.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import nnls

from biglearn_core.numerics.points import n_quadratic_features
from biglearn_core.system.persistence import write_atomically

# Rows, features, components and machines of the extrapolation, and the network between these.
FAR = {"N": 10**10, "D": 50, "K": 64, "machines": 64}
NETWORK_BYTES_A_SECOND = 1.25e9

# Of what the seconds a row are made.
TERMS = ("row", "feature", "product", "component")

# Okabe and Ito's blue and vermilion.
BLUE, RED = "#0072B2", "#D55E00"


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
    passes = by_group.get("passes", [])
    one = [row for row in passes if row["case"]["threads"] == 1]
    if len(one) < len(terms(1, 1)):
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
    reduces = [row for row in by_group.get("ranks", []) if "seconds_of_bytes" in row]
    disks = by_group.get("disk", [])
    if reduces and disks:
        model["far"] = _far(model, compute, threads, reduces[0], disks[0])
    return model


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
            "float64; the form of the density is the quadratic one, as in what was measured",
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
    """Draw time and peak memory of whole fits against the number of rows.

    Parameters
    ----------
    rows : list of dict
    model : dict
    path : Path
    """
    fits = sorted((r for r in rows if r["group"] == "fits"), key=lambda r: r["case"]["N"])
    if not fits:
        return
    N = np.array([row["case"]["N"] for row in fits])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.loglog(
        N, [row["seconds"] for row in fits], "o-", color=BLUE, label="BigLearnEM(16), whole"
    )
    if model:
        coefficients = list(model["seconds_a_row"].values())
        a_pass = N * np.dot(coefficients, terms(16, 16)) / model.get("two_threads_gain", 1.0)
        left.loglog(N, a_pass, "--", color=RED, label="one pass, by the model")
    left.set(xlabel="rows of 16 features", ylabel="seconds, two threads")
    left.legend(frameon=False)
    right.loglog(N, [row["peak_bytes"] / 2**20 for row in fits], "o-", color=BLUE, label="peak")
    right.loglog(N, N * 16 * 8 / 2**20, "--", color=RED, label="the rows themselves")
    right.set(xlabel="rows of 16 features", ylabel="MiB beyond what imports take")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    with write_atomically(path) as file:
        figure.savefig(file, dpi=150, format="png")
    plt.close(figure)
