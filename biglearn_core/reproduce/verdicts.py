"""What a row of the comparison with the papers holds, and the verdicts that it can have."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CAVEAT",
    "NOT_REPRODUCED",
    "NOT_RUN",
    "NOT_SHOWN",
    "REPRODUCED",
    "RUN_ALL",
    "SHOWN",
    "SHOWN_IN_PART",
    "VERDICTS",
    "Row",
]

REPRODUCED = "reproduced"
CAVEAT = "reproduced with a caveat"
NOT_REPRODUCED = "not reproduced"

# Of claims that come without a figure to be reproduced.
SHOWN = "shown"
SHOWN_IN_PART = "shown in part"
NOT_SHOWN = "not shown"

NOT_RUN = "not run"
VERDICTS = (
    *(REPRODUCED, CAVEAT, NOT_REPRODUCED),
    *(SHOWN, SHOWN_IN_PART, NOT_SHOWN),
    NOT_RUN,
)

RUN_ALL = "make reproduce"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim.

    Parameters
    ----------
    experiment : str
        Name of the record it is read from.
    claim : str
    published, source : str
        The figure, and where it stands.
    paper, fair : str
        Ours in the two protocols, with 95% intervals; a dash where a protocol does not apply.
    seconds : str
        Of a fit here.
    verdict : str
        One of `VERDICTS`.
    command : str
        That runs the experiment.
    """

    experiment: str
    claim: str
    published: str
    source: str
    paper: str = "–"
    fair: str = "–"
    seconds: str = "–"
    verdict: str = NOT_RUN
    command: str = RUN_ALL
