"""Renew the locks from pyproject.toml's ranges: `make lock`, or `python tools/lock.py [--upgrade]`.

uv resolves for every platform at once and lists the sha256 of every file that the index has of a
version. What is locked already keeps its version, unless `--upgrade` is given. The result is split:
torch stands alone, because its builds come from two indexes; what Linux alone needs serves torch's
CUDA build, and a CPU build goes without these gigabytes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCK, TORCH, CUDA = ("requirements.lock", "requirements-torch.lock", "requirements-cuda.lock")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OLDEST_PYTHON = "3.11.5"

_HEADS = {
    LOCK: """\
# What was tested (Python 3.11): exact versions, and the sha256 of every file that the index has of
# them. torch has two locks of its own. Made by `make lock` from pyproject.toml's ranges.
""",
    TORCH: f"""\
# Builds of torch: the plain index's, and those for Linux of {CPU_INDEX}.
# Which of them comes is for the index to say; so `make env` fetches torch alone, from a single
# index, and installs it if its sha256 is here. Made by `make lock`.
""",
    CUDA: """\
# What torch's CUDA build needs beyond requirements.lock; it is the plain index's build for Linux.
# Made by `make lock`.
""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the three locks.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when uv is absent or cannot resolve; the locks are then as they were.
    """
    parser = argparse.ArgumentParser(prog="tools/lock.py", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    wanted = ["--all-extras", *(["--upgrade"] if parser.parse_args(arguments).upgrade else [])]
    old = {name: (ROOT / name).read_text(encoding="utf-8") for name in _HEADS}
    try:
        found = blocks(compiled("pyproject.toml", *wanted, old="".join(old.values())))
        (torch,) = (block for block in found if requirement(block).name == "torch")
        others = [block for block in found if block != torch]
        if requirement(torch) == requirement(*blocks(old[TORCH])):
            (torch,) = blocks(old[TORCH])
        else:
            torch = merged(torch, compiled("-", "--default-index", CPU_INDEX, text=first(torch)))
    except FileNotFoundError as error:
        print(f"error: {error.filename} is not there; `pip install uv` first", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: uv could not resolve:\n{error.stderr}", file=sys.stderr)
        return 1
    for name, lock in locks(others, torch).items():
        (ROOT / name).write_text(lock, encoding="utf-8")
    return 0


def compiled(source: str, *options: str, text: str = "", old: str = "") -> str:
    """Resolve with uv.

    Parameters
    ----------
    source : str
        Name of a file in the repository, or "-" for `text`.
    *options : str
        Of `uv pip compile`.
    text : str, optional
        Requirements, line by line.
    old : str, optional
        A lock whose versions are to be kept.

    Returns
    -------
    lock : str
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "requirements.lock"
        output.write_text(old, encoding="utf-8")
        command = ["uv", "pip", "compile", source, *options, "--universal", "--generate-hashes"]
        command += ["--python-version", OLDEST_PYTHON, "--no-header", "--no-annotate", "--quiet"]
        subprocess.run(
            [*command, "--output-file", str(output)],
            cwd=ROOT, input=text, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return output.read_text(encoding="utf-8")


def locks(others: Sequence[str], torch: str) -> dict[str, str]:
    """Lay out the three locks.

    Parameters
    ----------
    others : sequence of str
        Entries without torch.
    torch : str

    Returns
    -------
    locks : dict of str to str
        By file name.
    """
    parts = {
        LOCK: [block for block in others if not for_linux_alone(block)],
        TORCH: [torch],
        CUDA: [block for block in others if for_linux_alone(block)],
    }
    return {name: _HEADS[name] + "".join(parts[name]) for name in _HEADS}


def blocks(lock: str) -> list[str]:
    """Split a lock into its entries, each with the lines of its hashes."""
    return re.findall(r"^[^\s#].*\n(?:[ ]+--hash=.*\n)*", lock, flags=re.M)


def first(block: str) -> str:
    """Give the requirement of an entry, without its hashes."""
    return block.splitlines()[0].removesuffix("\\").strip()


def requirement(block: str) -> Requirement:
    """Read the requirement of an entry."""
    return Requirement(first(block))


def merged(block: str, *others: str) -> str:
    """Add the hashes that others list to those of an entry."""
    hashes = {digest for text in (block, *others) for digest in re.findall(r"sha256:\w+", text)}
    lines = [first(block), *(f"    --hash={digest}" for digest in sorted(hashes))]
    return " \\\n".join(lines) + "\n"


def for_linux_alone(block: str) -> bool:
    """Tell whether an entry is for Linux and for no other system."""
    marker = requirement(block).marker
    if marker is None:
        return False
    machine = {"platform_machine": "x86_64", "python_full_version": OLDEST_PYTHON}
    systems = (("linux", "posix"), ("darwin", "posix"), ("win32", "nt"))
    needed = [marker.evaluate({**machine, "sys_platform": s, "os_name": n}) for s, n in systems]
    return needed == [True, False, False]


if __name__ == "__main__":
    sys.exit(main())
