"""The one shape in which results are recorded.

A record has the entries `experiment`; `settings`, which another run must share to be compared;
`scores`, rows that another run must agree with; `costs`, rows that a machine decides (time, memory,
steps to a tolerance); `versions`; and `labels`, where tables name its methods otherwise than the
rows do. It may have others, which nothing here reads: `device`, and `curves` for figures. A row is
one number of one method on one data set in one protocol, over its seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biglearn_core.experiments.statistics import Sample

__all__ = ["Column", "rows"]

# Protocol, metric and unit. The protocol is "paper", "fair", or "both" where one number serves
# both; the unit is empty for a share or a count.
Column = tuple[str, str, str]


def rows(
    dataset: str, method: str, seeds: Sequence[int], columns: Mapping[Column, Sequence[float]]
) -> list[dict[str, Any]]:
    """Write the rows of one method on one data set.

    Parameters
    ----------
    dataset, method : str
    seeds : sequence of int
    columns : mapping of Column to sequence of float
        Values by seed.

    Returns
    -------
    rows : list of dict
        JSON-able.
    """
    written = []
    for (protocol, metric, unit), values in columns.items():
        numbers = np.asarray(values)
        numbers = numbers.astype(int) if numbers.dtype == bool else numbers
        sample = Sample.of(numbers)
        written.append({
            "dataset": dataset,
            "protocol": protocol,
            "method": method,
            "metric": metric,
            "unit": unit,
            "mean": sample.mean,
            "std": sample.std,
            "seeds": list(seeds),
            "values": numbers.tolist(),
        })  # fmt: skip
    return written
