"""A 10×10 grid of Gaussians, 8000 points: share of data seeds at the optimum against time.

Methods: the default search after more and more bursts of matching tasks; scikit-learn with more and
more starts, k-means and k-means++; plain EM here, with more and more k-means++ starts; BigLearn-EM
with the paper's constant schedule and with the annealed one, both from k-means++.

Run from the repository: python benchmarks/estimators_grid.py [seeds] [slow seeds]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from estimators_common import (
    FLOOR,
    RESULTS,
    Run,
    Sample,
    as_row,
    clock,
    divergence,
    fit_biglearn,
    fit_sklearn,
    grid,
    one_thread,
    optimum,
    save,
)

from biglearn_core import JointEM, fit_biglearn_em, fit_joint_em
from biglearn_core.init import kmeans_plusplus_start

K = 100
STARTS = (1, 3, 10)
ITERATIONS = (100, 400)


def _plain(sample: Sample, seed: int, n_init: int) -> Run:
    def fit() -> float:
        model = JointEM(
            K, init="k-means++", n_init=n_init, tol=1e-4, random_state=seed, device="cpu"
        )
        return model.fit(sample.X).lower_bound_

    return clock(fit)


def _scheduled(sample: Sample, seed: int, n_iter: int, annealed: bool) -> Run:
    """Run a schedule from k-means++, then joint steps without smoothing."""
    X = torch.from_numpy(sample.X)
    probabilities = {}
    if annealed:
        probabilities = {
            "p_joint": lambda f: 0.02 + 0.9 * f**2,
            "p_marginal": lambda f: (0.98 - 0.9 * f**2) / 6,
        }

    def fit() -> float:
        result = fit_biglearn_em(
            X,
            kmeans_plusplus_start(X, K, seed=seed),
            n_iter=n_iter,
            covariance_floor=FLOOR,
            weight_smoothing=K**-0.5,
            seed=seed,
            **probabilities,
        )
        last = fit_joint_em(X, result.model, n_iter=200, covariance_floor=FLOOR, tol=1e-6)
        return float(last.history.log_likelihood[-1])

    return clock(fit)


def main(n_seeds: int, n_slow: int) -> None:
    """Fit all methods on every data seed, print a table, draw the figure."""
    rows = []

    def add(method: str, effort: int, seed: int, run: Run, sample: Sample, best: float) -> None:
        row = {"method": method, "effort": effort, "seed": seed, "optimum": best}
        excess = best - run.log_likelihood
        hit = excess <= 0.02 * abs(divergence(sample, best))
        rows.append(row | as_row("run", run) | {"at_optimum": hit})

    with one_thread():
        fit_biglearn(grid(2, 100, 0).X, 4, 0)
        for seed in range(n_seeds):
            sample = grid(10, 8000, seed)
            best = optimum(sample)
            add("BigLearnEM", 1, seed, fit_biglearn(sample.X, K, seed), sample, best)
            for n in STARTS:
                for init in ("kmeans", "k-means++"):
                    run = fit_sklearn(sample.X, K, seed, init, n)
                    add(f"scikit-learn, {init}", n, seed, run, sample, best)
                add("plain EM, k-means++", n, seed, _plain(sample, seed, n), sample, best)
            if seed < n_slow:
                for n in ITERATIONS:
                    for annealed in (False, True):
                        run = _scheduled(sample, seed, n, annealed)
                        name = "annealed schedule" if annealed else "paper's schedule"
                        add(f"{name}, k-means++", n, seed, run, sample, best)
            print(f"seed {seed} done", flush=True)
    save("estimators_grid", rows, n_seeds=n_seeds, n_slow=n_slow)
    draw(rows)


def draw(rows: list[dict]) -> None:
    """Print and plot the share of seeds at the optimum against mean time."""
    markers = iter("osD^vPX")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    colours = iter(("#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00"))
    for method in dict.fromkeys(row["method"] for row in rows):
        points = []
        for effort in sorted({row["effort"] for row in rows if row["method"] == method}):
            runs = [row for row in rows if (row["method"], row["effort"]) == (method, effort)]
            hits = sum(row["at_optimum"] for row in runs)
            seconds = np.mean([row["run_seconds"] for row in runs])
            gap = np.mean([row["optimum"] - row["run_log_likelihood"] for row in runs])
            points.append((seconds, 100 * hits / len(runs)))
            print(
                f"{method:26} {effort:4}: {hits}/{len(runs)} at the optimum, {seconds:6.2f} s, "
                f"mean gap {gap:.4f} nats"
            )
        marker, colour = next(markers), next(colours)
        axes.plot(*zip(*points, strict=True), marker=marker, color=colour, label=method)
    axes.set(
        xscale="log",
        xlabel="processor time per fit (s, one thread)",
        ylabel="data seeds at the optimum (%)",
        title="10×10 grid, K = 100, 8000 points",
        ylim=(-4, 104),
    )
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(RESULTS / "estimators_grid.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    arguments = [int(a) for a in sys.argv[1:]]
    main(*(arguments + [10, 3][len(arguments) :]))
