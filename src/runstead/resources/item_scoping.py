"""Batches of item operations inside one room: namespaces get a prefix on the way in, and lose it on the way out.

Values that cannot be stored are refused here, before the store is called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final, TypeAlias, TypeVar

import orjson
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from runstead.runtime.json_types import JsonMapping

from .item_filters import InvalidFilter, check_filter

MAX_TTL: Final = 500_000_000
"""Minutes, nearly a thousand years: adding it to a date must result in a valid date."""

Namespace: TypeAlias = tuple[str, ...]
ItemT = TypeVar("ItemT", bound=Item)


class InvalidItem(ValueError):
    """The item cannot be stored: its key, namespace or value is not valid in JSON or in a database."""


class ScopedBatch:
    """Batch with every namespace below the room's prefix for the inner store, and its results without the prefix."""

    def __init__(self, room: Namespace, asked: Sequence[Op]) -> None:
        self._prefix = room
        self._asked = asked
        self.ops = [self._inward(op) for op in asked]

    def results(self, found: Sequence[Result]) -> list[Result]:
        return [self._outward(op, result) for op, result in zip(self._asked, found, strict=True)]

    def _inward(self, op: Op) -> Op:
        if isinstance(op, GetOp):
            return op._replace(namespace=self._within(op.namespace), key=_storable(op.key))
        if isinstance(op, PutOp):
            _check_value(op.value)
            _check_index(op.index)
            _check_ttl(op.ttl)
            return op._replace(namespace=self._within(op.namespace), key=_storable(op.key))
        if isinstance(op, SearchOp):
            _check_search(op)
            return op._replace(namespace_prefix=self._within(op.namespace_prefix))
        return self._inward_listing(op)

    def _inward_listing(self, op: ListNamespacesOp) -> ListNamespacesOp:
        conditions = [condition for condition in op.match_conditions or () if condition.match_type == "prefix"]
        prefixes = tuple(condition._replace(path=self._within(tuple(condition.path))) for condition in conditions) or (
            MatchCondition("prefix", self._prefix),
        )
        if _has_suffix(op):
            # A suffix might match labels of the prefix, so suffixes are matched, cut and paged on the way out.
            return ListNamespacesOp(match_conditions=prefixes, max_depth=None, limit=ALL, offset=0)
        depth = None if op.max_depth is None else op.max_depth + len(self._prefix)
        return op._replace(match_conditions=prefixes, max_depth=depth)

    def _outward(self, op: Op, result: Result) -> Result:
        if isinstance(result, Item):
            return self._bare(result)
        if isinstance(op, SearchOp) and isinstance(result, list):
            return [self._bare(item) for item in result if isinstance(item, SearchItem)]
        if isinstance(op, ListNamespacesOp) and isinstance(result, list):
            return self._outward_listing(op, [self._without(one) for one in result if isinstance(one, tuple)])
        return result

    def _outward_listing(self, op: ListNamespacesOp, found: list[Namespace]) -> list[Namespace]:
        if not _has_suffix(op):
            return found
        wanted = [tuple(c.path) for c in op.match_conditions or () if c.match_type == "suffix"]
        kept = [namespace for namespace in found if all(_ends_with(namespace, path) for path in wanted)]
        cut = sorted({namespace[: op.max_depth] for namespace in kept})
        return cut[op.offset : op.offset + op.limit]

    def _bare(self, item: ItemT) -> ItemT:
        # A copy: the store may return the very object that it keeps.
        bare = copy(item)
        bare.namespace = self._without(tuple(item.namespace))
        return bare

    def _within(self, namespace: Namespace) -> Namespace:
        return self._prefix + tuple(_storable(label) for label in namespace)

    def _without(self, namespace: Namespace) -> Namespace:
        return namespace[len(self._prefix) :]


ALL: Final = 2**31 - 1
"""More than any store returns."""


def _storable(text: str) -> str:
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidItem(f"{text!a} holds half of a surrogate pair; use whole characters") from error
        if "\0" in text:
            raise InvalidItem(f"{text!a} holds a NUL character; leave it out")
    return text


def _check_value(value: JsonMapping | None) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidItem(f"the value is a {type(value).__name__}; an item's value is an object (a dict)")
    try:
        text = orjson.dumps(dict(value))
    except (TypeError, RecursionError) as error:
        raise InvalidItem(f"the value cannot be stored as JSON: {error}") from error
    if b"null" in text and (place := _not_finite(value)):
        # orjson would silently write null.
        raise InvalidItem(
            f"the value cannot be stored as JSON: {place} is not a finite number; leave it out, or use null"
        )


def _not_finite(value: object) -> str | None:
    """Return the location of a NaN or an infinity in ``value``; None if there is none."""
    waiting: list[tuple[str, Any]] = [("value", value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return place
        if isinstance(one, Mapping):
            waiting += [(f"{place}.{name}", below) for name, below in one.items()]
        elif isinstance(one, list | tuple):
            waiting += [(f"{place}[{number}]", below) for number, below in enumerate(one)]
    return None


def _check_index(index: object) -> None:
    if index is None or index is False:
        return
    if not isinstance(index, list | tuple) or not all(isinstance(path, str) for path in index):
        raise InvalidItem('index: must be false, or a list of paths such as ["text", "parts[*].text"]')
    for path in index:
        if not path.strip() or any(path.count(pair[0]) != path.count(pair[1]) for pair in ("[]", "{}")):
            raise InvalidItem(f'index: {path!r} is not a path; write one such as "text" or "parts[*].text"')


def _check_ttl(ttl: object) -> None:
    if ttl is not None and not (isinstance(ttl, int | float) and abs(ttl) <= MAX_TTL):
        raise InvalidItem(f"ttl: {ttl!r} is not a number of minutes up to {MAX_TTL}")


def _check_search(op: SearchOp) -> None:
    try:
        check_filter(op.filter)
    except InvalidFilter as error:
        raise InvalidItem(str(error)) from error
    if op.limit < 0 or op.offset < 0:
        raise InvalidItem("limit and offset cannot be negative")


def _has_suffix(op: ListNamespacesOp) -> bool:
    return any(condition.match_type == "suffix" for condition in op.match_conditions or ())


def _ends_with(namespace: Namespace, path: Sequence[str]) -> bool:
    tail = namespace[len(namespace) - len(path) :] if len(path) <= len(namespace) else None
    return tail is not None and all(wanted in ("*", label) for wanted, label in zip(path, tail, strict=True))
