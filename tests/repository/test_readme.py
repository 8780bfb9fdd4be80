"""The README is short, and what it shows runs.

Its Python snippet runs in tests/repository/test_wheel.py, where the package is installed alone.
What takes long (`make reproduce`, `test`, `bench`) is planned by make and not run.
"""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT
from tests.repository.test_pages import shell_commands

TEXT = (ROOT / "README.md").read_text()
COMMANDS = shell_commands(TEXT)
PROGRAMS = {
    "biglearn": ["-m", "biglearn_core"],
    "torchrun": ["-m", "torch.distributed.run"],
}


def test_it_is_short_and_names_what_it_stands_on():
    assert len(TEXT.splitlines()) < 120
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", project, flags=re.M | re.S).group(1)
    for name in re.findall(r'"([\w-]+)', needed):
        assert name in TEXT, name
    page = (ROOT / "docs" / "install.md").read_text()
    for name in re.findall(r'^ *"([\w-]+)|\["([\w-]+)', project.partition("[tool.")[0], re.M):
        assert "".join(name) in page or "".join(name) == "setuptools", name


def test_its_links_lead_to_files_and_headings_that_are_there():
    for target, heading in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", TEXT):
        assert (ROOT / target).exists(), target
        titles = re.findall(r"^#+ (.*)$", (ROOT / target).read_text(errors="replace"), flags=re.M)
        assert not heading or heading in [title.lower().replace(" ", "-") for title in titles]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with rows as the snippet saves them; what the commands write stays for the next."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    rows = [rng.normal(mean, 1, (200, 4)) for mean in (0, 6, 12)]
    np.save(folder / "rows.npy", np.concatenate(rows))
    return folder


@pytest.mark.parametrize(
    "words", [w for w in COMMANDS if w[0] in PROGRAMS], ids=lambda words: shlex.join(words)
)
def test_the_commands_run_one_after_the_other(words, folder):
    environment = {
        "PYTHONPATH": str(ROOT), "BIGLEARN_QUIET": "1", "OMP_NUM_THREADS": "1",
        "PATH": str(Path(sys.executable).parent),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *PROGRAMS[words[0]], *words[1:]],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [word for before, word in itertools.pairwise(words) if before == "--out"]
    for name in written:
        assert (folder / name).stat().st_size > 0


@pytest.mark.parametrize(
    "words", [w for w in COMMANDS if w[0] == "make"], ids=lambda words: shlex.join(words)
)
def test_make_knows_what_it_would_do(words):
    done = subprocess.run(
        [*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_other_command_is_run_elsewhere():
    others = [w for w in COMMANDS if w[0] not in {*PROGRAMS, "make"}]
    # As test_wheel.py does, from a wheel and without a network.
    assert others == [["pip", "install", "."]]
