"""Hold a full run against the results of record: `python -m biglearn_core.reproduce.compare`.

Two means agree when they differ by at most three standard errors of their difference over the
seeds, or by 0.001 plus 0.1% of the record where that is more (rounding differs between machines). A
single run has no standard error: 5% of the record is allowed. Settings, seeds and the verdicts on
the paper's claims must be equal.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biglearn_core.experiments.statistics import Sample
from biglearn_core.reproduce.claims import rows
from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.records import Entry, Record, read_record
from biglearn_core.system.paths import RESULTS
from biglearn_core.system.persistence import write_atomically

__all__ = ["RECORD_PROFILE", "compare", "compare_with_records", "main", "renew"]

RECORD_PROFILE = "full"

N_ERRORS = 3.0
ABSOLUTE = 1e-3
RELATIVE = 1e-3
SINGLE = 0.05


def compare(new: Record, record: Record) -> list[str]:
    """List in what two runs of one experiment differ.

    Parameters
    ----------
    new, record : Record

    Returns
    -------
    lines : list of str
        One per difference of settings, scores and verdicts, with both values and what would be
        allowed; none where all agrees.
    """
    lines = _different("settings", new.settings, record.settings)
    for address in {**record.scores, **new.scores}:
        ours, theirs = new.scores.get(address), record.scores.get(address)
        if ours and theirs:
            found = _difference(ours, theirs)
        else:
            found = f"only in the {'record' if theirs else 'new run'}"
        lines += [f"{', '.join(address)}: {found}"] if found else []
    verdicts = ({row.claim: row.verdict for row in rows({r.experiment: r})} for r in (new, record))
    return lines + _different("verdict", *verdicts)


def compare_with_records(profile: str, *, root: Path = RESULTS) -> list[str]:
    """Compare every experiment of a run with its record.

    Parameters
    ----------
    profile : str
        Records are of the profile "full"; others are not compared.
    root : Path, optional
        Folder of results, with record/ in it.

    Returns
    -------
    lines : list of str
        For each experiment that has run and has a record, whether it agrees, or its differences.

    Raises
    ------
    ValueError, OSError
        As in `records.read_record`.
    """
    if profile != RECORD_PROFILE:
        return []
    lines = []
    for record in sorted((root / "record").glob("*.json")):
        summary = root / record.stem / profile / "summary.json"
        if summary.exists():
            found = compare(read_record(summary, record.stem), read_record(record, record.stem))
            verdict = f"differs in {len(found)} entries from" if found else "agrees with"
            lines.append(f"{record.stem} {verdict} {record.relative_to(root.parent)}")
            lines += [f"  {line}" for line in found]
    return lines


def renew(experiment: str, *, root: Path = RESULTS) -> Path:
    """Make the summary of the last full run the result of record.

    Parameters
    ----------
    experiment : str
        A name, as in the folder of results; no path.
    root : Path, optional
        Folder of results, with record/ in it.

    Returns
    -------
    path : Path
        Of the record.

    Raises
    ------
    ValueError
        When there is no full run of that name, or its summary is damaged.
    OSError
        When a file cannot be read or written.
    """
    summaries = {path.parts[-3]: path for path in root.glob(f"*/{RECORD_PROFILE}/summary.json")}
    if experiment not in summaries:
        raise ValueError(
            f"there is no full run of {experiment!r} in {root}, only of {sorted(summaries)}; run "
            "`make reproduce` first"
        )
    summary = summaries[experiment]
    read_record(summary, experiment)
    record = root / "record" / f"{experiment}.json"
    with write_atomically(record) as file:
        file.write(summary.read_bytes())
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison of the last full run, or renew a record.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when there is no such run or a file is damaged or out of reach.
    """
    parser = argparse.ArgumentParser(prog="biglearn_core.reproduce.compare", description=__doc__)
    parser.add_argument("--renew", metavar="EXPERIMENT", help="make its last full run the record")
    options = parser.parse_args(arguments)
    try:
        if options.renew is not None:
            lines = [f"renewed {renew(options.renew)}"]
        else:
            lines = compare_with_records(RECORD_PROFILE)
    except (OSError, ValueError) as error:
        return failed(error)
    print("\n".join(lines) or "there is no full run to compare; `make reproduce` makes one")
    return 0 if lines else 1


def _different(what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}, {name}: {ours.get(name)!r} now, {theirs.get(name)!r} in the record"
        for name in {**theirs, **ours}
        if ours.get(name) != theirs.get(name)
    ]


def _difference(ours: Entry, theirs: Entry) -> str:
    for name in ("unit", "seeds"):
        if (now := getattr(ours, name)) != (then := getattr(theirs, name)):
            return f"{name} {now!r} now, {then!r} in the record"
    allowed = _allowed(ours, theirs)
    if abs(ours.mean - theirs.mean) <= allowed:
        return ""
    now, then = ours.mean, theirs.mean
    return f"{now:.4f} now, {then:.4f} in the record, allowed ±{allowed:.4f}"


def _allowed(ours: Sample, theirs: Sample) -> float:
    """Largest accepted difference of two means."""
    rounding = ABSOLUTE + RELATIVE * abs(theirs.mean)
    known = [sample.std for sample in (ours, theirs) if sample.std is not None]
    if not known:
        return max(rounding, SINGLE * abs(theirs.mean))
    fallback = max(known)  # of the other side, where one side kept none
    errors = (
        (fallback if sample.std is None else sample.std) / math.sqrt(sample.n)
        for sample in (ours, theirs)
    )
    return max(rounding, N_ERRORS * math.hypot(*errors))


if __name__ == "__main__":
    sys.exit(main())
