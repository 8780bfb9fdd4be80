"""Clusters of several components: what merging does where their number is known.

    BIGLEARN_DATA=... python benchmarks/combining.py [--seeds 10] [--out benchmarks/results]

SIPU's s1 to s4, fifteen clusters that are no Gaussians and overlap more from set to set, are fitted
with the numbers of components in COMPONENTS. ARI of the components, of clusters merged to fifteen,
of as many as the elbow of the entropy tells, and of a fit of fifteen components. Writes
combining.json.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from estimators_common import RESULTS
from public_sets import find_sets, load
from search_runs import measuring
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from biglearn_core import BigLearnEM, combine_components
from biglearn_core.experiments.store import versions
from biglearn_core.system.persistence import write_text

# Numbers that BIC chose in a loop over K.
COMPONENTS = {"sipu_s1": 30, "sipu_s2": 31, "sipu_s3": 25, "sipu_s4": 20}

SCORES = ("components", "merged", "elbow", "direct")


def measure(name: str, seed: int) -> dict[str, float]:
    """Fit, merge and score one set."""
    problem = load(find_sets()[name])
    X, truth = problem.X, problem.labels
    model = BigLearnEM(COMPONENTS[name], random_state=seed, device="cpu").fit(X)
    started = time.process_time()
    merged = combine_components(model, X, problem.K)
    seconds = time.process_time() - started
    elbow = combine_components(model, X)
    direct = BigLearnEM(problem.K, random_state=seed, device="cpu").fit_predict(X)
    labels = (model.predict(X), merged.labels, elbow.labels, direct)
    scores = (round(adjusted_rand_score(truth, found), 4) for found in labels)
    return {
        "set": name,
        "seed": seed,
        "K": COMPONENTS[name],
        **dict(zip(SCORES, scores, strict=True)),
        "n_at_elbow": elbow.n_clusters,
        "seconds": round(seconds, 4),
    }


def main() -> None:
    """Measure all sets, print means, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="fits of every set")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    rows = []
    with measuring(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name in COMPONENTS:
            rows += [measure(name, seed) for seed in range(options.seeds)]
            own = rows[-options.seeds :]
            means = {
                score: round(float(np.mean([row[score] for row in own])), 3) for score in SCORES
            }
            spread = {
                score: round(float(np.std([row[score] for row in own])), 3) for score in SCORES
            }
            print(name, means, spread, [row["n_at_elbow"] for row in own], flush=True)
    document = {"settings": {"seeds": options.seeds, "versions": versions()}, "rows": rows}
    write_text(options.out / "combining.json", json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
