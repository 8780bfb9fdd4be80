"""Keep the notebooks of a full run: `python -m biglearn_core.reproduce.keep`.

The committed notebooks show quick values. Those that `make reproduce` has executed at the paper's
settings are copied to results/record/notebooks/, without what names a machine or a moment; the day
and the version stay, in `metadata.biglearn`. Pictures have fewer colours where a file would be too
large. The site shows them.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import biglearn_core
from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.compare import RECORD_PROFILE
from biglearn_core.reproduce.records import EXPERIMENTS
from biglearn_core.system.paths import RESULTS
from biglearn_core.system.persistence import write_atomically, write_text

__all__ = [
    "FULL_LINE",
    "KEPT",
    "MOST_BYTES",
    "QUICK_LINE",
    "SAME_LINE",
    "index_of",
    "keep",
    "keep_figures",
    "main",
    "same_code",
    "with_line",
]

KEPT = RESULTS / "record" / "notebooks"

MOST_BYTES = 2**20

# The third line of every notebook, after its title; which of them, the profile "full" decides.
QUICK_LINE = (
    "**Quick values**, for a look in a minute. Executed at the full settings, where such a run has "
    "been kept: [results/record/notebooks](../results/record/notebooks/README.md)."
)
SAME_LINE = "**Full values**: this notebook has no other settings."
FULL_LINE = "**Full settings**: executed with the values of `notebooks/params/full.yaml`."

_LINES = (QUICK_LINE, SAME_LINE, FULL_LINE)
_COLOURS = 128
_INDEX_HEAD = """\
# Notebooks at the full settings

Executed with the values of `notebooks/params/full.yaml`, and kept by
`python -m biglearn_core.reproduce.keep`. A notebook that is not in this list has not been kept from
a full run yet.
"""


def keep(source: Path = RESULTS / "notebooks" / RECORD_PROFILE, target: Path = KEPT) -> list[Path]:
    """Copy executed notebooks, and write the list of all that are kept.

    Parameters
    ----------
    source : Path, optional
        Folder of a full run's notebooks.
    target : Path, optional

    Returns
    -------
    paths : list of Path
        Of those that were copied now.

    Raises
    ------
    ValueError
        When there are none, one has not been executed to its end, or stays too large.
    OSError
        When a file cannot be read or written.
    """
    found = sorted(p for p in source.glob("[!.]*.ipynb") if ".failed" not in p.suffixes)
    if not found:
        raise ValueError(f"{source} holds no executed notebook; run `make reproduce` first")
    texts = {path.name: nbformat.writes(_kept(path)) + "\n" for path in found}
    for name, text in texts.items():
        if len(text.encode()) >= MOST_BYTES:
            raise ValueError(
                f"{source / name} takes {len(text.encode())} bytes and may take {MOST_BYTES}; show "
                "fewer or smaller pictures in it"
            )
    for name, text in texts.items():
        write_text(target / name, text)
    write_text(target / "README.md", index_of(target))
    return [target / name for name in texts]


def keep_figures(results: Path = RESULTS) -> list[Path]:
    """Copy those figures of a full run that README and the site show.

    Parameters
    ----------
    results : Path, optional
        `record/figures` in it holds them, with the name of the experiment before their own.

    Returns
    -------
    paths : list of Path
        Of those that were copied now: the run has drawn them.

    Raises
    ------
    OSError
        When a file cannot be read or written.
    """
    copied = []
    for target in sorted((results / "record" / "figures").glob("*.png")):
        for experiment in EXPERIMENTS:
            name = target.name.removeprefix(f"{experiment}_")
            drawn = results / experiment / RECORD_PROFILE / "figures" / name
            if name != target.name and drawn.exists():
                with write_atomically(target) as file:
                    file.write(drawn.read_bytes())
                copied.append(target)
    return copied


def index_of(folder: Path) -> str:
    """List the notebooks of a folder as a page.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    text : str
        Markdown.
    """
    lines = []
    for path in sorted(folder.glob("*.ipynb")):
        title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].lstrip("# ")
        lines.append(f"- [{path.name}]({path.name}): {title}")
    return "\n".join([_INDEX_HEAD, *lines, ""]) if lines else _INDEX_HEAD


def with_line(notebook: NotebookNode, line: str) -> NotebookNode:
    """Say at the top of a notebook what its values are.

    Parameters
    ----------
    notebook : NotebookNode
        Its first cell begins with a title, and has one of the lines of this module as its third.
    line : str

    Returns
    -------
    notebook : NotebookNode
        A copy with the line in its place.

    Raises
    ------
    ValueError
        When the third line is none of them.
    """
    notebook = nbformat.from_dict(notebook)
    lines = notebook.cells[0].source.splitlines()
    if len(lines) < 3 or not lines[2].startswith(_LINES):
        raise ValueError(
            f"the first cell of a notebook needs {QUICK_LINE!r} or {SAME_LINE!r} as its third "
            f"line, found {lines[2:3]}"
        )
    lines[2] = line
    notebook.cells[0].source = "\n".join(lines)
    return notebook


def same_code(one: NotebookNode, other: NotebookNode) -> bool:
    """Tell whether two notebooks run the same cells, parameters left out.

    Parameters
    ----------
    one, other : NotebookNode

    Returns
    -------
    same : bool
    """
    return _code(one) == _code(other)


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep the notebooks and figures of the last full run.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given; there are no options.

    Returns
    -------
    status : int
        1 when there are none or one cannot be kept.
    """
    argparse.ArgumentParser(prog="biglearn_core.reproduce.keep", description=__doc__).parse_args(
        arguments
    )
    try:
        for path in [*keep(), *keep_figures()]:
            print(path)
    except (OSError, ValueError) as error:
        return failed(error)
    return 0


def _kept(path: Path) -> NotebookNode:
    notebook = with_line(nbformat.read(path, as_version=4), FULL_LINE)
    end = notebook.metadata.pop("papermill", {}).get("end_time")
    if end is None:
        raise ValueError(f"{path} was not executed to its end; run `make reproduce` again")
    notebook.metadata["biglearn"] = {"executed": end[:10], "version": biglearn_core.__version__}
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        if cell.cell_type != "code":
            continue
        if cell.execution_count is None:
            raise ValueError(f"{path} was not executed to its end; run `make reproduce` again")
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    if len(nbformat.writes(notebook).encode()) >= MOST_BYTES:
        _lighten(notebook)
    return notebook


def _lighten(notebook: NotebookNode) -> None:
    """Write the pictures in few colours, which plots have anyway."""
    from PIL import Image

    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if picture := output.get("data", {}).get("image/png"):
                image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
                file = io.BytesIO()
                image.quantize(_COLOURS).save(file, format="PNG", optimize=True)
                output.data["image/png"] = base64.b64encode(file.getvalue()).decode()


def _code(notebook: NotebookNode) -> list[str]:
    settings = {"parameters", "injected-parameters"}
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and not settings & set(cell.metadata.get("tags", ()))
    ]


if __name__ == "__main__":
    sys.exit(main())
