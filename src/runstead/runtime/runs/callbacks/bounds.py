"""The size of a run event's content: bounded, so that one picture or one long document does not fill the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runstead.runtime.serialization import encode, jsonable

MAX_CONTENT: Final = 64 * 1024
"""Bytes of an event's content as JSON. A longer one is shortened."""

_TEXT_LENGTHS: Final = (8_192, 1_024, 128)
"""Characters that texts are cut to, one after the other, until the content fits."""
_NAMES: Final = ("type", "id", "name", "call_id")
"""Fields that are kept when nothing else fits."""
_MAX_ENTRIES: Final = 64
_MAX_DEPTH: Final = 12


def bounded(content: object) -> tuple[Any, int | None]:
    """Return the content, and its former size in bytes if it had to be shortened: long texts and lists are cut."""
    size = len(encode(content))
    if size <= MAX_CONTENT:
        return content, None
    plain = jsonable(content)
    for length in _TEXT_LENGTHS:
        shortened = _shortened(plain, length, _MAX_DEPTH)
        if len(encode(shortened)) <= MAX_CONTENT:
            return shortened, size
    kept = {
        name: plain[name] for name in ("type", "id", "name", "call_id") if isinstance(plain, dict) and name in plain
    }
    return _shortened(kept, _TEXT_LENGTHS[-1], 1), size


def _shortened(value: object, length: int, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= length else f"{value[:length]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        if depth == 0:
            return {}
        entries = list(value.items())[:_MAX_ENTRIES]
        return {name[:length]: _shortened(one, length, depth - 1) for name, one in entries}
    if isinstance(value, list):
        return [] if depth == 0 else [_shortened(one, length, depth - 1) for one in value[:_MAX_ENTRIES]]
    return value
