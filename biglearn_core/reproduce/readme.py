"""The README's tables, from the results of record: `python -m biglearn_core.reproduce.readme`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from biglearn_core.experiments.published import FASHION_PEERS, SCORES
from biglearn_core.reproduce.claims import deep_record, rows
from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.records import EXPERIMENTS, Record, read_record
from biglearn_core.reproduce.verdicts import Row
from biglearn_core.system.paths import REPOSITORY, RESULTS
from biglearn_core.system.persistence import write_text

__all__ = [
    "README",
    "main",
    "methods_table",
    "recorded",
    "results_table",
    "with_table",
    "with_tables",
]

README = REPOSITORY / "README.md"

_COLUMNS = ("claim", "published", "ours, paper's protocol", "ours, fair", "verdict")
_METHOD_COLUMNS = (
    "method",
    "seeds",
    *SCORES.values(),
    "seconds",
    "others report: ACC / NMI / ARI",
)


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


def methods_table(record: Record) -> str:
    """Write the scores of every method on Fashion-MNIST as a Markdown table.

    Parameters
    ----------
    record : Record
        As `claims.deep_record` gives it.

    Returns
    -------
    table : str
        Final models, mean ± standard deviation over the seeds; beside them what others report.
    """
    shown = [a for a in record.scores if a.protocol == "fair" and a.metric in SCORES]
    cells = []
    for name in dict.fromkeys(address.method for address in shown):
        scores = [record.find("Fashion-MNIST", "fair", name, score) for score in SCORES]
        seconds = record.find("Fashion-MNIST", "both", name, "seconds_with_pretraining")
        label = record.labels.get(name, name)
        quoted = [getattr(FASHION_PEERS.get(label), score, None) for score in SCORES]
        cells.append(
            (
                label,
                str(max(entry.n for entry in scores if entry)),
                *(entry.with_std() if entry else "–" for entry in scores),
                seconds.with_std(0) if seconds else "–",
                " / ".join(map(_or_dash, quoted)) if any(quoted) else "–",
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
        When a marker is missing or stands twice, or the end comes first.
    """
    begin = f"<!-- {name}: written by python -m biglearn_core.reproduce.readme -->"
    end = f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended) or text.count(begin) > 1 or text.count(end) > 1:
        raise ValueError(
            f"the text needs one marker {begin!r} and after it one {end!r}, found "
            f"{text.count(begin)} and {text.count(end)}"
        )
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

    Raises
    ------
    ValueError, OSError
        As in `with_table` and `recorded`.
    """
    records = recorded()
    text = with_table(text, results_table(rows(records)))
    return with_table(text, methods_table(deep_record(records)), name="methods")


def recorded(folder: Path = RESULTS / "record") -> dict[str, Record]:
    """Read the results of record.

    Parameters
    ----------
    folder : Path, optional

    Returns
    -------
    records : dict of str to Record
        By experiment; those without a record are absent.

    Raises
    ------
    ValueError, OSError
        As in `records.read_record`.
    """
    paths = {name: folder / f"{name}.json" for name in EXPERIMENTS}
    return {name: read_record(path, name) for name, path in paths.items() if path.exists()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables into README.md.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given; there are no options.

    Returns
    -------
    status : int
        1 when a record is damaged or README.md has no place for the tables; it stays as it was.
    """
    argparse.ArgumentParser(prog="biglearn_core.reproduce.readme", description=__doc__).parse_args(
        arguments
    )
    try:
        text = with_tables(README.read_text(encoding="utf-8"))
        write_text(README, text)
    except (OSError, ValueError) as error:
        return failed(error)
    print(README)
    return 0


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
