"""The house rules that a machine can check: pins, parameters, notebooks."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from biglearn_core.reproduce.run import profile_parameters
from tests.helpers import ROOT, load_script

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOCKS = ("requirements.lock", "requirements-torch.lock", "requirements-cuda.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_binder_runs_what_is_there():
    script = (ROOT / ".binder" / "postBuild").read_text()
    assert re.findall(r"^(make \w+|\.venv/bin/python -m \w+)", script, flags=re.M) == [
        "make env",
        ".venv/bin/python -m ipykernel",
    ]
    assert "set -euo pipefail" in script
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111
    lock = pinned("requirements.lock")
    for line in (ROOT / ".binder" / "requirements.txt").read_text().splitlines():
        wanted = Requirement(line)
        assert wanted.specifier.contains(lock[wanted.name])
    assert (ROOT / ".binder" / "runtime.txt").read_text() == "python-3.11\n"


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


def declared():
    extras = PROJECT["optional-dependencies"].values()
    lines = (*PROJECT["dependencies"], *(line for extra in extras for line in extra))
    return [Requirement(line) for line in lines]


def pinned(*names, on_this_machine=False):
    """Versions by package, as the locks have them; this machine's, of a package with several."""
    lines = "".join((ROOT / name).read_text() for name in names).splitlines()
    entries = [
        Requirement(line.removesuffix("\\")) for line in lines if not line.startswith(("#", " "))
    ]
    here = [entry for entry in entries if entry.marker is None or entry.marker.evaluate()]
    return {
        canonicalize_name(entry.name): str(entry.specifier).removeprefix("==")
        for entry in (here if on_this_machine else [*entries, *here])
    }


def test_the_lock_holds_every_dependency_within_its_range():
    lock = pinned(*LOCKS)
    for requirement in declared():
        assert requirement.specifier.contains(lock[requirement.name.lower()]), requirement
    assert lock["torch"] == "2.13.0"


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_an_exact_version_or_a_hash_of_it(name):
    head, *lines = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.M).splitlines()
    assert "==" in head
    for line, before in zip(lines, [head, *lines], strict=False):
        if re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?", line):
            assert before.endswith("\\")
        else:
            assert re.match(r"[\w.-]+==[\w.]+( ; [^-]+)? \\$", line)
            assert "--hash" in before
            assert not before.endswith("\\")
    assert "--hash" in lines[-1]


def test_torch_has_a_lock_of_its_own():
    assert set(pinned("requirements-torch.lock")) == {"torch"}
    others = {*pinned("requirements.lock"), *pinned("requirements-cuda.lock")}
    assert "torch" not in others
    assert not any(name.startswith("nvidia") for name in pinned("requirements.lock"))


def test_the_locks_hold_all_that_is_needed_here_and_nothing_else():
    """pip is told to look for no dependency, so none may be missing."""
    lock = pinned(*LOCKS)
    waiting, reached = [(r.name, r.extras) for r in declared()], {}
    while waiting:
        name, extras = waiting.pop()
        name = canonicalize_name(name)
        if extras <= reached.get(name, frozenset()) and name in reached:
            continue
        reached[name] = reached.get(name, frozenset()) | extras
        assert importlib.metadata.version(name).partition("+")[0] == lock[name]
        for line in importlib.metadata.requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is None or any(
                wanted.marker.evaluate({"extra": extra}) for extra in (*reached[name], "")
            ):
                assert wanted.specifier.contains(lock[canonicalize_name(wanted.name)]), line
                waiting.append((wanted.name, wanted.extras))
    here = LOCKS if "+cpu" not in importlib.metadata.version("torch") else LOCKS[:2]
    assert set(reached) == set(pinned(*here, on_this_machine=True))


def test_the_ends_of_the_ranges_are_those_of_the_core_and_its_tests():
    tool = load_script("tools/ranges.py")
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    assert tool.requirements(oldest=False) == lines
    for oldest, line in zip(tool.requirements(oldest=True), lines, strict=True):
        end, wanted = Requirement(oldest), Requirement(line)
        (pin,) = end.specifier
        assert (end.name, pin.operator) == (wanted.name, "==")
        assert wanted.specifier.contains(pin.version)
        assert f">={pin.version}" in line
    assert all((ROOT / "tests" / folder).is_dir() for folder in tool.LOCKS_ALONE)


