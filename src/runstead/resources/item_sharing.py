"""Rooms of items: one for each user, and one for each tenant with the items that auth handlers share.

A handler shares a namespace by redirecting a client's request to it. From the first item on, that namespace and
everything below it are shared: graphs of the tenant read its items in addition to their user's own, and write theirs
there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from runstead.runtime.actor_context import ActorContext, namespace_label

from .item_scoping import ALL, Namespace, ScopedBatch

# No user has such a label: quoting removes every "@".
_SHARED: Final = "@tenant"
_MARKS: Final = "@shared"
"""Room that contains one item for each namespace that is shared with everything below it."""
_MARK: Final = "shared"


def own_room(actor: ActorContext) -> Namespace:
    return (namespace_label(actor.tenant_id), namespace_label(actor.user_id))


class SharedRoom:
    """Room of one actor that combines the actor's own room and the tenant's. Items of the tenant hide items with the
    same key.

    ``led_to`` is the namespace to which a handler has redirected the actor; every write is shared below it. Without it,
    a write is shared if its namespace is already shared.
    """

    def __init__(self, inner: BaseStore, actor: ActorContext, led_to: Namespace | None) -> None:
        self._inner, self._led_to = inner, led_to
        tenant = namespace_label(actor.tenant_id)
        self._own, self._shared, self._marks = own_room(actor), (tenant, _SHARED), (tenant, _MARKS)

    async def answer(self, asked: Sequence[Op]) -> list[Result]:
        """Return a result for each operation, as `BaseStore.abatch` does."""
        shared_puts = await self._shared_puts(asked)
        wide = [_whole(op) for op in asked]
        # A deletion removes the item from both rooms.
        in_shared = [
            index for index, op in enumerate(wide) if index in shared_puts or (not _is_put(op) and self._is_led(op))
        ]
        in_own = [index for index, op in enumerate(wide) if _is_deletion(op) or index not in shared_puts]
        shared = ScopedBatch(self._shared, [wide[index] for index in in_shared])
        own = ScopedBatch(self._own, [wide[index] for index in in_own])
        marks = self._new_marks(asked)
        found = await self._inner.abatch([*shared.ops, *own.ops, *marks])
        theirs = dict(zip(in_shared, shared.results(found[: len(in_shared)]), strict=True))
        mine = dict(zip(in_own, own.results(found[len(in_shared) : len(in_shared) + len(in_own)]), strict=True))
        return [_merged(op, theirs.get(index), mine.get(index)) for index, op in enumerate(asked)]

    async def _shared_puts(self, asked: Sequence[Op]) -> set[int]:
        """Return the indices of the operations that write to the tenant's room."""
        puts = {index: op for index, op in enumerate(asked) if isinstance(op, PutOp)}
        if self._led_to is not None or not puts:
            return {index for index, op in puts.items() if self._is_led(op)}
        above = {op.namespace[:depth] for op in puts.values() for depth in range(1, len(op.namespace) + 1)}
        known = sorted(above)
        batch = ScopedBatch(self._marks, [GetOp(namespace, _MARK, refresh_ttl=False) for namespace in known])
        found = batch.results(await self._inner.abatch(batch.ops))
        marked = {namespace for namespace, mark in zip(known, found, strict=True) if mark is not None}
        return {
            index
            for index, op in puts.items()
            if _is_deletion(op) or any(op.namespace[:depth] in marked for depth in range(1, len(op.namespace) + 1))
        }

    def _is_led(self, op: Op) -> bool:
        """Return whether an operation stays within the namespace to which the handler has redirected the actor, if
        any."""
        wanted = self._led_to or ()
        return any(namespace[: len(wanted)] == wanted for namespace in _namespaces(op))

    def _new_marks(self, asked: Iterable[Op]) -> list[Op]:
        """Return the operations that mark the namespace as shared, if anything is written to it."""
        if self._led_to is None or not any(_is_put(op) and not _is_deletion(op) and self._is_led(op) for op in asked):
            return []
        return ScopedBatch(self._marks, [PutOp(self._led_to, _MARK, {}, index=False, ttl=None)]).ops


def _merged(op: Op, shared: Result, own: Result) -> Result:
    if isinstance(op, GetOp):
        return shared if shared is not None else own
    if isinstance(op, SearchOp):
        return _page(cast("list[SearchItem]", shared or []), cast("list[SearchItem]", own), op)
    if isinstance(op, ListNamespacesOp):
        both = {*cast("list[Namespace]", shared or []), *cast("list[Namespace]", own)}
        return sorted(both)[op.offset : op.offset + op.limit]
    return None


def _page(shared: Sequence[SearchItem], own: Sequence[SearchItem], op: SearchOp) -> list[SearchItem]:
    """Return one page of both rooms: best or newest first, as in one room."""
    hidden = {_place(item) for item in shared}
    both = [*shared, *(item for item in own if _place(item) not in hidden)]
    both.sort(key=_place)
    if any(item.score is not None for item in both):
        both.sort(key=lambda item: item.score or 0.0, reverse=True)
    else:
        both.sort(key=lambda item: item.updated_at, reverse=True)
    return both[op.offset : op.offset + op.limit]


def _place(item: Item) -> tuple[Namespace, str]:
    return tuple(item.namespace), item.key


def _whole(op: Op) -> Op:
    """Return the operation with a limit that covers everything a page of two rooms may contain."""
    if isinstance(op, SearchOp):
        return op._replace(limit=op.limit + op.offset, offset=0)
    if isinstance(op, ListNamespacesOp):
        return op._replace(limit=ALL, offset=0)
    return op


def _namespaces(op: Op) -> list[Namespace]:
    """Return the namespaces that an operation reads or writes; the root if it names none."""
    if isinstance(op, SearchOp):
        return [op.namespace_prefix]
    if isinstance(op, ListNamespacesOp):
        conditions = op.match_conditions or ()
        return [tuple(one.path) for one in conditions if one.match_type == "prefix"] or [()]
    return [op.namespace]


def _is_put(op: Op) -> bool:
    return isinstance(op, PutOp)


def _is_deletion(op: Op) -> bool:
    return isinstance(op, PutOp) and op.value is None
