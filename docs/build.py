"""Build the site: `python docs/build.py [folder]`, or `make docs`.

The pages, the notebooks, the figures of record and the tables of the benchmarks are laid out in a
folder of their own, which Sphinx reads; nothing is written into the checkout but the site itself.
Any warning of the build is an error. Notebooks are not executed: those that were kept from a full
run are shown, else the committed ones, which then say that their values are quick.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from sphinx.application import Sphinx
from sphinx.errors import SphinxError

from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.keep import (
    FULL_LINE,
    KEPT,
    SAME_LINE,
    same_code,
    with_line,
)
from biglearn_core.reproduce.report import write_report
from biglearn_core.system.paths import NOTEBOOKS, REPOSITORY, RESULTS

DOCS = Path(__file__).parent

# Beside the pages: what they link to and show.
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "dataset/README.md", "benchmarks/results/README.md")
PICTURES = ("results/record/figures", "benchmarks/results")

# For notebooks that find all they need in the installed package; others need the checkout.
COLAB = ("00_quickstart", "01_gmm25", "02_realworld")

# On the site the page of a run is that of the results of record.
_REPORT = "`results/index.html`"
_REPORT_HERE = '<a href="report.html">the report page</a>'
_BACK = '<p><a href="reproduction.html">← The paper, reproduced</a></p>'

_NOT_KEPT = (
    "**Quick values**, for a look in a minute: no run of this notebook at the paper's settings has "
    "been kept yet (`make reproduce`); results of record are on the page *The paper, reproduced*."
)
# Notebooks to try something out with, which measure nothing.
DEMONSTRATIONS = ("06_explore",)
_DEMONSTRATION = "**Quick values**. This notebook is a demonstration; it has no results of record."
_OLDER = "The notebook has changed since; `make reproduce` executes it anew."


def build(folder: Path, *, repository: str | None = None) -> None:
    """Write the site.

    Parameters
    ----------
    folder : Path
    repository : str, optional
        owner/name on GitHub, for links to the code and such that open notebooks in Colab and
        Binder; without it there are none.

    Raises
    ------
    SphinxError
        When a page has a fault, which any warning is.
    OSError
        When the folder cannot be written.
    """
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        stage(source, repository=repository)
        messages = io.StringIO()
        code = {"html_theme_options.github_url": f"https://github.com/{repository}"}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(messages):
            app = Sphinx(
                source, source, folder, Path(work) / "doctrees", "html",
                status=None, warning=messages, exception_on_warning=False,
                confoverrides=code if repository else {},
            )  # fmt: skip
            app.build()
        if messages.getvalue().strip():
            raise SphinxError(messages.getvalue().strip())
        (folder / ".nojekyll").touch()  # GitHub Pages leaves out folders that begin with _ else
        # A template of the theme, with links to nothing, that it copies beside its files.
        (folder / "_static" / "webpack-macros.html").unlink(missing_ok=True)


def stage(source: Path, *, repository: str | None = None) -> None:
    """Lay out what Sphinx reads.

    Parameters
    ----------
    source : Path
        A folder that is not there yet. Pages of docs/ lie at its top, everything else at its place
        in the repository.
    repository : str, optional
        As for `build`.
    """
    skip = shutil.ignore_patterns("__pycache__", "site", "*.pyc", "build.py")
    shutil.copytree(DOCS, source, ignore=skip)
    for page in source.rglob("*.md"):
        text = page.read_text(encoding="utf-8").replace("](../", "](")
        page.write_text(text.replace(_REPORT, _REPORT_HERE), encoding="utf-8")
    for name in BESIDE:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name)
    for name in PICTURES:
        for picture in (REPOSITORY / name).glob("*.png"):
            (source / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, source / name)
    (source / "notebooks").mkdir()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = nbformat.writes(shown(path, repository=repository))
        (source / "notebooks" / path.name).write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(RESULTS / "record", Path(root) / "record")
        (source / "report").mkdir()
        report = source / "report" / "report.html"
        write_report(report, root=root)
    page = report.read_text(encoding="utf-8")
    # Here alone: the report that `make reproduce` writes stands by itself.
    report.write_text(page.replace("<body>", f"<body>{_BACK}", 1), encoding="utf-8")


def shown(path: Path, *, repository: str | None) -> nbformat.NotebookNode:
    """Choose what the site shows of a notebook, and say at its top what it is.

    Parameters
    ----------
    path : Path
        Of the committed notebook.
    repository : str or None
        As for `build`.

    Returns
    -------
    notebook : NotebookNode
    """
    committed = nbformat.read(path, as_version=4)
    kept = KEPT / path.name
    if kept.exists():
        notebook = nbformat.read(kept, as_version=4)
        lines = [FULL_LINE, _day(notebook)]
        if not same_code(notebook, committed):
            lines.append(_OLDER)
    else:
        notebook = committed
        lines = [_line_of(committed, path.stem)]
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if text := output.get("data", {}).get("text/html"):
                output.data["text/html"] = text.replace(" ± ", "\u00a0±\u00a0")  # kept in one line
    return with_line(notebook, " ".join([*lines, *_elsewhere(path.stem, repository)]))


def _day(notebook: nbformat.NotebookNode) -> str:
    """Tell of what day a kept notebook is, as the library goes on without it."""
    made = notebook.metadata["biglearn"]
    return (
        f"It ran on {made['executed']} with the package of that day (version {made['version']}); a "
        "later one may give other values."
    )


def _line_of(committed: nbformat.NotebookNode, name: str) -> str:
    """Say what a notebook is of which no full run has been kept."""
    if SAME_LINE in committed.cells[0].source:
        return SAME_LINE
    return _DEMONSTRATION if name in DEMONSTRATIONS else _NOT_KEPT


def _elsewhere(name: str, repository: str | None) -> list[str]:
    """Give links that open a notebook where it can be run."""
    if repository is None:
        return []
    file = f"notebooks/{name}.ipynb"
    links = [
        f"[Open in Binder](https://mybinder.org/v2/gh/{repository}/HEAD?labpath="
        f"{file.replace('/', '%2F')})"
    ]
    if name in COLAB:
        links.append(
            "[Open in Colab](https://colab.research.google.com/github/"
            f"{repository}/blob/main/{file}), where a first cell has to install the package: "
            f'`%pip install "biglearn-em[reproduce] @ git+https://github.com/{repository}"`'
        )
    return [f"{'; '.join(links)}."]


def repository_on_github() -> str | None:
    """Name the repository on GitHub: that of a workflow, else of the remote `origin`.

    Returns
    -------
    repository : str or None
        owner/name; None where there is none.
    """
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return name
    command = ["git", "config", "--get", "remote.origin.url"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    except OSError:
        return None
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?$", done.stdout.strip())
    return found.group(1) if found else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Build from the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when a page has a fault or the folder cannot be written.
    """
    parser = argparse.ArgumentParser(prog="docs/build.py", description=__doc__)
    default = DOCS / "site"
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default docs/site")
    folder = parser.parse_args(arguments).folder
    try:
        build(folder, repository=repository_on_github())
    except (OSError, ValueError, SphinxError) as error:
        return failed(error)
    print(folder / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
