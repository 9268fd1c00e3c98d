"""Description of a value that user code returned, for log lines: its keys and types, without its texts.

An invalid value may contain parts of the data that the code received.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MOST: Final = 10
_DEEPEST: Final = 4
_LONGEST: Final = 60


def value_shape(value: object, depth: int = 0) -> str:
    """Return a description of ``value``: numbers literally, everything else by type, length and keys."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if depth == _DEEPEST or not isinstance(value, Mapping | list | tuple):
        return f"a {type(value).__name__}"
    if isinstance(value, Mapping):
        some = [f"{str(key)[:_LONGEST]!r}: {value_shape(one, depth + 1)}" for key, one in list(value.items())[:_MOST]]
    else:
        some = [value_shape(one, depth + 1) for one in value[:_MOST]]
    more = ["..."] if len(value) > _MOST else []
    return f"{{{', '.join(some + more)}}}" if isinstance(value, Mapping) else f"[{', '.join(some + more)}]"
