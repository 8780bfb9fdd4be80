"""Every example runs: those of the public names, and those on the pages."""

import doctest
import re

import matplotlib.pyplot as plt
import pytest

import biglearn_core
from tests.helpers import ROOT

# Of big_data.md the rows are too many to be held in memory: that is its point, and takes seconds.
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


@pytest.mark.parametrize("name", biglearn_core.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(getattr(biglearn_core, name), name)
    assert found.examples
    # As one would type them: nothing of the module is there before it is imported.
    found.globs = {name: getattr(biglearn_core, name)}
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found)
    assert not failed


def examples(page):
    """Join the blocks of a page that are marked as python, which may build on each other."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.M | re.S))


@pytest.mark.parametrize("page", [p for p in PAGES if examples(p)], ids=lambda page: page.name)
def test_the_examples_of_a_page_run_as_they_stand(page, capsys):
    exec(compile(examples(page), page.name, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().err == ""
