"""The program from the shell: by the module's name, and by its entry point."""

import sys
import tomllib

import biglearn_core
from tests.command.small import rows_file, spawn
from tests.helpers import ROOT


def test_the_module_fits_and_prints(tmp_path):
    rows_file(tmp_path)
    command = "fit rows.npy --components 2 --out model.npz"
    done = spawn(
        [sys.executable, "-W", "error", "-m", "biglearn_core", *command.split()], folder=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "components      2, full covariances\n" in done.stdout
    assert (tmp_path / "model.npz").exists()


def test_the_entry_point_is_the_command(tmp_path):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["biglearn"].split(":")
    code = (
        f"import sys; from {module} import {function}; sys.argv[1:] = ['--version']; {function}()"
    )
    done = spawn([sys.executable, "-c", code], folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"biglearn-em {biglearn_core.__version__}\n")
