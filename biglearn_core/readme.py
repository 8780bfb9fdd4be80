"""The README's table of results, from the results of record: `python -m biglearn_core.readme`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from biglearn_core.claims import Row, rows
from biglearn_core.experiments.store import DEFAULT_ROOT
from biglearn_core.persistence import write_atomically

__all__ = ["BEGIN", "END", "README", "main", "recorded_rows", "results_table", "with_table"]

README = DEFAULT_ROOT.parent / "README.md"
BEGIN = "<!-- results: written by python -m biglearn_core.readme -->"
END = "<!-- end of results -->"

_COLUMNS = ("claim", "published", "ours, paper's protocol", "ours, fair", "verdict")


def results_table(found: Sequence[Row]) -> str:
    """Write rows as a Markdown table.

    Parameters
    ----------
    found : sequence of Row

    Returns
    -------
    table : str
    """
    lines = [_COLUMNS, ["---"] * len(_COLUMNS)]
    lines += [(row.claim, row.published, row.paper, row.fair, row.verdict) for row in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(text: str, table: str) -> str:
    """Put a table between the markers of a text.

    Parameters
    ----------
    text, table : str

    Returns
    -------
    text : str

    Raises
    ------
    ValueError
        When a marker is missing.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"the text lacks a marker of the table: {BEGIN!r} and {END!r}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def recorded_rows(folder: Path = DEFAULT_ROOT / "record") -> list[Row]:
    """Hold every claim against the results of record.

    Parameters
    ----------
    folder : Path, optional

    Returns
    -------
    rows : list of Row
    """
    return rows(
        {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    )


def main() -> int:
    """Write the table into README.md.

    Returns
    -------
    status : int
    """
    text = with_table(README.read_text(encoding="utf-8"), results_table(recorded_rows()))
    with write_atomically(README) as file:
        file.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
