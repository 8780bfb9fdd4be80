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
    "sequel_row",
    "shown",
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


def sequel_row(experiment: str, claim: str, place: str) -> Row:
    """Begin the row of a claim of the sequel, which prints no figure.

    Parameters
    ----------
    experiment, claim : str
    place : str
        Where in the sequel it stands.

    Returns
    -------
    row : Row
        Not run.
    """
    source = f"Big Cooperative Learning, {place}"
    return Row(experiment=experiment, claim=claim, published="stated in words", source=source)


def shown(good: bool, partly: bool) -> str:
    """Say whether a claim without a figure was shown.

    Parameters
    ----------
    good, partly : bool

    Returns
    -------
    verdict : str
        One of `VERDICTS`.
    """
    return SHOWN if good else SHOWN_IN_PART if partly else NOT_SHOWN
