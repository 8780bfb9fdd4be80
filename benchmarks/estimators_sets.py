"""Training log-likelihood and time on varied sets: BigLearnEM and scikit-learn with n_init = 10.

Both get standardised data and the same covariance floor. Run from the repository:
python benchmarks/estimators_sets.py [seeds]
"""

import sys
from collections.abc import Callable

import numpy as np
from estimators_common import as_row, fit_biglearn, fit_sklearn, grid, one_thread, save, standardise
from sklearn import datasets

from biglearn_core.datasets import load_dataset


def _unequal(small: int, ratio: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sizes = [ratio * small] * 3 + [small] * 5
    centres = rng.uniform(-5, 5, (8, 2))
    return np.concatenate(
        [c + 0.4 * rng.standard_normal((n, 2)) for c, n in zip(centres, sizes, strict=True)]
    )


def _elongated(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = []
    for angle in rng.uniform(0, np.pi, 8):
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (rng.standard_normal((375, 2)) * [3, 0.1]) @ rotation.T
        parts.append(points + rng.uniform(-6, 6, 2))
    return np.concatenate(parts)


def _overlapping(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = rng.uniform(-2, 2, (10, 3))
    return means[rng.integers(0, 10, 2000)] + 0.8 * rng.standard_normal((2000, 3))


def _with_outliers(seed: int) -> np.ndarray:
    far = 300 * np.random.default_rng(seed).standard_normal((10, 2))
    return np.concatenate([2.8 * grid(5, 2000, seed).X, far])


def _one_dimensional(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = np.array([-9.0, -5, -1, 0, 3, 8])
    return (
        means[rng.integers(0, 6, 1500)] + rng.uniform(0.2, 0.6, 1500) * rng.standard_normal(1500)
    )[:, None]


def _high_dimensional(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = 0.5 * rng.standard_normal((5, 100))
    return means[rng.integers(0, 5, 300)] + rng.standard_normal((300, 100))


SETS: list[tuple[str, int, Callable[[int], np.ndarray]]] = [
    ("iris", 3, lambda seed: datasets.load_iris().data),
    ("wine", 3, lambda seed: datasets.load_wine().data),
    ("breast cancer", 4, lambda seed: datasets.load_breast_cancer().data),
    ("digits", 10, lambda seed: datasets.load_digits().data),
    ("moons", 12, lambda seed: datasets.make_moons(1500, noise=0.05, random_state=seed)[0]),
    ("glass", 6, lambda seed: load_dataset("glass").X_train),
    ("vehicle", 4, lambda seed: load_dataset("vehicle").X_train),
    ("pendigits", 12, lambda seed: load_dataset("pendigits").X_train),
    ("satimage", 7, lambda seed: load_dataset("satimage").X_train),
    ("letter", 26, lambda seed: load_dataset("letter").X_train),
    ("grid of 9", 9, lambda seed: grid(3, 900, seed).X),
    ("grid of 49", 49, lambda seed: grid(7, 4000, seed).X),
    ("unequal 1:20", 8, lambda seed: _unequal(100, 20, seed)),
    ("unequal 1:100", 8, lambda seed: _unequal(50, 100, seed)),
    ("elongated", 8, _elongated),
    ("heavy overlap", 10, _overlapping),
    ("far outliers", 27, _with_outliers),
    ("K too large by half", 38, lambda seed: grid(5, 2000, seed).X),
    ("rows five times", 9, lambda seed: np.repeat(grid(3, 300, seed).X, 5, axis=0)),
    ("1-D", 6, _one_dimensional),
    ("100-D, N=300", 5, _high_dimensional),
]


def main(n_seeds: int) -> None:
    """Print a table of means over seeds, losses marked."""
    rows = []
    print(
        f"{'set':20} {'N':>6} {'D':>4} {'K':>3} {'ours':>9} {'sklearn':>9} {'gain':>8} "
        f"{'worst':>8} {'ours s':>7} {'skl s':>7} {'ratio':>6}"
    )
    with one_thread():
        fit_biglearn(grid(2, 100, 0).X, 4, 0)
        for name, K, make in SETS:
            runs = []
            for seed in range(n_seeds):
                X = standardise(np.asarray(make(seed), dtype=np.float64))
                ours, theirs = fit_biglearn(X, K, seed), fit_sklearn(X, K, seed)
                runs.append((ours, theirs))
                rows.append(
                    {"set": name, "seed": seed, "N": len(X), "D": X.shape[1], "K": K}
                    | as_row("biglearn", ours)
                    | as_row("sklearn10", theirs)
                )
            gains = [ours.log_likelihood - theirs.log_likelihood for ours, theirs in runs]
            ll = np.mean([[r.log_likelihood for r in pair] for pair in runs], axis=0)
            seconds = np.mean([[r.seconds for r in pair] for pair in runs], axis=0)
            marks = (" LOSS" if min(gains) < -1e-5 else "") + (
                " SLOWER" if seconds[0] > seconds[1] else ""
            )
            print(
                f"{name:20} {len(X):6} {X.shape[1]:4} {K:3} {ll[0]:9.4f} {ll[1]:9.4f} "
                f"{np.mean(gains):+8.4f} {min(gains):+8.4f} {seconds[0]:7.2f} {seconds[1]:7.2f} "
                f"{seconds[0] / seconds[1]:6.2f}{marks}",
                flush=True,
            )
    save("estimators_sets", rows, n_seeds=n_seeds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
