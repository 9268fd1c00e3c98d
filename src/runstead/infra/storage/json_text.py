"""JSON as stored: text that preserves every value, also those that strict JSON does not allow.

orjson is quick and strict: it refuses unpaired surrogates and integers over 64 bits, and writes NaN as null. Values
with one of these go through the standard library; their text starts with a blank, so that the standard library also
reads it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

_BY_THE_STANDARD_LIBRARY = " "


class NotJson(ValueError):
    """The value contains something that JSON cannot represent."""


def dump(value: object) -> str:
    """Return ``value`` as text. Mappings, tuples and dataclasses become objects and arrays. Raises NotJson."""
    try:
        text = orjson.dumps(value, default=_plain)
    except TypeError:
        return _dump_slowly(value)
    if b"null" in text and _has_nan(value):
        return _dump_slowly(value)
    return text.decode()


def load(text: str | None) -> Any:
    """Return the value of ``text``; None for None."""
    if text is None:
        return None
    return json.loads(text) if text.startswith(_BY_THE_STANDARD_LIBRARY) else orjson.loads(text)


def _dump_slowly(value: object) -> str:
    try:
        return _BY_THE_STANDARD_LIBRARY + json.dumps(value, default=_plain, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"this cannot be stored as JSON: {error}") from error


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _has_nan(value: object) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return True
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        elif dataclasses.is_dataclass(one) and not isinstance(one, type):
            waiting.extend(getattr(one, field.name) for field in dataclasses.fields(one))
    return False
