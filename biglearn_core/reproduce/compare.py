"""Hold a full run against the results of record: `python -m biglearn_core.reproduce.compare`.

Two means agree when they differ by at most three standard errors of their difference over the
seeds, or by 0.001 plus 0.1% of the record where that is more (rounding differs between machines). A
single run has no standard error: 5% of the record is allowed. Everything else, settings and
verdicts included, must be equal.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.records import read_record
from biglearn_core.system.paths import RESULTS
from biglearn_core.system.persistence import write_atomically

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


def _leaves(
    node: Any, path: tuple[str, ...] = (), n: int = 1
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk a summary; what many runs hold becomes one sample, n runs where means stand for them."""
    runs = _runs(node)
    if runs is not None:
        yield (*path, "which"), [seed for seed, _ in runs]
        yield from _samples([run for _, run in runs], path)
    elif isinstance(node, Mapping):
        seeds = node.get("seeds")
        n = len(seeds) if isinstance(seeds, list) and seeds else n
        for name, child in node.items():
            if name in IGNORED:
                continue
            if _are_moments(child):
                std = math.nan if child["std"] is None else float(child["std"])
                yield (*path, name), _Sample(float(child["mean"]), std, n)
            else:
                yield from _leaves(child, (*path, name), n)
    elif isinstance(node, float):
        yield path, _Sample(node, math.nan, 1)
    else:
        yield path, node


def _are_moments(node: Any) -> bool:
    if not (isinstance(node, Mapping) and {"mean", "std"} <= set(node)):
        return False
    return _is_real(node["mean"]) and (node["std"] is None or _is_real(node["std"]))


def _is_real(value: Any) -> bool:
    """Tell numbers that a float can stand for; NaN, too, which agrees with nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)


def _runs(node: Any) -> list[tuple[str, Mapping]] | None:
    """Give seeds and runs, where `node` has runs by seed or is a list of runs with their seeds."""
    if isinstance(node, Mapping):
        runs = sorted(node.items())
        by_seed = all(name.isdecimal() and isinstance(run, Mapping) for name, run in runs)
    elif isinstance(node, list) and all(isinstance(run, Mapping) for run in node):
        runs = [
            (str(run.get("seed")), {name: value for name, value in run.items() if name != "seed"})
            for run in node
        ]
        by_seed = all("seed" in run for run in node)
    else:
        return None
    return runs if runs and by_seed else None


def _samples(
    runs: Sequence[Mapping], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run[name] for run in runs if name in run]
        if name in IGNORED:
            continue
        if all(isinstance(value, Mapping) for value in values):
            yield from _samples(values, (*path, name))
        elif all(isinstance(value, float | bool) for value in values):
            with np.errstate(all="ignore"):  # infinities of a damaged file are told as they are
                std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
                yield (*path, name), _Sample(float(np.mean(values)), std, len(values))
        else:
            yield (*path, name), values


def _difference(ours: Any, theirs: Any) -> list[str]:
    if not (isinstance(ours, _Sample) and isinstance(theirs, _Sample)):
        if isinstance(ours, list) and isinstance(theirs, list):
            return _different_entries(ours, theirs)
        return [] if ours == theirs else [f"{_shown(ours)} now, {_shown(theirs)} in the record"]
    allowed = _allowed(ours, theirs)
    if abs(ours.mean - theirs.mean) <= allowed:  # false for NaN, which is never in order
        return []
    return [f"{ours.mean:.4f} now, {theirs.mean:.4f} in the record, allowed ±{allowed:.4f}"]


def _shown(value: Any) -> str:
    return f"{value.mean:.4f}" if isinstance(value, _Sample) else repr(value)


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
    errors = (
        (fallback if math.isnan(sample.std) else sample.std) / math.sqrt(sample.n)
        for sample in (ours, theirs)
    )
    return max(rounding, N_ERRORS * math.hypot(*errors))


if __name__ == "__main__":
    sys.exit(main())
