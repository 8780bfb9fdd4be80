"""Results on disk, keyed by what made them: the config and the code.

A result is a pair <name>.json and <name>.npz under results/<experiment>/<key>/. The JSON is written
last and carries the checksum of the arrays, so that a result is there as a whole or not at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.experiments.code_digest import code_digest
from biglearn_core.system.digest import differences
from biglearn_core.system.paths import RESULTS
from biglearn_core.system.persistence import load_arrays, save_arrays, write_text

__all__ = [
    "Result",
    "ResultStore",
    "config_from",
    "versions",
    "write_record",
]


@dataclass(frozen=True)
class Result:
    """One saved result.

    Parameters
    ----------
    summary : dict
        Numbers and strings, as in the JSON file.
    arrays : dict of str to ndarray
        As in the .npz file.
    """

    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def part(self, name: str) -> dict[str, np.ndarray]:
        """Give the arrays whose names begin with `name` and a slash, without these."""
        prefix = f"{name}/"
        return {n.removeprefix(prefix): a for n, a in self.arrays.items() if n.startswith(prefix)}


class ResultStore:
    """Results of one experiment under one config, one state of the code and of the data.

    Parameters
    ----------
    experiment : str
        Name of the experiment and of its folder.
    config : dataclass instance
        Everything that a result depends on. Its field `seeds`, where it has one, does not count: a
        result is of one seed, which its name tells, whatever the company.
    module : str
        Dotted name of the module that computes; it and what it imports of this package make the
        code version.
    root : path-like, optional
        Folder of all results; results/ of the repository when not given.
    folder : path-like, optional
        Where the results lie, in place of a folder named by the key: they may then be of another
        config, code or data, and are refused.
    read : mapping of str to str, optional
        Fingerprints of data, by the dotted name of the module that reads them. They take the place
        of its code: what was read counts, how it was read does not.
    """

    def __init__(
        self,
        experiment: str,
        config: Any,
        *,
        module: str,
        root: str | os.PathLike | None = None,
        folder: str | os.PathLike | None = None,
        read: Mapping[str, str] | None = None,
    ) -> None:
        own = dataclasses.asdict(config) | ({"data": dict(read)} if read else {})
        own.pop("seeds", None)
        self.config = json.loads(json.dumps(own))  # as a file gives it back
        self.code = code_digest(module, without=read or ())
        content = json.dumps([self.config, self.code], sort_keys=True)
        self.key = hashlib.sha256(content.encode()).hexdigest()[:12]
        keyed = Path(root or RESULTS).resolve() / experiment / self.key
        self.folder = keyed if folder is None else Path(folder)

    def checkpoint(self, name: str) -> Path:
        """Give the file where the computation of a result may keep its state."""
        return self.folder / f"{name}.checkpoint.npz"

    def load(self, name: str) -> Result | None:
        """Read a result.

        Parameters
        ----------
        name : str

        Returns
        -------
        result : Result or None
            None where there is none. A damaged one counts as none, with a warning.

        Raises
        ------
        ValueError
            When it is of another config or code.
        """
        json_path, npz_path = self._paths(name)
        if not json_path.exists():
            return None
        try:
            summary = json.loads(json_path.read_text(encoding="utf-8"))
            if not isinstance(summary, dict) or not isinstance(summary["config"], dict):
                raise ValueError("it is no JSON object with a config")
            checksum = hashlib.sha256(npz_path.read_bytes()).hexdigest()
            if summary.pop("arrays_sha256") != checksum:
                raise ValueError(f"{npz_path} is not the file that {json_path} belongs to")
            result = Result(summary, load_arrays(npz_path))
        except (ValueError, KeyError, OSError) as error:
            warnings.warn(f"result {json_path} is damaged and made anew: {error}", stacklevel=2)
            return None
        self.require_same(summary["config"], summary.get("code"), source=json_path)
        return result

    def require_same(self, config: Mapping[str, Any], code: Any, *, source: Path) -> None:
        """Refuse what another config or another state of the code has made.

        Parameters
        ----------
        config : mapping
            As saved.
        code : str
            As saved.
        source : Path
            The file that tells them.

        Raises
        ------
        ValueError
            Names the settings that differ.
        """
        saved, own = (
            {**{name: _in_words(value) for name, value in settings.items()}, "code": str(version)}
            for settings, version in ((config, code), (self.config, self.code))
        )
        if text := differences(saved, own):
            raise ValueError(
                f"{source} is of a run under other settings ({text}): name another folder, or "
                "delete the files of that run"
            )

    def save(
        self, name: str, summary: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Result:
        """Write a result, whole or not at all.

        Parameters
        ----------
        name : str
        summary : mapping
            JSON-able numbers and strings; config, code and versions are added.
        arrays : mapping of str to ndarray

        Returns
        -------
        result : Result
            As `load` gives it back.

        Raises
        ------
        OSError
            When the folder cannot be written or the disk is full.
        """
        json_path, npz_path = self._paths(name)
        save_arrays(npz_path, arrays)
        document = {
            **summary,
            "config": self.config,
            "code": self.code,
            "versions": versions(),
            "arrays_sha256": hashlib.sha256(npz_path.read_bytes()).hexdigest(),
        }
        write_text(json_path, json.dumps(document, indent=1, sort_keys=True))
        result = self.load(name)
        if result is None:
            raise OSError(f"{json_path} could not be read back after writing")
        return result

    def _paths(self, name: str) -> tuple[Path, Path]:
        if not re.fullmatch(r"[\w.+-]+", name):
            raise ValueError(f"a result's name is one word of letters, digits, ._+-; got {name!r}")
        return self.folder / f"{name}.json", self.folder / f"{name}.npz"


def config_from(cls: type, parameters: Mapping[str, Any]) -> Any:
    """Make a config from parameters, refusing what the config does not know.

    Parameters
    ----------
    cls : type
        A frozen dataclass.
    parameters : mapping
        Lists become tuples, as YAML has no tuples.

    Returns
    -------
    config : cls

    Raises
    ------
    TypeError
        When a name is unknown (with the nearest known one) or a value has the wrong type.
    """
    import difflib

    known = {field.name: field for field in dataclasses.fields(cls)}
    values = {}
    for name, value in parameters.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {sorted(known)}"
            raise TypeError(f"{cls.__name__} has no parameter {name!r}{hint}")
        value = tuple(value) if isinstance(value, list) else value
        default = known[name].default
        if not _same_type(value, default):
            raise TypeError(
                f"{cls.__name__}.{name} must be of type {type(default).__name__} like its default "
                f"{default!r}, got {value!r} of type {type(value).__name__}"
            )
        values[name] = value
    return cls(**values)


def write_record(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Write a summary of finished runs as JSON, with the versions that made it.

    Parameters
    ----------
    path : path-like
    record : mapping
        JSON-able; every entry of a list at its top stands on a line of its own.
    """
    document = {**record, "versions": versions()}
    lines = ",\n".join(f" {json.dumps(k)}: {_lines(v)}" for k, v in document.items())
    write_text(path, f"{{\n{lines}\n}}\n")


def versions() -> dict[str, str]:
    """Versions that a result may depend on.

    Returns
    -------
    versions : dict of str to str
    """
    from importlib.metadata import version

    packages = ("torch", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _lines(value: Any) -> str:
    if not (isinstance(value, list) and value):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in value) + "\n ]"


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _same_type(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, tuple) and isinstance(value, tuple):
        return not default or all(_same_type(item, default[0]) for item in value)
    return default is None or value is None or isinstance(value, type(default))
