"""Claims of the sequel, which prints no figure: rows that say whether they were shown.

The sequel is Cong, *Big Cooperative Learning*, 2024, arXiv 2407.21319. An experiment adds its rows
by a function in `_EXPERIMENTS`, and what its verdicts mean to `TOLERANCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from biglearn_core.experiments.published import GMM25_SEEDS
from biglearn_core.reproduce import sequel_gan
from biglearn_core.reproduce.records import Entry, Record
from biglearn_core.reproduce.verdicts import Row, sequel_row, shown

__all__ = ["TOLERANCES", "rows"]

SUCCESS = 0.999
ZERO = 1e-6
MODES = 25

_PAIR, _PLANE = "two Gaussians", "25 Gaussians"
_MEANS = ("mean of the 12 marginals", "mean of the 49 conditionals", "mean of all 61 tasks")
_DWELLS = (1, 20)
_BEST = "big learning, dwell 200"

TOLERANCES = (
    "A claim of the sequel, which prints no figure, is shown, shown in part, or not shown, by what "
    "its row tells.",
    f"Tasks share the optima alone: the KL of every task is below {ZERO:g} nats there, the joint "
    "task has other minima, and a task or a mean of tasks has none; in part where not every mean "
    "that the sequel pictures is without one.",
    "Switching leaves local optima: under every sequence of angles all starts reach an optimum "
    f"with {_DWELLS[-1]} steps on a task, as published, and some do not by the joint task; in part "
    "where it is so on the mean of the sequences.",
    f"25 Gaussians: joint matching is stuck where it finds less than half of the {MODES} modes on "
    "every published seed. Big learning finds all where its published schedule finds "
    f"{MODES} on every one; in part where it finds more than joint matching on every one. The fair "
    "column is a schedule of ours, 200 steps on a task, chosen on the published seeds; a run that "
    "broke down found none.",
    *sequel_gan.TOLERANCES,
)


def rows(records: Mapping[str, Record]) -> list[Row]:
    """Hold every claim of the sequel against the records.

    Parameters
    ----------
    records : mapping of str to Record
        By the names in `records.EXPERIMENTS`. One that is absent, or lacks what a claim needs,
        gives rows that say so.

    Returns
    -------
    rows : list of Row
    """
    return [
        row for name, claims in _EXPERIMENTS.items() for row in claims(records.get(name, Record()))
    ]


def _principle(record: Record) -> Iterator[Row]:
    yield _landscapes(record)
    yield _switching(record)
    yield from _exploration(record)


def _landscapes(record: Record) -> Row:
    row = sequel_row(
        "principle",
        "Two Gaussians, reverse KL: all tasks share the optima, not their local optima",
        "section 3.3",
    )
    found = {
        address.method: entry
        for address, entry in record.scores.items()
        if (address.dataset, address.metric) == (_PAIR, "spurious_minima")
    }
    least = [record.find(_PAIR, "paper", name, "least") for name in found]
    if not (all(least) and {"joint", *_MEANS} <= set(found)):
        return row
    stuck = [name for name in found if found[name].mean > 0]
    shared = all(entry.mean <= ZERO for entry in least)
    differ = shared and "joint" in stuck and len(stuck) < len(found)
    clear = not set(stuck) & set(_MEANS)
    values = (record.find(_PAIR, "paper", name, "spurious_value") for name in stuck)
    with_values = ", ".join(
        f"{name} ({value.mean:.3f} nats)" if value else name
        for name, value in zip(stuck, values, strict=True)
    )
    without = ", ".join(name for name in found if name not in stuck)
    return replace(
        row,
        paper=f"spurious minima: {with_values}; none: {without}",
        verdict=shown(differ and clear, differ),
    )


def _switching(record: Record) -> Row:
    row = sequel_row(
        "principle",
        "Two Gaussians: switching among marginal tasks leaves the local optima of the joint task "
        "(starts that reach an optimum)",
        "section 3.3 and abstract",
    )
    names = ("joint only", *(f"dwell {dwell}" for dwell in _DWELLS))
    found = [record.find(_PAIR, "fair", name, "success") for name in names]
    if not all(entry and entry.values for entry in found):
        return row
    joint, single, published = found
    stuck = joint.mean < SUCCESS
    return replace(
        row,
        fair=f"joint only {joint.mean:.3f}; another angle every {_DWELLS[-1]} steps "
        f"{_spread(published)}, every step {_spread(single)}",
        verdict=shown(
            stuck and min(published.values) >= SUCCESS, stuck and published.mean > joint.mean
        ),
    )


def _exploration(record: Record) -> Iterator[Row]:
    names = ("joint only", "big learning, dwell 20", _BEST)
    joint, published, best = (_published(record, name) for name in names)
    fresh, broken = (
        record.find(_PLANE, "paper", f"{_BEST}, new seeds", metric)
        for metric in ("covered", "broke_down")
    )
    stuck = sequel_row(
        "principle",
        f"{MODES} Gaussians from one corner, reverse KL: joint matching stays where it began "
        "(modes found)",
        "section 4.1",
    )
    if joint:
        less = [value < MODES / 2 for value in joint.values]
        stuck = replace(stuck, paper=joint.with_interval(1), verdict=shown(all(less), any(less)))
    yield stuck
    row = sequel_row(
        "principle",
        f"{MODES} Gaussians from one corner, reverse KL: big learning finds all of them (modes "
        "found)",
        "section 4.1",
    )
    if joint and published:
        more = [a > b for a, b in zip(published.values, joint.values, strict=True)]
        row = replace(
            row,
            paper=_at_all(published),
            fair=_ours(best, fresh, broken),
            verdict=shown(min(published.values) >= MODES, all(more)),
        )
    yield row


def _published(record: Record, method: str) -> Entry | None:
    entry = record.find(_PLANE, "paper", method, "covered")
    return entry if entry and entry.values and entry.seeds == GMM25_SEEDS else None


def _spread(entry: Entry) -> str:
    return f"{entry.with_std()} ({entry.n} sequences)"


def _ours(best: Entry | None, fresh: Entry | None, broken: Entry | None) -> str:
    found = "; on new seeds ".join(_at_all(own) for own in (best, fresh) if own and own.values)
    n_broken = sum(broken.values) if broken else 0
    return (found or "–") + (f", {n_broken:g} broke down" if n_broken else "")


def _at_all(entry: Entry) -> str:
    reached = sum(value >= MODES for value in entry.values)
    return f"{entry.with_interval(1)}; all {MODES} on {reached}/{entry.n} seeds"


_EXPERIMENTS: Mapping[str, Callable[[Record], Iterator[Row]]] = {
    "principle": _principle,
    "biglearn_gan": sequel_gan.rows,
}
