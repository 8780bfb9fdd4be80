"""The API reference builds without warnings and shows what users are told to use; examples run."""

import os
import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT, load_script

PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_reference_builds_without_warnings(tmp_path):
    pytest.importorskip("pdoc")
    script = load_script("docs/build.py")
    script.build(tmp_path)
    for module in script.MODULES:
        assert (tmp_path / f"{module.replace('.', '/')}.html").exists(), module
    page = (tmp_path / "biglearn_core.html").read_text(encoding="utf-8")
    for name in (
        "BigLearnEM.fit",
        "BigLearnEM.impute",
        "GMM.condition",
        "fit_biglearn_em",
        "load_dataset",
        "MixtureDisplay.from_estimator",
    ):
        assert f'id="{name}"' in page, name


def examples(page):
    """Join the blocks of a page that are marked as python, which may build on each other."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.M | re.S))


@pytest.mark.parametrize("page", [p for p in PAGES if examples(p)], ids=lambda page: page.name)
def test_examples_run_as_they_stand(page, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", examples(page)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_pages_link_to_files_that_are_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)
