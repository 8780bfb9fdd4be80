"""What README.md and docs/reproduction.md show of the results of record, written by a command.

`python -m biglearn_core.reproduce.readme` puts the README's lines and the page's tables between
their markers.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from biglearn_core.experiments.published import (
    FASHION_PEERS,
    GMM25_MIN_KL,
    PENDIGITS,
    SCORES,
)
from biglearn_core.reproduce.claims import ALL_SETS, TOLERANCES, deep_record, rows
from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.records import EXPERIMENTS, Record, read_record
from biglearn_core.reproduce.verdicts import REPRODUCED, Row
from biglearn_core.system.paths import REPOSITORY, RESULTS
from biglearn_core.system.persistence import write_text

__all__ = [
    "PAGE",
    "README",
    "main",
    "methods_table",
    "missed_line",
    "recorded",
    "results_table",
    "summary_lines",
    "with_table",
    "written",
]

README = REPOSITORY / "README.md"
PAGE = REPOSITORY / "docs" / "reproduction.md"

_COMMAND = "python -m biglearn_core.reproduce.readme"

# Sets whose fits are timed in the summary: the paper's own, and the largest.
_TIMED = {"pendigits": "Pendigits", "covtype": "Covtype"}

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


def summary_lines(records: Mapping[str, Record]) -> str:
    """Say in a few lines what the records hold, what is not reproduced included.

    Parameters
    ----------
    records : mapping of str to Record
        As from `recorded`; what they lack is left out.

    Returns
    -------
    lines : str
        A Markdown list.
    """
    found = rows(records)
    verdicts = Counter(row.verdict for row in found)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    lines = [
        f"Of {len(found)} claims: {counts}.",
        _hundred_line(records.get("gmm25_hundred", Record())),
        _gmm25_line(records.get("gmm25", Record())),
        _pendigits_line(records.get("realworld", Record())),
        _sets_line(found),
        _seconds_line(records.get("realworld", Record())),
        _fashion_line(deep_record(records), found),
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def missed_line(record: Record) -> str:
    """Say on which published seeds of 25-GMM BigLearn-EM ends away from the optimum.

    Parameters
    ----------
    record : Record
        Of the experiment gmm25.

    Returns
    -------
    line : str
        Empty where it does on none, or was not run seed by seed.
    """
    reached = record.find("25-GMM", "fair", "BigLearn-EM", "at_optimum")
    least = record.find("25-GMM", "paper", "BigLearn-EM", "min_kl")
    if not (reached and least and reached.values and reached.seeds == least.seeds):
        return ""
    runs = list(zip(reached.seeds, reached.values, least.values, strict=True))
    missed = [str(seed) for seed, hit, _ in runs if not hit]
    if not missed:
        return ""
    found = [kl for _, hit, kl in runs if hit]
    rest = f"; the mean of the other {len(found)} is {fmean(found):.4f}" if found else ""
    return (
        f"On {len(missed)} of the {len(runs)} published seeds of 25-GMM ({', '.join(missed)}) "
        f"BigLearn-EM ends away from the optimum, with one component on two Gaussians{rest} "
        f"(published, of all: {GMM25_MIN_KL['BigLearn-EM']['mean']:.4f})."
    )


def with_table(text: str, table: str, *, name: str = "results", by: str = _COMMAND) -> str:
    """Put a table, or lines, between the markers of a text.

    Parameters
    ----------
    text, table : str
    name : str, default "results"
        Of the markers.
    by : str, optional
        The command that the marker names; this module's when not given.

    Returns
    -------
    text : str

    Raises
    ------
    ValueError
        When a marker is missing or stands twice, or the end comes first.
    """
    begin = f"<!-- {name}: written by {by} -->"
    end = f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended) or text.count(begin) > 1 or text.count(end) > 1:
        raise ValueError(
            f"the text needs one marker {begin!r} and after it one {end!r}, found "
            f"{text.count(begin)} and {text.count(end)}"
        )
    return f"{before}{begin}\n{table}\n{end}{after}"


def written() -> dict[Path, str]:
    """Put the results of record into the pages that show them.

    Returns
    -------
    texts : dict of Path to str
        Of README.md and docs/reproduction.md, as they have to be.

    Raises
    ------
    ValueError, OSError
        As in `with_table` and `recorded`.
    """
    records = recorded()
    page = with_table(PAGE.read_text(encoding="utf-8"), results_table(rows(records)))
    page = with_table(page, methods_table(deep_record(records)), name="methods")
    page = with_table(page, summary_lines(records), name="summary")
    page = with_table(page, missed_line(records.get("gmm25", Record())), name="missed")
    page = with_table(page, "\n".join(f"- {line}" for line in TOLERANCES), name="tolerances")
    readme = README.read_text(encoding="utf-8")
    return {PAGE: page, README: with_table(readme, summary_lines(records))}


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
    """Write the results into README.md and docs/reproduction.md.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given; there are no options.

    Returns
    -------
    status : int
        1 when a record is damaged or a page has no place for them; both stay as they were then.
    """
    argparse.ArgumentParser(prog="biglearn_core.reproduce.readme", description=__doc__).parse_args(
        arguments
    )
    try:
        for path, text in written().items():
            write_text(path, text)
            print(path)
    except (OSError, ValueError) as error:
        return failed(error)
    return 0


def _hundred_line(record: Record) -> str:
    reached = {
        method: record.find("25-GMM", "fair", method, "at_optimum")
        for method in ("BigLearn-EM", "Joint-EM")
    }
    if not all(entry and entry.values for entry in reached.values()):
        return ""
    hits = (
        f"{method} in {sum(v > 0 for v in entry.values)} of {entry.n}"
        for method, entry in reached.items()
    )
    return f"25 Gaussians on a grid, new seeds, runs that end at the optimum: {', '.join(hits)}."


def _gmm25_line(record: Record) -> str:
    found = {name: record.find("25-GMM", "paper", name, "min_kl") for name in GMM25_MIN_KL}
    return _beside_the_paper(
        "Its ten published seeds, least test KL (nats)",
        {name: entry.with_std(4) if entry else "" for name, entry in found.items()},
        {name: f"{published['mean']:.4f}" for name, published in GMM25_MIN_KL.items()},
    )


def _pendigits_line(record: Record) -> str:
    found = {name: record.find("pendigits", "paper", name, "test_nmi") for name in PENDIGITS}
    return _beside_the_paper(
        "Pendigits, NMI",
        {name: entry.with_std() if entry else "" for name, entry in found.items()},
        {name: f"{published['nmi']:.3f}" for name, published in PENDIGITS.items()},
    )


def _beside_the_paper(what: str, ours: Mapping[str, str], published: Mapping[str, str]) -> str:
    if not all(ours.values()):
        return ""
    pairs = (f"{name} {ours[name]} (paper {published[name]})" for name in ours)
    return f"{what}: {', '.join(pairs)}."


def _sets_line(found: Sequence[Row]) -> str:
    counts = []
    for score in ("NMI", "test log-likelihood"):
        claim = f": BigLearn-EM above Joint-EM in {score}"
        own = [row for row in found if claim in row.claim and not row.claim.startswith(ALL_SETS)]
        hits = sum(row.verdict == REPRODUCED for row in own)
        counts.append(f"in {score} on {hits} of {len(own)}")
    return f"Real sets, above Joint-EM beyond the 95% interval: {', '.join(counts)}."


def _seconds_line(record: Record) -> str:
    pairs = []
    for dataset, label in _TIMED.items():
        times = [
            record.find(dataset, "fair", method, "seconds")
            for method in ("BigLearn-EM", "Joint-EM")
        ]
        if all(times):
            digits = (f"{t.mean:.0f}" if t.mean >= 10 else f"{t.mean:.2g}" for t in times)
            pairs.append(f"{label} {' / '.join(digits)}")
    return f"Seconds of a fit, BigLearn-EM / Joint-EM: {', '.join(pairs)}." if pairs else ""


def _fashion_line(record: Record, found: Sequence[Row]) -> str:
    def scores(name: str) -> str:
        entries = (record.find("Fashion-MNIST", "fair", name, metric) for metric in ("acc", "nmi"))
        return " / ".join(entry.with_std() if entry else "–" for entry in entries)

    names = dict.fromkeys(a.method for a in record.scores if a.protocol == "fair")
    shown = [name for name in ("biglearn-pixels", "biglearn-ae", "idec") if name in names]
    if not shown:
        return ""
    pairs = (f"{record.labels.get(name, name)} {scores(name)}" for name in shown)
    _, acc, nmi, _ = FASHION_PEERS["DEC"]
    (verdict,) = (row.verdict for row in found if row.experiment == "fashion")
    return (
        f"Fashion-MNIST, accuracy / NMI: {', '.join(pairs)}; DEC reports {acc:.3f} / {nmi:.3f} "
        f"(as good on raw pixels: {verdict})."
    )


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
