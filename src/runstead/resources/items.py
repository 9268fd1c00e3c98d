"""Items: LangGraph's store, which agents use across threads, with one room per actor.

A namespace gets the actor's tenant and user as its prefix before it reaches the store, and loses it on the way back:
neither a graph nor a client can name, list or search another user's items. Items that auth handlers share are in the
tenant's room, see `item_sharing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeAlias, cast

from langgraph.store.base import BaseStore, Op, Result, SearchItem

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.page_budget import PageBudget, page_budget, page_within
from runstead.runtime.runs.types import Holder
from runstead.runtime.serialization import encode

from .item_scoping import InvalidItem as InvalidItem
from .item_scoping import ScopedBatch
from .item_sharing import SharedRoom, own_room

_Answering: TypeAlias = Coroutine[object, object, list[Result]]


class EmbeddingFailed(Exception):
    """The configured embedder did not return valid embeddings; nothing was stored or found."""


class ActorScopedStore(BaseStore):
    """BaseStore in which every actor has a separate room (ActorRequired without one).

    ``inner`` belongs to ``loop`` (default: the running one). Callable from any other event loop, and, synchronously,
    from any other thread. With ``finds_shared``, for graphs if auth handlers may share, actors also find the items that
    their tenant shares; otherwise only actors with that access do.
    """

    def __init__(
        self,
        inner: BaseStore,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        finds_shared: bool = False,
        would_block: Callable[[], bool] = lambda: False,
    ) -> None:
        """Create a store. ``would_block`` returns whether the store needs the caller's thread, which therefore must not
        wait for it."""
        self._inner, self._finds_shared, self._would_block = inner, finds_shared, would_block
        self._loop = asyncio.get_running_loop() if loop is None else loop
        self.supports_ttl = inner.supports_ttl
        self.ttl_config = inner.ttl_config

    def finding_shared(self) -> ActorScopedStore:
        """Return this store for graphs whose actors may find items that auth handlers share."""
        return ActorScopedStore(self._inner, self._loop, finds_shared=True, would_block=self._would_block)

    def fenced(self, check: Callable[[], object], holder: Holder) -> ActorScopedStore:
        """Return the fenced store (FenceableStore) if the inner store is one; otherwise this store."""
        fenced = getattr(self._inner, "fenced", None)
        if fenced is None:
            return self
        return ActorScopedStore(
            fenced(check, holder), self._loop, finds_shared=self._finds_shared, would_block=self._would_block
        )

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        answering, results = self._batch(ops)
        # A separate task on the store's loop: cancelling the caller must not interrupt a transaction there.
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
        """Return the coroutine for the store's loop, and the function that converts its results for the caller."""
        actor, asked = require_actor_context("the item store"), list(ops)
        led_to = actor.access_scope.items
        if self._finds_shared or led_to is not None:
            return _cut_after(SharedRoom(self._inner, actor, led_to).answer(asked)), list
        # Validated and decoded in the caller's thread, not on the shared loop.
        own = ScopedBatch(own_room(actor), asked)
        return self._inner.abatch(own.ops), own.results


async def _cut_after(answering: _Answering) -> list[Result]:
    """Await the batch, then cut its pages: a page of two rooms is combined from pages that must not be cut before."""
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
