"""Faults around `make reproduce`: killed, interrupted, no network, no room, no right to write."""

import os
import re
import shutil
import signal
import subprocess
import sys

import nbformat
import pytest

from biglearn_core.reproduce.notebook import NotebookError, execute, failed_name
from tests.faults.surroundings import (
    LIMIT,
    assert_gone,
    checkout,
    environment,
    executed,
    mounted,
    notebook,
    reproduce,
    small_disk,
    started,
    wait_for,
)
from tests.helpers import ROOT

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
    folder = checkout(tmp_path / "repository", WAITING)
    here = folder / "notebooks"
    yield folder, [here / "begun_0", here / "begun_1"], here / "go"
    (here / "go").touch()


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
    with pytest.raises(NotebookError, match=r"its process was killed.* memory may have run out"):
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


def test_a_full_disk_under_the_notebooks_is_one_clear_line(tmp_path):
    folder = checkout(tmp_path / "repository", "print('x' * 100_000)")
    with small_disk(folder / "results"):
        code, _, err = reproduce(folder)
        assert code == 1
        assert re.fullmatch(r"error: .*No space left on device.*\n", err)
        assert list(executed(folder).parent.iterdir()) == []


def test_a_read_only_checkout_is_one_clear_line(tmp_path):
    folder = checkout(tmp_path / "repository", "print(1)")
    (folder / "results").mkdir()
    with mounted(folder, "--bind", folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        code, _, err = reproduce(folder)
    assert code == 1
    assert re.fullmatch(r"error: cannot write in .*Read-only file system.*a copy.*\n", err)


# Nothing listens there. With no PATH there is no apt-get, either.
REFUSED = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (["-m", "biglearn_core.datasets", "svmguide2"], "put it into"),
        (["BL_vs_deepClustering/main_BigLearnEM.py"], "put the four"),
    ],
)
def test_without_a_network_the_remedy_is_told(tmp_path, command, remedy):
    folder = checkout(tmp_path / "repository", "print(1)")
    name, skip = "BL_vs_deepClustering", shutil.ignore_patterns("__pycache__", "dataset")
    shutil.copytree(ROOT / name, folder / name, ignore=skip)
    before = set(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder, BIGLEARN_DATA="", PATH="", **REFUSED),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "Connection refused" in done.stderr
    assert remedy in done.stderr.splitlines()[-1].lower()
    assert not [path for path in set(folder.rglob("*")) - before if path.is_file()]
