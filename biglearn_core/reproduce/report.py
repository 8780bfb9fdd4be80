"""Paper versus ours on one page: `python -m biglearn_core.reproduce.report`.

Reads saved results only: the summary of a full run here, or the result of record, whichever is
newer. Writes one HTML file that needs nothing else.
"""

from __future__ import annotations

import argparse
import base64
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from biglearn_core.experiments.store import versions
from biglearn_core.reproduce.captions import EXPERIMENTS_IN_WORDS, InWords, caption
from biglearn_core.reproduce.claims import TOLERANCES, rows
from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.records import EXPERIMENTS, Record, read_record
from biglearn_core.reproduce.verdicts import (
    CAVEAT,
    NOT_REPRODUCED,
    NOT_RUN,
    NOT_SHOWN,
    REPRODUCED,
    SHOWN,
    SHOWN_IN_PART,
    Row,
)
from biglearn_core.system.paths import NOTEBOOKS, REPOSITORY, RESULTS
from biglearn_core.system.persistence import write_text

__all__ = ["Source", "main", "read_sources", "write_report"]

_MARKS = {
    **dict.fromkeys((REPRODUCED, SHOWN), "yes"),
    **dict.fromkeys((CAVEAT, SHOWN_IN_PART), "nearly"),
    **dict.fromkeys((NOT_REPRODUCED, NOT_SHOWN), "no"),
    NOT_RUN: "open",
}
# What a reader makes of the marks, in their order.
_PLAIN = {
    "yes": "as claimed",
    "nearly": "in part or with a caveat",
    "no": "not as claimed",
    "open": "not run",
}
_COLUMNS = (
    "claim",
    "published",
    "ours, paper's protocol",
    "ours, fair protocol",
    "seconds here",
    "verdict",
)
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; }
p, li { max-width: 60rem; } .read { background: var(--soft); padding: .6rem .8rem; }
a { color: light-dark(#0b5cad, #7ab8ff); }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .6rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { overflow-wrap: normal; }
td small { display: block; opacity: .75; }
.mark { border: 1px solid; border-radius: .3rem; padding: .05rem .4rem; font-weight: 600;
  display: inline-block; overflow-wrap: normal; }
.yes { color: light-dark(#00664b, #4fd1a5); } .nearly { color: light-dark(#8a5a00, #f0b64a); }
.no { color: light-dark(#a33b00, #ff9e66); } .open { color: light-dark(#555, #bbb); }
figure { margin: 1.2rem 0; } figcaption { opacity: .8; font-size: .9rem; }
img { max-width: 100%; height: auto; background: #fff; }
pre { background: var(--soft); padding: .7rem; overflow-wrap: anywhere; white-space: pre-wrap; }
@media (max-width: 640px) {
  thead { display: none; }
  table, tbody, tr, td { display: block; width: auto; }
  tr { border: 1px solid var(--line); border-radius: .4rem; margin: .8rem 0; padding: .3rem; }
  td { border: 0; padding: .25rem .4rem; }
  td[data-label]::before { content: attr(data-label); display: block; font-size: .8rem;
    opacity: .7; }
}
@media print { body { max-width: none; font-size: 10px; } tr, figure { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Source:
    """What was read of one experiment.

    Parameters
    ----------
    name : str
    path : Path
    record : Record
    figures : tuple of Path
    """

    name: str
    path: Path
    record: Record
    figures: tuple[Path, ...]


def read_sources(root: str | os.PathLike | None = None) -> dict[str, Source]:
    """Read what there is of every experiment.

    Parameters
    ----------
    root : path-like, optional
        Folder of results; results/ of the repository when not given.

    Returns
    -------
    sources : dict of str to Source
        By experiment; those without any result are absent.

    Raises
    ------
    ValueError
        When there is no such folder, or a file is damaged or has another shape; names it and the
        remedy.
    OSError
        When a file cannot be read.
    """
    root = Path(root or RESULTS)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; name one that holds results")
    return {name: source for name in EXPERIMENTS if (source := _read(root, name)) is not None}


def write_report(
    path: str | os.PathLike | None = None, *, root: str | os.PathLike | None = None
) -> list[Row]:
    """Write the page.

    Parameters
    ----------
    path : path-like, optional
        index.html in the folder of results when not given.
    root : path-like, optional
        As for `read_sources`.

    Returns
    -------
    rows : list of Row
        As on the page.

    Raises
    ------
    ValueError
        As in `read_sources`.
    OSError
        When the page cannot be written.
    """
    folder = Path(root or RESULTS)
    sources = read_sources(folder)
    found = rows({name: source.record for name, source in sources.items()})
    write_text(path or folder / "index.html", _page(found, sources, folder))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page from the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when the folder is not there, a result is damaged, or the page cannot be written.
    """
    parser = argparse.ArgumentParser(prog="biglearn_core.reproduce.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=RESULTS, help="folder of results")
    options = parser.parse_args(arguments)
    try:
        found = write_report(root=options.root)
    except (OSError, ValueError) as error:
        return failed(error)
    for row in found:
        print(f"{row.verdict}: {row.claim}")
    print(options.root / "index.html")
    return 0


def _read(root: Path, name: str) -> Source | None:
    local, record = root / name / "full" / "summary.json", root / "record" / f"{name}.json"
    present = [path for path in (local, record) if path.exists()]
    if not present:
        return None
    path = max(present, key=lambda p: p.stat().st_mtime_ns)
    pattern = "figures/*.png" if path == local else f"figures/{name}_*.png"
    return Source(name, path, read_record(path, name), tuple(sorted(path.parent.glob(pattern))))


def _page(found: Sequence[Row], sources: Mapping[str, Source], root: Path) -> str:
    parts = _sections(found, sources)
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>BigLearn-EM: paper versus ours</title><style>{_STYLE}</style></head><body>",
            "<h1>BigLearn-EM: paper versus ours</h1>",
            *_summary(found, parts),
            *(line for name, (rows, figures) in parts.items()
              for line in _section(name, rows, figures)),
            "<h2>When a claim counts as reproduced</h2>",
            "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in TOLERANCES) + "</ul>",
            *_provenance(sources, root),
            "</body></html>\n",
        )
    )  # fmt: skip


def _sections(
    found: Sequence[Row], sources: Mapping[str, Source]
) -> dict[str, tuple[list[Row], tuple[Path, ...]]]:
    """Sort rows and figures by experiment, the newest first: new ones are appended to the list."""
    names = dict.fromkeys((*(row.experiment for row in found), *sources))
    age = {name: position for position, name in enumerate(EXPERIMENTS)}
    newest = sorted(names, key=lambda name: -age.get(name, len(age)))
    figures = {name: sources[name].figures if name in sources else () for name in newest}
    own = {name: [row for row in found if row.experiment == name] for name in newest}
    return {name: (own[name], figures[name]) for name in newest if own[name] or figures[name]}


def _summary(
    found: Sequence[Row], parts: Mapping[str, tuple[list[Row], tuple[Path, ...]]]
) -> list[str]:
    lines = [
        f'<li><a href="#{escape(name)}">{escape(_words(name).title)}</a>: {_counted(rows)}.</li>'
        for name, (rows, _) in parts.items()
        if rows
    ]
    return [
        "<p>A mixture describes a table as a few overlapping clouds of points. The usual way to "
        "fit one, EM, often stops at a poor answer. Cong and Li (<cite>Big Learning Expectation "
        "Maximization</cite>, AAAI 2024, arXiv 2312.11926) propose BigLearn-EM, which looks at the "
        "same points from changing sides and so gets away. Here their claims are held against runs "
        "of our own, those included that did not come out as claimed.</p>",
        f"<p><strong>Of {len(found)} claims: {_counted(found)}.</strong></p>",
        f"<ul>{''.join(lines)}</ul>",
        '<p class="read"><strong>How to read.</strong> Each line is a claim: what the paper '
        "prints, what we get, and whether that agrees. <em>Paper\u2019s protocol</em>: the score "
        "as the paper takes it, sometimes the best moment of a run, chosen with the answer in "
        "hand. <em>Fair protocol</em>: the model as one would really choose it. Numbers in "
        "brackets are where the true mean lies with 95% confidence. NMI, ARI and accuracy say how "
        "well clusters agree with known classes (1 is perfect); log-likelihood, in nats, how well "
        "the mixture foresees new points (more is better); KL how far it is from the truth (less "
        "is better). The newest experiments stand first.</p>",
    ]


def _counted(found: Sequence[Row]) -> str:
    counts = {
        mark: sum(_MARKS.get(row.verdict, "open") == mark for row in found) for mark in _PLAIN
    }
    return ", ".join(f"{n} {_PLAIN[mark]}" for mark, n in counts.items() if n)


def _words(name: str) -> InWords:
    return EXPERIMENTS_IN_WORDS.get(name, InWords(name.replace("_", " ").capitalize(), ""))


def _section(name: str, rows: Sequence[Row], figures: Sequence[Path]) -> list[str]:
    words = _words(name)
    lines = [
        f'<h2 id="{escape(name)}">{escape(words.title)}</h2>',
        f"<p>{escape(words.question)}</p>",
    ]
    if rows:
        lines.append(_table(rows))
    return [*lines, *(_figure(name, path) for path in figures)]


def _table(found: Sequence[Row]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in _COLUMNS)
    body = []
    for row in found:
        verdict = (
            f'<span class="mark {_MARKS.get(row.verdict, "open")}">{escape(row.verdict)}</span>'
        )
        if row.verdict == NOT_RUN:
            verdict += f"<small>run <code>{escape(row.command)}</code></small>"
        cells = (
            escape(row.claim),
            f"{escape(row.published)}<small>{escape(row.source)}</small>",
            *(escape(text) for text in (row.paper, row.fair, row.seconds)),
            verdict,
        )
        pairs = zip(_COLUMNS, cells, strict=True)
        cells = "".join(f'<td data-label="{escape(name)}">{cell}</td>' for name, cell in pairs)
        body.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _figure(name: str, path: Path) -> str:
    text = escape(caption(name, path.stem.removeprefix(f"{name}_")))
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _provenance(sources: Mapping[str, Source], root: Path) -> list[str]:
    read = []
    for name in EXPERIMENTS:
        if name not in sources:
            read.append(f"{name}: no result")
            continue
        source = sources[name]
        where = source.path.relative_to(root).as_posix()
        made = ", ".join(f"{k} {v}" for k, v in source.record.versions.items())
        read.append(f"{name}: {where} (made with {made})")
    here = ", ".join(f"{name} {version}" for name, version in versions().items())
    settings = NOTEBOOKS / "params" / "full.yaml"
    return [
        "<h2>Read from</h2>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in read) + "</ul>",
        "<h2>Versions, machine, commit</h2>",
        f"<p>This page: {escape(here)}; {escape(_machine())}; commit {escape(_commit())}.</p>",
        "<h2>Settings of the full profile</h2>",
        f"<pre>{escape(settings.read_text(encoding='utf-8'))}</pre>",
    ]


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        outcome = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
    return outcome.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
