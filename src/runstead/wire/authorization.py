"""What somebody who is known may do: the port of those who decide, and what their answer means.

An answer can be a filter over metadata: what matches is there for the one who asks, whoever in their tenant owns it,
and everything else looks absent. Without one there is what is their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext

Resource: TypeAlias = Literal["threads", "assistants", "crons", "store"]
Action: TypeAlias = Literal[
    "create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"
]
Filters: TypeAlias = Mapping[str, Any]
"""Each key of the metadata must equal its value, or fulfil ``{"$eq": value}`` or ``{"$contains": value or list}``."""

_OPERATORS: Final = ("$eq", "$contains")


class InvalidFilter(Exception):
    """A filter that nobody can apply; a mistake of whoever wrote the handler, not of the one who asks."""


class Authorizer(Protocol):
    """Decides about every request that reaches something of somebody's."""

    async def authorize(
        self, actor: ActorContext, resource: Resource, action: Action, value: dict[str, Any]
    ) -> Filters | None:
        """The filter that what is reached matches, whoever owns it; None, or an empty one, for what is the actor's own.

        ``value`` says what is asked for. It may be changed in place (metadata stamped, a namespace rewritten): what it
        is afterwards is what is done. Raises Forbidden, or Refused.
        """
        ...


def matches(metadata: Mapping[str, Any], filters: Filters | None) -> bool:
    """Whether something with this metadata is there for who was given ``filters``. Raises InvalidFilter."""
    return all(_fulfils(metadata.get(key), operator, wanted) for key, operator, wanted in _conditions(filters))


def containment_of(filters: Filters) -> dict[str, Any]:
    """The same filter as JSON that matching metadata contain, which is how stores search. Raises InvalidFilter."""
    conditions = list(_conditions(filters))
    return {
        key: (wanted if isinstance(wanted, list) else [wanted]) if operator == "$contains" else wanted
        for key, operator, wanted in conditions
    }


def _conditions(filters: Filters | None) -> list[tuple[str, str, Any]]:
    return [(key, *_condition(key, wanted)) for key, wanted in (filters or {}).items()]


def _condition(key: str, wanted: Any) -> tuple[str, Any]:
    operator, value = "$eq", wanted
    if isinstance(wanted, Mapping):
        if len(wanted) != 1 or next(iter(wanted)) not in _OPERATORS:
            raise InvalidFilter(f"filter on {key!r}: give it a value, {{'$eq': value}} or {{'$contains': value}}")
        operator, value = next(iter(wanted.items()))
    several = list(value) if operator == "$contains" and isinstance(value, list | tuple | set) else [value]
    if not all(_is_scalar(one) for one in several):
        # Searching goes by containment, which says the same as equality for these only.
        raise InvalidFilter(f"filter on {key!r}: only texts, numbers, true and false can be compared")
    return operator, (several if operator == "$contains" else value)


def _fulfils(stored: Any, operator: str, wanted: Any) -> bool:
    if operator == "$contains":
        return isinstance(stored, list | tuple) and all(any(_same(one, each) for one in stored) for each in wanted)
    return _same(stored, wanted)


def _same(one: Any, other: Any) -> bool:
    # In JSON true is no number, though it is one in Python.
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
