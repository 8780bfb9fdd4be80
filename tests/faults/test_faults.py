"""Faults done for real: processes killed, disks full, folders read-only, names awkward.

Others stand beside what they concern: kill -9 of a fit and of the Fashion-MNIST run, any of its
saves (test_fit, test_fashion), of a download (test_datasets); a full disk under a result, damaged
results (test_store); changed data files, broken transfers, no source at all (test_datasets,
test_fashion_mnist_data); interrupted seeds (test_gmm25, test_realworld).
"""

import contextlib
import dataclasses
import hashlib
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
import yaml

from biglearn_core.experiments import parallel
from biglearn_core.experiments.gmm25 import run as gmm25
from biglearn_core.experiments.realworld import run as realworld
from biglearn_core.experiments.recording import Recorder
from biglearn_core.reproduce.notebook import NotebookError, execute, failed_name
from biglearn_core.system import persistence
from biglearn_core.system.persistence import load_arrays, save_arrays
from BL_vs_deepClustering.comparison import run as deep_clustering
from BL_vs_deepClustering.pixels import run as fashion
from tests.BL_vs_deepClustering.test_comparison import CONFIG, same_peers, synthetic_images
from tests.BL_vs_deepClustering.test_pixels import (
    CONFIG as FASHION,
    assert_same_run as same_fashion,
    store_at,
    synthetic,
)
from tests.experiments.test_gmm25 import SMALL as GMM25, same_runs as same_gmm25
from tests.experiments.test_realworld import OURS, SMALL as REALWORLD, same_runs as same_realworld
from tests.helpers import ROOT

AWKWARD = "Ordner mit Leerzeichen é"
LIMIT = 120
LOCKS = ("requirements.lock", "requirements-torch.lock", "requirements-cuda.lock")


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
    folder = checkout(tmp_path / "repository", WAITING)
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


def wait_in_job(folder, number):
    (folder / f"{number}.tmp").write_text(f"{os.getpid()} {os.getppid()}")
    (folder / f"{number}.tmp").rename(folder / f"begun_{number}")
    time.sleep(10 * LIMIT)


def run_waiting_jobs(folder):
    jobs = [(Path(folder), number) for number in range(2)]
    parallel.run_jobs(wait_in_job, jobs, n_jobs=2, description="waiting")


def test_parallel_jobs_end_with_the_process_that_began_them(tmp_path):
    code = f"from tests.faults import test_faults; test_faults.run_waiting_jobs({str(tmp_path)!r})"
    begun = [tmp_path / "begun_0", tmp_path / "begun_1"]
    with subprocess.Popen([sys.executable, "-c", code], env=environment(ROOT)) as process:
        wait_for(begun, process)
        process.kill()
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


# Experiments


def run_gmm25(root):
    return gmm25.run(GMM25, root=root, n_jobs=1)


def run_realworld(root):
    return realworld.run(REALWORLD, methods=OURS, root=root, n_jobs=1)


def run_fashion(root):
    return [fashion.run_seed(FASHION, 1, synthetic(), store=store_at(root))]


def same_fashion_runs(a, b):
    for left, right in zip(a, b, strict=True):
        same_fashion(left, right)


DEEP = dataclasses.replace(CONFIG, methods=("dec", "idec", "edesc"), seeds=(0,))


def run_deep_clustering(root):
    with synthetic_images():
        return deep_clustering.run(DEEP, root=root, n_jobs=1)


