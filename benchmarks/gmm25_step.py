"""The 25-GMM EM step against a naive N×K×D×D step, and the whole experiment's arithmetic.

Run as `python benchmarks/gmm25_step.py`. One thread, as every seed of the experiment runs; medians
of repeated timings, both steps in turn. Writes benchmarks/results/gmm25_step.json.
"""

import time
from pathlib import Path

import numpy as np
import torch

from biglearn_core.em import em_step
from biglearn_core.experiments.gmm25.run import Config, draw_data
from biglearn_core.experiments.parallel import single_thread
from biglearn_core.experiments.store import write_record
from biglearn_core.metrics import KLEvaluator
from biglearn_core.numerics.points import Points

RESULT = Path(__file__).resolve().parent / "results" / "gmm25_step.json"


def naive_step(X, weights, means, covariances):
    """One joint EM step with every intermediate of size N×K×D×D written out."""
    residuals = X[:, None, :] - means
    inverse = torch.linalg.inv(covariances)
    products = residuals[:, :, :, None] * inverse * residuals[:, :, None, :]
    log_prob = -0.5 * (
        products.sum(dim=(2, 3)) + torch.logdet(covariances) + means.shape[1] * np.log(2 * np.pi)
    )
    r = (log_prob + weights.log()).softmax(dim=1)
    counts = r.sum(dim=0)
    means = (r[:, :, None] * X[:, None, :]).sum(dim=0) / counts[:, None]
    residuals = X[:, None, :] - means
    outer = r[:, :, None, None] * residuals[:, :, :, None] * residuals[:, :, None, :]
    covariances = outer.sum(dim=0) / counts[:, None, None]
    values, vectors = torch.linalg.eigh(covariances)
    floored = vectors @ torch.diag_embed(values.clamp_min(1e-5)) @ vectors.mT
    return counts / len(X), means, floored


def milliseconds(functions, repeats=200):
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def main() -> None:
    data = draw_data(5079)
    config = Config()
    truth, points = data.truth, Points.of(data.X_train)
    evaluate = KLEvaluator(truth.to(dtype=torch.float32), data.X_test.float())
    model32 = truth.to(dtype=torch.float32)
    parameters = truth.weights, truth.means, truth.covariances
    with single_thread(), torch.inference_mode():
        result = milliseconds(
            {
                "em_step": lambda: em_step(points, truth, covariance_floor=1e-5),
                "naive_step": lambda: naive_step(data.X_train, *parameters),
                "divergences": lambda: evaluate(model32),
            }
        )
    steps = config.joint_iterations + config.biglearn_iterations * config.n_local_steps
    evaluations = config.joint_iterations + config.biglearn_iterations
    total = 10 * (steps * result["em_step"] + evaluations * result["divergences"]) / 1e3
    record = {
        "milliseconds": result,
        "naive_over_ours": result["naive_step"] / result["em_step"],
        "ten_seeds_both_methods_two_cores_seconds_by_arithmetic": total / 2,
    }
    write_record(RESULT, record)
    print(
        f"EM step {result['em_step']:.2f} ms, naive {result['naive_step']:.2f} ms (ratio "
        f"{record['naive_over_ours']:.1f}), divergences {result['divergences']:.2f} ms; ten seeds, "
        f"both methods, on two cores: {total / 2:.0f} s by arithmetic"
    )


if __name__ == "__main__":
    main()
