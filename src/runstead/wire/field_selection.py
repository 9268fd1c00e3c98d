"""Selection of parts of a response: ``select`` names fields, ``extract`` reads paths inside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from runstead.runtime.json_types import JsonMapping, JsonObject

from .errors import Unprocessable

_STEP: Final = re.compile(r"(?:^|\.)([A-Za-z0-9_\-]+)|\[(-?\d{1,9})\]")
_MAX_PATHS: Final = 10


def check_select(select: Sequence[str] | None, known: Sequence[str], *, below: Sequence[str] = ()) -> None:
    """Raise Unprocessable for a field that the response lacks. Keys of the fields in ``below`` can be selected too."""
    for name in select or ():
        head, dot, rest = name.partition(".")
        if name not in known and not (dot and rest and head in below):
            raise Unprocessable(f"select: {name!r} is not one of {', '.join(known)}")


def selected(fields: JsonMapping, select: Sequence[str] | None) -> JsonMapping:
    """Return only the selected fields, in their own order; all fields if none is selected.

    ``values.messages`` keeps one key of a field that is an object.
    """
    if not select:
        return fields
    keys: dict[str, list[str]] = {}
    for name in select:
        head, dot, key = name.partition(".")
        keys.setdefault(head, []).extend([key] if dot else [])
    whole = set(select)
    return {
        name: value if name in whole else _keys_of(value, keys[name]) for name, value in fields.items() if name in keys
    }


class Paths:
    """Named paths into a response, such as ``{"last": "values.messages[-1].content"}``. Raises Unprocessable."""

    def __init__(self, paths: Mapping[str, str], roots: Sequence[str]) -> None:
        if len(paths) > _MAX_PATHS:
            raise Unprocessable(f"extract: at most {_MAX_PATHS} paths, got {len(paths)}")
        self._steps = {alias: _steps_of(path, roots) for alias, path in paths.items()}

    @property
    def roots(self) -> set[str]:
        """Fields with which the paths begin."""
        return {str(steps[0]) for steps in self._steps.values()}

    def read(self, fields: JsonMapping) -> JsonObject:
        """Return the value at each path; None if there is none."""
        plain = orjson.loads(orjson.dumps({steps[0]: fields.get(str(steps[0])) for steps in self._steps.values()}))
        return {alias: _walk(plain, steps) for alias, steps in self._steps.items()}


def _steps_of(path: str, roots: Sequence[str]) -> list[str | int]:
    steps: list[str | int] = []
    place = 0
    while place < len(path):
        if not (match := _STEP.match(path, place)):
            raise Unprocessable(f"extract: {path!r} is not a path; write it like 'values.messages[-1].content'")
        steps.append(match[1] if match[1] is not None else int(match[2]))
        place = match.end()
    if not steps or steps[0] not in roots:
        raise Unprocessable(f"extract: {path!r} must begin with one of {', '.join(roots)}")
    return steps


def _walk(value: Any, steps: Sequence[str | int]) -> object:
    for step in steps:
        if isinstance(step, int):
            inside = isinstance(value, list) and -len(value) <= step < len(value)
        else:
            inside = isinstance(value, dict) and step in value
        if not inside:
            return None
        value = value[step]
    return value


def _keys_of(value: object, keys: Sequence[str]) -> object:
    plain = orjson.loads(orjson.dumps(value))
    return {key: plain[key] for key in keys if key in plain} if isinstance(plain, dict) else plain
