"""Authorization: the port of the auth handlers, and the interpretation of their results.

A handler may return a filter over metadata: matching objects of any owner in the tenant are accessible to the actor,
and all others look missing. Without a filter, the actor accesses its own objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import orjson

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.metadata_filter import AllOf, AnyOf, FieldEquals, MetadataFilter, matches_metadata

from .errors import WireError

Resource: TypeAlias = Literal["threads", "assistants", "crons", "store"]
Action: TypeAlias = Literal[
    "create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"
]
Filters: TypeAlias = JsonMapping
"""Result of a handler, as the reference server defines it: each key of the metadata equals its value, or satisfies
``{"$eq": value}`` or ``{"$contains": value or list}``; ``$or`` and ``$and`` take lists of at least two filters."""

_OPERATORS: Final = ("$eq", "$contains")
_GROUPS: Final = ("$or", "$and")
_DEEPEST: Final = 2
"""Maximum nesting of groups."""


class InvalidFilter(WireError):
    """The handler returned a filter that cannot be applied, which is a mistake of its author, not of the client."""

    status = 500

    def __init__(self, problem: str) -> None:
        super().__init__(f"This server's auth handler returned a filter that cannot be applied: {problem}")


class Authorizer(Protocol):
    """Authorizer of every request that accesses objects of users."""

    async def authorize(
        self, actor: ActorContext, resource: Resource, action: Action, value: JsonObject
    ) -> Filters | None:
        """Return the filter that accessible objects match, of any owner; None or an empty filter for the actor's own
        objects.

        ``value`` describes the request. The handler may change it in place (add metadata, rewrite a namespace); the
        request is executed with the changed value. Raises Forbidden, or Refused.
        """
        ...


def matches(metadata: JsonMapping, filters: Filters | None) -> bool:
    """Return whether an actor with ``filters`` may access an object with this metadata. Raises InvalidFilter."""
    return matches_metadata(metadata, filter_of(filters or {}))


def filter_of(filters: Filters) -> MetadataFilter:
    """Convert a handler's result to a filter for stores. Raises InvalidFilter."""
    return _all_of(filters, 0)


def item_filter_of(filters: Filters, asked: object) -> JsonObject:
    """Return a filter over the values of items that combines a handler's result with the client's filter ``asked``.

    Raises InvalidFilter for a result with other operators than equality, which the store does not support.
    """
    wanted: JsonObject = {}
    for key, value in filters.items():
        operator = next(iter(value)) if isinstance(value, Mapping) and len(value) == 1 else None
        if key in _GROUPS or (isinstance(value, Mapping) and operator != "$eq"):
            raise InvalidFilter(f"{key!r}: filters for items support only values and {{'$eq': value}}")
        wanted[key] = {"$eq": _plain(key, value["$eq"] if operator else value)}
    # If both name the same field, the handler's condition replaces the client's.
    return {**asked, **wanted} if isinstance(asked, Mapping) else wanted


def _all_of(filters: object, depth: int) -> MetadataFilter:
    if not isinstance(filters, Mapping) or not all(isinstance(key, str) for key in filters):
        raise InvalidFilter("a filter is a dict whose keys are strings")
    if depth > 0 and not filters:
        raise InvalidFilter("an empty filter in $or or $and would match everything")
    contained: JsonObject = {}
    parts: list[MetadataFilter] = []
    for key, wanted in filters.items():
        if key in _GROUPS:
            parts.append(_group(key, wanted, depth))
        elif key.startswith("$"):
            raise InvalidFilter(f"unknown operator {key!r}; known operators are {', '.join((*_GROUPS, *_OPERATORS))}")
        elif isinstance(condition := _condition(key, wanted), FieldEquals):
            parts.append(condition)
        else:
            contained |= condition
    if not parts:
        return contained
    return AllOf((contained, *parts)) if contained else AllOf(tuple(parts))


def _group(operator: str, filters: object, depth: int) -> MetadataFilter:
    if depth >= _DEEPEST:
        raise InvalidFilter(f"$or and $and may be nested at most {_DEEPEST} levels deep")
    if not isinstance(filters, list | tuple) or len(filters) < 2:
        raise InvalidFilter(f"{operator} takes a list of at least 2 filters")
    parts = tuple(_all_of(one, depth + 1) for one in filters)
    return AnyOf(parts) if operator == "$or" else AllOf(parts)


def _condition(key: str, wanted: object) -> JsonMapping | FieldEquals:
    """Return containment where it is equivalent to the operator, since stores may have an index for it."""
    operator, value = "$eq", wanted
    if isinstance(wanted, Mapping):
        if len(wanted) != 1 or next(iter(wanted)) not in _OPERATORS:
            raise InvalidFilter(f"{key!r} needs a value, {{'$eq': value}} or {{'$contains': value}}")
        operator, value = next(iter(wanted.items()))
    value = _plain(key, value)
    if operator == "$eq":
        return {key: value} if _is_scalar(value) else FieldEquals(key, value)
    several = value if isinstance(value, list) else [value]
    if not all(_is_scalar(one) for one in several):
        raise InvalidFilter(f"{key!r}: $contains takes a string, a number, true or false, or a list of these")
    return {key: several}


def _plain(key: str, value: object) -> Any:
    """Return the value as metadata contain it: ids and dates become strings."""
    try:
        plain = orjson.loads(orjson.dumps(list(value) if isinstance(value, set | frozenset) else value))
    except (TypeError, RecursionError) as error:
        raise InvalidFilter(f"{key!r}: a {type(value).__name__} is not a JSON value") from error
    if plain is None and value is not None:
        raise InvalidFilter(f"{key!r}: only finite numbers can be compared")
    return plain


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool)
