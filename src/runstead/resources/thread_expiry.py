"""Expiry of threads by their time to live: everything is deleted, or everything except the latest state.

The time counts from the last use of a thread, so that no conversation expires while it is in use. A thread with a run
in flight, or with a delayed run, is in use.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.runtime.stream_bridge.contract import StreamBridge

from .thread_files import ThreadFiles
from .threads import TtlStrategy

_log = logging.getLogger(__name__)

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class ExpiredThread:
    """Expired thread, its owner, and the action to take."""

    thread_id: ThreadId
    owner: ActorContext
    strategy: TtlStrategy


class ThreadExpiryStore(Protocol):
    """Store of expired threads of all users. Unscoped, since it serves the server."""

    async def take(self, limit: int) -> Sequence[ExpiredThread]:
        """Return up to ``limit`` threads that were not used for as long as their ttl.

        From now on, a thread to be deleted looks missing to all callers, and its id stays reserved until `finish`: no
        request sees a partly deleted thread, and no new thread finds its old state. Threads that were taken but not
        finished are taken again by a later call of any process, since a process may die in between.
        """
        ...

    async def finish(self, expired: ExpiredThread) -> Sequence[RunId]:
        """Complete the expiry: delete the rows of a thread to be deleted and its runs, and return these. The time of a
        thread that is kept restarts. Idempotent."""
        ...


class ThreadExpiry:
    """Deletion or reduction of expired threads."""

    def __init__(
        self,
        store: ThreadExpiryStore,
        events: RunEventStore,
        checkpoints: RunCheckpointStore,
        bridge: StreamBridge,
        files: ThreadFiles | None = None,
    ) -> None:
        self._store, self._events, self._checkpoints, self._bridge = store, events, checkpoints, bridge
        self._files = files

    async def sweep(self, limit: int = 1_000) -> int:
        """Process up to ``limit`` expired threads and return their number. Failures are logged, and tried again at the
        next sweep."""
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
            _log.exception("could not clean up expired thread %s", expired.thread_id)
            return False
        return True

    async def _carry_out(self, expired: ExpiredThread) -> None:
        if expired.strategy == "keep_latest":
            # A mark that remains after a crash keeps older checkpoints until the thread's next run, or the next sweep.
            await self._checkpoints.keep_latest(expired.thread_id)
            await self._store.finish(expired)
            return
        await self._checkpoints.delete_thread(expired.thread_id)
        with acting(expired.owner.with_access_to(expired.thread_id)):
            await self._events.delete_events(expired.thread_id)
        if self._files is not None:
            await self._files.delete_files_of(expired.thread_id, expired.owner)
        for run_id in await self._store.finish(expired):
            await self._bridge.cleanup(run_id)
