"""What the tests of commands share: rows in files, and commands that are run in this process."""

import os
import subprocess
import sys

import numpy as np

from biglearn_core.command.main import main
from tests.helpers import ROOT


def rows_file(folder, name="rows.npy", *, n=60, gaps=False, seed=0):
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(m, 1, (n, 3)) for m in (0, 9)])
    rng.shuffle(X)
    if gaps:
        X[::5, 1] = np.nan
    np.save(folder / name, X)
    return X


def words(text):
    return text.split()


def run(capsys, *arguments):
    """Run a command that is to succeed, and give what it prints."""
    status = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def failure(capsys, *arguments):
    """Run a command that is to fail, and give what it says."""
    status = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert "Traceback" not in err
    return err


def spawn(command, *, folder, **environment):
    """Run a program of this environment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BIGLEARN")}
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env=clean | {"OMP_NUM_THREADS": "1", "PATH": path, "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
