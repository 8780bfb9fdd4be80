"""Time of one EM step beside scikit-learn's, a naive one, and the matrix products it cannot avoid.

    python benchmarks/em_step.py [--threads 2] [--repeats 5]

All columns of a row are taken in turns within one run, so that their ratios hold on a machine whose
speed varies. Prints a table and writes benchmarks/results/em_step.json.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor

from biglearn_core import GMM
from biglearn_core.datasets import load_dataset
from biglearn_core.em import em_step
from biglearn_core.experiments.store import versions
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.linalg import symmetrize
from biglearn_core.numerics.points import Points
from biglearn_core.system.persistence import write_atomically

RESULTS = Path(__file__).parent / "results" / "em_step.json"
FLOOR = 1e-2
NAIVE_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """One problem; the bar is in milliseconds on two AVX2 cores of 150 GFLOP/s in float32."""

    name: str
    n: int
    d: int
    k: int
    dtype: str
    bar: float


CASES = (
    Case(name="pendigits", n=7494, d=16, k=12, dtype="float32", bar=2.5),
    Case(name="pendigits", n=7494, d=16, k=12, dtype="float64", bar=2.5),
    Case(name="blobs", n=100_000, d=32, k=50, dtype="float64", bar=600),
    Case(name="blobs", n=100_000, d=32, k=50, dtype="float32", bar=300),
    Case(name="blobs", n=20_000, d=128, k=10, dtype="float64", bar=300),
    Case(name="blobs", n=20_000, d=128, k=10, dtype="float32", bar=140),
)


def draw(case: Case) -> Tensor:
    """Pendigits, or unit Gaussians about centres of variance nine."""
    dtype = getattr(torch, case.dtype)
    if case.name == "pendigits":
        return torch.as_tensor(load_dataset("pendigits").X_train, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(case.k, case.d, generator=generator, dtype=dtype)
    z = torch.randint(case.k, (case.n,), generator=generator)
    return centres[z] + torch.randn(case.n, case.d, generator=generator, dtype=dtype)


def naive_step(X: Tensor, model: GMM) -> None:
    """EM step written down with one D×D outer product per point and component."""
    residuals = X[:, None] - model.means
    outer = residuals[..., :, None] * residuals[..., None, :]
    mahalanobis = (outer * torch.linalg.inv(model.covariances)).sum(dim=(2, 3))
    log_prob = model.weights.log() - 0.5 * (mahalanobis + model.covariances.logdet())
    responsibilities = log_prob.softmax(dim=1)
    counts = responsibilities.sum(dim=0)
    means = (responsibilities[..., None] * X[:, None]).sum(dim=0) / counts[:, None]
    shifted = X[:, None] - means
    outer = shifted[..., :, None] * shifted[..., None, :]
    covariances = (responsibilities[..., None, None] * outer).sum(dim=0)
    torch.linalg.eigh(covariances / counts[:, None, None])


def sklearn_fit(X: Tensor, model: GMM, n_iter: int) -> None:
    """scikit-learn's EM from given parameters."""
    weights = model.weights.double()
    peer = GaussianMixture(
        model.n_components,
        weights_init=(weights / weights.sum()).numpy(),
        means_init=model.means.double().numpy(),
        precisions_init=symmetrize(torch.linalg.inv(model.covariances.double())).numpy(),
        reg_covar=FLOOR,
        tol=0.0,
        max_iter=n_iter,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(X.numpy())


def seconds(function: Callable[[], object], n: int = 1) -> float:
    """Time of one call, as the mean of `n`."""
    started = time.perf_counter()
    for _ in range(n):
        function()
    return (time.perf_counter() - started) / n


def measure(case: Case, repeats: int) -> dict:
    """Least times of one case, in milliseconds.

    scikit-learn's step is the difference between a fit of some iterations and of one. The product
    floor is the time that 4 N K D² floating-point operations, whitening and second moments, take
    at the speed of a large square product.
    """
    X = draw(case)
    model = kmeans_plusplus_start(X, case.k, seed=0)
    points = Points.of(X)
    square = torch.ones(2048, 2048, dtype=X.dtype)
    subset = X[: max(1, NAIVE_BYTES // (X.element_size() * case.k * case.d**2))]
    n_calls = max(1, 100_000 // len(X))
    n_sklearn = 2 + n_calls
    best = dict.fromkeys(("step", "first", "more", "naive", "product_floor"), float("inf"))
    for _ in range(2):
        model = em_step(points, model, covariance_floor=FLOOR).model
    for _ in range(repeats):
        step = seconds(lambda: em_step(points, model, covariance_floor=FLOOR), n_calls)
        more = seconds(lambda: sklearn_fit(X, model, 1 + n_sklearn))
        first = seconds(lambda: sklearn_fit(X, model, 1))
        naive = seconds(lambda: naive_step(subset, model)) * len(X) / len(subset)
        flops = 4 * len(X) * case.k * case.d**2
        floor = seconds(lambda: square @ square) * flops / (2 * len(square) ** 3)
        taken = {"step": step, "first": first, "more": more, "naive": naive, "product_floor": floor}
        best = {name: min(best[name], 1e3 * value) for name, value in taken.items()}
    best["sklearn"] = (best.pop("more") - best.pop("first")) / n_sklearn
    times = {f"{name}_ms": round(value, 3) for name, value in best.items()}
    return {
        **asdict(case),
        **times,
        "sklearn_over_step": round(best["sklearn"] / best["step"], 1),
        "naive_over_step": round(best["naive"] / best["step"], 1),
        "floor_over_step": round(best["product_floor"] / best["step"], 2),
    }


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    print(f"{'N x D, K, dtype':32}{'step':>9}{'sklearn':>9}{'naive':>10}{'floor':>8}  ms")
    with torch.inference_mode(), threadpool_limits(options.threads):
        for case in CASES:
            row = measure(case, options.repeats)
            label = f"{case.name} {case.n}x{case.d}, {case.k}, {case.dtype}"
            print(
                f"{label:32}{row['step_ms']:9.2f}{row['sklearn_ms']:9.1f}{row['naive_ms']:10.0f}"
                f"{row['product_floor_ms']:8.1f}  sklearn / step {row['sklearn_over_step']}, "
                f"floor / step {row['floor_over_step']} (bar {case.bar:g} ms)"
            )
            rows.append(row)
    document = {"threads": options.threads, "versions": versions(), "rows": rows}
    with write_atomically(RESULTS) as file:
        file.write(json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    main()
