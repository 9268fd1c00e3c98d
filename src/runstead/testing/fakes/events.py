"""Run events in memory: appended in batches, numbered densely per thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store.event_store import RunEvent, RunEventCategory, StoredRunEvent
from runstead.runtime.runs.types import Holder, RunId, ThreadId

from .tables import ThreadRow, owns


@dataclass(slots=True)
class _Log:
    owner: ActorContext
    events: list[StoredRunEvent] = field(default_factory=list)
    last_seq: int = 0


class InMemoryRunEventStore:
    """RunEventStore in a dict. ``threads`` contains the owners; a thread not in it belongs to its first writer."""

    def __init__(self, threads: Mapping[ThreadId, ThreadRow] | None = None) -> None:
        self._threads = {} if threads is None else threads
        self._logs: dict[ThreadId, _Log] = {}

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        actor = require_actor_context("writing run events")
        if not events:
            return []
        thread_id = events[0].thread_id
        if any(event.thread_id != thread_id for event in events):
            raise ValueError("a batch of events belongs to one thread")
        log = self._logs.get(thread_id)
        owner = log.owner if log is not None else self._owner(thread_id, actor)
        if not _reaches(actor, thread_id, owner):
            raise ThreadNotFound(thread_id)
        if log is None:
            log = self._logs[thread_id] = _Log(owner)
        stored = [StoredRunEvent(log.last_seq + place, event) for place, event in enumerate(events, start=1)]
        log.events.extend(stored)
        log.last_seq += len(stored)
        return stored

    def _owner(self, thread_id: ThreadId, writer: ActorContext) -> ActorContext:
        row = self._threads.get(thread_id)
        return writer if row is None else row.owner

    def _visible(self, thread_id: ThreadId) -> _Log | None:
        actor = require_actor_context("reading run events")
        log = self._logs.get(thread_id)
        return log if log is not None and _reaches(actor, thread_id, log.owner) else None

    async def list_events(
        self,
        thread_id: ThreadId,
        *,
        run_id: RunId | None = None,
        categories: Sequence[RunEventCategory] = (),
        event_types: Sequence[str] = (),
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[StoredRunEvent]:
        log = self._visible(thread_id)
        found = [
            stored
            for stored in (log.events if log is not None else ())
            if (run_id is None or stored.event.run_id == run_id)
            and (not categories or stored.event.category in categories)
            and (not event_types or stored.event.event_type in event_types)
            and (after is None or stored.seq > after)
            and (before is None or stored.seq < before)
        ]
        if limit <= 0:
            return []
        return found[:limit] if after is not None else found[-limit:]

    async def count_events(self, thread_id: ThreadId, *, categories: Sequence[RunEventCategory] = ()) -> int:
        log = self._visible(thread_id)
        events = log.events if log is not None else ()
        return sum(1 for stored in events if not categories or stored.event.category in categories)

    async def delete_events(self, thread_id: ThreadId, *, run_id: RunId | None = None) -> int:
        log = self._visible(thread_id)
        if log is None:
            return 0
        kept = [stored for stored in log.events if run_id is not None and stored.event.run_id != run_id]
        deleted = len(log.events) - len(kept)
        # The log itself stays: its last number must not be reused.
        log.events = kept
        return deleted

    async def delete_threads(self, thread_ids: Sequence[ThreadId]) -> None:
        for thread_id in thread_ids:
            self._logs.pop(thread_id, None)

    async def delete_before(self, cutoff: datetime) -> int:
        deleted = 0
        for log in self._logs.values():
            kept = [stored for stored in log.events if stored.event.created_at >= cutoff]
            deleted += len(log.events) - len(kept)
            log.events = kept
        return deleted


def _reaches(actor: ActorContext, thread_id: ThreadId, owner: ActorContext) -> bool:
    shared = actor.tenant_id == owner.tenant_id and thread_id in actor.access_scope.thread_ids
    return shared or owns(actor, owner)
