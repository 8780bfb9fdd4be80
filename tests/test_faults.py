"""Faults done for real: processes killed, disks full, folders read-only, names awkward.

Others stand beside what they concern: kill -9 of a fit and of the Fashion-MNIST run, any of its
saves (test_fit, test_fashion), of a download (test_datasets); a full disk under a result, damaged
results (test_store); changed data files, broken transfers, no source at all (test_datasets,
test_fashion_mnist_data); interrupted seeds (test_gmm25, test_realworld).
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import yaml
from test_fashion import CONFIG as FASHION
from test_fashion import few_dimensions_are_many, synthetic  # noqa: F401
from test_fashion import store_at as fashion_store
from test_gmm25 import SMALL as GMM25
from test_gmm25 import same_runs as same_gmm25
from test_realworld import SMALL as REALWORLD
from test_realworld import same_runs as same_realworld

from biglearn_core.execute import NotebookError, execute, failed_name
from biglearn_core.experiments import fashion, gmm25, realworld

ROOT = Path(__file__).resolve().parents[1]
AWKWARD = "Ordner mit Leerzeichen é"
LIMIT = 120


def notebook(*cells):
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    code[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": kernel})


def checkout(folder, cells, *, profile="tiny", parameters=None):
    """Copy the package, with one notebook, one profile and the small data sets."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "biglearn_core", folder / "biglearn_core", ignore=skip)
    (folder / "notebooks" / "params").mkdir(parents=True)
    nbformat.write(notebook("profile = 'tiny'", *cells), folder / "notebooks" / "nb.ipynb")
    params = folder / "notebooks" / "params" / f"{profile}.yaml"
    params.write_text(yaml.safe_dump({"nb": parameters or {}}))
    shutil.copy(ROOT / "notebooks" / "seconds.yaml", folder / "notebooks")
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


# A notebook whose two workers tell when they have begun, and go on once they are told to.
WAITING = """
import os, time
from joblib import Parallel, delayed
from pathlib import Path

def wait(number):
    Path(f"{number}.tmp").write_text(f"{os.getpid()} {os.getppid()}")
    Path(f"{number}.tmp").rename(f"begun_{number}")
    deadline = time.monotonic() + 120
    while not Path("go").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

Parallel(n_jobs=2)(delayed(wait)(number) for number in range(2))
print("done")
"""


@pytest.fixture
def waiting(tmp_path):
    folder = checkout(tmp_path / "repository", [WAITING])
    here = folder / "notebooks"
    yield folder, [here / "begun_0", here / "begun_1"], here / "go"
    (here / "go").touch()


def executed(folder):
    return folder / "results" / "notebooks" / "tiny" / "nb.ipynb"


def test_two_runs_at_once_and_kill_9_of_the_first(waiting):
    folder, begun, go = waiting
    with started(folder) as first:
        wait_for(begun, first)
        code, _, err = reproduce(folder)
        assert code == 1
        assert f"process {first.pid}, started 20" in err
        assert len(err.splitlines()) == 1
        first.kill()
        first.wait(timeout=LIMIT)
    assert first.returncode == -signal.SIGKILL
    assert not executed(folder).exists()  # it is not there before its last cell has run
    go.touch()
    code, out, err = reproduce(folder)
    assert (code, err) == (0, "")
    assert "[1/1] nb: " in out
    assert [path.name for path in executed(folder).parent.iterdir()] == ["nb.ipynb"]
    done = nbformat.read(executed(folder), as_version=4)
    assert done.cells[-1].outputs[0].text == "done\n"
    assert_gone(begun)  # workers end after the job that they were at


def test_ctrl_c_ends_in_one_line_and_leaves_nothing(waiting):
    folder, begun, _ = waiting
    with started(folder) as process:
        wait_for(begun, process)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert err == "interrupted; the same command goes on from what is saved\n"
    assert list(executed(folder).parent.iterdir()) == []
    assert_gone(begun)


def write_notebook(folder, *cells):
    nbformat.write(notebook(*cells), folder / "nb.ipynb")
    return folder / "nb.ipynb", {}, folder / "out" / "nb.ipynb"


def test_a_killed_kernel_is_told_in_plain_words(tmp_path):
    """As where memory runs out: the system kills the notebook's process."""
    job = write_notebook(tmp_path, "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(NotebookError, match="nb: its process was killed.* memory may have run out"):
        execute(*job)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failing_cell_keeps_the_cells_before_it_and_the_older_notebook(tmp_path):
    job = write_notebook(tmp_path, "print('before')", "open('switch').close()")
    out = job[-1]
    out.parent.mkdir()
    out.write_text("an older one")
    with pytest.raises(NotebookError) as failed:
        execute(*job)
    assert str(failed.value).splitlines() == [
        "nb failed: FileNotFoundError: [Errno 2] No such file or directory: 'switch'",
        f"its cells up to there: {failed_name(out)}",
    ]
    assert "before" in failed_name(out).read_text()
    assert out.read_text() == "an older one"
    (tmp_path / "switch").touch()
    execute(*job)
    assert [path.name for path in out.parent.iterdir()] == ["nb.ipynb"]


# Disks and folders


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount something on a folder, where that is allowed."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root on Linux")
    if subprocess.run(["mount", *options, folder], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def small_disk(folder):
    folder.mkdir()
    return mounted(folder, "-t", "tmpfs", "-o", "size=64k", "tmpfs")


def enlarge(folder):
    subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)


def test_a_full_disk_under_the_notebooks_is_one_clear_line(tmp_path):
    folder = checkout(tmp_path / "repository", ["print('x' * 100_000)"])
    with small_disk(folder / "results"):
        code, _, err = reproduce(folder)
        assert code == 1
        assert re.fullmatch(r"error: .*No space left on device.*\n", err)
        assert list(executed(folder).parent.iterdir()) == []


def test_a_read_only_checkout_is_one_clear_line(tmp_path):
    folder = checkout(tmp_path / "repository", ["print(1)"])
    (folder / "results").mkdir()
    with mounted(folder, "--bind", folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        code, _, err = reproduce(folder)
    assert code == 1
    assert re.fullmatch(r"error: cannot write in .*Read-only file system.*a copy.*\n", err)
