"""Claims of the sequel about BigLearn-GAN: rows that say what its record shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from biglearn_core.experiments.statistics import Sample
from biglearn_core.reproduce.records import Entry, Record
from biglearn_core.reproduce.verdicts import Row, sequel_row, shown

__all__ = ["TOLERANCES", "rows"]

_NAME, _PLACE = "biglearn_gan", "section 4.2 and abstract"
_EXACT = ("ring8", "gmm4")
_IMAGES = ("digits", "fashion")
_LABELS = {"digits": "digits", "fashion": "Fashion-MNIST"}
_HALVES = ("top", "bottom", "left", "right")
_SHARES = ("12of16", "8of16", "4of16", "2of16")

TOLERANCES = (
    "One generator for every conditional: on every set whose laws are known, the 95% interval of "
    "the mean KS distance ends below half of that of draws which ignore what is given; in part "
    "where below all of it.",
    "Communication helps: on every such set the 95% interval of the difference of the mean KS "
    "distance, seed by seed, ends below zero; in part where on one. A set with one seed bears "
    "nothing.",
    "Joint draws: by the classifier's features, the Fréchet distance from test images is below "
    "half of one Gaussian's and below that of the mixture, on every set of images that was run; in "
    "part where below one Gaussian's. The best variant run is taken, and named.",
    "Completions: on every set of images the vote of 20 completions of a half is right more often "
    "than that of joint draws with the half pasted in, and draws differ the more the less is "
    "given; in part where one of the two holds.",
)


def rows(record: Record) -> Iterator[Row]:
    """Hold every claim about BigLearn-GAN against its record.

    Parameters
    ----------
    record : Record
        One that lacks what a claim needs gives rows that say so.

    Yields
    ------
    row : Row
    """
    yield _conditionals(record)
    yield _communication(record)
    yield _joint_draws(record)
    yield _completions(record)


def _conditionals(record: Record) -> Row:
    row = sequel_row(
        _NAME,
        "BigLearn-GAN: one generator draws from every conditional law (KS distance from the exact "
        "one, mean)",
        _PLACE,
    )
    found = {
        data: (own, blind)
        for data in _EXACT
        if (own := _entry(record, data, "big", "conditional_ks_mean"))
        and (blind := _entry(record, data, "ignoring", "conditional_ks_mean"))
    }
    if len(found) < len(_EXACT):
        return row
    ends = {data: (own.interval() or (own.mean,))[-1] for data, (own, _) in found.items()}
    told = "; ".join(
        f"{data} {own.with_interval()}, what is given ignored {blind.mean:.3f}"
        for data, (own, blind) in found.items()
    )
    half = all(ends[data] < blind.mean / 2 for data, (_, blind) in found.items())
    below = all(ends[data] < blind.mean for data, (_, blind) in found.items())
    return replace(row, fair=told, seconds=_seconds(record, "ring8"), verdict=shown(half, below))


def _communication(record: Record) -> Row:
    row = sequel_row(
        _NAME,
        "BigLearn-GAN: communication between the models of two tasks improves them (difference of "
        "the mean KS distance)",
        _PLACE,
    )
    gaps = {}
    for data in _EXACT:
        first = _entry(record, data, "communication", "conditional_ks_mean")
        second = _entry(record, data, "big", "conditional_ks_mean")
        gap = Sample.of_differences(first.by_seed, second.by_seed) if first and second else None
        if gap is None:
            return row
        gaps[data] = gap
    better = [bool(gap.interval()) and gap.interval()[1] < 0 for gap in gaps.values()]
    told = "; ".join(f"{data} {gap.with_interval(sign='+')}" for data, gap in gaps.items())
    return replace(row, fair=told, verdict=shown(all(better), any(better)))


def _joint_draws(record: Record) -> Row:
    row = sequel_row(
        _NAME,
        "BigLearn-GAN: images drawn with nothing given (Fréchet distance in a classifier's "
        "features)",
        _PLACE,
    )
    told, half, below = [], True, True
    for data in _IMAGES:
        variants = {
            method: entry
            for method in ("big", "communication", "energy")
            if (entry := _entry(record, data, method, "frechet_features"))
        }
        gaussian = _entry(record, data, "gaussian", "frechet_features")
        mixture = _entry(record, data, "mixture", "frechet_features")
        if not (variants and gaussian and mixture):
            continue
        name = min(variants, key=lambda method: variants[method].mean)
        best = variants[name]
        half &= best.mean < min(gaussian.mean / 2, mixture.mean)
        below &= best.mean < gaussian.mean
        told.append(
            f"{_LABELS[data]} {best.with_interval(2)} ({record.labels.get(name, name)}), mixture "
            f"{mixture.mean:.2f}, one Gaussian {gaussian.mean:.2f}"
        )
    if not told:
        return row
    return replace(row, fair="; ".join(told), verdict=shown(half, below))


def _completions(record: Record) -> Row:
    row = sequel_row(
        _NAME,
        "BigLearn-GAN: completions of images follow what is given, and differ as it leaves room "
        "(accuracy of the vote on halves; deviation of draws from 12 to 2 of 16 patches)",
        _PLACE,
    )
    told, follows, adapts = [], [], []
    for data in _IMAGES:
        votes = {
            method: _over_halves(record, data, method) for method in ("energy", "pasted", "nearest")
        }
        spreads = [_entry(record, data, "energy", f"spread_{share}") for share in _SHARES]
        if not (all(votes.values()) and all(spreads)):
            continue
        own, pasted, nearest = (votes[method] for method in ("energy", "pasted", "nearest"))
        follows.append(own > pasted)
        widths = [spread.mean for spread in spreads]
        adapts.append(all(a < b for a, b in pairwise(widths)))
        told.append(
            f"{_LABELS[data]} {own:.3f}, half pasted in {pasted:.3f}, 1-NN fill {nearest:.3f}; "
            f"deviation {widths[0]:.3f} to {widths[-1]:.3f}"
        )
    if not told:
        return row
    both = all(follows) and all(adapts)
    return replace(row, fair="; ".join(told), verdict=shown(both, all(follows) or all(adapts)))


def _over_halves(record: Record, data: str, method: str) -> float | None:
    entries = [_entry(record, data, method, f"vote_{half}") for half in _HALVES]
    return float(np.mean([entry.mean for entry in entries])) if all(entries) else None


def _seconds(record: Record, data: str) -> str:
    entry = record.find(data, "both", "big", "seconds")
    return f"{entry.mean:.0f} ({data})" if entry else "–"


def _entry(record: Record, data: str, method: str, metric: str) -> Entry | None:
    return record.find(data, "fair", method, metric)
