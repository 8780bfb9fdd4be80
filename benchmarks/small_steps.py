"""Small EM steps, and some larger: each beside its limit, and beside those of another checkout.

    python benchmarks/small_steps.py [--against FOLDER] [--repeats 30]

A step's limit is what no layout saves: its two matrix products and the exponentials of its
responsibilities, alone, on slices that lie in the cache, by the faster library. The other checkout,
and the limit, are measured in turn with this one; of all turns the medians are taken.
Writes benchmarks/results/small_steps.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "small_steps.json"

# Of features and responsibilities, for the limits: the fastest counts.
SLICE_BYTES = (256 * 1024, 1024 * 1024, 16 * 1024 * 1024)

# name: rows, features, components, dtype, coordinates of the task, sample weights, threads
STEPS = {
    "150 × 4": (150, 4, 3, "float64", 4, False, 1),
    "25-GMM": (2000, 2, 25, "float64", 2, False, 1),
    "25-GMM, one coordinate": (2000, 2, 25, "float64", 1, False, 1),
    "25-GMM, weighted": (2000, 2, 25, "float64", 2, True, 1),
    "25-GMM, float32": (2000, 2, 25, "float32", 2, False, 1),
    "2000 × 16": (2000, 16, 16, "float64", 16, False, 1),
    "Pendigits": (7494, 16, 12, "float32", 16, False, 1),
    "Pendigits, 12 coordinates": (7494, 16, 12, "float32", 12, False, 1),
    "Pendigits, weighted": (7494, 16, 12, "float32", 16, True, 1),
    "Pendigits, float64": (7494, 16, 12, "float64", 16, False, 1),
    "Pendigits, two threads": (7494, 16, 12, "float32", 16, False, 2),
    "20000 × 2": (20_000, 2, 10, "float64", 2, False, 1),
    "20000 × 16": (20_000, 16, 64, "float32", 16, False, 1),
    "100000 × 32": (100_000, 32, 50, "float32", 32, False, 1),
    "20000 × 128": (20_000, 128, 10, "float32", 128, False, 1),
    "20000 × 128, two threads": (20_000, 128, 10, "float32", 128, False, 2),
}
DIVERGENCES = "five divergences of 25-GMM"
FLOOR = 1e-2


def step_of(name: str) -> Callable[[], object]:
    """Give one step of this checkout."""
    import numpy as np
    import torch

    from biglearn_core import GMM
    from biglearn_core.em import em_step

    if (Path() / "biglearn_core" / "numerics").exists():
        from biglearn_core.numerics.points import Points
    else:  # another checkout, from before the packages
        from biglearn_core.points import Points

    n, D, K, dtype_name, d, weighted, _ = STEPS[name]
    dtype = getattr(torch, dtype_name)
    rng = np.random.default_rng(0)
    means = 3 * rng.standard_normal((K, D))
    rows = means[rng.integers(K, size=n)] + rng.standard_normal((n, D))
    X = torch.as_tensor(rows, dtype=dtype)
    start = means + 0.3 * rng.standard_normal((K, D))
    parameters = np.full(K, 1 / K), start, np.stack([np.eye(D)] * K)
    model = GMM(*map(torch.as_tensor, parameters)).to(dtype=dtype)
    weights = torch.as_tensor(rng.uniform(0.5, 1.5, n)) if weighted else None
    index = torch.arange(d) if d < D else None
    points = Points.of(X, sample_weight=weights).project(index, None)

    def step() -> object:
        return em_step(points, model, index=index, covariance_floor=FLOOR)

    for _ in range(3):
        model = step().model
    return step


def seconds_of(work: Callable[[], object]) -> float:
    """Time some work, the median of a few times."""
    times = []
    for _ in range(10):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def limit_of(name: str) -> Callable[[], object]:
    """Give the products and exponentials of a step alone, each by the faster library."""
    import torch

    from biglearn_core.numerics.forms import _quadratic_pays
    from biglearn_core.numerics.products import exponential_, product, sums

    n, _, K, dtype_name, d, _, _ = STEPS[name]
    dtype = getattr(torch, dtype_name)
    if _quadratic_pays(K, d):
        F = (d + 1) * (d + 2) // 2
        coefficients = torch.randn(K, F, dtype=dtype)

        def limit(features: torch.Tensor) -> None:
            for _ in range(-(-n // features.shape[1])):
                sums(exponential_(product(coefficients, features).clamp_(-60, 0)), features)

        sizes = {min(n, max(64, bytes_ // (dtype.itemsize * (K + F)))) for bytes_ in SLICE_BYTES}
        slices = [partial(limit, torch.randn(F, size, dtype=dtype)) for size in sizes]
        return min(slices, key=seconds_of)
    points = torch.randn(K, d, 512, dtype=dtype)
    whitening = torch.randn(K, d, d, dtype=dtype)
    shares = torch.zeros(K, 512, dtype=dtype)

    def limit_of_residuals() -> None:
        for _ in range(-(-n // 512)):
            torch.bmm(whitening, points)
            exponential_(shares.zero_())
            torch.bmm(points, points.mT)

    return limit_of_residuals


def divergences() -> Callable[[], object]:
    """Give the divergences of a model of the 25-GMM experiment, as of every iteration."""
    import torch

    from biglearn_core.metrics import KLEvaluator

    if (Path() / "biglearn_core" / "numerics").exists():
        from biglearn_core.experiments.gmm25.run import draw_data
    else:
        from biglearn_core.experiments.gmm25 import draw_data

    data = draw_data(5079)
    evaluate = KLEvaluator(data.truth.to(dtype=torch.float32), data.X_test.float())
    model = data.truth.to(dtype=torch.float32)
    return lambda: evaluate(model)


def worker(name: str) -> None:
    """Time one piece of work whenever a line asks for it, until there is none."""
    import torch

    n, _, K, _, d, _, threads = STEPS.get(name, (5000, 2, 75, "", 2, False, 1))
    n_calls = max(1, 30_000_000 // (n * K * d * (d + 3)))
    torch.set_num_threads(threads)
    with torch.inference_mode():
        pieces = {"step": divergences() if name == DIVERGENCES else step_of(name)}
        for line in sys.stdin:
            piece = line.strip()
            if piece not in pieces:
                pieces[piece] = limit_of(name)
            started = time.perf_counter()
            for _ in range(n_calls):
                pieces[piece]()
            print((time.perf_counter() - started) / n_calls, flush=True)


class Checkout:
    """A checkout that runs one piece of work in a process of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def milliseconds(self, piece: str) -> float:
        """Time a turn."""
        self.process.stdin.write(f"{piece}\n")
        self.process.stdin.flush()
        return 1e3 * float(self.process.stdout.readline())

    def end(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()


def measure(name: str, against: Path | None, repeats: int) -> dict[str, float]:
    """Time one piece of work of all checkouts in turn."""
    checkouts = {"now": Checkout(ROOT, name)}
    if against is not None:
        checkouts["before"] = Checkout(against, name)
    turns = {"now": [], "before": [], "limit": []}
    for _ in range(repeats):
        for label, checkout in checkouts.items():
            turns[label].append(checkout.milliseconds("step"))
        if name != DIVERGENCES:
            turns["limit"].append(checkouts["now"].milliseconds("limit"))
    for checkout in checkouts.values():
        checkout.end()
    row = {f"{label}_ms": median(times) for label, times in turns.items() if times}
    if turns["before"]:
        row["before_over_now"] = median(
            old / new for old, new in zip(turns["before"], turns["now"], strict=True)
        )
    if turns["limit"]:
        row["limit_over_now"] = row["limit_ms"] / row["now_ms"]
    return row


def commit_of(folder: Path) -> str:
    """Name the commit of a checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure every piece of work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    rows = {}
    for name in options.only or [*STEPS, DIVERGENCES]:
        rows[name] = measure(name, options.against, options.repeats)
        text = ", ".join(f"{key} {value:.3f}" for key, value in rows[name].items())
        print(f"{name:32}{text}", flush=True)
    if not options.only:
        from biglearn_core.system.persistence import write_atomically

        document = {"against": options.against and commit_of(options.against), "rows": rows}
        with write_atomically(RESULT) as file:
            file.write(json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    main()
