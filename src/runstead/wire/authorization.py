"""Authorization: the port of the auth handlers, and the meaning of their answers.

An answer can be a filter over metadata: what matches is there for the one who asks, whoever in their tenant owns it,
and everything else looks absent. Without one there is what is their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import orjson

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.metadata_filter import AllOf, AnyOf, FieldEquals, MetadataFilter, matches_metadata

from .errors import WireError

Resource: TypeAlias = Literal["threads", "assistants", "crons", "store"]
Action: TypeAlias = Literal[
    "create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"
]
Filters: TypeAlias = Mapping[str, Any]
"""A handler's answer, as the reference server reads it: each key of the metadata equals its value, or fulfils
``{"$eq": value}`` or ``{"$contains": value or list}``; ``$or`` and ``$and`` take lists of two filters or more.
"""

_OPERATORS: Final = ("$eq", "$contains")
_GROUPS: Final = ("$or", "$and")
_DEEPEST: Final = 2
"""Groups within groups, at most."""


class InvalidFilter(WireError):
    """A filter that cannot be applied; a mistake of the handler's author, not of the client."""

    status = 500

    def __init__(self, problem: str) -> None:
        super().__init__(f"This server's auth handler returned a filter that cannot be applied: {problem}")


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
    """Return whether an actor who was given ``filters`` reaches something with this metadata. Raises InvalidFilter."""
    return matches_metadata(metadata, filter_of(filters or {}))


def filter_of(filters: Filters) -> MetadataFilter:
    """Return a handler's answer as a filter that stores apply. Raises InvalidFilter."""
    return _all_of(filters, 0)


def item_filter_of(filters: Filters, asked: Any) -> dict[str, Any]:
    """Return a filter over the values of items that fulfils a handler's answer as well as what is ``asked`` for.

    Raises InvalidFilter for an answer that is more than equalities: the store compares nothing else.
    """
    wanted: dict[str, Any] = {}
    for key, value in filters.items():
        operator = next(iter(value)) if isinstance(value, Mapping) and len(value) == 1 else None
        if key in _GROUPS or (isinstance(value, Mapping) and operator != "$eq"):
            raise InvalidFilter(f"{key!r}: items are filtered by values and {{'$eq': value}} alone")
        wanted[key] = {"$eq": _plain(key, value["$eq"] if operator else value)}
    # Where both speak of a field, the handler's word counts: nothing else may be found.
    return {**asked, **wanted} if isinstance(asked, Mapping) else wanted


def _all_of(filters: Any, depth: int) -> MetadataFilter:
    if not isinstance(filters, Mapping) or not all(isinstance(key, str) for key in filters):
        raise InvalidFilter("a filter is a dict whose keys are texts")
    if depth > 0 and not filters:
        raise InvalidFilter("an empty filter in $or or $and would match everything")
    contained: dict[str, Any] = {}
    parts: list[MetadataFilter] = []
    for key, wanted in filters.items():
        if key in _GROUPS:
            parts.append(_group(key, wanted, depth))
        elif key.startswith("$"):
            raise InvalidFilter(f"there is no operator {key!r}; known are {', '.join((*_GROUPS, *_OPERATORS))}")
        elif isinstance(condition := _condition(key, wanted), FieldEquals):
            parts.append(condition)
        else:
            contained |= condition
    if not parts:
        return contained
    return AllOf((contained, *parts)) if contained else AllOf(tuple(parts))


def _group(operator: str, filters: Any, depth: int) -> MetadataFilter:
    if depth >= _DEEPEST:
        raise InvalidFilter(f"$or and $and may be nested {_DEEPEST} deep at most")
    if not isinstance(filters, list | tuple) or len(filters) < 2:
        raise InvalidFilter(f"{operator} takes a list of at least 2 filters")
    parts = tuple(_all_of(one, depth + 1) for one in filters)
    return AnyOf(parts) if operator == "$or" else AllOf(parts)


def _condition(key: str, wanted: Any) -> Mapping[str, Any] | FieldEquals:
    """Containment where it says the same as the operator, since stores may have an index over it."""
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
        raise InvalidFilter(f"{key!r}: $contains takes a text, a number, true or false, or a list of these")
    return {key: several}


def _plain(key: str, value: Any) -> Any:
    """The value as metadata hold it: ids and dates are texts there."""
    try:
        plain = orjson.loads(orjson.dumps(list(value) if isinstance(value, set | frozenset) else value))
    except (TypeError, RecursionError) as error:
        raise InvalidFilter(f"{key!r}: a {type(value).__name__} is no JSON value") from error
    if plain is None and value is not None:
        raise InvalidFilter(f"{key!r}: only finite numbers can be compared")
    return plain


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
