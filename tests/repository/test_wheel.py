"""The wheel in an environment of its own: over what it asks for, and nothing of the checkout."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile

import pytest
from packaging.requirements import Requirement

import biglearn_core
from biglearn_core.system.paths import DATASETS, REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built without a network from a source archive, which so is whole as well."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("biglearn_core", "dataset"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, ignore=skip)
    build = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, timeout=120)
    (archive,) = (source / "dist").iterdir()
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", source, archive],
        check=True, timeout=120,
    )  # fmt: skip
    (path,) = source.glob("*.whl")
    return path


def needed(requirements):
    """Give the distributions here that requirements without extras lead to."""
    waiting, found = list(requirements), {}
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in found or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        found[requirement.name] = importlib.metadata.distribution(requirement.name)
        waiting += found[requirement.name].requires or ()
    return found.values()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run code where the wheel is installed, from a folder that is empty at first."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    for distribution in needed(PROJECT["dependencies"]):
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            (site / top).symlink_to(distribution.locate_file(top))
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "--quiet", "install", "--no-index",
         "--no-deps", wheel],
        check=True, timeout=120,
    )  # fmt: skip
    work = folder / "work"
    work.mkdir()
    cache = folder / "cache"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BIGLEARN"))}
    environment |= {"XDG_CACHE_HOME": str(cache), "HOME": str(folder)}

    def run(*arguments):
        done = subprocess.run(
            [python, "-W", "error", *arguments],
            cwd=work, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    run.site, run.work, run.cache = site, work, cache
    return run


def test_the_wheel_holds_the_package_and_the_five_sets_and_nothing_else(wheel):
    own = REPOSITORY / "biglearn_core"
    wanted = {
        str(path.relative_to(REPOSITORY))
        for path in own.rglob("*")
        if path.suffix in (".py", ".yaml", ".typed", ".js", ".css")
    }
    data = {path.name for path in DATASETS.glob("*.csv")} | {"checksums.json", "README.md"}
    assert len(data) == 7
    wanted |= {f"biglearn_core/datasets/files/{name}" for name in data}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == wanted
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert f"\nVersion: {biglearn_core.__version__}\n" in text
    assert re.findall(r"^Provides-Extra: (.*)$", text, flags=re.M) == [
        "fast",
        "plots",
        "explore",
        "parquet",
        "dask",
        "reproduce",
        "test",
        "docs",
    ]
    always = re.findall(r"^Requires-Dist: ([^;\n]*)$", text, flags=re.M)
    assert list(map(Requirement, always)) == list(map(Requirement, PROJECT["dependencies"]))


def test_the_readmes_snippet_runs_as_it_stands(installed):
    (snippet,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    check = "\nassert complete.shape == X.shape and not np.isnan(complete).any()"
    check += "\nassert sorted(np.bincount(labels)) == [200, 200, 200]"
    assert installed("-c", snippet + check) == ""


def test_data_and_results_lie_with_the_user(installed):
    code = """
import sys
from biglearn_core import __version__, load_dataset
from biglearn_core.system.paths import DOWNLOADS, FASHION_MNIST, RESULTS
data = load_dataset("pendigits")
print(__version__, data.X_train.shape, data.X_test.shape)
for folder in (DOWNLOADS, FASHION_MNIST, RESULTS): print(folder.resolve())
for name, module in sys.modules.items():
    if name.partition(".")[0] == "biglearn_core": print(module.__file__)
"""
    facts, *folders = installed("-c", code).splitlines()
    assert facts == f"{biglearn_core.__version__} (7494, 16) (3498, 16)"
    cache = str(installed.cache / "biglearn-em")
    assert folders[:3] == [cache, cache, str(installed.work / "results")]
    assert len(folders) > 30
    assert all(file.startswith(f"{installed.site}/biglearn_core/") for file in folders[3:])
    listing = installed("-m", "biglearn_core.datasets").splitlines()
    here = {line.split()[0] for line in listing if line.split()[1] == "here"}
    assert here == {path.stem for path in DATASETS.glob("*.csv")}
    assert not any(installed.work.iterdir())
