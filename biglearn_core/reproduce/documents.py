"""JSON and YAML files: read as a whole, and held against the shape that their reader relies on.

A shape is a function of a value that raises `MisshapenError` where the value has another form.
Small ones are put together: `each(number)` is a mapping of numbers.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "MisshapenError",
    "Shape",
    "count",
    "each",
    "entries",
    "items",
    "number",
    "or_null",
    "plain",
    "read_document",
    "text",
]

Shape = Callable[[Any], None]

# Far more than any file of ours has: recursion over what is read ends, squares and sums are finite.
_MAX_DEPTH = 50
_LARGEST = 1e100


class MisshapenError(ValueError):
    """A value has another form than is needed.

    Parameters
    ----------
    needed : str
    found : object
    """

    def __init__(self, needed: str, found: Any) -> None:
        super().__init__(needed)
        self.needed, self.found = needed, found
        self.path: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"at {', '.join(self.path)}: " if self.path else ""
        return f"{where}{self.needed} is needed, found {reprlib.repr(self.found)}"


def read_document(path: Path, shape: Shape, *, remedy: str) -> Any:
    """Read a JSON or YAML file, in which no key may stand twice.

    Parameters
    ----------
    path : Path
        JSON where the name ends in .json, else YAML.
    shape : Shape
    remedy : str
        What to do where the file is of no use.

    Returns
    -------
    document : object
        Made of plain values: tags of Python are refused.

    Raises
    ------
    ValueError
        When it is damaged or misshapen; names the file, what was found and the remedy.
    OSError
        When it cannot be read.
    """
    content = path.read_bytes()
    try:
        document = _parse(content.decode("utf-8"), is_json=path.suffix == ".json")
        _refuse_depth(document)
    except Exception as error:  # PyYAML hands on whatever int(), a date or a look-up raises
        raise ValueError(f"{path} is damaged ({_cause(error)}); {remedy}") from error
    try:
        shape(document)
    except MisshapenError as error:
        raise ValueError(f"{path} has another shape: {error}; {remedy}") from error
    return document


def number(value: Any) -> None:
    """Ask for a finite number, of at most 1e100."""
    if not (_is_number(value) and abs(value) <= _LARGEST):  # false for NaN
        raise MisshapenError("a finite number", value)


def count(value: Any) -> None:
    """Ask for a whole number from 0 to 2**64 - 1, as seeds and counts are."""
    if not (_is_number(value) and isinstance(value, int) and 0 <= value < 2**64):
        raise MisshapenError("a whole number of at least 0", value)


def text(value: Any) -> None:
    """Ask for a string."""
    if not isinstance(value, str):
        raise MisshapenError("a string", value)


def plain(value: Any) -> None:
    """Ask for what JSON can hold, too: null, flags, numbers, strings, lists and mappings."""
    if isinstance(value, list):
        items(plain)(value)
    elif isinstance(value, Mapping):
        each(plain)(value)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise MisshapenError("null, a flag, a number, a string, a list or a mapping", value)


def or_null(shape: Shape) -> Shape:
    """Accept null beside a shape."""

    def check(value: Any) -> None:
        if value is not None:
            shape(value)

    return check


def items(shape: Shape) -> Shape:
    """Ask for a list whose entries have a shape."""

    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise MisshapenError("a list", value)
        for position, entry in enumerate(value):
            _within(str(position), shape, entry)

    return check


def each(shape: Shape, *, key: Shape = text) -> Shape:
    """Ask for a mapping whose values have a shape, and its keys another."""

    def check(value: Any) -> None:
        _mapping(value)
        for name, entry in value.items():
            key(name)
            _within(name, shape, entry)

    return check


def entries(needed: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Ask for a mapping with entries of given names and shapes; it may have others."""

    def check(value: Any) -> None:
        _mapping(value)
        for name, shape in needed.items():
            if name not in value:
                raise MisshapenError(f"an entry {name!r}", dict(value))
            _within(name, shape, value[name])
        for name, shape in (optional or {}).items():
            if name in value:
                _within(name, shape, value[name])

    return check


# Of a key that stands twice both parsers would keep the last value, without a word.
def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key stands twice: {next(n for n in names if names.count(n) > 1)!r}")
    return found


class _UniqueKeysLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        if isinstance(node, yaml.MappingNode):
            keys = []
            for key, _ in node.value:
                keys.append(self.construct_object(key, deep=True))
                if keys.count(keys[-1]) > 1:
                    raise yaml.MarkedYAMLError(
                        problem=f"a key stands twice: {keys[-1]!r}", problem_mark=key.start_mark
                    )
        return super().construct_mapping(node, deep=deep)


def _parse(content: str, *, is_json: bool) -> Any:
    if is_json:
        return json.loads(content, object_pairs_hook=_object)
    return yaml.load(content, _UniqueKeysLoader)


def _cause(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split()) or type(error).__name__


def _refuse_depth(document: Any) -> None:
    level = [document]
    for _ in range(_MAX_DEPTH):
        parents = {id(node): node for node in level if isinstance(node, dict | list)}.values()
        level = [
            child
            for node in parents
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise ValueError(f"nested more than {_MAX_DEPTH} deep")


def _mapping(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise MisshapenError("a mapping", value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _within(name: str, shape: Shape, value: Any) -> None:
    try:
        shape(value)
    except MisshapenError as error:
        error.path = (name, *error.path)
        raise
