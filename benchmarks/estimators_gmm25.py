"""25 Gaussians, 2000 points: how often the default is at the optimum, and how long it takes.

Run from the repository: python benchmarks/estimators_gmm25.py [seeds]
"""

import sys

import numpy as np
from estimators_common import (
    as_row,
    divergence,
    fit_biglearn,
    fit_sklearn,
    grid,
    one_thread,
    optimum,
    save,
)


def main(n_seeds: int) -> None:
    """Compare with scikit-learn, n_init = 10 and 1, seed by seed."""
    rows = []
    with one_thread():
        fit_biglearn(grid(2, 100, 0).X, 4, 0)
        for seed in range(n_seeds):
            sample = grid(5, 2000, seed)
            runs = {
                "biglearn": fit_biglearn(sample.X, 25, seed),
                "sklearn10": fit_sklearn(sample.X, 25, seed),
                "sklearn1": fit_sklearn(sample.X, 25, seed, n_init=1),
            }
            row = {"seed": seed, "optimum": optimum(sample)}
            # Training divergences are negative; two per cent of their size is the tolerance.
            least = divergence(sample, row["optimum"])
            for name, run in runs.items():
                excess = row["optimum"] - run.log_likelihood
                row |= as_row(name, run) | {f"{name}_at_optimum": excess <= 0.02 * abs(least)}
            rows.append(row)
    for name in ("biglearn", "sklearn10", "sklearn1"):
        hits = sum(row[f"{name}_at_optimum"] for row in rows)
        seconds = [row[f"{name}_seconds"] for row in rows]
        ratio = np.mean(seconds) / np.mean([row["biglearn_seconds"] for row in rows])
        print(
            f"{name:10} within 2% of the optimum {hits}/{n_seeds}, mean {np.mean(seconds):.3f} s "
            f"(largest {max(seconds):.3f}), {ratio:.2f} times BigLearnEM's time"
        )
    faster = sum(row["biglearn_seconds"] < row["sklearn10_seconds"] for row in rows)
    print(f"BigLearnEM is faster than n_init=10 on {faster}/{n_seeds} seeds")
    save("estimators_gmm25", rows, n_seeds=n_seeds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
