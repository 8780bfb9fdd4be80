"""Past memory and past one process: passes over rows, their time, memory, and a model of both.

    python benchmarks/scale.py [--groups passes,fits,share,limit,same,ranks,disk] [--small]
        [--data-dir FOLDER] [--out benchmarks/results]

Groups:

- passes: seconds of an EM step on rows that are made on the fly, for several numbers of features
  and components, and what making them takes; the cost model is fitted to these.
- fits: seconds and peak memory of `BigLearnEM(16)` for 1e5 to 5e7 rows of 16 features.
- share: the step by passes over an array, a memory map and Parquet, beside that in memory.
- limit: a memory map of ten times the memory that the process may take is fitted, scored and
  predicted; the model beside that of the same rows in memory, without a limit. Both are too large
  to be held by an estimator, and are fitted in passes.
- same: EM steps on that memory map under that limit, and on a tensor of the same rows, which takes
  steps in memory (thrice the rows, some 16 GiB): what the models differ by.
- ranks: one process of one thread, and two; the time of an all-reduce.
- disk: the memory map read when the system's cache does not have it, and when it has.

Every measurement is a process of its own. Rows are kept in scale.jsonl in the folder of --out, so
that a run goes on where it stopped, and with them the models of limited processes
(scale_limit.npz, scale_same.npz); writes scale.json, with the model of `scale_model.py`, and
scale.png beside it. --small is a check of the script, in a minute or two.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GROUPS = ("passes", "fits", "share", "limit", "same", "ranks", "disk")
MEBIBYTE = 2**20

# Features, components and rows of the passes. The quadratic form of the density is taken on all of
# them; the last ones are those of the extrapolation.
SHAPES = (
    *((16, 16, 2_000_000), (4, 16, 2_000_000), (16, 64, 2_000_000), (32, 64, 1_000_000)),
    *((16, 8, 2_000_000), (32, 32, 1_000_000), (50, 64, 250_000)),
)
SMALL_SHAPES = 4

# Features and components that all other groups share.
SHARED = (16, 16)

# Rows of whole fits. The second of the small ones is more than an estimator holds.
FITS = (100_000, 1_000_000, 10_000_000, 50_000_000)
SMALL_FITS = (1_000, 525_000)

# Of which memory maps are fitted under a limit.
LIMITED_COMPONENTS = 4


def cases(group: str, *, small: bool, folder: Path, out: Path) -> Iterator[dict[str, Any]]:
    """List what a group measures."""
    shrink = 100 if small else 1
    D, K = SHARED
    if group == "passes":
        for d, k, n in SHAPES[: SMALL_SHAPES if small else None]:
            yield {"task": "pass", "N": n // shrink, "D": d, "K": k, "threads": 1}
        yield {"task": "pass", "N": SHAPES[0][2] // shrink, "D": D, "K": K, "threads": 2}
    elif group == "fits":
        for n in SMALL_FITS if small else FITS:
            yield {"task": "fit", "N": n, "D": D, "K": K, "threads": 2}
    elif group == "share":
        for threads in (2,) if small else (1, 2):
            yield {"task": "share", "N": 1_000_000 // shrink, "D": D, "K": K, "threads": threads}
    elif group in ("limit", "same"):
        for limit in (512, None):
            n = SMALL_FITS[1] if small else 10 * 512 * MEBIBYTE // (8 * D)
            yield {"task": group, "MiB": limit, "N": n, "D": D, "K": LIMITED_COMPONENTS,
                   "threads": 2, "path": str(folder / "rows.npy"),
                   "beside": str(out / f"scale_{group}.npz")}  # fmt: skip
    elif group == "ranks":
        for size in (1, 2):
            yield {"task": "rank", "N": 4_000_000 // shrink, "D": D, "K": K, "threads": 1,
                   "size": size, "path": str(folder / "shard.npy")}  # fmt: skip
        yield {"task": "reduce", "size": 2, "threads": 1}
    elif group == "disk":
        n = 20_000_000 // shrink
        yield {"task": "disk", "N": n, "D": D, "threads": 1, "path": str(folder / "disk.npy")}


def key_of(case: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a case where its files lie."""
    return {name: value for name, value in case.items() if name not in ("path", "beside")}


def check_room(waiting: list[dict[str, Any]], folder: Path) -> None:
    """Stop where the files of some cases have no room."""
    files: dict[str, int] = {}
    for case in waiting:
        if "path" in case:  # of 8-byte numbers, and a label a row
            n_bytes = case["N"] * (8 * case["D"] + 4)
            files[case["path"]] = max(files.get(case["path"], 0), n_bytes)
    wanted, free = sum(files.values()), shutil.disk_usage(folder).free
    if wanted > free:
        raise SystemExit(
            f"{folder} has {free / MEBIBYTE:,.0f} MiB free, and the files take "
            f"{wanted / MEBIBYTE:,.0f}: name a larger place by --data-dir"
        )


def run(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure a case in as many processes as it asks for; the answer of the first."""
    environment = os.environ | {"OMP_NUM_THREADS": str(case["threads"]), "BIGLEARN_QUIET": "1"}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"
    with tempfile.TemporaryDirectory(dir=folder) as store:
        workers = []
        for rank in range(case.get("size", 1)):
            told = json.dumps(case | {"rank": rank, "store": f"{store}/group"})
            command = [sys.executable, str(ROOT / "benchmarks" / "scale_worker.py"), told]
            workers.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            )
        answers = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise SystemExit(f"{case} has failed")
    return json.loads(answers[0].splitlines()[-1])


def measure(groups: list[str], *, small: bool, folder: Path, out: Path) -> list[dict[str, Any]]:
    """Measure what is not kept yet."""
    kept = out / "scale.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    known = [row["case"] for row in rows]
    waiting = [
        (group, case)
        for group in groups
        for case in cases(group, small=small, folder=folder, out=out)
        if key_of(case) not in known
    ]
    check_room([case for _, case in waiting], folder)
    for group, case in waiting:
        row = {"group": group, "case": key_of(case), **run(case, folder)}
        print(json.dumps(row), flush=True)
        rows.append(row)
        with kept.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return rows


def main() -> None:
    """Measure, fit the model, write results and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--small", action="store_true", help="tiny sizes, to check the script")
    parser.add_argument("--data-dir", type=Path, help="for files of up to 9 GiB")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    groups = options.groups.split(",")
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"there is no group {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.data_dir) as folder:
        rows = measure(groups, small=options.small, folder=Path(folder), out=options.out)
    from scale_model import draw, model_of

    from biglearn_core.experiments.store import versions
    from biglearn_core.system.persistence import write_text

    model = model_of(rows)
    document = {"settings": {"small": options.small, "versions": versions()}, "rows": rows}
    text = json.dumps(document | {"model": model}, indent=1)
    write_text(options.out / "scale.json", text + "\n")
    draw(rows, model, options.out / "scale.png")
    print(json.dumps(model, indent=1))


if __name__ == "__main__":
    main()
