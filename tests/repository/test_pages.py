"""Every command that README, CONTRIBUTING and the pages show exists, with the options shown."""

import functools
import importlib.util
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.helpers import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "docs/install.md", "docs/reproduction.md")
MAKEFILE = (ROOT / "Makefile").read_text()

# Of other projects; what they do is not for us to check.
FOREIGN = {"git", "cd", "pip", "pre-commit"}
OURS = {"make", "python", "python3", ".venv/bin/python", "biglearn", "torchrun"}


def shell_commands(text):
    """Lines of fenced shell blocks, and inline code that begins with a command of ours."""
    blocks = re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", text, flags=re.M | re.S)
    fenced = "\n".join(blocks).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    inline = [code for code in re.findall(r"`([^`]+)`", prose) if code.split()[0] in OURS]
    lines = [line.removeprefix("$ ") for line in [*fenced, *inline]]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


COMMANDS = [
    pytest.param(words, id=f"{page}: {shlex.join(words)}")
    for page in PAGES
    for words in shell_commands((ROOT / page).read_text())
]


@functools.cache
def help_of(*command):
    """Print the help of a python program of ours, from the folder that the page assumes."""
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def complaint(words):
    """Say what is wrong with a command; None where nothing is."""
    assignments = [word for word in words if re.match(r"[A-Z_]+=", word)]
    program, *rest = [word for word in words if word not in assignments]
    if program in FOREIGN:
        return None
    if program == "make":
        return complaint_about_make(rest, assignments)
    if program not in OURS:
        return f"{program} is no known command"
    if program == "torchrun":  # its own options are not ours
        rest = rest[rest.index("-m") :] if rest else ["-m", "torch.distributed.run"]
    if program == "biglearn":
        rest = ["-m", "biglearn_core", *rest]
    command = tuple(rest[:2] if rest[0] == "-m" else rest[:1])
    if command == ("-m", "biglearn_core"):
        command = tuple(rest[:3])
    if command[0] == "-m" and importlib.util.find_spec(command[1]) is None:
        return f"there is no module {command[1]}"
    if command[0] != "-m" and not (ROOT / command[0]).is_file():
        return f"there is no script {command[0]}"
    known = set(re.findall(r"--?[\w-]+", help_of(*command)))
    options = {word.split("=")[0] for word in rest[len(command) :] if word.startswith("-")}
    return f"{shlex.join(command)} has no {options - known}" if options - known else None


def complaint_about_make(targets, assignments):
    known = set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.M))
    variables = set(re.findall(r"\$\(([A-Z_]+)\)", MAKEFILE))
    if set(targets) - known:
        return f"make has no target {set(targets) - known}"
    names = {assignment.split("=")[0] for assignment in assignments}
    if names - variables:
        return f"make knows no variable {names - variables}"
    profiles = {path.stem for path in (ROOT / "notebooks" / "params").glob("*.yaml")}
    wanted = {value for name, value in (a.split("=", 1) for a in assignments) if name == "PROFILE"}
    return f"there is no profile {wanted - profiles}" if wanted - profiles else None


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_on_the_pages_is_there(words):
    assert complaint(words) is None


def test_each_page_shows_commands():
    for page in PAGES[:3]:
        assert ["make", "test"] in shell_commands((ROOT / page).read_text())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("make reproduec", "no target {'reproduec'}"),
        ("make reproduce PROFIL=quick", "no variable {'PROFIL'}"),
        ("make reproduce PROFILE=quik", "no profile {'quik'}"),
        ("python -m biglearn_core.reprodcue", "no module"),
        ("python -m biglearn_core.reproduce.compare --renw gmm25", "has no {'--renw'}"),
        ("python benchmarks/absent.py", "no script"),
        ("mkae test", "mkae is no known command"),
    ],
)
def test_what_has_rotted_is_found(line, text):
    assert text in complaint(shlex.split(line))


def test_commands_are_found_in_blocks_and_prose():
    text = 'Run `make env X="a b"` now.\n```sh\n$ make test  # all\npython a.py \\\n  --b\n```\n'
    text += "```python\nmake = 1\n```\n`model.fit`\n"
    assert shell_commands(text) == [
        ["make", "test"], ["python", "a.py", "--b"], ["make", "env", "X=a b"]
    ]  # fmt: skip


def test_hooks_run_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, flags=re.M).group(1)
    wanted = re.findall(r"\$\(BIN\)/(.*) \.", recipe)
    assert [hook["entry"] for hook in hooks] == [
        f".venv/bin/{command} --force-exclude" for command in wanted
    ]