EXPERIMENTS = {
    "gmm25": (run_gmm25, same_gmm25),
    "realworld": (run_realworld, same_realworld),
    "fashion": (run_fashion, same_fashion_runs),
    "deep_clustering": (run_deep_clustering, same_peers),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    root = tmp_path_factory.mktemp("unbroken")
    return {name: run(root) for name, (run, _) in EXPERIMENTS.items()}


def in_process(function, *arguments, **variables):
    """Call a function of this module in a fresh process; give its status and what it printed."""
    code = f"from {__name__} import {function.__name__}; {function.__name__}(*{arguments!r})"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(ROOT, **variables),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def run_until_killed(name, root, moment, number):
    """Run an experiment in a process that kills itself in the given save or iteration."""
    calls = [0]

    def dying(original):
        def call(*arguments):
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        return call

    if moment == "save":  # the temporary file is written, and stays behind
        persistence.os.replace = dying(os.replace)
    else:
        Recorder.__call__ = dying(Recorder.__call__)
    EXPERIMENTS[name][0](root)


@pytest.mark.parametrize(
    ("name", "moment", "number"),
    [
        ("gmm25", "iteration", 14 + 6 + 3),  # seed 2, the third iteration of BigLearn-EM
        ("gmm25", "save", 4),  # its arrays are there, its summary is not
        ("realworld", "iteration", 14),
        ("realworld", "save", 5),
        ("deep_clustering", "save", 6),  # EDESC's arrays are there, its summary is not
        ("deep_clustering", "save", 8),  # the shared autoencoder's first epoch is there
    ],
)
def test_killed_in_an_experiment_it_goes_on_to_the_same_result(
    tmp_path, unbroken, name, moment, number
):
    killed = in_process(run_until_killed, name, str(tmp_path), moment, number)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    run, assert_same = EXPERIMENTS[name]
    assert 0 < len(finished) < len(unbroken[name])
    with warnings.catch_warnings(action="error"):  # a half result would be told as damaged
        assert_same(run(tmp_path), unbroken[name])
    assert finished == {path: path.stat().st_mtime_ns for path in finished}


@pytest.mark.parametrize(("name", "room"), [("gmm25", 44), ("realworld", 20), ("fashion", 24)])
def test_an_experiment_on_a_full_disk_goes_on_when_there_is_room(tmp_path, unbroken, name, room):
    run, assert_same = EXPERIMENTS[name]
    with small_disk(tmp_path / "disk"):
        (tmp_path / "disk" / "filler").write_bytes(bytes((64 - room) * 1024))
        with pytest.raises(OSError, match=r"No space left.*free some\s+space"):
            run(tmp_path / "disk")
        assert len(list((tmp_path / "disk").rglob("*.npz"))) > 0  # it was in the middle
        assert not list((tmp_path / "disk").rglob("*.tmp"))
        enlarge(tmp_path / "disk")
        assert_same(run(tmp_path / "disk"), unbroken[name])


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip])
@pytest.mark.parametrize(
    ("kind", "n_done"),
    [
        ("checkpoint", 2),
        ("scores", 2),
        ("model", 4),
    ],
)
def test_a_damaged_state_is_refused_and_deleting_it_helps(tmp_path, unbroken, kind, n_done, damage):
    def stop(trace):
        if len(trace) == n_done < FASHION.n_iterations:
            raise KeyboardInterrupt

    store = store_at(tmp_path)
    with contextlib.suppress(KeyboardInterrupt):
        fashion.run_seed(FASHION, 1, synthetic(), store=store, report=stop)
    path = store.folder / f"seed_1.{kind}.npz"
    damage(path)
    with pytest.raises(ValueError, match=rf"{path.name} is not a readable .npz file .*delete it"):
        run_fashion(tmp_path)
    path.unlink()
    anew = pytest.warns(UserWarning, match="starts anew")
    with anew if kind == "scores" else contextlib.nullcontext():
        mended = run_fashion(tmp_path)
    same_fashion_runs(mended, unbroken["fashion"])


@pytest.mark.parametrize("offset", [6, 8])  # flags, compression method
def test_a_damaged_zip_header_is_a_clear_error(tmp_path, offset):
    path = tmp_path / "state.npz"
    save_arrays(path, {"x": np.arange(4.0)})
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + offset + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="delete it"):
        load_arrays(path)


OF_A_PROCESS = r"\w*seconds|peak_bytes|arrays_sha256|n_threads"


def print_results(root):
    """Print all numbers of all experiments but times and memory."""
    for run, _ in EXPERIMENTS.values():
        run(Path(root))
    for path in sorted(Path(root).rglob("*.json")):
        text = re.sub(rf'"({OF_A_PROCESS})": ("[^"]*"|[\d.e-]+),?', "", path.read_text())
        print(path.relative_to(root), hashlib.sha256(text.encode()).hexdigest())
    for path in sorted(Path(root).rglob("*.npz")):
        for name, array in load_arrays(path).items():
            if not name.endswith("seconds"):
                print(path.relative_to(root), name, hashlib.sha256(array.tobytes()).hexdigest())


def test_neither_hash_seed_nor_threads_change_a_result(tmp_path):
    printed = []
    for i in (1, 2):
        variables = {f"{library}_NUM_THREADS": str(i) for library in ("OMP", "MKL", "OPENBLAS")}
        variables["PYTHONHASHSEED"] = str(i - 1)
        done = in_process(print_results, str(tmp_path / str(i)), **variables)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    assert len(printed[0]) > 80
    assert printed[0] == printed[1]


# No network


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


# What `make` needs of .venv, without setting one up.
WRAPPER = """#!/bin/sh
exec "{python}" "$@"
"""

TINY = """
from biglearn_core.experiments.gmm25 import run as gmm25
from biglearn_core.experiments.realworld import run as realworld
from biglearn_core.experiments.store import config_from, write_record
from biglearn_core.system.paths import RESULTS

runs = gmm25.run(config_from(gmm25.Config, gmm25_settings), n_jobs=2)
config = config_from(realworld.Config, realworld_settings)
realworld.run(config, methods=("BigLearn-EM", "Joint-EM"), n_jobs=1)
write_record(RESULTS / "tiny.json", {"optimum": runs[0].optimum_kl})
"""


def test_make_reproduce_in_a_folder_with_an_awkward_name(tmp_path, unbroken, monkeypatch):
    settings = {"gmm25_settings": dataclasses.asdict(GMM25)}
    settings["realworld_settings"] = dataclasses.asdict(REALWORLD)
    folder = checkout(tmp_path / AWKWARD, TINY, parameters=settings)
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(WRAPPER.format(python=sys.executable))
    python.chmod(0o755)
    for name in ("Makefile", *LOCKS, "pyproject.toml"):
        shutil.copy2(ROOT / name, folder)
    (folder / ".venv" / ".ready").touch()
    done = subprocess.run(
        ["make", "reproduce", "PROFILE=tiny"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "results" / "tiny.json").exists()

    def refuse(*_):
        raise AssertionError("what is there was computed again")

    monkeypatch.setattr(gmm25, "_run_seed", refuse)
    monkeypatch.setattr(realworld, "_run_one", refuse)
    for name in ("gmm25", "realworld"):
        run, assert_same = EXPERIMENTS[name]
        assert_same(run(folder / "results"), unbroken[name])
