"""Faults in the middle of an experiment: killed, no room, damaged states, awkward names.

Others stand beside what they concern: kill -9 of a fit (test_fit) and of the Fashion-MNIST run, any
of its saves (test_pixels), of a download (test_transfers); a full disk under a result, damaged
results (test_store); changed data files, broken transfers, no source at all (datasets); interrupted
seeds (test_gmm25, test_realworld).
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
import warnings
from pathlib import Path

import pytest

from biglearn_core.experiments.gmm25 import run as gmm25
from biglearn_core.experiments.principle import run as principle
from biglearn_core.experiments.realworld import run as realworld
from biglearn_core.experiments.recording import Recorder
from biglearn_core.system import persistence
from biglearn_core.system.persistence import load_arrays
from BL_vs_deepClustering.comparison import run as deep_clustering
from BL_vs_deepClustering.pixels import run as fashion
from tests.BL_vs_deepClustering.small import (
    PEERS,
    PIXELS,
    same_peers,
    same_pixels,
    store_at,
    synthetic_images,
    wide_synthetic,
)
from tests.experiments.small import (
    GMM25,
    OURS,
    PRINCIPLE,
    REALWORLD,
    same_gmm25,
    same_principle,
    same_realworld,
)
from tests.faults.surroundings import (
    LIMIT,
    assert_gone,
    checkout,
    enlarge,
    environment,
    small_disk,
    wait_for,
)
from tests.helpers import ROOT

AWKWARD = "Ordner mit Leerzeichen é"
LOCKS = ("requirements.lock", "requirements-torch.lock", "requirements-cuda.lock")


def test_parallel_jobs_end_with_the_process_that_began_them(tmp_path):
    code = "from tests.faults.surroundings import run_waiting_jobs; "
    code += f"run_waiting_jobs({str(tmp_path)!r})"
    begun = [tmp_path / "begun_0", tmp_path / "begun_1"]
    with subprocess.Popen([sys.executable, "-c", code], env=environment(ROOT)) as process:
        try:
            wait_for(begun, process)
        finally:
            process.kill()
    assert_gone(begun)


def run_gmm25(root):
    return gmm25.run(GMM25, root=root, n_jobs=1)


def run_realworld(root):
    return realworld.run(REALWORLD, methods=OURS, root=root, n_jobs=1)


def run_principle(root):
    plans, tried = principle.run(PRINCIPLE, root=root, n_jobs=1)
    return [*plans.values(), *tried.values()]


def run_fashion(root):
    return [fashion.run_seed(PIXELS, 1, wide_synthetic(), store=store_at(root))]


def same_fashion_runs(a, b):
    for left, right in zip(a, b, strict=True):
        same_pixels(left, right)


DEEP = dataclasses.replace(PEERS, methods=("dec", "idec", "edesc"), seeds=(0,))


def run_deep_clustering(root):
    with synthetic_images():
        return deep_clustering.run(DEEP, root=root, n_jobs=1)


EXPERIMENTS = {
    "gmm25": (run_gmm25, same_gmm25),
    "realworld": (run_realworld, same_realworld),
    "principle": (run_principle, same_principle),
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
        ("principle", "save", 4),  # the second plan's arrays are there, its summary is not
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
        if len(trace) == n_done < PIXELS.n_iterations:
            raise KeyboardInterrupt

    store = store_at(tmp_path)
    with contextlib.suppress(KeyboardInterrupt):
        fashion.run_seed(PIXELS, 1, wide_synthetic(), store=store, report=stop)
    path = store.folder / f"seed_1.{kind}.npz"
    damage(path)
    with pytest.raises(ValueError, match=rf"{path.name} is not a readable .npz file .*delete it"):
        run_fashion(tmp_path)
    path.unlink()
    anew = pytest.warns(UserWarning, match="starts anew")
    with anew if kind == "scores" else contextlib.nullcontext():
        mended = run_fashion(tmp_path)
    same_fashion_runs(mended, unbroken["fashion"])


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


# What `make` needs of .venv, without setting one up.
WRAPPER = """#!/bin/sh
exec "{python}" "$@"
"""

TINY = """
from biglearn_core.experiments.gmm25 import run as gmm25
from biglearn_core.experiments.principle import run as principle
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
    for name in ("Makefile", *LOCKS, "pyproject.toml", "setup.py"):
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
