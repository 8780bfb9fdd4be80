"""Memory and time of whole fits on the large data sets, and the scores they reach.

    BIGLEARN_DATA=... python benchmarks/large_sets.py [--sets covtype connect-4] [--seed 0]

Every fit, at the settings of experiments/realworld/settings.yaml, runs in a process of its own on
all cores. Memory is the most that the process held during the fit, beyond what it held when the
data lay ready (Linux only, from /proc). Prints a table and writes
benchmarks/results/large_sets.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from memory import held_bytes, restart_peak
from tqdm import tqdm

from biglearn_core.datasets import is_available
from biglearn_core.experiments.realworld import run as realworld
from biglearn_core.experiments.store import versions
from biglearn_core.metrics import score_labels
from biglearn_core.system.persistence import write_atomically

RESULTS = Path(__file__).parent / "results" / "large_sets.json"
SETS = ("covtype", "connect-4")
METHODS = ("Joint-EM", "BigLearn-EM")


def measure(name: str, method: str, seed: int) -> dict:
    """Fit one method on one set, in this process."""
    config = realworld.settings(name)
    data = realworld.load_data(config, seed)
    before = restart_peak()
    started = time.perf_counter()
    result = realworld.fit_method(method, data, config, seed=seed)
    seconds = time.perf_counter() - started
    peak = held_bytes("VmHWM")
    model = result.model
    scores = score_labels(data.y_test, model.predict(data.X_test).numpy())
    return {
        "set": config.dataset,
        "method": method,
        "seed": seed,
        "N": len(data.X_train),
        "D": data.X_train.shape[1],
        "K": model.n_components,
        "n_iter": result.n_iter,
        "n_floored": int(result.history.n_floored[-1]),
        "seconds": seconds,
        "bytes_before": before,
        "bytes_beyond": peak - before,
        "test_log_likelihood": model.log_prob(data.X_test).double().mean().item(),
        "test_nmi": scores.nmi,
        "test_ari": scores.ari,
        "test_acc": scores.acc,
    }


def main() -> None:
    """Measure every set and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    spawn = multiprocessing.get_context("spawn")
    present = [name for name in options.sets if is_available(name)]
    for name in set(options.sets).difference(present):
        print(f'{name} is not here: make data SETS="{name}"')
    jobs = [(name, method) for name in present for method in METHODS]
    for name, method in tqdm(jobs, desc="fits", disable=None):
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            row = pool.submit(measure, name, method, options.seed).result()
        rows.append(row)
        tqdm.write(
            f"{row['set']:10} {row['N']:7}x{row['D']:<4} {method:12} {row['seconds']:7.1f} s "
            f"{row['bytes_beyond'] / 1e6:8.0f} MB beyond {row['bytes_before'] / 1e6:.0f} MB, "
            f"log-likelihood {row['test_log_likelihood']:.3f} nats, NMI {row['test_nmi']:.3f}"
        )
    if not rows:
        return
    document = {"threads": torch.get_num_threads(), "versions": versions(), "rows": rows}
    with write_atomically(RESULTS) as file:
        file.write(json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    main()
