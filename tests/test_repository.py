"""The house rules that a machine can check: pins, parameters, notebooks."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from biglearn_core.reproduce import profile_parameters

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirement_names(requirements):
    return {re.match(r"[\w-]+", line).group().lower(): line for line in requirements}


def test_the_public_names_can_be_imported():
    code = "from biglearn_core import GMM, JointEM, BigLearnEM, fit_joint_em, fit_biglearn_em\n"
    code += "from biglearn_core import *; print(load_dataset('glass').X_train.shape)"
    for command in (["-c", code], ["-m", "biglearn_core.datasets", "--help"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ImportError, match="load_datasets"):
        from biglearn_core import load_datasets  # noqa: F401


def test_conda_and_pip_ask_for_the_same():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pins = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]
    assert requirement_names(pins) == requirement_names(wanted)


def test_the_lock_holds_every_dependency_within_its_range():
    from packaging.requirements import Requirement

    lines = (ROOT / "requirements.lock").read_text().splitlines()
    lock = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]
    for line in (*PROJECT["dependencies"], *(x for extra in extras.values() for x in extra)):
        requirement = Requirement(line)
        assert requirement.specifier.contains(lock[requirement.name.lower()]), line
    assert lock["torch"] == "2.13.0"


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_profiles_know_every_notebook_and_parameter(profile):
    assert set(profile_parameters(profile)) == {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("01_gmm25: {sedes: [1]}", "did you mean 'seeds'"),
        ("01_gmm52: {}", "did you mean '01_gmm25'"),
    ],
)
def test_a_misspelt_profile_stops_with_the_name(tmp_path, content, text):
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "mine.yaml").write_text(content)
    (tmp_path / "01_gmm25.ipynb").write_bytes((ROOT / "notebooks" / "01_gmm25.ipynb").read_bytes())
    with pytest.raises(ValueError, match=text):
        profile_parameters("mine", folder=tmp_path)
    with pytest.raises(ValueError, match=r"known are \['mine'\]"):
        profile_parameters("other", folder=tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_executed_and_clean(path):
    assert path.stat().st_size < 2**20
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for cell in code:
        assert len(cell.source.splitlines()) <= 15
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
        assert cell.execution_count is not None
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    text = path.read_text()
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    assert any("NBVAL_CHECK_OUTPUT" in cell.source for cell in code)


def test_core_modules_do_not_know_what_stands_above_them():
    """Arrows run down only: notebooks, experiments, estimators, fit, matching, em, gmm."""
    floors = [
        *("persistence", "linalg", "points", "density", "truncation", "lowrank"),
        *("gmm", "em", "matching", "fit"),
    ]
    for height, module in enumerate(floors):
        tree = ast.parse((ROOT / "biglearn_core" / f"{module}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("biglearn_core"):
                name = node.module.split(".")[1]
                assert name in floors[:height], f"{module} imports {name}"
