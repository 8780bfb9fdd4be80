"""Results of whole experiments, read and checked: the shape that `experiments.record` states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from biglearn_core.experiments.statistics import Sample
from biglearn_core.reproduce.documents import (
    MisshapenError,
    count,
    each,
    entries,
    items,
    number,
    or_null,
    plain,
    read_document,
    text,
)

__all__ = ["EXPERIMENTS", "Address", "Entry", "Record", "read_record"]

# Names of records; those that end in _seeds are of more seeds of the experiment before it.
EXPERIMENTS = (
    *("gmm25", "gmm25_hundred", "realworld"),
    *("fashion", "deep_clustering", "deep_clustering_seeds"),
    *("principle", "biglearn_gan"),
)


class Address(NamedTuple):
    """Which number of a record is meant.

    Parameters
    ----------
    dataset : str
    protocol : {"paper", "fair", "both"}
    method, metric : str
    """

    dataset: str
    protocol: str
    method: str
    metric: str


@dataclass(frozen=True)
class Entry(Sample):
    """One recorded number over its seeds.

    Parameters
    ----------
    mean, std, n
        As of a `Sample`.
    unit : str
    seeds : tuple of int
    values : tuple of float
        By seed; none where only mean and deviation were kept.
    """

    unit: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def by_seed(self) -> dict[int, float]:
        """Values by seed, none where they were not kept."""
        return dict(zip(self.seeds, self.values, strict=False))


@dataclass(frozen=True)
class Record:
    """What was kept of one experiment.

    Parameters
    ----------
    experiment : str
        That wrote it.
    settings : mapping
        What another run must share to be compared.
    scores : mapping of Address to Entry
        What another run must agree with.
    costs : mapping of Address to Entry
        What a machine decides.
    versions : mapping of str to str
        That made it.
    labels : mapping of str to str
        How tables name its methods.
    """

    experiment: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[Address, Entry] = field(default_factory=dict)
    costs: Mapping[Address, Entry] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Record:
        """Take what tables and claims need from a record as it is written.

        Parameters
        ----------
        document : mapping
            As `experiments.record` states.

        Returns
        -------
        record : Record
        """
        scores, costs = (
            {_address(row): _entry(row) for row in document[part]} for part in ("scores", "costs")
        )
        return cls(
            document["experiment"],
            document["settings"],
            scores,
            costs,
            document["versions"],
            document.get("labels", {}),
        )

    def find(self, dataset: str, protocol: str, method: str, metric: str) -> Entry | None:
        """Look a number up, among scores and costs.

        Parameters
        ----------
        dataset, protocol, method, metric : str
            As of an `Address`.

        Returns
        -------
        entry : Entry or None
        """
        address = Address(dataset, protocol, method, metric)
        return self.scores.get(address) or self.costs.get(address)


def read_record(path: Path, name: str) -> Record:
    """Read the summary of a full run, or a result of record.

    Parameters
    ----------
    path : Path
    name : str
        Of the record.

    Returns
    -------
    record : Record

    Raises
    ------
    ValueError
        When it is damaged, has another shape or is of another experiment; names the file, what was
        found and the remedy.
    OSError
        When it cannot be read.
    """
    remedy = "delete it and run `make reproduce`"
    if path.parent.name == "record":
        remedy += f", or restore it by `git checkout -- {path}`"
    shape = partial(_check, name.removesuffix("_seeds"))
    return Record.of(read_document(path, shape, remedy=remedy))


def _check(experiment: str, document: Any) -> None:
    _RECORD(document)
    if document["experiment"] != experiment:
        raise MisshapenError(f"the experiment {experiment!r}", document["experiment"])
    addresses = [_address(row) for part in ("scores", "costs") for row in document[part]]
    if twice := [a for a, n in Counter(addresses).items() if n > 1]:
        raise MisshapenError("every row once", twice[0])


def _row(value: Any) -> None:
    _ROW(value)
    n, std, values = len(value["seeds"]), value["std"], value.get("values")
    if n == 0 or (n == 1 and std is not None) or (std or 0) < 0:
        raise MisshapenError("a seed, and a deviation of at least 0 where there are more", value)
    if values is None:
        return
    if len(values) != n:
        raise MisshapenError("a value by seed", value)
    sample, tolerance = Sample.of(values), 1e-9 * max(map(abs, values))
    pairs = ((sample.mean, value["mean"]), (sample.std or 0, std or 0))
    if any(abs(a - b) > tolerance for a, b in pairs) or (std is None) != (sample.std is None):
        raise MisshapenError("mean and deviation of its values", value)


def _address(row: Mapping[str, Any]) -> Address:
    return Address(*(row[name] for name in Address._fields))


def _entry(row: Mapping[str, Any]) -> Entry:
    seeds, values = tuple(row["seeds"]), tuple(row.get("values", ()))
    return Entry(row["mean"], row["std"], len(seeds), row["unit"], seeds, values)


_ROW = entries(
    {
        **dict.fromkeys((*Address._fields, "unit"), text),
        "mean": number,
        "std": or_null(number),
        "seeds": items(count),
    },
    {"values": items(number)},
)
_RECORD = entries(
    {
        "experiment": text,
        "settings": each(plain),
        "scores": items(_row),
        "costs": items(_row),
        "versions": each(text),
    },
    {"labels": each(text)},
)
