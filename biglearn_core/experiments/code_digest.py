"""The state of the code as a short fingerprint: what a result is keyed by beside its config."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from biglearn_core.system.paths import REPOSITORY

__all__ = ["code_digest", "code_files"]


def code_digest(module: str, *, without: Collection[str] = ()) -> str:
    """Fingerprint of a module, all that it imports of this repository, and the settings beside it.

    Parameters
    ----------
    module : str
        Dotted name.
    without : collection of str
        As in `code_files`.

    Returns
    -------
    digest : str
        Twelve hexadecimal digits. Comments, docstrings and layout do not enter.

    Raises
    ------
    ModuleNotFoundError
        When there is no such module.
    ValueError
        When one of `without` is not imported.
    """
    contents = {}
    for name, path in code_files(module, without=without).items():
        text = path.read_text(encoding="utf-8")
        contents[name] = _parsed(text).code if path.suffix == ".py" else text
    content = json.dumps(sorted(contents.items()))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def code_files(module: str, *, without: Collection[str] = ()) -> dict[str, Path]:
    """Find what a module's outcome depends on: sources, and YAML files in the folders of these.

    Followed are all forms of import, wherever they stand, into the module's own package and into
    every package that lies in the repository. A package's `__init__` counts where a name is taken
    from it, not where it is only passed through on the way to a submodule.

    Parameters
    ----------
    module : str
        Dotted name.
    without : collection of str
        Modules, by their dotted names, that neither count nor are followed. What they import counts
        where another module imports it, too; a package stands for its `__init__` alone. For those
        whose outcome is in the key by itself.

    Returns
    -------
    files : dict of str to Path
        By dotted name, with the file's name behind it for YAML.

    Raises
    ------
    ModuleNotFoundError
        When there is no such module.
    ValueError
        When one of `without` is not imported: it may have been moved.
    """
    own = module.partition(".")[0]
    found: dict[str, Path] = {}
    waiting, met = [module], set()
    while waiting:
        name = waiting.pop()
        if name in without:
            met.add(name)
        if name in found or name in met:
            continue
        path = _source(name, own)
        if path is None:
            raise ModuleNotFoundError(f"no module {name!r} in the packages of this repository")
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for settings in path.parent.glob("*.y*ml"):
            found[f"{package}/{settings.name}"] = settings
        waiting += _imported(path.read_text(encoding="utf-8"), package, own)
    if unknown := [name for name in without if name not in met]:
        raise ValueError(f"{module} does not import {unknown[0]!r}, which was to be left out")
    return found


def _imported(text: str, package: str, own: str) -> Iterator[str]:
    """Give the modules of this repository that a module of `package` imports."""
    for node in _parsed(text).imports:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _source(alias.name, own):
                    yield alias.name
        else:
            origin = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*parts, *origin.split(".")]).rstrip(".")
            for alias in node.names:
                for name in (f"{origin}.{alias.name}", origin):
                    if _source(name, own):
                        yield name
                        break


def _source(name: str, own: str) -> Path | None:
    """Return a module's file, None where it is not of this repository or there is none.

    Names are compared with the folder's own list: some file systems take gmm.py for GMM.py.
    """
    top, *parts = name.split(".")
    folder = _package(top) if top == own or (REPOSITORY / top).is_dir() else None
    if folder is None:
        return None
    for position, part in enumerate(parts):
        entries = {entry.name for entry in folder.iterdir()}
        if part in entries and (folder / part).is_dir():
            folder = folder / part
        elif f"{part}.py" in entries and position == len(parts) - 1:
            return folder / f"{part}.py"
        else:
            return None
    return folder / "__init__.py" if (folder / "__init__.py").exists() else None


def _package(top: str) -> Path | None:
    spec = importlib.util.find_spec(top)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


class _Module(NamedTuple):
    """What a source says: its import statements, and its code without docstrings."""

    imports: tuple[ast.Import | ast.ImportFrom, ...]
    code: str


@cache  # an experiment's stores ask for the same sources again and again
def _parsed(text: str) -> _Module:
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (ast.get_docstring(node, clean=False) is not None):
            node.body = node.body[1:]
    imports = tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    return _Module(imports, ast.dump(tree))
