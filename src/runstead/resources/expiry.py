"""Threads whose time is over: all that was kept of them goes, or all but their latest state.

The time counts from when a thread was last used, so that nobody loses a conversation in the middle of it.
A thread with a run in flight, or with one that is still to come, is in use.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.runtime.stream_bridge import StreamBridge

from .threads import TtlStrategy

_log = logging.getLogger(__name__)

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class ExpiredThread:
    """A thread whose time is over, whose it was, and what is to be done."""

    thread_id: ThreadId
    owner: ActorContext
    strategy: TtlStrategy


class ThreadExpiryStore(Protocol):
    """Knows whose time is over, of all users: unscoped, for it serves the server."""

    async def take(self, limit: int) -> Sequence[ExpiredThread]:
        """Up to ``limit`` threads that have not been used for as long as their ttl says.

        A thread that is to be deleted is absent for everybody from now on, and its id is taken until `finish`: whoever
        comes in between finds no half of it, and no new thread finds its old state. What has been taken and not
        finished is taken again, by whoever comes next: a process may die in between.
        """
        ...

    async def finish(self, expired: ExpiredThread) -> Sequence[RunId]:
        """What there was to be done is done: the rows of a deleted thread go, and its runs, which are returned. The
        time of one that stays begins anew. Twice is once.
        """
        ...


class ThreadExpiry:
    """Does what is to be done with threads whose time is over."""

    def __init__(
        self, store: ThreadExpiryStore, events: RunEventStore, checkpoints: RunCheckpointStore, bridge: StreamBridge
    ) -> None:
        self._store, self._events, self._checkpoints, self._bridge = store, events, checkpoints, bridge

    async def sweep(self, limit: int = 1_000) -> int:
        """How many threads were done with, at most ``limit``. One that cannot be is logged, and left for next time."""
        swept = 0
        while swept < limit and (expired := await self._store.take(min(_BATCH, limit - swept))):
            done = [one for one in expired if await self._is_carried_out(one)]
            swept += len(done)
            if len(done) < len(expired):
                break
        return swept

    async def _is_carried_out(self, expired: ExpiredThread) -> bool:
        try:
            await self._carry_out(expired)
        except Exception:
            _log.exception("thread %s has expired and could not be swept", expired.thread_id)
            return False
        return True

    async def _carry_out(self, expired: ExpiredThread) -> None:
        if expired.strategy == "keep_latest":
            # A mark that a crash has left keeps the older ones until the next run, or the next time.
            await self._checkpoints.keep_latest(expired.thread_id)
            await self._store.finish(expired)
            return
        await self._checkpoints.delete_thread(expired.thread_id)
        with acting(expired.owner.also_for(expired.thread_id)):
            await self._events.delete_events(expired.thread_id)
        for run_id in await self._store.finish(expired):
            await self._bridge.cleanup(run_id)
