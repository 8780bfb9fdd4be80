"""Several processes, as torchrun starts them."""

import re
import socket
import sys

import numpy as np
import pytest

from biglearn_core import GMM, BigLearnEM
from tests.command.small import rows_file, spawn, words
from tests.helpers import ROOT, assert_same_model, random_gmm

TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("-m", "biglearn_core"),
)

# Stand for Slurm's on a machine of its own: two nodes, which are this one.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
"$@" > node0.txt 2>&1 &
"$@" > node1.txt 2>&1
status=$?
wait $! && exit $status
"""
SCONTROL = """#!/bin/bash
[[ "$*" == "show hostnames node[1-2]" ]] || exit 1
echo localhost
echo node2
"""


def own_lines(text):
    return [line for line in text.splitlines() if line.startswith("biglearn ")]


def test_each_labels_its_part_of_the_rows(tmp_path):
    model = random_gmm(0)
    model.save(tmp_path / "model.npz")
    X = np.concatenate([rows_file(tmp_path, "0.npy", n=20), rows_file(tmp_path, "1.npy", seed=1)])
    done = spawn([*TORCHRUN, *words("predict model.npz 0.npy 1.npy --out l.npy")], folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "written to l.npy\n"), done.stderr
    assert np.array_equal(np.load(tmp_path / "l.npy"), model.predict(X))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model.npz", "0.npy", "1.npy", "l.npy"}


def test_their_scores_are_joined(tmp_path):
    model = random_gmm(0)
    model.save(tmp_path / "model.npz")
    X = [rows_file(tmp_path, f"{i}.npy", n=20 * (i + 1), seed=i) for i in range(2)]
    command = "score model.npz {rank}.npy --samples d{rank}.npy"
    done = spawn([*TORCHRUN, *words(command)], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    density = model.log_prob(np.concatenate(X))
    assert float(done.stdout) == pytest.approx(density.mean(), rel=1e-12)
    parts = [np.load(tmp_path / f"d{i}.npy") for i in range(2)]
    assert list(map(len, parts)) == [40, 80]
    np.testing.assert_allclose(np.concatenate(parts), density, rtol=1e-12)


def test_a_failure_of_one_ends_all_and_is_told_once(tmp_path):
    X = rows_file(tmp_path)
    X[100] = np.inf
    np.save(tmp_path / "rows.npy", X)
    random_gmm(0).save(tmp_path / "model.npz")
    done = spawn([*TORCHRUN, *words("predict model.npz rows.npy --out l.npy")], folder=tmp_path)
    assert done.returncode == 1
    (line,) = own_lines(done.stderr)
    assert line.startswith("biglearn predict: process 1: Input X contains infinity")
    assert {path.name for path in tmp_path.iterdir()} == {"model.npz", "rows.npy"}


def test_the_script_for_slurm_fits_as_it_stands(tmp_path):
    """On stand-ins for Slurm's commands; rendezvous and processes are real."""
    page = (ROOT / "docs" / "many_machines.md").read_text()
    (script,) = re.findall(r"```bash\n(.*?)```", page, flags=re.S)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for old, new in ((":29400", f":{port}"), ("processes=2 ", "processes=1 "), (" 50 ", " 2 ")):
        assert script.count(old) == 1
        script = script.replace(old, new)
    (tmp_path / "rows").mkdir()
    X = rows_file(tmp_path / "rows")
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("fit.sh", script)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_ID": "7",
    }
    path = f"PATH={tmp_path}:$PATH"
    done = spawn(["bash", "-c", f"export {path}; exec bash fit.sh"], folder=tmp_path, **slurm)
    outputs = [(tmp_path / f"node{i}.txt").read_text() for i in range(2)]
    assert done.returncode == 0, (done.stderr, outputs)
    assert sum("rows            120, of 2 processes\n" in text for text in outputs) == 1
    own = BigLearnEM(2, random_state=0).fit(X)
    assert_same_model(GMM.load(tmp_path / "model.npz"), own.mixture_)
