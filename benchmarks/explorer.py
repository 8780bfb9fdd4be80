"""Time of a frame of the explorer while it plays in JupyterLab, in a headless Chromium.

Run as `python benchmarks/explorer.py`; needs chromium and its driver (tools/lab.py). The 25-GMM
data with 5000 rows, all of them drawn in both panels, K = 25, W = 5, as fast as it goes. A frame is
a task of BigLearn-EM and as many steps of Joint-EM, their answer, and both panels and the curves
drawn by a browser without a graphics card.

Two clocks: the wall's, from one picture to the next, which other work on the machine prolongs; and
the processors' time of all that takes part, process by process, which it prolongs less. Parts of a
frame follow one another, so that their sum is about the frame of a machine that is free. Writes
benchmarks/results/explorer.json.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core import explore
from biglearn_core.experiments.store import write_record
from biglearn_core.explorer.messages import frame_of

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))

from lab import lab

RESULT = HERE / "results" / "explorer.json"
N_ROWS, N_FRAMES, SKIPPED = 5000, 200, 50

CELL = f"""from biglearn_core import explore
explorer = explore("25-GMM", seed=5079, n_rows={N_ROWS})
explorer"""
PICTURE = "const picture = document.querySelector('.biglearn-picture')?.picture;"


def kind_of(command: str) -> str | None:
    """Say what a process does in a frame; None where it does nothing."""
    if "ipykernel_launcher" in command:
        return "kernel"
    if "jupyterlab" in command:
        return "server"
    if "--type=renderer" in command:
        return "page"
    return "rest of the browser" if "chromium" in command and "--headless" in command else None


def descendants(pid: int) -> list[int]:
    """List a process and all that it has started, directly or not."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def processor_seconds() -> Counter[str]:
    """Sum the processors' time of what this process has started, by kind."""
    seconds: Counter[str] = Counter()
    for pid in descendants(os.getpid())[1:]:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if (kind := kind_of(command)) is not None:
            seconds[kind] += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return seconds


def in_the_browser() -> tuple[list[dict[str, float]], dict[str, float]]:
    """Play, and give the timings of the frames and the processors' milliseconds of one."""
    drawn = f"{PICTURE} return picture.timings.length >= arguments[0]"
    with lab(size=(1500, 1300)) as page:
        page.open([CELL])
        page.run(0)
        page.wait(f"{PICTURE} return picture?.frame")
        page.script(f"{PICTURE} picture.pace.value = 'fastest'; picture.play(true)")
        page.wait(drawn, SKIPPED, seconds=600)
        before, first = processor_seconds(), page.script(f"{PICTURE} return picture.timings.length")
        page.wait(drawn, N_FRAMES, seconds=600)
        after, last = processor_seconds(), page.script(f"{PICTURE} return picture.timings.length")
        page.script(f"{PICTURE} picture.play(false)")
        frames = page.script(f"{PICTURE} return picture.timings")[first:last]
    spent = {kind: 1e3 * (after[kind] - before[kind]) / (last - first) for kind in after}
    return frames, spent


def in_the_kernel() -> dict[str, float]:
    """Processors' milliseconds of the steps and of the answer, without a browser."""
    explorer = explore("25-GMM", seed=5079, n_rows=N_ROWS)
    times: dict[str, list[float]] = {"steps": [], "answer": []}
    for _ in range(N_FRAMES):
        started = time.process_time()
        explorer.subject.step()
        stepped = time.process_time()
        frame_of(explorer)
        times["steps"].append(1e3 * (stepped - started))
        times["answer"].append(1e3 * (time.process_time() - stepped))
    return {name: float(np.median(values[SKIPPED:])) for name, values in times.items()}


def main() -> None:
    load = os.getloadavg()[0]
    kernel = in_the_kernel()
    frames, spent = in_the_browser()
    wall = {
        "frame": [f["between"] for f in frames],
        "kernel": [f["compute"] for f in frames],
        "transport": [f["answer"] - f["compute"] for f in frames],
        "drawing": [f["draw"] for f in frames],
    }
    record: dict[str, Any] = {
        "rows": N_ROWS,
        "frames": len(frames),
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "processor_ms_of_steps_and_answer": {k: round(v, 2) for k, v in kernel.items()},
        "processor_ms_a_frame": {k: round(v, 2) for k, v in spent.items()},
        "processor_ms_a_frame_in_all": round(sum(spent.values()), 1),
        "wall_ms": {
            part: {
                "median": round(float(np.median(values)), 1),
                "p95": round(float(np.quantile(values, 0.95)), 1),
            }
            for part, values in wall.items()
        },
        "frames_within_60_ms_of_the_wall": round(float(np.mean(np.array(wall["frame"]) <= 60)), 3),
    }
    write_record(RESULT, record)
    for name, value in record.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
