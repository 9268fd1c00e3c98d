"""Items: what agents remember across threads. langgraph's store, with one room per actor.

A namespace is prefixed with the actor's tenant and user before it reaches the store, and without that prefix when it
comes back: neither a graph nor a client can name, list or search what belongs to somebody else. What auth handlers
share is in the tenant's room, see `item_sharing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias, cast

from langgraph.store.base import BaseStore, Op, Result, SearchItem

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.page_budget import PageBudget, page_budget, page_within
from runstead.runtime.runs.types import Holder
from runstead.runtime.serialization import encode

from .item_scoping import InvalidItem as InvalidItem
from .item_scoping import ScopedBatch
from .item_sharing import SharedRoom, own_room

_Answering: TypeAlias = Coroutine[Any, Any, list[Result]]


class EmbeddingFailed(Exception):
    """The embedder of the configuration did not give what it should; nothing was stored or found."""


class ActorScopedStore(BaseStore):
    """A BaseStore in which every actor has a room of their own (ActorRequired without one).

    ``inner`` lives on ``loop`` (default: the running one). May be called from any other event loop, and, synchronously,
    from any other thread. With ``finds_shared``, for graphs where auth handlers may share, actors also find what their
    tenant shares; otherwise only those whose reach says so.
    """

    def __init__(
        self,
        inner: BaseStore,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        finds_shared: bool = False,
        would_block: Callable[[], bool] = lambda: False,
    ) -> None:
        """``would_block``: whether the caller's thread is needed for what the store does, and must not wait for it."""
        self._inner, self._finds_shared, self._would_block = inner, finds_shared, would_block
        self._loop = asyncio.get_running_loop() if loop is None else loop
        self.supports_ttl = inner.supports_ttl
        self.ttl_config = inner.ttl_config

    def finding_shared(self) -> ActorScopedStore:
        """Return this store for graphs where auth handlers may share items."""
        return ActorScopedStore(self._inner, self._loop, finds_shared=True, would_block=self._would_block)

    def fenced(self, check: Callable[[], object], holder: Holder) -> ActorScopedStore:
        """FenceableStore, when what is inside is one; otherwise the same."""
        fenced = getattr(self._inner, "fenced", None)
        if fenced is None:
            return self
        return ActorScopedStore(
            fenced(check, holder), self._loop, finds_shared=self._finds_shared, would_block=self._would_block
        )

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        answering, results = self._batch(ops)
        # A task of its own, on the store's loop: a caller who leaves does not tear a transaction there.
        running = asyncio.run_coroutine_threadsafe(answering, self._loop)
        return results(await asyncio.shield(asyncio.wrap_future(running)))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        if _is_running(self._loop) or self._would_block():
            raise asyncio.InvalidStateError(
                "this would block the event loop it waits for; use the async method (`await store.aget(...)`)"
            )
        answering, results = self._batch(ops)
        return results(asyncio.run_coroutine_threadsafe(answering, self._loop).result())

    def _batch(self, ops: Iterable[Op]) -> tuple[_Answering, Callable[[list[Result]], list[Result]]]:
        """Return what is to be awaited on the store's loop, and how its results are seen by the caller."""
        actor, asked = require_actor_context("the item store"), list(ops)
        led_to = actor.reach.items
        if self._finds_shared or led_to is not None:
            return _cut_after(SharedRoom(self._inner, actor, led_to).answer(asked)), list
        # Checked and read here, beside the caller, and not on the loop of all.
        own = ScopedBatch(own_room(actor), asked)
        return self._inner.abatch(own.ops), own.results


async def _cut_after(answering: _Answering) -> list[Result]:
    """What is awaited, with pages cut afterwards: a page of two rooms is made of pages that must not be cut before."""
    budget = page_budget()
    with page_within(None):
        results = await answering
    return results if budget is None else [_fitting(result, budget) for result in results]


def _fitting(result: Result, budget: PageBudget) -> Result:
    if not isinstance(result, list) or not all(isinstance(item, SearchItem) for item in result):
        return result
    found = cast("list[SearchItem]", result)
    return found[: budget.fitting(len(encode(item.value)) for item in found)]


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
