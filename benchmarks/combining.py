"""Clusters of several components: what merging does where their number is known, and where not.

    BIGLEARN_DATA=... python benchmarks/combining.py [--seeds 3] [--sets sipu_s1]
        [--out benchmarks/results]

Public sets (public_sets.py) of at most MOST_ROWS rows are fitted with as many full components as
BIC asks for. ARI of these components, of clusters merged to the known number, of clusters merged as
long as they overlap, of as many as the elbow of the entropy tells, and of a fit of the known number
of components. Rows are kept in combining.jsonl in the folder of --out, so that a run goes on where
it stopped. Writes combining.json.
"""

from __future__ import annotations

import json
import time
import warnings

from public_sets import find_sets, load
from search_methods import Problem
from search_runs import Cache, arguments, chosen, count_seeds, measuring
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from biglearn_core import BigLearnEM, MixtureSelection, combine_components
from biglearn_core.experiments.store import versions
from biglearn_core.system.persistence import write_text

MOST_ROWS = 9000

# Components are at most so many, or twice the known number.
LEAST_MOST = 12

SCORES = ("components", "merged", "overlap", "elbow", "direct")


def measure(problem: Problem, seed: int) -> dict[str, float]:
    """Fit, merge and score one set."""
    X, truth = problem.X, problem.labels
    selection = MixtureSelection(
        covariance_type="full",
        max_components=max(LEAST_MOST, 2 * problem.K),
        random_state=seed,
        device="cpu",
    ).fit(X)
    K = selection.n_components_
    started = time.process_time()
    merged = combine_components(selection, X, min(problem.K, K))
    seconds = time.process_time() - started
    overlap, elbow = combine_components(selection, X), combine_components(selection, X, "elbow")
    direct = BigLearnEM(problem.K, random_state=seed, device="cpu").fit_predict(X)
    labels = selection.predict(X), merged.labels, overlap.labels, elbow.labels, direct
    known = truth > 0
    scores = (round(adjusted_rand_score(truth[known], found[known]), 4) for found in labels)
    return {
        "N": len(X),
        "n_known": problem.K,
        "K": K,
        **dict(zip(SCORES, scores, strict=True)),
        "n_by_overlap": overlap.n_clusters,
        "n_at_elbow": elbow.n_clusters,
        "seconds": round(seconds, 4),
    }


def main() -> None:
    """Measure what the cache lacks, print means, and write the rows."""
    found = find_sets()
    parser = arguments(__doc__, methods=SCORES, seeds=3, sets="names of sets")
    options = parser.parse_args()
    cache = Cache(options.out / "combining.jsonl", ("set", "seed"))
    with measuring(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name in chosen(parser, list(found), options.sets):
            problem = load(found[name])
            for seed in range(options.seeds if len(problem.X) <= MOST_ROWS else 0):
                key = {"set": name, "seed": seed}
                if key not in cache:
                    cache.add(key | measure(problem, seed))
                    print(*cache.rows[-1].values(), flush=True)
    rows = sorted(cache.rows, key=lambda row: (row["set"], row["seed"]))
    settings = {"seeds": count_seeds(rows), "most_rows": MOST_ROWS, "versions": versions()}
    text = json.dumps({"settings": settings}, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    write_text(options.out / "combining.json", f'{text},\n "rows": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
