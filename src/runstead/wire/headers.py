"""Which headers of a request become part of a run's configurable, and as what.

Those that the operator's configuration lets in, as they are. And those by which a caller hands on its trace, whoever is
configured: they say where the run belongs, and nothing about who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson

TRACE: Final = "langsmith-trace"
_BAGGAGE: Final = "baggage"
_CARRIED: Final = ("langsmith-metadata", "langsmith-tags", "langsmith-project")
"""What is taken from the baggage. Not the rest: it may name other servers to send the trace to."""


def configurable_of(headers: Mapping[str, str], is_let_in: Callable[[str], bool]) -> dict[str, Any]:
    """``headers`` by lower-case name. A baggage without a trace is somebody else's."""
    found: dict[str, Any] = {
        name: value for name, value in headers.items() if name not in (TRACE, _BAGGAGE) and is_let_in(name)
    }
    if trace := headers.get(TRACE):
        found[TRACE] = trace
        found.update(_carried(headers.get(_BAGGAGE, "")))
    return found


def came_with_request(name: str, is_let_in: Callable[[str], bool]) -> bool:
    """Return whether a key of a run's configurable is one that `configurable_of` makes."""
    return name == TRACE or name in _CARRIED or is_let_in(name)


def _carried(baggage: str) -> Iterator[tuple[str, Any]]:
    for item in baggage.split(","):
        name, _, text = item.strip().partition("=")
        value = unquote(text)
        if name == "langsmith-metadata":
            try:
                metadata = orjson.loads(value)
            except orjson.JSONDecodeError:
                # Not ours to judge: a trace without it is a trace.
                continue
            if isinstance(metadata, dict):
                yield name, metadata
        elif name == "langsmith-tags":
            yield name, value.split(",")
        elif name in _CARRIED:
            yield name, value