def test_the_tool_lays_the_locks_out_as_they_are():
    tool = load_script("tools/lock.py")
    old = {name: (ROOT / name).read_text() for name in LOCKS}
    (torch,) = tool.blocks(old["requirements-torch.lock"])
    others = tool.blocks(old["requirements.lock"] + old["requirements-cuda.lock"])
    assert tool.locks(others, torch) == old
    assert tool.merged(torch, f"x==1 --hash=sha256:{'0' * 64}").splitlines() == [
        "torch==2.13.0 \\", f"    --hash=sha256:{'0' * 64} \\", *torch.splitlines()[1:]
    ]  # fmt: skip


def test_make_env_installs_only_what_a_hash_names():
    index = "https://example.org/simple"
    done = subprocess.run(
        ["make", "--always-make", "--dry-run", "env", f"TORCH_INDEX={index}"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = done.stdout.replace("\\\n", " ").splitlines()
    commands = [command for line in lines for command in line.split("||") if " -m pip " in command]
    locked = [command for command in commands if "--require-hashes --no-deps" in command]
    assert [command.split()[-1] for command in locked] == [*LOCKS]
    download, own = [command for command in commands if command not in locked]
    assert re.search(rf" download --no-deps .* --index-url {index} torch==2.13.0$", download)
    assert own.endswith(" install --no-deps --no-build-isolation --editable .")
    assert not any(index in command for command in (*locked, own))


def test_nothing_asks_an_index_that_could_shadow_a_name():
    option = "extra index url".replace(" ", "-")
    own = {".git", ".venv", "results", "dataset", ".hypothesis"}
    own |= {f".{tool}_cache" for tool in ("pytest", "ruff", "mypy")}
    for top in ROOT.iterdir():
        files = [top] if top.is_file() else top.rglob("*") if top.name not in own else ()
        for path in files:
            if path.is_file() and path.suffix not in (".png", ".pyc"):
                text = path.read_text(encoding="utf-8", errors="replace")
                assert option not in text, path


@pytest.mark.parametrize("name", ["ci", "site"])
def test_a_workflow_can_only_read_and_runs_what_it_names(name):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        # The one job that puts the site on its place has nothing of the repository, and no shell.
        if "permissions" in job:
            assert job["permissions"] == {"pages": "write", "id-token": "write"}
            assert [step["uses"].partition("@")[0] for step in job["steps"]] == [
                "actions/deploy-pages"
            ]
        assert job["timeout-minutes"] <= 30
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


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


FLOORS = (
    *(
        "system",
        "rows",
        "numerics",
        "gmm",
        "agreement",
        "validation",
        "data",
        "em",
        "matching",
        "history",
    ),
    *(
        "checkpoint",
        "fit",
        "init",
        "metrics",
        "search",
        "estimators",
        "displays",
        "command",
        "experiments",
        "explorer",
        "reproduce",
    ),
)


def imports(path):
    """The modules of this repository that a file names in its imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_arrows_run_down_only():
    core = ROOT / "biglearn_core"
    assert {path.stem for path in core.glob("*.py")} | {
        path.name for path in core.iterdir() if (path / "__init__.py").exists()
    } == {*FLOORS, "datasets", "__init__", "__main__"}
    for path in core.rglob("*.py"):
        own = path.relative_to(core).with_suffix("").parts[0]
        below = {
            "__init__": set(FLOORS) | {"datasets"},
            "__main__": {"command"},
            "datasets": {"datasets", "system"},
            "estimators": {*FLOORS[: FLOORS.index("estimators") + 1]},
        }.get(own)
        if below is None:
            below = {*FLOORS[: FLOORS.index(own)], *([own] if path.parent != core else [])}
        if own in ("experiments", "explorer", "reproduce"):
            below.add("datasets")
        for name in imports(path):
            assert not name.startswith(("BL_vs_deepClustering", "biglearn_gan")), (path, name)
            if name.startswith("biglearn_core."):
                assert name.split(".")[1] in below, (path, name)


GAN_FLOORS = (
    *("sampler", "data", "tasks", "networks", "losses", "config", "generator", "loop", "training"),
    *("settings", "measures", "rivals", "methods", "scoring", "run", "tables", "figures"),
)


def test_arrows_run_down_only_in_the_gan():
    package = ROOT / "biglearn_gan"
    for path in package.rglob("*.py"):
        own = path.relative_to(package).with_suffix("").parts[0]
        below = {*GAN_FLOORS[: GAN_FLOORS.index(own)]} if own in GAN_FLOORS else {*GAN_FLOORS}
        for name in imports(path):
            assert not name.startswith("BL_vs_deepClustering"), (path, name)
            if name.startswith("biglearn_gan."):
                assert name.split(".")[1] in {*below, *([own] if path.parent != package else [])}
