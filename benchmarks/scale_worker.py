"""One measurement of scale.py, in a process of its own: the case in, a line of JSON out."""

from __future__ import annotations

import itertools
import json
import operator
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from memory import held_bytes, restart_peak

from biglearn_core import GMM, BigLearnEM, fit_joint_em
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.forms import choose_density
from biglearn_core.numerics.points import Points
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.opening import open_rows
from biglearn_core.rows.source import Block, RowSource
from biglearn_core.system.persistence import load_arrays, save_arrays

MEBIBYTE = 2**20

# Rows that one generator makes.
UNIT = 8192

STEPS = 5


class GeneratedRows(RowSource):
    """Rows of a known mixture, made anew in every pass, each unit by a generator of its own.

    `begun` tells when passes began.
    """

    def __init__(self, truth: GMM, n_rows: int) -> None:
        self._means = truth.means.numpy()
        self.n_rows, self.n_features = n_rows, truth.n_features
        self.dtype = np.dtype(np.float64)
        self.begun: list[float] = []

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Make rows; see `RowSource.blocks`."""
        self.begun.append(time.perf_counter())
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            units = range(first // UNIT, (last - 1) // UNIT + 1)
            rows = np.concatenate([self._unit(unit) for unit in units])
            offset = units[0] * UNIT
            yield Block(np.ascontiguousarray(rows[first - offset : last - offset]))

    def _unit(self, unit: int) -> np.ndarray:
        rng = np.random.Generator(np.random.SFC64(unit))
        rows = rng.standard_normal((UNIT, self.n_features))
        rows += self._means[rng.integers(len(self._means), size=UNIT)]
        return rows


def truth_of(D: int, K: int) -> GMM:
    """Give a mixture of round components, some of which overlap."""
    means = np.random.default_rng(0).normal(0, 3, (K, D))
    return GMM.unchecked(
        torch.full((K,), 1 / K, dtype=torch.float64),
        torch.from_numpy(means),
        torch.eye(D, dtype=torch.float64).repeat(K, 1, 1),
    )


def seconds_a_step(data: RowSource | torch.Tensor, truth: GMM, steps: int = STEPS) -> list[float]:
    """Time EM steps, the first and what comes before it left out."""
    ends: list[float] = []
    fit_joint_em(
        data,
        truth,
        n_iter=steps + 1,
        covariance_floor=1e-4,
        callback=lambda *_: ends.append(time.perf_counter()),
    )
    return [after - before for before, after in itertools.pairwise(ends)]


def measure_pass(case: dict[str, Any]) -> dict[str, Any]:
    """EM steps on rows that are made on the fly."""
    truth = truth_of(case["D"], case["K"])
    source = GeneratedRows(truth, case["N"])
    started = time.perf_counter()
    source.fold(len, operator.add)
    made = time.perf_counter() - started
    before = restart_peak()
    steps = seconds_a_step(source, truth, 3)
    peak = held_bytes("VmHWM")
    held = next(source.blocks(500_000)).rows
    computed = seconds_a_step(ArrayRows(held), truth)
    points = Points.of(torch.from_numpy(held[:1000]))
    form = choose_density(points, truth.weights, truth.means, truth.covariances)
    return {
        "form": type(form).__name__,
        "seconds": min(steps),
        "seconds_to_make": made,
        "seconds_to_compute": min(computed) / len(held) * case["N"],
        "peak_bytes": peak - before,
    }


def measure_fit(case: dict[str, Any]) -> dict[str, Any]:
    """Fit as users do, and take the peak."""
    source = GeneratedRows(truth_of(case["D"], case["K"]), case["N"])
    before, started = restart_peak(), time.perf_counter()
    model = BigLearnEM(case["K"], random_state=0).fit(source)
    seconds, steps = time.perf_counter() - started, int(model.history_.n_steps[-1])
    # The last pass is for the log-likelihood, and EM steps are those before it. Rows that are held
    # are read once.
    passes = np.diff(source.begun)[-steps:]
    return {
        "seconds": seconds,
        "peak_bytes": held_bytes("VmHWM") - before,
        "log_likelihood": model.lower_bound_,
        "passes": steps,
        "seconds_a_pass": float(np.median(passes)) if len(passes) else None,
    }


def measure_share(case: dict[str, Any]) -> dict[str, Any]:
    """Take steps in memory and by passes, in turns."""
    truth = truth_of(case["D"], case["K"])
    X = next(GeneratedRows(truth, case["N"]).blocks(case["N"])).rows
    folder = Path(case["store"]).parent
    np.save(folder / "rows.npy", X)
    ways: dict[str, Any] = {
        "memory": torch.from_numpy(X),
        "array": ArrayRows(X),
        "memory map": ArrayRows(np.load(folder / "rows.npy", mmap_mode="r")),
        ".npy": open_rows(folder / "rows.npy"),
    }
    try:
        import pandas

        names = [f"x{i}" for i in range(case["D"])]
        pandas.DataFrame(X, columns=names).to_parquet(folder / "rows.parquet")
        ways["Parquet"] = open_rows(folder / "rows.parquet")
    except ImportError:
        pass
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(4):
        for way, data in ways.items():
            found[way] += seconds_a_step(data, truth, 2)
    return {"seconds": {way: float(np.median(times)) for way, times in found.items()}}


def rows_of(case: dict[str, Any]) -> np.ndarray:
    """Make the rows of a case that may have a limit: a memory map under it, else an array."""
    path = Path(case["path"])
    if not path.exists():
        file = np.lib.format.open_memmap(path, "w+", np.float64, (case["N"], case["D"]))
        first = 0
        for block in GeneratedRows(truth_of(case["D"], case["K"]), case["N"]).blocks(2**17):
            file[first : first + len(block)] = block.rows
            first += len(block)
        del file
    X = np.load(path, mmap_mode="r")
    if case["MiB"] is None:
        return np.array(X)
    most = held_bytes("VmData") + case["MiB"] * MEBIBYTE
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return X


def difference(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Keep the parameters found under a limit; compare those found without one with them."""
    if case["MiB"] is not None:
        save_arrays(case["beside"], arrays)
        return {}
    limited = load_arrays(case["beside"])
    apart = [float(np.abs(limited[name] - array).max()) for name, array in arrays.items()]
    return {"largest_difference": max(apart)}


