"""Request headers that become part of a run's configurable.

Headers that the operator's configuration allows are taken unchanged. Headers of a caller's trace are always taken: they
contain the trace's parent, and no data about the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

import orjson

from runstead.runtime.json_types import JsonObject

TRACE: Final = "langsmith-trace"
_BAGGAGE: Final = "baggage"
_CARRIED: Final = ("langsmith-metadata", "langsmith-tags", "langsmith-project")
"""Keys taken from the baggage. Other keys are ignored, as they may name other servers to which the trace would be
sent."""


def configurable_of(headers: Mapping[str, str], is_let_in: Callable[[str], bool]) -> JsonObject:
    """Return the configurable from ``headers``, which are by lower-case name. A baggage without a trace is ignored."""
    found: JsonObject = {
        name: value for name, value in headers.items() if name not in (TRACE, _BAGGAGE) and is_let_in(name)
    }
    if trace := headers.get(TRACE):
        found[TRACE] = trace
        found.update(_carried(headers.get(_BAGGAGE, "")))
    return found


def came_with_request(name: str, is_let_in: Callable[[str], bool]) -> bool:
    """Return whether `configurable_of` can produce this key of a run's configurable."""
    return name == TRACE or name in _CARRIED or is_let_in(name)


def _carried(baggage: str) -> Iterator[tuple[str, object]]:
    for item in baggage.split(","):
        name, _, text = item.strip().partition("=")
        value = unquote(text)
        if name == "langsmith-metadata":
            try:
                metadata = orjson.loads(value)
            except orjson.JSONDecodeError:
                # Invalid metadata is dropped; the trace works without it.
                continue
            if isinstance(metadata, dict):
                yield name, metadata
        elif name == "langsmith-tags":
            yield name, value.split(",")
        elif name in _CARRIED:
            yield name, value
