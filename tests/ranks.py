"""Several processes that fit together, as tests start them: each runs jobs and saves arrays."""

import contextlib
import importlib
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass

import numpy as np

from tests.helpers import ROOT


@dataclass(frozen=True)
class Rank:
    """What one process has left: arrays by job and name, errors by job, its exit status."""

    arrays: dict
    errors: dict
    status: int
    stderr: str

    def of(self, job):
        """Arrays of a job that has ended well."""
        assert job not in self.errors, self.errors[job]
        prefix = f"{job}/"
        found = {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}
        assert found, (job, self.status, self.stderr)
        return found


def run_ranks(folder, module, jobs, size, *, timeout=120):
    """Run functions of a module in so many processes, one after the other.

    A job gets rank and size, and gives arrays by name. It fails by itself where it raises an error;
    those after it are then run all the same. Whatever is left after the timeout is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "FOLDER": str(folder),
    }
    command = [sys.executable, "-W", "error", "-m", "tests.ranks", str(folder), module]
    started, files = [], []
    try:
        for rank in range(size):
            files.append((folder / f"{rank}.err").open("w+"))
            words = [str(rank), str(size), *jobs]
            started.append(
                subprocess.Popen(
                    command + words, cwd=ROOT, env=environment, stdout=files[-1], stderr=files[-1]
                )
            )
        end = time.monotonic() + timeout
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
    finally:
        for process in started:
            process.kill()
            process.wait()
        texts = []
        for file in files:
            file.seek(0)
            texts.append(file.read())
            file.close()
    return [
        _left(folder, rank, process.returncode, text)
        for rank, (process, text) in enumerate(zip(started, texts, strict=True))
    ]


def _left(folder, rank, status, text):
    arrays, errors = {}, {}
    for path in sorted(folder.glob(f"{rank}.*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            arrays |= {f"{path.name.split('.')[1]}/{name}": archive[name] for name in archive}
    for path in folder.glob(f"{rank}.*.txt"):
        errors[path.name.split(".")[1]] = path.read_text()
    return Rank(arrays, errors, status, text)


def _main(folder, module, rank, size, *jobs):
    import torch.distributed as dist

    rank, size = int(rank), int(size)
    if size > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size
        )
    functions = importlib.import_module(module)
    for job in jobs:
        try:
            found = getattr(functions, job)(rank, size)
        except Exception as error:
            with open(f"{folder}/{rank}.{job}.txt", "w", errors="backslashreplace") as file:
                file.write(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        else:
            np.savez(f"{folder}/{rank}.{job}.npz", **found)
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    _main(*sys.argv[1:])
