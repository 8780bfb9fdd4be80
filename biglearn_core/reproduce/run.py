"""Execute the notebooks headless: `python -m biglearn_core.reproduce --profile full`.

Every notebook runs under papermill with the parameters of its profile and is saved, executed, under
results/notebooks/<profile>/. What experiments finished before is read, not computed again. At the
end the scores are compared with the results of record.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from biglearn_core.reproduce.commands import failed
from biglearn_core.reproduce.compare import compare_with_records
from biglearn_core.reproduce.documents import MisshapenError, each, plain, read_document
from biglearn_core.reproduce.notebook import NotebookError, execute
from biglearn_core.reproduce.time_left import format_seconds, seconds_left, ticking, typical_seconds
from biglearn_core.system.paths import NOTEBOOKS, RESULTS
from biglearn_core.system.run_lock import LockedError, run_lock

__all__ = ["main", "profile_parameters", "run_profile"]


def profile_parameters(profile: str, *, folder: Path = NOTEBOOKS) -> dict[str, dict[str, Any]]:
    """Read which notebooks a profile runs, and with which parameters.

    Parameters
    ----------
    profile : str
        Name of a file in notebooks/params/, without .yaml; no path.
    folder : Path, optional
        Of the notebooks.

    Returns
    -------
    parameters : dict of str to dict
        By the name of the notebook.

    Raises
    ------
    ValueError
        When the profile, a notebook or a parameter is unknown, with the nearest known one; when
        the profile or a notebook is damaged or has another shape.
    OSError
        When a file cannot be read.
    """
    paths = {path.stem: path for path in (folder / "params").glob("*.yaml")}
    if not paths:
        raise FileNotFoundError(
            f"{(folder / 'params').resolve()} has no profiles: notebooks are run in a checkout of "
            "the repository, which the wheel does not hold"
        )
    if profile not in paths:
        raise ValueError(f"there is no profile {profile!r}; known are {sorted(paths)}")
    path = paths[profile]
    remedy = "a profile names notebooks, and under each its parameters, {} where it has none"
    profiles = read_document(path, _profile, remedy=remedy)
    notebooks = [p.stem for p in folder.glob("*.ipynb")]
    for name, parameters in profiles.items():
        _refuse_unknown([name], notebooks, f"{path.name} names a notebook that is not there")
        known = _declared_parameters(folder / f"{name}.ipynb")
        _refuse_unknown(parameters, known, f"{path.name}: {name} has no such parameter")
    return profiles


def run_profile(
    profile: Mapping[str, Mapping[str, Any]], output: Path, typical: Mapping[str, float]
) -> None:
    """Execute the notebooks of a profile, saying what is left before and after each.

    Parameters
    ----------
    profile : mapping of str to mapping
        As from `profile_parameters`.
    output : Path
        Folder of the executed notebooks.
    typical : mapping of str to float
        What notebooks typically take, in seconds.

    Raises
    ------
    NotebookError, OSError
        As `execute`.
    """
    expected = {name: typical.get(name) for name in profile}
    measured: dict[str, float] = {}
    for position, (name, parameters) in enumerate(profile.items(), start=1):
        head = f"[{position}/{len(profile)}] {name}"
        print(f"{head} ...{_left(expected, measured)}", flush=True)
        started = time.monotonic()
        line = partial(_line, head, started, expected, measured)
        with ticking(line):
            execute(NOTEBOOKS / f"{name}.ipynb", parameters, output / f"{name}.ipynb")
        measured[name] = time.monotonic() - started
        took = format_seconds(measured[name])
        print(f"{head}: {took}, {output / name}.ipynb{_left(expected, measured)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a profile from the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when a notebook failed or could not be run, 130 when interrupted.
    """
    parser = argparse.ArgumentParser(prog="biglearn_core.reproduce", description=__doc__)
    parser.add_argument("--profile", default="full", help="a file in notebooks/params/")
    parser.add_argument("--output", type=Path, default=None, help="folder of executed notebooks")
    options = parser.parse_args(arguments)
    output = options.output or RESULTS / "notebooks" / options.profile
    os.environ.setdefault("BIGLEARN_QUIET", "1")
    try:
        profile = profile_parameters(options.profile)
        with run_lock(RESULTS / ".lock"):
            run_profile(
                profile, output, typical_seconds(NOTEBOOKS / "seconds.yaml", options.profile)
            )
        for line in compare_with_records(options.profile):
            print(line)
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would tell of the broken cell
        print("interrupted; the same command goes on from what is saved", file=sys.stderr)
        return 130
    except (ValueError, OSError, LockedError, NotebookError) as error:
        return failed(error)
    return 0


def _left(expected: Mapping[str, float | None], measured: Mapping[str, float]) -> str:
    seconds = seconds_left(expected, measured)
    return f"; about {format_seconds(seconds)} left in all" if seconds > 0 else ""


def _line(
    head: str, started: float, expected: Mapping[str, float | None], measured: Mapping[str, float]
) -> str:
    gone = time.monotonic() - started
    seconds = seconds_left(expected, measured) - gone
    left = f", about {format_seconds(seconds)} left in all" if seconds > 0 else ""
    return f"{head}: {format_seconds(gone)}{left}"


def _profile(value: Any) -> None:
    each(each(plain))(value)
    if not value:
        raise MisshapenError("a notebook", value)


def _declared_parameters(path: Path) -> list[str]:
    import papermill

    try:
        return list(papermill.inspect_notebook(path))
    except Exception as error:  # whatever nbformat meets in a file that is no notebook
        raise ValueError(
            f"{path} is no readable notebook ({type(error).__name__}); restore it by "
            f"`git checkout -- {path}`"
        ) from error


def _refuse_unknown(names: Sequence[str] | Mapping, known: Sequence[str], message: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {sorted(known)}"
            raise ValueError(f"{message}: {name!r}; {hint}")
