"""Seconds of one EM step on Fashion-MNIST (70000×784, K = 10), against dense and naive steps.

    python benchmarks/fashion_step.py [--threads 2] [--repeats 3] [--clock wall]

Everything is measured in one run from one model, which a few joint steps from k-means on a subset
have made. The dense step (matrix products with whitening factors, full eigendecompositions) and
the naive step (torch.distributions, outer products of single points) are measured on subsets and
scaled to all images, their parts that do not depend on the number of images apart. Beside
each step stand its matrix products alone, a thread each, without use of their symmetry. On a
machine with other work, --threads 1 --clock cpu gives ratios that can be relied on.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from biglearn_core.em import em_step
from biglearn_core.gmm import GMM
from biglearn_core.init import kmeans_start
from biglearn_core.numerics.linalg import floor_eigenvalues, haar_orthogonal
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.threads import each, one_thread_an_operation
from biglearn_core.system.persistence import write_atomically

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from BL_vs_deepClustering.pixels.run import load_images

EPS = 0.05
OUT = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "fashion_step.json"


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Timer = Callable[[Callable[[], object], int], float]


def timer(clock: Callable[[], float]) -> Timer:
    """Make a function that takes the least time of some runs."""

    def best_seconds(work: Callable[[], object], repeats: int) -> float:
        times = []
        for _ in range(repeats):
            started = clock()
            work()
            times.append(clock() - started)
        return min(times)

    return best_seconds


def prepared_model(X: Tensor) -> GMM:
    """Make a model of the ranks that real runs have."""
    model = kmeans_start(X[::10].contiguous(), 10, seed=0)
    points = Points.of(X[::10])
    for _ in range(3):
        model = em_step(points, model, covariance_floor=EPS, weight_smoothing=0.1).model
    return model


def product_seconds(
    best_seconds: Timer, points: Points, model: GMM, index: Tensor | None, repeats: int
) -> float:
    """Time a step's products alone: all points with all directions, each outer product once."""
    rows = torch.cat([model.low_rank.directions, model.means])
    rows = rows if index is None else rows[:, index].contiguous()
    share = points.Z.shape[1] // model.n_components
    parts = [points.Z[:, k * share : (k + 1) * share] for k in range(model.n_components)]

    def products() -> None:
        each(lambda Z: rows @ Z, points.Z.split(8192, dim=1))
        each(lambda part: part @ part.T, parts)

    return best_seconds(one_thread_an_operation()(products), repeats)


def view_product_seconds(
    best_seconds: Timer, points: Points, A: Tensor, index: Tensor, repeats: int
) -> float:
    """Time the product alone that turns all points into a task's coordinates."""
    rows = A[index].contiguous()

    def product() -> None:
        each(lambda Z: rows @ Z, points.Z.split(8192, dim=1))

    return best_seconds(one_thread_an_operation()(product), repeats)


def naive_step(X: Tensor, model: GMM) -> None:
    """Follow the formulas as they are written, without the floor."""
    laws = torch.distributions.MultivariateNormal(model.means, model.covariances)
    log_prob = torch.cat([laws.log_prob(x[:, None]) for x in X.split(50)]) + model.weights.log()
    responsibilities = log_prob.softmax(dim=1)
    for k in range(model.n_components):
        r = responsibilities[:, k]
        mean = (r[:, None] * X).sum(dim=0) / r.sum()
        total = torch.zeros_like(model.covariances[k])
        for x, w in zip((X - mean).split(50), r.split(50), strict=True):
            total += (w[:, None, None] * x[:, :, None] * x[:, None, :]).sum(dim=0)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    best_seconds = timer(CLOCKS[options.clock])
    X = load_images().X
    N, D = X.shape
    model = prepared_model(X)
    step = {"covariance_floor": EPS, "weight_smoothing": 0.1}

    rng = np.random.default_rng(0)
    index = torch.from_numpy(np.sort(rng.permutation(D)[: int(D * 5 / 6)]))
    A = torch.from_numpy(haar_orthogonal(D, rng)).float()
    points = Points.of(X)
    seconds, floors = {}, {}
    for name, view, law, T in (
        ("joint", points, model, None),
        ("marginal of 653 pixels", points.project(index, None), model, index),
        ("transformed, 653 coordinates", points.project(index, A), model.rotate(A), index),
    ):
        view.squared_norms  # noqa: B018 (once a task, in the view below)
        seconds[name] = best_seconds(lambda: em_step(view, law, index=T, **step), options.repeats)  # noqa: B023
        floors[name] = product_seconds(best_seconds, view, law, T, options.repeats)
    name = "view of a transformed task (every 5 steps)"
    seconds[name] = best_seconds(
        one_thread_an_operation()(lambda: points.project(index, A).squared_norms), options.repeats
    )
    floors[name] = view_product_seconds(best_seconds, points, A, index, options.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    dense = GMM.unchecked(model.weights, model.means, model.covariances)
    eigen = best_seconds(lambda: floor_eigenvalues(model.covariances - EPS / 2, EPS), 1)
    subset = Points.of(X[:2000])
    dense_step = best_seconds(lambda: em_step(subset, dense, **step), 1)
    dense_step = eigen + (dense_step - eigen) * N / 2000
    naive = best_seconds(lambda: naive_step(X[:200], dense), 1) * N / 200 + eigen

    result = {
        "threads": options.threads,
        "clock": options.clock,
        "ranks": model.low_rank.ranks,
        "seconds": seconds,
        "product_seconds": floors,
        "dense_step_seconds_scaled_from_2000": dense_step,
        "naive_step_seconds_scaled_from_200": naive,
        "dense_over_joint": dense_step / seconds["joint"],
        "naive_over_joint": naive / seconds["joint"],
        "peak_bytes_of_the_low_rank_part": peak,
    }
    with write_atomically(options.out) as file:
        file.write(json.dumps(result, indent=1).encode())
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
