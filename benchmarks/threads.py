"""Fits on a quiet machine and beside two busy processes, by default and on one thread.

    python benchmarks/threads.py [--runs 5] [--against FOLDER]

Each state is a process of its own, which fits once to warm up and then a few times, and reports the
seconds of each fit (wall clock). Two more processes that do nothing but count make the machine
busy. With --against, another checkout is measured in turn with this one, and the ratio is written.
A machine with other work spoils the quiet states.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "threads.json"
WORK = {
    "4500x4, K = 3": "small",
    "100000x16, K = 16": "large",
    "Fashion-MNIST, 7000 images, three joint steps": "fashion",
}
STATES = [(busy, one) for busy in (False, True) for one in (False, True)]


def fits(work: str, runs: int) -> list[float]:
    """Time one piece of work in this process, after a first run."""
    import numpy as np

    from biglearn_core import BigLearnEM

    if work == "fashion":
        from biglearn_core import fit_joint_em
        from biglearn_core.init import kmeans_start
        from BL_vs_deepClustering.pixels.run import load_images

        X = load_images(7000).X
        options = {"n_iter": 3, "covariance_floor": 0.05, "weight_smoothing": 0.1}
        model = fit_joint_em(X, kmeans_start(X, 10, seed=0), **options).model

        def once() -> None:
            fit_joint_em(X, model, **options)
    else:
        n, d, K = {"small": (1500, 4, 3), "large": (6250, 16, 16)}[work]
        rng = np.random.default_rng(0)
        X = np.concatenate([rng.normal(m, 1, (n, d)) for m in 6 * rng.standard_normal((K, d))])

        def once() -> None:
            warnings.simplefilter("ignore")
            BigLearnEM(K, random_state=0, device="cpu").fit(X)

    once()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - started)
    return seconds


@contextmanager
def neighbours(n: int) -> Iterator[None]:
    """Keep some other processes counting."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(work: str, tree: Path, *, busy: bool, one: bool, runs: int) -> list[float]:
    """Time one piece of work in a process of a checkout."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(tree)
    if one:
        environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, __file__, "--work", work, "--runs", str(runs)]
    with neighbours(2 if busy else 0):
        done = subprocess.run(
            command, env=environment, cwd=tree, capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--work", choices=WORK.values(), help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=WORK.values(), help="one piece of work alone")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(fits(options.work, options.runs)))
        return
    trees = {"here": ROOT}
    if options.against:
        trees["against"] = options.against.resolve()
    rows = []
    for name, work in WORK.items():
        if options.only not in (None, work):
            continue
        for busy, one in STATES:
            row = {"work": name, "busy": busy, "one_thread": one}
            for tree, path in trees.items():
                seconds = measure(work, path, busy=busy, one=one, runs=options.runs)
                row[tree] = {"worst": max(seconds), "median": sorted(seconds)[len(seconds) // 2]}
            rows.append(row)
            print(json.dumps(row), flush=True)
    from biglearn_core.system.persistence import write_atomically

    result = {
        "cores": os.cpu_count(),
        "runs": options.runs,
        "against": _commit(options.against) if options.against else None,
        "rows": rows,
    }
    with write_atomically(options.out) as file:
        file.write(json.dumps(result, indent=1).encode() + b"\n")


def _commit(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
