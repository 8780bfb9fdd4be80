"""Execute the notebooks headless: `python -m biglearn_core.reproduce --profile full`.

Every notebook runs under papermill with the parameters of its profile and is saved, executed, under
results/notebooks/<profile>/. What experiments finished before is read, not computed again.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["NOTEBOOKS", "execute", "main", "profile_parameters"]

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def profile_parameters(profile: str, *, folder: Path = NOTEBOOKS) -> dict[str, dict[str, Any]]:
    """Read which notebooks a profile runs, and with which parameters.

    Parameters
    ----------
    profile : str
        Name of a file in notebooks/params/, without .yaml.
    folder : Path, optional
        Of the notebooks.

    Returns
    -------
    parameters : dict of str to dict
        By the name of the notebook.

    Raises
    ------
    ValueError
        When the profile, a notebook or a parameter is unknown; names the nearest known one.
    """
    path = folder / "params" / f"{profile}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ValueError(f"there is no profile {profile!r}; known are {known}")
    profiles = yaml.safe_load(path.read_text(encoding="utf-8"))
    notebooks = [p.stem for p in folder.glob("*.ipynb")]
    for name, parameters in profiles.items():
        _refuse_unknown([name], notebooks, f"{path.name} names a notebook that is not there")
        known = _declared_parameters(folder / f"{name}.ipynb")
        _refuse_unknown(parameters, known, f"{path.name}: {name} has no such parameter")
    return profiles


def execute(
    name: str, parameters: Mapping[str, Any], output: Path, *, folder: Path = NOTEBOOKS
) -> None:
    """Execute one notebook.

    Parameters
    ----------
    name : str
    parameters : mapping
    output : Path
        Where the executed notebook goes.
    folder : Path, optional
        Of the notebooks, and their working directory.

    Raises
    ------
    papermill.PapermillExecutionError
        With the error of the failing cell.
    """
    import papermill

    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        folder / f"{name}.ipynb",
        output,
        parameters=dict(parameters),
        kernel_name="python3",
        cwd=folder,
        progress_bar=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a profile from the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when a notebook failed.
    """
    parser = argparse.ArgumentParser(prog="biglearn_core.reproduce", description=__doc__)
    parser.add_argument("--profile", default="full", help="a file in notebooks/params/")
    parser.add_argument("--output", type=Path, default=None, help="folder of executed notebooks")
    options = parser.parse_args(arguments)
    output = options.output or NOTEBOOKS.parent / "results" / "notebooks" / options.profile
    os.environ.setdefault("BIGLEARN_QUIET", "1")
    try:
        profile = profile_parameters(options.profile)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from papermill import PapermillExecutionError

    for position, (name, parameters) in enumerate(profile.items(), start=1):
        print(f"[{position}/{len(profile)}] {name} ...", flush=True)
        started = time.monotonic()
        target = output / f"{name}.ipynb"
        try:
            execute(name, parameters, target)
        except PapermillExecutionError as error:
            print(f"{error}\n{name} failed; its cells up to the error: {target}", file=sys.stderr)
            return 1
        seconds = time.monotonic() - started
        print(f"[{position}/{len(profile)}] {name}: {seconds:.0f} s, {target}", flush=True)
    return 0


def _declared_parameters(path: Path) -> list[str]:
    import papermill

    return list(papermill.inspect_notebook(path))


def _refuse_unknown(names: Sequence[str] | Mapping, known: Sequence[str], message: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {sorted(known)}"
            raise ValueError(f"{message}: {name!r}; {hint}")


if __name__ == "__main__":
    sys.exit(main())
