"""Which mixture: the number of components and the type of covariances that a criterion chooses.

    BIGLEARN_DATA=... python benchmarks/selection.py [--groups number,mclust] [--seeds 10]
        [--methods full,all,loop] [--sets sipu_r15] [--out benchmarks/results]

Groups of sets:

- number: sets whose clusters are Gaussian enough for the number to be known, besides grids and
  parallel cigars (`search_problems.py`), a single Gaussian and a uniform law: one component.
- mclust: the sets on which R's mclust 6.0.0 was run; its criterion, of all 14 types and of full
  covariances, stands in MCLUST (benchmarks/results says from where).
- types: chosen types and numbers of components on those sets, mclust's or scikit-learn's criterion.
- labels: UCI sets with classes; the ARI of the mixture chosen, and of a default fit of as many
  full components as there are classes.
- overlap: SIPU s1 to s4 by BIC and by ICL. Components are not clusters.

Methods: MixtureSelection with full covariances, or of all types, by BIC or by ICL; and a loop of
scikit-learn's GaussianMixture(n_init=10) over the numbers that MixtureSelection has tried, full
covariances, by BIC. Features are in their own units, but for the loop, which gets z-scores.

Rows are kept in selection.jsonl in the folder of --out, so that a run goes on where it stopped.
Writes selection.json beside it.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from estimators_common import standardise
from public_sets import find_sets
from search_methods import Problem
from search_problems import cigars, lattice
from search_runs import Cache, arguments, chosen, measuring
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from biglearn_core import BigLearnEM, MixtureSelection
from biglearn_core.experiments.store import versions
from biglearn_core.system.paths import data_root
from biglearn_core.system.persistence import write_text

# Criteria of mclust 6.0.0 (R, Debian r-cran-mclust), G = 1 to 9, wreath 1 to 20: best of its 14
# types, and of full covariances, each with the number of components.
MCLUST = {
    "iris": (("VEV", 2, 561.7), ("VVV", 2, 574.0)),
    "faithful": (("EEE", 3, 2314.3), ("VVV", 2, 2322.2)),
    "diabetes": (("VVV", 3, 4751.3), ("VVV", 3, 4751.3)),
    "thyroid": (("VVI", 3, 4777.9), ("VVV", 3, 4809.8)),
    "banknote": (("VVE", 3, 1607.6), ("VVV", 3, 1693.8)),
    "wreath": (("EEV", 14, 10902.8), ("VVV", 14, 11062.4)),
    "wine": (("VVE", 3, 6849.4), ("VVV", 2, 7169.1)),
}

# Least criteria known for a type and a number: scikit-learn 1.9, n_init=5.
KNOWN = (
    ("thyroid", "diag", 4, 4769.1),
    ("banknote", "tied", 4, 1607.5),
    ("faithful", "tied", 3, 2315.1),
    ("wine", "diag", 4, 6936.2),
)

# Seeds of the loop, which takes long.
LOOPED = 3

NUMBER = ("sipu_r15", "sipu_d31", "sipu_a1", "sipu_a2", "sipu_a3", "sipu_unbalance")
LABELS = ("uci_wdbc", "uci_sonar", "uci_ionosphere", "uci_ecoli", "uci_yeast", "uci_statlog")
OVERLAP = ("sipu_s1", "sipu_s2", "sipu_s3", "sipu_s4")
GROUPS = ("number", "mclust", "types", "labels", "overlap")
METHODS = ("full", "all", "icl", "loop")


@dataclass(frozen=True)
class Set:
    """Rows, their classes where there are any, and how often they are drawn anew."""

    group: str
    name: str
    draw: Callable[[int], tuple[np.ndarray, np.ndarray | None]]
    n_seeds: int
    methods: tuple[str, ...]
    known: int | None = None


def drawn(problem: Callable[[int], Problem], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and components of a problem."""
    found = problem(seed)
    return found.X, found.labels


def gaussian(dim: int, seed: int) -> tuple[np.ndarray, None]:
    """Rows of one Gaussian of random covariance."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((1000, dim)) @ rng.standard_normal((dim, dim)), None


def uniform(dim: int, seed: int) -> tuple[np.ndarray, None]:
    """Rows uniform in a cube: BIC has one Gaussian for them in many dimensions alone."""
    return np.random.default_rng(seed).random((1000, dim)), None


def public(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes of a set of gagolews/clustering-data-v1."""
    path = find_sets()[name]
    labels = np.loadtxt(str(path).replace(".data.gz", ".labels0.gz"), dtype=int)
    return np.loadtxt(path, ndmin=2), labels


