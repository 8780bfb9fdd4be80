"""Surroundings for faults: a checkout of its own, a small disk, processes to be killed."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import yaml

from biglearn_core.experiments.parallel import run_jobs
from tests.helpers import ROOT, mounted

LIMIT = 120


def notebook(*cells):
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    code[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": kernel})


def checkout(folder, cell, *, parameters=None):
    """Copy the package and a small data set, with a profile of one notebook."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "biglearn_core", folder / "biglearn_core", ignore=skip)
    parameters = parameters or {}
    notebooks = folder / "notebooks"
    (notebooks / "params").mkdir(parents=True)
    declared = "\n".join(f"{name} = None" for name in parameters) or "profile = 'tiny'"
    nbformat.write(notebook(declared, cell), notebooks / "nb.ipynb")
    (notebooks / "params" / "tiny.yaml").write_text(yaml.safe_dump({"nb": parameters}))
    shutil.copy(ROOT / "notebooks" / "seconds.yaml", notebooks)
    (folder / "dataset").mkdir()
    for name in ("glass.csv", "checksums.json"):
        shutil.copy(ROOT / "dataset" / name, folder / "dataset")
    return folder


def environment(folder, **variables):
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **variables}


@contextlib.contextmanager
def started(folder, *arguments):
    """Run `make reproduce`'s command in a process of its own, killed at the end if need be."""
    command = [sys.executable, "-m", "biglearn_core.reproduce", "--profile", "tiny", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C goes to a whole process group
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def reproduce(folder, *arguments):
    with started(folder, *arguments) as process:
        out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def executed(folder):
    return folder / "results" / "notebooks" / "tiny" / "nb.ipynb"


def wait_for(paths, process):
    deadline = time.monotonic() + LIMIT
    while not all(path.exists() for path in paths):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{paths} did not come"
        time.sleep(0.02)


def assert_gone(paths):
    """Wait until the workers that wrote these files, and their parents, have ended."""
    deadline = time.monotonic() + LIMIT
    for pid in {int(pid) for path in paths for pid in path.read_text().split()}:
        while is_running(pid):
            assert time.monotonic() < deadline, f"process {pid} is left"
            time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie has ended, though nobody has asked for it
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def small_disk(folder):
    folder.mkdir()
    return mounted(folder, "-t", "tmpfs", "-o", "size=64k", "tmpfs")


def enlarge(folder):
    subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)


def wait_in_job(folder, number):
    """Tell the own process and its parent; then never end."""
    (folder / f"{number}.tmp").write_text(f"{os.getpid()} {os.getppid()}")
    (folder / f"{number}.tmp").rename(folder / f"begun_{number}")
    time.sleep(10 * LIMIT)


def run_waiting_jobs(folder):
    """Begin two jobs that never end, in processes of their own."""
    jobs = [(Path(folder), number) for number in range(2)]
    run_jobs(wait_in_job, jobs, n_jobs=2, description="waiting")
