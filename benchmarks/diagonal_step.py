"""What the form of diagonal covariances saves: EM steps, and searches for a mixture of all types.

    python benchmarks/diagonal_step.py [--repeats 7] [--fits 3] [--only step,selection]

Both forms are taken in turns within one run, on one thread, so that their ratios hold on a machine
whose speed varies. "Dense" is the form that mixtures of any covariances take. Prints a table and
writes benchmarks/results/diagonal_step.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from em_step import seconds
from sklearn.datasets import load_breast_cancer, load_wine
from threadpoolctl import threadpool_limits

from biglearn_core import MixtureSelection
from biglearn_core.em import em_step, lockstep_em_step
from biglearn_core.experiments.store import versions
from biglearn_core.gmm import GMM
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics import evaluation, forms
from biglearn_core.numerics.points import Points
from biglearn_core.search.constraint import Constraint
from biglearn_core.system.persistence import write_atomically

RESULTS = Path(__file__).parent / "results" / "diagonal_step.json"
FLOOR = 1e-3
STEP_SECONDS = 0.2
TYPES = ("diag", "spherical", "EII", "EEI", "VEI", "EVI")
SETS = {"wine": load_wine, "wdbc": load_breast_cancer}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Unit Gaussians about centres of variance nine, and mixtures stepped at once."""

    n: int
    d: int
    k: int
    dtype: str = "float64"
    n_mixtures: int = 1


CASES = (
    Case(n=200, d=4, k=3),
    Case(n=2000, d=2, k=5),
    Case(n=2000, d=2, k=5, n_mixtures=8),
    Case(n=7494, d=16, k=12, dtype="float32"),
    Case(n=7494, d=16, k=12),
    Case(n=20_000, d=64, k=10, dtype="float32"),
    Case(n=20_000, d=64, k=10),
)


@contextlib.contextmanager
def dense() -> Iterator[None]:
    """Take all covariances as if they had entries off the diagonal."""
    with contextlib.ExitStack() as stack:
        for module in (forms, evaluation):
            stack.enter_context(patch.object(module, "is_diagonal", lambda covariances: False))
        yield


def measure_step(case: Case, covariance_type: str, repeats: int) -> dict:
    """Least times of a step, in milliseconds."""
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, case.dtype)
    centres = 3 * torch.randn(case.k, case.d, generator=generator, dtype=dtype)
    z = torch.randint(case.k, (case.n,), generator=generator)
    X = centres[z] + torch.randn(case.n, case.d, generator=generator, dtype=dtype)
    constraint = Constraint(FLOOR, covariance_type)
    model = constraint.of_type(kmeans_plusplus_start(X, case.k, seed=0))
    points = {"dense": Points.of(X), "diagonal": Points.of(X)}
    for _ in range(2):
        model = em_step(points["diagonal"], model, covariance_floor=FLOOR).model
    mixtures = GMM.unchecked(
        model.weights.repeat(case.n_mixtures),
        model.means.repeat(case.n_mixtures, 1),
        model.covariances.repeat(case.n_mixtures, 1, 1),
        covariance_type=covariance_type,
    )
    calls = {
        name: partial(
            lockstep_em_step, points[name], mixtures, case.n_mixtures, covariance_floor=FLOOR
        )
        for name in points
    }
    best = dict.fromkeys(calls, float("inf"))
    n_calls = max(1, int(STEP_SECONDS / seconds(calls["diagonal"], 3)))
    for _ in range(repeats):
        for name, call in calls.items():
            with dense() if name == "dense" else contextlib.nullcontext():
                call()
                best[name] = min(best[name], 1e3 * seconds(call, n_calls))
    return {
        **asdict(case),
        "covariance_type": covariance_type,
        **{f"{name}_ms": round(value, 4) for name, value in best.items()},
        "ratio": round(best["dense"] / best["diagonal"], 2),
    }


def measure_selection(name: str, fits: int) -> dict:
    """Least times of a search over numbers and all types, in seconds, and how its outcomes differ.

    Candidates are searched anew by both: a rounding error can end one of them in another optimum.
    """
    X = SETS[name]().data
    best = dict.fromkeys(("dense", "diagonal"), float("inf"))
    tables: dict[str, dict[tuple[str, int], float]] = {}
    for _ in range(fits):
        for form in best:
            with dense() if form == "dense" else contextlib.nullcontext():
                started = time.perf_counter()
                found = MixtureSelection(covariance_type="all", random_state=0).fit(X)
                best[form] = min(best[form], time.perf_counter() - started)
            table = found.results_
            keys = zip(table["covariance_type"], table["n_components"], strict=True)
            values = np.asarray(table["bic"], dtype=float).tolist()
            tables[form] = dict(zip(map(tuple, keys), values, strict=True))
    one, other = tables["dense"], tables["diagonal"]
    differing = [
        [*map(str, key), one.get(key), other.get(key)]
        for key in sorted({*one, *other})
        if not np.isclose(one.get(key, np.nan), other.get(key, np.nan), rtol=1e-6, atol=1e-6)
    ]
    return {
        "set": name,
        **{f"{form}_s": round(value, 2) for form, value in best.items()},
        "ratio": round(best["dense"] / best["diagonal"], 2),
        "n_candidates": len(other),
        "differing": differing,
    }


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--fits", type=int, default=3)
    parser.add_argument("--only", default="step,selection")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    groups = options.only.split(",")
    steps, selections = [], []
    with torch.inference_mode(), threadpool_limits(1):
        for case in CASES if "step" in groups else ():
            for covariance_type in TYPES:
                row = measure_step(case, covariance_type, options.repeats)
                label = f"{case.n}x{case.d}, {case.k}, {case.dtype}, B={case.n_mixtures}"
                print(
                    f"{label:34}{covariance_type:10}{row['dense_ms']:9.3f}"
                    f"{row['diagonal_ms']:9.3f} ms  dense / diagonal {row['ratio']}",
                    flush=True,
                )
                steps.append(row)
    with threadpool_limits(1):
        for name in SETS if "selection" in groups else ():
            row = measure_selection(name, options.fits)
            print(
                f"{name}: {row['dense_s']:.1f} s, {row['diagonal_s']:.1f} s  dense / diagonal "
                f"{row['ratio']}; {len(row['differing'])} of {row['n_candidates']} differ: "
                f"{row['differing']}",
                flush=True,
            )
            selections.append(row)
    document = {"threads": 1, "versions": versions(), "steps": steps, "selections": selections}
    with write_atomically(options.out) as file:
        file.write(json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    main()
