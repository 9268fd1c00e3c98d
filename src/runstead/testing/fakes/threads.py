"""Threads in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from runstead.resources.threads import (
    SortOrder,
    ThreadExists,
    ThreadFilter,
    ThreadRecord,
    ThreadSortField,
    ThreadTtl,
    values_within,
)
from runstead.runtime.actor_context import OWN_ONLY, require_actor_context
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.metadata_filter import json_contains
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import ThreadId, ThreadOutcome

from .tables import InMemoryTables, ThreadRow, page


class InMemoryThreadStore:
    """ThreadStore over `InMemoryTables`."""

    def __init__(self, tables: InMemoryTables) -> None:
        self._tables = tables

    async def create(
        self,
        thread_id: ThreadId | None = None,
        *,
        metadata: JsonMapping | None = None,
        config: JsonMapping | None = None,
        ttl: ThreadTtl | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> ThreadRecord:
        actor = require_actor_context("creating a thread")
        thread_id = ThreadId(thread_id or self._tables.mint("thread"))
        row = self._tables.threads.get(thread_id)
        if row is not None:
            if if_exists == "raise" or not self._tables.reaches_thread(actor, row):
                raise ThreadExists(thread_id)
            return row.record
        now = self._tables.clock.now()
        record = ThreadRecord(thread_id, "idle", dict(metadata or {}), dict(config or {}), now, now)
        self._tables.threads[thread_id] = ThreadRow(record, actor.with_scope(OWN_ONLY), ttl=ttl)
        return record

    async def get(self, thread_id: ThreadId) -> ThreadRecord | None:
        row = self._tables.visible_thread(thread_id, "reading a thread")
        return None if row is None else row.record

    async def get_ttl(self, thread_id: ThreadId) -> ThreadTtl | None:
        row = self._tables.visible_thread(thread_id, "reading a thread's ttl")
        return None if row is None else row.ttl

    async def update(
        self, thread_id: ThreadId, *, metadata: JsonMapping, ttl: ThreadTtl | None = None
    ) -> ThreadRecord | None:
        row = self._tables.visible_thread(thread_id, "updating a thread")
        if row is None:
            return None
        merged = {**row.record.metadata, **metadata}
        row.record = replace(row.record, metadata=merged, updated_at=self._tables.clock.now())
        row.ttl = ttl or row.ttl
        return row.record

    async def delete(self, thread_id: ThreadId) -> bool:
        if self._tables.visible_thread(thread_id, "deleting a thread") is None:
            return False
        rows = self._tables.of_thread(thread_id)
        if held := [row.record.run_id for row in rows if row.record.status.is_held]:
            raise ThreadBusy(held)
        for row in rows:
            self._tables.remove(row)
        del self._tables.threads[thread_id]
        return True

    async def search(
        self,
        where: ThreadFilter,
        *,
        sort_by: ThreadSortField = "updated_at",
        sort_order: SortOrder = "desc",
        limit: int = 10,
        offset: int = 0,
        values_bytes: int | None = None,
    ) -> Sequence[ThreadRecord]:
        found = sorted(self._matching(where), key=lambda record: record.thread_id)
        # A second, stable sort: ids order ties ascending in either direction. Threads without a state come last.
        dated = [record for record in found if getattr(record, sort_by) is not None]
        undated = [record for record in found if getattr(record, sort_by) is None]
        dated.sort(key=lambda record: getattr(record, sort_by), reverse=sort_order == "desc")
        found = list(page(dated + undated, limit, offset))
        if values_bytes is None:
            return found
        kept = values_within(values_bytes, [(one.thread_id, len(one.values or b"")) for one in found])
        return [
            replace(one, values=None, omits_values=True) if one.values and one.thread_id not in kept else one
            for one in found
        ]

    async def count(self, where: ThreadFilter) -> int:
        return len(self._matching(where))

    def _matching(self, where: ThreadFilter) -> list[ThreadRecord]:
        actor = require_actor_context("searching threads")
        return [
            row.record
            for row in self._tables.threads.values()
            if self._tables.reaches_thread(actor, row)
            and (where.ids is None or row.record.thread_id in where.ids)
            and (where.status is None or row.record.status == where.status)
            and json_contains(row.record.metadata, where.metadata)
            and (not where.values or json_contains(json.loads(row.record.values or b"null"), where.values))
        ]

    async def set_state(self, thread_id: ThreadId, after: ThreadOutcome) -> None:
        if self._tables.visible_thread(thread_id, "updating a thread's state") is not None:
            self._tables.leave_thread(thread_id, after)

    async def set_title(self, thread_id: ThreadId, title: str) -> None:
        await self.update(thread_id, metadata={"title": title})