def measure_limit(case: dict[str, Any]) -> dict[str, Any]:
    """Fit, score and predict as users do, with or without a limit of memory."""
    X, labels = rows_of(case), Path(case["path"]).with_name("labels.npy")
    before, started = restart_peak(), time.perf_counter()
    model = BigLearnEM(case["K"], random_state=0).fit(X)
    fitted = time.perf_counter()
    score = model.score(X)
    scored = time.perf_counter()
    out = np.lib.format.open_memmap(labels, "w+", np.int32, (case["N"],))
    model.predict(X, out=out)
    predicted = time.perf_counter()
    arrays = {"means": model.means_, "covariances": model.covariances_, "weights": model.weights_}
    return {
        "bytes": X.nbytes,
        "peak_bytes": held_bytes("VmHWM") - before,
        "seconds_to_fit": fitted - started,
        "seconds_to_score": scored - fitted,
        "seconds_to_predict": predicted - scored,
        "score": score,
        **difference(case, arrays),
    }


def measure_same(case: dict[str, Any]) -> dict[str, Any]:
    """EM steps from one start: by passes under a limit, or in memory."""
    X = rows_of(case)
    data = ArrayRows(X) if case["MiB"] is not None else torch.from_numpy(X)
    start = kmeans_plusplus_start(torch.from_numpy(X[:10_000].copy()), case["K"], seed=0)
    before, started = restart_peak(), time.perf_counter()
    model = fit_joint_em(data, start, n_iter=STEPS, covariance_floor=1e-4).model
    return {
        "bytes": X.nbytes,
        "peak_bytes": held_bytes("VmHWM") - before,
        "seconds": time.perf_counter() - started,
        "steps": STEPS,
        **difference(case, model.arrays()),
    }


def measure_rank(case: dict[str, Any]) -> dict[str, Any]:
    """Take steps in one process among several, each with a memory map of its own."""
    rank, size = case["rank"], case["size"]
    truth = truth_of(case["D"], case["K"])
    path = Path(case["path"]).with_name(f"shard{rank}of{size}.npy")
    part = GeneratedRows(truth, case["N"]).part(rank, size)
    np.save(path, next(part.blocks(part.n_rows)).rows)
    if size > 1:
        join(case)
    steps = seconds_a_step(ArrayRows(np.load(path, mmap_mode="r")), truth, 6)
    path.unlink()
    return {"seconds": float(np.median(steps))}


def measure_reduce(case: dict[str, Any]) -> dict[str, Any]:
    """All-reduces of float64 vectors of several lengths."""
    join(case)
    found = {}
    for n in (1_000, 10_000, 100_000, 1_000_000, 10_000_000):
        vector, times = torch.ones(n, dtype=torch.float64), []
        for _ in range(20 if n < 1_000_000 else 5):
            dist.barrier()
            started = time.perf_counter()
            dist.all_reduce(vector)
            times.append(time.perf_counter() - started)
        found[str(8 * n)] = min(times)
    return {"seconds_of_bytes": found}


def measure_disk(case: dict[str, Any]) -> dict[str, Any]:
    """Read a memory map that the system's cache does not have, and one that it has."""
    path = Path(case["path"])
    file = np.lib.format.open_memmap(path, "w+", np.float64, (case["N"], case["D"]))
    for first in range(0, case["N"], 2**17):
        file[first : first + 2**17] = first
    file.flush()
    del file
    with path.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    rates = {}
    for state in ("cold", "warm"):
        started = time.perf_counter()
        ArrayRows(np.load(path, mmap_mode="r")).fold(len, operator.add)
        rates[state] = path.stat().st_size / (time.perf_counter() - started)
    path.unlink()
    return {"bytes_a_second": rates}


def join(case: dict[str, Any]) -> None:
    """Take part in the group of the case."""
    dist.init_process_group(
        "gloo", init_method=f"file://{case['store']}", rank=case["rank"], world_size=case["size"]
    )


def main() -> None:
    """Measure the case of the command line."""
    case = json.loads(sys.argv[1])
    print(json.dumps(globals()[f"measure_{case['task']}"](case)))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
