"""Whole fits against N, K and D: BigLearnEM, and GaussianMixture with one start and with ten.

    python benchmarks/whole_fits.py [--limit 60] [--sweeps D]

Gaussians of unit covariance about centres of deviation four, and for numbers of rows once more a
single Gaussian, in which there is nothing to find. Every fit is a process of its own, on one thread
and on two; its seconds are the wall's, of `fit` alone, and it is stopped at the limit. Beside them
stands what was reached: the mean log-likelihood of the rows. Writes
benchmarks/results/whole_fits.json and .png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.experiments.store import versions
from biglearn_core.system.persistence import write_atomically

RESULTS = Path(__file__).resolve().parent / "results"
METHODS = ("BigLearnEM", "GaussianMixture, n_init=1", "GaussianMixture, n_init=10")
THREADS = (1, 2)

# What varies: sizes (rows, features, components, groups in the data).
SWEEPS = {
    "N": [(N, 8, 8, 8) for N in (150, 2000, 20_000, 200_000, 1_000_000)],
    "K": [(20_000, 2, K, K) for K in (2, 8, 32, 100, 500)],
    "D": [(5000, D, 5, 5) for D in (1, 2, 8, 32, 128)],
    "N, no structure": [(N, 8, 8, 1) for N in (150, 2000, 20_000, 200_000)],
}


def draw(N: int, D: int, groups: int) -> np.ndarray:
    """Draw the rows of a size."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.standard_normal((groups, D))
    return centres[rng.integers(groups, size=N)] + rng.standard_normal((N, D))


def worker(method: str, N: int, D: int, K: int, groups: int, threads: int) -> None:
    """Fit once, and print seconds and log-likelihood."""
    import time
    import warnings

    import torch
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    from biglearn_core import BigLearnEM

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    X = draw(N, D, groups)
    if method == "BigLearnEM":
        model = BigLearnEM(K, random_state=0, device="cpu")
        BigLearnEM(2, random_state=0, device="cpu").fit(draw(100, 2, 2))  # libraries are loaded
    else:
        n_init = int(method.partition("=")[2])
        model = GaussianMixture(K, n_init=n_init, reg_covar=1e-4, random_state=0)
        GaussianMixture(2).fit(draw(100, 2, 2))
    with threadpool_limits(threads):
        started = time.perf_counter()
        model.fit(X)
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "log_likelihood": float(model.score(X))}))


def measure(arguments: list[str], threads: int, limit: float) -> dict[str, float | None]:
    """Fit in a process of its own; None in place of what was not reached within the limit."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--worker", *arguments, str(threads)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"seconds": None, "log_likelihood": None}
    return json.loads(done.stdout)


def plot(rows: list[dict], limit: float) -> None:
    """Draw the seconds of every sweep, on one thread and on two."""
    import matplotlib.pyplot as plt

    from biglearn_core.experiments.style import COLOURS

    figure, axes = plt.subplots(
        1, len(SWEEPS), figsize=(14, 4.2), sharey=True, layout="constrained"
    )
    for ax, (name, sizes) in zip(axes, SWEEPS.items(), strict=True):
        for method, color in zip(METHODS, COLOURS, strict=False):
            for threads, style in zip(THREADS, ("-", ":"), strict=True):
                found = [
                    (row[name[0]], row["seconds"])
                    for row in rows
                    if (row["sweep"], row["method"], row["threads"]) == (name, method, threads)
                    and row["seconds"] is not None
                ]
                label = f"{method}, {threads} thread{'s' * (threads > 1)}"
                ax.plot(
                    *zip(*found, strict=True), style, marker="o", ms=4, color=color, label=label
                )
        N, D, K, _ = sizes[0]
        fixed = {"N": f"D = {D}, K = {K}", "K": f"N = {N:,}, D = {D}", "D": f"N = {N:,}, K = {K}"}
        ax.set(xscale="log", yscale="log", xlabel=name[0], title=fixed[name[0]])
        if "no" in name:
            ax.set_title(f"one Gaussian, {fixed['N']}")
        ax.axhline(limit, color="0.7", lw=0.8)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("seconds of a fit")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(METHODS), frameon=False)
    figure.savefig(RESULTS / "whole_fits.png", dpi=150)


def last_run() -> dict[str, Any]:
    """Read what the last run wrote."""
    return json.loads((RESULTS / "whole_fits.json").read_text(encoding="utf-8"))


def main() -> None:
    """Fit every size by every method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=60, help="seconds of a fit, at most")
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, help="renew these of the last run")
    parser.add_argument("--draw", action="store_true", help="draw the last run's picture alone")
    parser.add_argument("--worker", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        method, *numbers = options.worker
        worker(method, *map(int, numbers))
        return
    if options.draw:
        document = last_run()
        plot(document["rows"], document["limit_s"])
        return
    wanted = options.sweeps or list(SWEEPS)
    rows = []
    for name, sizes in SWEEPS.items():
        if name not in wanted:
            rows += [row for row in last_run()["rows"] if row["sweep"] == name]
            continue
        for N, D, K, groups in sizes:
            for method in METHODS:
                for threads in THREADS:
                    found = measure([method, *map(str, (N, D, K, groups))], threads, options.limit)
                    row = {"sweep": name, "N": N, "D": D, "K": K, "method": method}
                    rows.append({**row, "threads": threads, **found})
                    print(rows[-1], flush=True)
    document = {"limit_s": options.limit, "versions": versions(), "rows": rows}
    with write_atomically(RESULTS / "whole_fits.json") as file:
        file.write(json.dumps(document, indent=1).encode())
    plot(rows, options.limit)


if __name__ == "__main__":
    main()
