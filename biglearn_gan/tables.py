"""What the comparison says: tables, differences with their intervals, checks and a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from biglearn_core.experiments.record import rows
from biglearn_core.experiments.statistics import Sample
from biglearn_gan.methods import METHODS
from biglearn_gan.run import Comparison, Run

__all__ = ["MEASURES", "differences", "record", "score_table"]

# By name: how tables call it, decimals, and whether more is better (None: nearer to a reference).
MEASURES: Mapping[str, tuple[str, int, bool | None]] = MappingProxyType({})


def score_table(runs: Sequence[Run], data: str, measures: Sequence[str]) -> pd.DataFrame:
    """Set every method's measures side by side.

    Parameters
    ----------
    runs : sequence of Run
    data : str
    measures : sequence of str
        Of `MEASURES`.

    Returns
    -------
    table : DataFrame
        A row for every method; means ± standard deviations over the seeds.
    """
    return pd.DataFrame.from_dict(
        {
            METHODS[method].label: {
                MEASURES[name][0]: Sample.of(values).with_std(MEASURES[name][1])
                for name in measures
                if len(values := _values(own, name)) == len(own)
            }
            | {"training (s)": Sample.of([run.seconds for run in own]).with_std(0)}
            for method, own in _by_method(runs, data).items()
        },
        orient="index",
    ).rename_axis("method")