def of_mclust(name: str, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows and classes of a set of mclust, or of scikit-learn's copies of iris and wine."""
    if name in ("iris", "wine"):
        bunch = (load_iris if name == "iris" else load_wine)()
        return bunch.data, bunch.target
    with (data_root() / "mclust" / f"{name}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    first = 1 if head[0] in ("class", "Diagnosis", "Status") else 0
    classes = np.array([row[0] for row in rows]) if first else None
    return np.array([row[first:] for row in rows], dtype=float), classes


def sets() -> list[Set]:
    """List all sets, group by group."""
    by_full = ("full", "loop")
    found = [
        *(
            Set("number", f"grid {side}×{side}", partial(drawn, problem), 10, by_full, side**2)
            for side, problem in (
                (5, partial(lattice, side=5, dim=2, n=2000)),
                (10, partial(lattice, side=10, dim=2, n=8000)),
            )
        ),
        *(
            Set(
                "number",
                f"cigars K={K} D={dim}",
                partial(drawn, partial(cigars, K=K, dim=dim)),
                10,
                by_full,
                K,
            )
            for K, dim in ((2, 2), (3, 5), (4, 2), (5, 5), (6, 2), (8, 5))
        ),
        *(
            Set("number", f"one Gaussian D={dim}", partial(gaussian, dim), 10, by_full, 1)
            for dim in (2, 10, 30)
        ),
        *(
            Set("number", f"uniform D={dim}", partial(uniform, dim), 10, by_full)
            for dim in (2, 10, 30)
        ),
    ]
    known = {
        "sipu_r15": 15, "sipu_d31": 31, "sipu_a1": 20, "sipu_a2": 35, "sipu_a3": 50,
        "sipu_unbalance": 8,
    }  # fmt: skip
    if data_root() is not None:
        found += [Set("number", n, partial(public, n), 3, by_full, known[n]) for n in NUMBER]
        found += [
            Set("mclust", n, partial(of_mclust, n), 3, ("full", "all", "icl", "loop"))
            for n in MCLUST
        ]
        found += [
            Set("labels", n, partial(public, n), 3, ("full", "all", "default")) for n in LABELS
        ]
        found += [Set("overlap", n, partial(public, n), 1, ("full", "icl")) for n in OVERLAP]
    return found


def select(X: np.ndarray, method: str, seed: int) -> MixtureSelection:
    """Choose a mixture."""
    return MixtureSelection(
        covariance_type="all" if method == "all" else "full",
        criterion="icl" if method == "icl" else "bic",
        random_state=seed,
        device="cpu",
    ).fit(X)


def loop(X: np.ndarray, numbers: Iterable[int], seed: int) -> tuple[GaussianMixture, float]:
    """Loop over numbers of components as scikit-learn's users do; BIC in the units of X."""
    scale = X.std(axis=0)
    Z = standardise(X)
    fits = [GaussianMixture(K, n_init=10, random_state=seed).fit(Z) for K in numbers]
    best = min(fits, key=lambda fit: fit.bic(Z))
    return best, best.bic(Z) + 2 * len(X) * np.log(scale[scale > 0]).sum()


def measure(found: Set, method: str, seed: int, tried: list[int]) -> dict[str, object]:
    """Run a method on a set."""
    X, classes = found.draw(seed)
    started = time.process_time()
    if method == "loop":
        model, criterion = loop(X, tried, seed)
        labels, K, kind = model.predict(standardise(X)), model.n_components, "full"
    elif method == "default":
        K, kind = len(np.unique(classes)), "full"
        model = BigLearnEM(K, random_state=seed, device="cpu").fit(X)
        labels, criterion = model.predict(X), model.bic(X)
    else:
        model = select(X, method, seed)
        labels, K, kind = model.predict(X), model.n_components_, model.covariance_type_
        criterion, tried = model.criterion_, sorted(set(model.results_["n_components"]))
    seconds = time.process_time() - started
    ari = None if classes is None else round(adjusted_rand_score(classes, labels), 4)
    return {
        "K": int(K),
        "type": kind,
        "criterion": round(float(criterion), 2),
        "ari": ari,
        "seconds": round(seconds, 3),
        "tried": [int(n) for n in tried],
    }


def measure_types(cache: Cache, n_seeds: int) -> None:
    """Fit given types and numbers of components."""
    for name, kind, K, _ in KNOWN:
        for seed in range(min(3, n_seeds)):
            key = {"group": "types", "set": name, "method": f"{kind} {K}", "seed": seed}
            if key not in cache:
                X, classes = of_mclust(name, seed)
                started = time.process_time()
                model = BigLearnEM(K, covariance_type=kind, random_state=seed, device="cpu").fit(X)
                seconds = time.process_time() - started
                ari = None
                if classes is not None:
                    ari = round(adjusted_rand_score(classes, model.predict(X)), 4)
                row = {"K": K, "type": kind, "criterion": round(model.bic(X), 2), "ari": ari}
                cache.add(key | row | {"seconds": round(seconds, 3), "tried": [K]})
                print(*key.values(), *row.values(), flush=True)


def main() -> None:
    parser = arguments(
        __doc__, methods=METHODS, seeds=10, groups=f"of {', '.join(GROUPS)}", sets="names of sets"
    )
    options = parser.parse_args()
    groups = chosen(parser, GROUPS, options.groups)
    methods = [*chosen(parser, METHODS, options.methods), "default"]
    cache = Cache(options.out / "selection.jsonl", ("group", "set", "method", "seed"))
    with measuring():
        for found in sets():
            if found.group not in groups or (options.sets and found.name not in options.sets):
                continue
            for seed in range(min(found.n_seeds, options.seeds)):
                tried: list[int] = []
                for method in (m for m in found.methods if m in methods):
                    if method == "loop" and seed >= LOOPED:
                        continue
                    key = {
                        "group": found.group, "set": found.name, "method": method, "seed": seed,
                    }  # fmt: skip
                    if key not in cache:
                        row = measure(found, method, seed, tried)
                        cache.add(key | row)
                        print(*key.values(), *list(row.values())[:-1], flush=True)
                    if method == "full":
                        (row,) = (r for r in cache.rows if all(r[k] == v for k, v in key.items()))
                        tried = row["tried"]
        if "types" in groups and data_root() is not None:
            measure_types(cache, options.seeds)
    rows = sorted(cache.rows, key=lambda row: (GROUPS.index(row["group"]), row["set"], row["seed"]))
    settings = {"mclust": MCLUST, "known": KNOWN, "versions": versions()}
    settings["numbers"] = {found.name: found.known for found in sets() if found.known}
    text = json.dumps({"settings": settings}, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    write_text(options.out / "selection.json", f'{text},\n "rows": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
