"""The README's tables of results, from the results of record: `python -m biglearn_core.readme`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biglearn_core.claims import Row, deep_methods, rows
from biglearn_core.experiments.deep_clustering_summary import LABELS, QUOTED, SCORES
from biglearn_core.experiments.published import FASHION_PEERS
from biglearn_core.experiments.store import DEFAULT_ROOT
from biglearn_core.persistence import write_atomically

__all__ = [
    "README",
    "main",
    "methods_table",
    "recorded",
    "results_table",
    "with_table",
    "with_tables",
]

README = DEFAULT_ROOT.parent / "README.md"

_COLUMNS = ("claim", "published", "ours, paper's protocol", "ours, fair", "verdict")
_METHOD_COLUMNS = ("method", "seeds", *SCORES.values(), "seconds", "others report: ACC / NMI / ARI")


def results_table(found: Sequence[Row]) -> str:
    """Write rows as a Markdown table.

    Parameters
    ----------
    found : sequence of Row

    Returns
    -------
    table : str
    """
    cells = [(row.claim, row.published, row.paper, row.fair, row.verdict) for row in found]
    return _markdown(_COLUMNS, cells)


def methods_table(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the scores of every method on Fashion-MNIST as a Markdown table.

    Parameters
    ----------
    methods : mapping of str to mapping
        As `claims.deep_methods` gives them.

    Returns
    -------
    table : str
        Final models, mean ± standard deviation over the seeds; beside them what others report.
    """
    cells = []
    for name in sorted(methods, key=list(LABELS).index):
        method, quoted = methods[name], FASHION_PEERS.get(QUOTED.get(name))
        cells.append(
            (
                LABELS[name],
                str(method["n_seeds"]),
                *(_mean_std(method["final"][score], digits=3) for score in SCORES),
                _mean_std(method["seconds_with_pretraining"], digits=0),
                " / ".join("–" if q is None else f"{q:.3f}" for q in quoted) if quoted else "–",
            )
        )
    return _markdown(_METHOD_COLUMNS, cells)


def with_table(text: str, table: str, *, name: str = "results") -> str:
    """Put a table between the markers of a text.

    Parameters
    ----------
    text, table : str
    name : str, default "results"
        Of the markers.

    Returns
    -------
    text : str

    Raises
    ------
    ValueError
        When a marker is missing.
    """
    begin = f"<!-- {name}: written by python -m biglearn_core.readme -->"
    end = f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the text lacks a marker of the table: {begin!r} and {end!r}")
    before, after = text.split(begin)[0], text.split(end)[1]
    return f"{before}{begin}\n{table}\n{end}{after}"


def with_tables(text: str) -> str:
    """Put all tables of the results of record into a text.

    Parameters
    ----------
    text : str
        With the markers of each.

    Returns
    -------
    text : str
    """
    records = recorded()
    text = with_table(text, results_table(rows(records)))
    return with_table(text, methods_table(deep_methods(records)), name="methods")


def recorded(folder: Path = DEFAULT_ROOT / "record") -> dict[str, dict[str, Any]]:
    """Read the results of record.

    Parameters
    ----------
    folder : Path, optional

    Returns
    -------
    records : dict of str to dict
        By experiment.
    """
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")
    }


def main() -> int:
    """Write the tables into README.md.

    Returns
    -------
    status : int
    """
    text = with_tables(README.read_text(encoding="utf-8"))
    with write_atomically(README) as file:
        file.write(text.encode())
    return 0


def _markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean_std(moments: Mapping[str, float | None], *, digits: int) -> str:
    mean = f"{moments['mean']:.{digits}f}"
    return mean if moments["std"] is None else f"{mean} ± {moments['std']:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
