"""Problems on which EM depends on its start: how often a fit finds what EM finds from the truth.

    python benchmarks/hard_problems.py [--problems cigars,tiny] [--methods biglearn] [--seeds 20]

All outcomes are polished by the same EM, and so is the truth. Found is a log-likelihood at most
1e-3 nats below EM from the truth; for cigars, hidden axes and clusters in many dimensions, where
components on few rows can be likelier than the truth, and for unequal clusters, the least of which
weigh less than that, an adjusted Rand index of at least 0.99 times its.

Rows are kept in hard_problems.jsonl in the folder of --out, so that a run goes on where it stopped;
delete rows to have them measured anew. Writes hard_problems.json beside it.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from search_methods import Method, fit_reference, fit_restarts, variants
from search_problems import PROBLEMS
from search_runs import (
    TOLERANCE,
    Cache,
    arguments,
    chosen,
    count_seeds,
    measuring,
    run,
    save_document,
)
from table import problem_lines

# Beyond this many components ten restarts take minutes, and have never found the optimum.
RESTARTS_UP_TO_K = 79

# Families of problems that are found by their classes.
BY_CLASSES = ("cigars", "hidden", "high", "unequal")
LEAST_SHARE_OF_ARI = 0.99

TRUTH = Method("truth", "EM from the truth", fit_reference)
METHODS = (
    TRUTH,
    *variants(1),
    *(
        Method(
            init,
            f"restarts, {words}",
            partial(fit_restarts, init=init),
            efforts=(10,),
            most_components=RESTARTS_UP_TO_K,
        )
        for init, words in (("kmeans", "k-means"), ("k-means++", "k-means++"))
    ),
)


def family(name: str) -> str:
    """Name of a problem without its sizes."""
    return name.split()[0]


def summarise(rows: list[dict]) -> list[dict]:
    """Count, of every problem and method, the fits that found what EM finds from the truth.

    Parameters
    ----------
    rows : list of dict
        As `run` measured them.

    Returns
    -------
    entries : list of dict
        Means over the seeds: `d` is the log-likelihood less that of EM from the truth, in nats;
        `seconds` is a median.
    """
    truths = {(r["problem"], r["seed"]): r for r in rows if r["method"] == TRUTH.name}
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["problem"], row["method"], row["effort"]), []).append(row)
    entries = []
    for (problem, *_), runs in groups.items():
        theirs = [truths[problem, r["seed"]] for r in runs]
        d = [r["log_likelihood"] - t["log_likelihood"] for r, t in zip(runs, theirs, strict=True)]
        if family(problem) in BY_CLASSES:
            found = [
                r["ari"] >= LEAST_SHARE_OF_ARI * t["ari"] for r, t in zip(runs, theirs, strict=True)
            ]
        else:
            found = [gap > -TOLERANCE for gap in d]
        entries.append(
            {name: runs[0][name] for name in ("problem", "N", "D", "K", "method", "effort")}
            | {"fits": len(runs), "found": sum(found), "d": round(float(np.mean(d)), 6)}
            | {"ari": round(float(np.mean([r["ari"] for r in runs])), 4)}
            | {"spurious": float(np.mean([r["spurious"] for r in runs]))}
            | {"seconds": round(float(np.median([r["seconds"] for r in runs])), 4)}
        )
    return entries


def main() -> None:
    """Measure what the cache lacks, write the results, print their table."""
    names = [method.name for method in METHODS]
    families = list(dict.fromkeys(map(family, PROBLEMS)))
    parser = arguments(
        __doc__, methods=names, seeds=20, problems=f"families, of {', '.join(families)}"
    )
    options = parser.parse_args()
    methods = chosen(parser, names, options.methods)
    problems = chosen(parser, families, options.problems)
    cache = Cache(options.out / "hard_problems.jsonl", ("problem", "method", "effort", "seed"))
    with measuring():
        for name, make in PROBLEMS.items():
            for seed in range(options.seeds if family(name) in problems else 0):
                problem = make(seed)
                for method in METHODS:
                    if method is TRUTH or (method.name in methods and method.takes(problem)):
                        run(cache, {"problem": name}, method, problem, seed)
    rows = cache.select(problem=list(PROBLEMS), method=names)
    document = save_document(
        options.out / "hard_problems.json",
        rows,
        METHODS,
        summary=summarise(rows),
        seeds=count_seeds(rows),
        restarts_up_to_K=RESTARTS_UP_TO_K,
        by_classes=BY_CLASSES,
        least_share_of_ari=LEAST_SHARE_OF_ARI,
    )
    print("\n".join(problem_lines(document)))


if __name__ == "__main__":
    main()
