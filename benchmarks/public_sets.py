"""Public sets: how often a fit reaches the best known likelihood, in what time.

    BIGLEARN_DATA=... python benchmarks/public_sets.py [--sets sipu_s1,uci_wine] [--seeds 10]
        [--large-seeds 3] [--methods biglearn,kmeans] [--out benchmarks/results]

Sets are those of gagolews/clustering-data-v1 that lie in the subfolder clustering of BIGLEARN_DATA,
as <suite>_<name>.data.gz and .labels0.gz. All rows are fitted, standardised; rows of label 0 are
noise and left out of the ARI; K is the number of other labels. All outcomes are polished by the
same EM, whose log-likelihood counts and whose time does not.

Rows are kept in public_sets.jsonl in the folder of --out, so that a run goes on where it stopped.
Delete rows to have them measured anew; restarts at equal time hang on the time of BigLearnEM and go
with it. Writes public_sets.json and public_sets.png beside it.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from estimators_common import standardise
from public_summary import LEAST_D, draw, summarise
from search_methods import (
    VARIANTS,
    Method,
    Problem,
    Task,
    fit_reference,
    fit_restarts,
    fit_restarts_in_time,
    moments,
    variants,
)
from search_runs import (
    Cache,
    arguments,
    chosen,
    count_seeds,
    measuring,
    run,
    save_document,
)
from table import class_lines

from biglearn_core import GMM, JointEM
from biglearn_core.system.paths import data_root

try:
    from bkmeans import BKMeans
except ImportError:
    BKMeans = None

SOURCE = "gagolews/clustering-data-v1"

# Sets of more rows get fewer seeds, and no restarts from k-means++, which take hours there.
LARGE = 50_000

EFFORTS = (1, 3, 10)

# Of restarts: scikit-learn's name, words, and the largest N on which they are measured.
STARTS = (("kmeans", "k-means", math.inf), ("k-means++", "k-means++", LARGE))


def fit_breathing(task: Task) -> GMM:
    """Run breathing k-means, then EM from the moments of its clusters."""
    X, K = task.problem.X, task.problem.K
    clusters = BKMeans(n_clusters=K, random_state=task.seed).fit(X).labels_
    return JointEM(K, init=moments(X, clusters + 1), device="cpu").fit(X).mixture_


METHODS = (
    Method("labels", "EM from the labels", fit_reference, most_seeds=1),
    *variants(1, 3),
    *(
        Method(
            init,
            f"restarts, {words}",
            partial(fit_restarts, init=init),
            efforts=EFFORTS,
            most_rows=most_rows,
        )
        for init, words, most_rows in STARTS
    ),
    *(
        Method(
            f"{init}-in-time",
            f"restarts, {words}, in the time of BigLearnEM",
            partial(fit_restarts_in_time, init=init),
            most_rows=most_rows,
            budgeted=True,
        )
        for init, words, most_rows in STARTS
    ),
    Method("breathing", "breathing k-means + EM", fit_breathing),
)


def find_sets() -> dict[str, Path]:
    """List data files by name of the set."""
    root = data_root()
    found = sorted((root / "clustering").glob("*.data.gz")) if root is not None else []
    return {path.name.removesuffix(".data.gz"): path for path in found}


def load(path: Path) -> Problem:
    """Read a set, features standardised."""
    X = standardise(np.loadtxt(path, ndmin=2))
    labels = np.loadtxt(str(path).replace(".data.gz", ".labels0.gz"), dtype=int)
    return Problem(X, labels, len(np.unique(labels[labels > 0])))


def budget(rows: list[dict], name: str) -> float | None:
    """Median processor seconds of a default fit on a set, None before there is one."""
    default = next(iter(VARIANTS))
    seconds = [
        row["seconds"]
        for row in rows
        if (row["set"], row["method"], row["effort"]) == (name, default, 1)
    ]
    return float(np.median(seconds)) if seconds else None


def measure_set(
    name: str, problem: Problem, methods: list[Method], cache: Cache, n_seeds: int
) -> None:
    """Measure what the cache lacks of one set."""
    for method in methods:
        if not (n_seeds and method.takes(problem)):
            continue
        seconds = budget(cache.rows, name) if method.budgeted else None
        if method.budgeted and seconds is None:
            print(f"{name}: {method.label} waits for the time of a default fit")
            continue
        for seed in range(min(n_seeds, method.most_seeds)):
            run(cache, {"set": name}, method, problem, seed, budget=seconds)


def main() -> None:
    """Measure what the cache lacks, write the results and the figure, print the classes."""
    names = [method.name for method in METHODS]
    parser = arguments(__doc__, methods=names, seeds=10, sets="names, as suite_name")
    parser.add_argument("--large-seeds", type=int, default=3, help=f"where N exceeds {LARGE}")
    options = parser.parse_args()
    sets = find_sets()
    if not sets:
        print(
            "public sets are left out: let BIGLEARN_DATA name a folder whose subfolder clustering "
            "holds <suite>_<name>.data.gz and .labels0.gz of https://github.com/" + SOURCE
        )
        return
    methods = [m for m in METHODS if m.name in chosen(parser, names, options.methods)]
    if BKMeans is None:
        print("breathing k-means is left out: pip install bkmeans brings it")
        methods = [method for method in methods if method.name != "breathing"]
    cache = Cache(options.out / "public_sets.jsonl", ("set", "method", "effort", "seed"))
    with measuring():
        for name in chosen(parser, list(sets), options.sets):
            problem = load(sets[name])
            n_seeds = options.seeds if len(problem.X) <= LARGE else options.large_seeds
            measure_set(name, problem, methods, cache, n_seeds)
    rows = cache.select(set=list(sets), method=names)
    document = save_document(
        options.out / "public_sets.json",
        rows,
        METHODS,
        summary=summarise(rows),
        source=SOURCE,
        seeds=count_seeds(row for row in rows if row["N"] <= LARGE),
        large_seeds=count_seeds(row for row in rows if row["N"] > LARGE),
        large=LARGE,
        least_d=LEAST_D,
    )
    labels = document["settings"]["labels"]
    draw(document["summary"]["classes"], labels, options.out / "public_sets.png")
    print("\n".join(class_lines(document)))


if __name__ == "__main__":
    main()
