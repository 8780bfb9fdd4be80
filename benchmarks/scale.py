"""Past memory and past one process: passes over rows, their time, memory, and a model of both.

    python benchmarks/scale.py [--groups passes,fits,share,limit,ranks,disk] [--small]
        [--data-dir FOLDER] [--out benchmarks/results]

Groups:

- passes: seconds of an EM step on rows that are made on the fly, for several numbers of features
  and components, and what making them takes; the cost model is fitted to these.
- fits: seconds and peak memory of `BigLearnEM(16)` for 1e5 to 5e7 rows of 16 features.
- share: the step by passes over an array, a memory map and Parquet, beside that in memory.
- limit: a memory map of ten times the memory that the process may take is fitted, scored and
  predicted; the model beside that of the same rows in memory, without a limit.
- ranks: one process of one thread, and two; the time of an all-reduce.
- disk: the memory map read when the system's cache does not have it, and when it has.

Every measurement is a process of its own. Rows are kept in scale.jsonl in the folder of --out, so
that a run goes on where it stopped; writes scale.json, with the model of `scale_model.py`, and
scale.png beside it. --small is a check of the script.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GROUPS = ("passes", "fits", "share", "limit", "ranks", "disk")
MEBIBYTE = 2**20

# Features and components, besides the size that all groups share.
SHAPES = ((4, 16), (16, 4), (16, 16), (16, 64), (32, 16), (32, 64))
SHARED = (16, 16)


def cases(group: str, *, small: bool, folder: Path) -> Iterator[dict[str, Any]]:
    """List what a group measures."""
    shrink = 100 if small else 1
    D, K = SHARED
    if group == "passes":
        for d, k in SHAPES:
            n = 2_000_000 // shrink if d <= 16 else 1_000_000 // shrink
            yield {"task": "pass", "N": n, "D": d, "K": k, "threads": 1}
        yield {"task": "pass", "N": 2_000_000 // shrink, "D": D, "K": K, "threads": 2}
    elif group == "fits":
        for n in (100_000, 1_000_000, 10_000_000, 50_000_000):
            yield {"task": "fit", "N": n // shrink, "D": D, "K": K, "threads": 2}
    elif group == "share":
        for threads in (1, 2):
            yield {"task": "share", "N": 1_000_000 // shrink, "D": D, "K": K, "threads": threads}
    elif group == "limit":
        limit = 512
        n = 10 * limit * MEBIBYTE // (8 * D) // (40 if small else 1)
        path = str(folder / "rows.npy")
        shape = {"N": n, "D": D, "K": 4, "threads": 2, "path": path}
        yield {"task": "limit", "MiB": limit, **shape}
        yield {"task": "limit", "MiB": None, **shape}
    elif group == "ranks":
        for size in (1, 2):
            yield {"task": "rank", "N": 4_000_000 // shrink, "D": D, "K": K, "threads": 1,
                   "size": size, "path": str(folder / "shard.npy")}  # fmt: skip
        yield {"task": "reduce", "size": 2, "threads": 1}
    elif group == "disk":
        n = 20_000_000 // shrink
        yield {"task": "disk", "N": n, "D": D, "threads": 1, "path": str(folder / "disk.npy")}


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Measure a case in as many processes as it asks for; the answer of the first."""
    environment = os.environ | {"OMP_NUM_THREADS": str(case["threads"]), "BIGLEARN_QUIET": "1"}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"
    with tempfile.TemporaryDirectory() as store:
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


def measure(groups: list[str], *, small: bool, folder: Path, kept: Path) -> list[dict[str, Any]]:
    """Measure what is not kept yet."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for group in groups:
        for case in cases(group, small=small, folder=folder):
            key = {name: value for name, value in case.items() if name != "path"}
            if any(row["case"] == key for row in rows):
                continue
            row = {"group": group, "case": key, **run(case)}
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
    parser.add_argument("--data-dir", type=Path, help="for files of up to 6 GiB")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    groups = options.groups.split(",")
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"there is no group {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.data_dir) as folder:
        rows = measure(
            groups, small=options.small, folder=Path(folder), kept=options.out / "scale.jsonl"
        )
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
