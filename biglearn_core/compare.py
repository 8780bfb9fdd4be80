"""Hold a full run against the results of record: `python -m biglearn_core.compare`.

Two means agree when they differ by at most three standard errors of their difference over the
seeds, or by 0.001 plus 0.1% of the record where that is more (rounding differs between machines). A
single run has no standard error: 5% of the record is allowed. Everything else, settings and
verdicts included, must be equal.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.experiments.store import DEFAULT_ROOT
from biglearn_core.persistence import write_atomically

__all__ = ["RECORD_PROFILE", "compare", "compare_with_records", "main", "renew"]

RECORD_PROFILE = "full"

# What a machine decides, and what is no score.
IGNORED = frozenset({
    *("seconds", "seconds_with_pretraining", "minutes", "peak_bytes", "device", "versions"),
    *("converged", "n_steps", "n_threads", "errors_by_epoch", "standing"),
})  # fmt: skip

N_ERRORS = 3.0
ABSOLUTE = 1e-3
RELATIVE = 1e-3
SINGLE = 0.05


@dataclass(frozen=True)
class _Sample:
    """Mean and standard deviation of one number over n runs."""

    mean: float
    std: float
    n: int


def compare(new: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """List in what two summaries of one experiment differ.

    Parameters
    ----------
    new, record : mapping
        As `record` of an experiment's summary module gives them: runs by seed, a list of runs with
        their seeds, or means and standard deviations beside a list of seeds.

    Returns
    -------
    lines : list of str
        One per difference, with both values and what would be allowed; none where all agrees.
    """
    ours, theirs = dict(_leaves(new)), dict(_leaves(record))
    lines = []
    for path in [*theirs, *(path for path in ours if path not in theirs)]:
        label = ", ".join(path)
        if path not in ours or path not in theirs:
            lines.append(f"{label}: only in the {'record' if path in theirs else 'new run'}")
        else:
            lines += [f"{label}: {text}" for text in _difference(ours[path], theirs[path])]
    return lines


def compare_with_records(profile: str, *, root: Path = DEFAULT_ROOT) -> list[str]:
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
    """
    if profile != RECORD_PROFILE:
        return []
    lines = []
    for record in sorted((root / "record").glob("*.json")):
        summary = root / record.stem / profile / "summary.json"
        if summary.exists():
            found = compare(_read(summary), _read(record))
            verdict = f"differs in {len(found)} entries from" if found else "agrees with"
            lines.append(f"{record.stem} {verdict} {record.relative_to(root.parent)}")
            lines += [f"  {line}" for line in found]
    return lines


def renew(experiment: str, *, root: Path = DEFAULT_ROOT) -> Path:
    """Make the summary of the last full run the result of record.

    Parameters
    ----------
    experiment : str
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
    """
    summary = root / experiment / RECORD_PROFILE / "summary.json"
    if not summary.exists():
        raise ValueError(f"there is no {summary}; run `make reproduce` first")
    _read(summary)
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
        1 when there is no such run or a file is damaged.
    """
    parser = argparse.ArgumentParser(prog="biglearn_core.compare", description=__doc__)
    parser.add_argument("--renew", metavar="EXPERIMENT", help="make its last full run the record")
    options = parser.parse_args(arguments)
    try:
        if options.renew:
            lines = [f"renewed {renew(options.renew)}"]
        else:
            lines = compare_with_records(RECORD_PROFILE)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines) or "there is no full run to compare; `make reproduce` makes one")
    return 0 if lines else 1


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error


def _leaves(
    node: Any, path: tuple[str, ...] = (), n: int = 1
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk a summary; what many runs hold becomes one sample, n runs where means stand for them."""
    runs = _runs(node)
    if runs is not None:
        yield (*path, "which"), list(runs)
        yield from _samples(list(runs.values()), path)
    elif isinstance(node, Mapping):
        n = len(node.get("seeds", ())) or n
        for name, child in node.items():
            if name in IGNORED:
                continue
            if isinstance(child, Mapping) and {"mean", "std"} <= set(child):
                std = math.nan if child["std"] is None else child["std"]
                yield (*path, name), _Sample(child["mean"], std, n)
            else:
                yield from _leaves(child, (*path, name), n)
    elif isinstance(node, float):
        yield path, _Sample(node, math.nan, 1)
    else:
        yield path, node


def _runs(node: Any) -> dict[str, Mapping] | None:
    """Give runs by seed, where `node` is such a mapping or a list of runs that name their seeds."""
    if isinstance(node, Mapping) and node and all(str(name).isdecimal() for name in node):
        return dict(sorted(node.items()))
    if not isinstance(node, list) or not node:
        return None
    if not all(isinstance(run, Mapping) and "seed" in run for run in node):
        return None
    return {
        str(run["seed"]): {name: value for name, value in run.items() if name != "seed"}
        for run in node
    }


def _samples(
    runs: Sequence[Mapping], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in runs[0]:
        values = [run[name] for run in runs if name in run]
        if name in IGNORED:
            continue
        if all(isinstance(value, Mapping) for value in values):
            yield from _samples(values, (*path, name))
        elif all(isinstance(value, float | bool) for value in values):
            std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            yield (*path, name), _Sample(float(np.mean(values)), std, len(values))
        else:
            yield (*path, name), values


def _difference(ours: Any, theirs: Any) -> list[str]:
    if not (isinstance(ours, _Sample) and isinstance(theirs, _Sample)):
        if isinstance(ours, list) and isinstance(theirs, list):
            return _different_entries(ours, theirs)
        return [] if ours == theirs else [f"{ours!r} now, {theirs!r} in the record"]
    allowed = _allowed(ours, theirs)
    if abs(ours.mean - theirs.mean) <= allowed:  # false for NaN, which is never in order
        return []
    return [f"{ours.mean:.4f} now, {theirs.mean:.4f} in the record, allowed ±{allowed:.4f}"]


def _different_entries(ours: list, theirs: list) -> list[str]:
    if len(ours) != len(theirs):
        return [f"{ours} now, {theirs} in the record"]
    pairs = zip(ours, theirs, strict=True)
    return [f"{a!r} now, {b!r} in the record" for a, b in pairs if a != b]


def _allowed(ours: _Sample, theirs: _Sample) -> float:
    """Largest accepted difference of two means."""
    rounding = ABSOLUTE + RELATIVE * abs(theirs.mean)
    known = [sample.std for sample in (ours, theirs) if not math.isnan(sample.std)]
    if not known:
        return max(rounding, SINGLE * abs(theirs.mean))
    fallback = max(known)  # of the other side, where one side is a single run
    variance = sum(
        (fallback if math.isnan(sample.std) else sample.std) ** 2 / sample.n
        for sample in (ours, theirs)
    )
    return max(rounding, N_ERRORS * math.sqrt(variance))


if __name__ == "__main__":
    sys.exit(main())
