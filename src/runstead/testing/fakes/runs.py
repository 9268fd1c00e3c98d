"""Runs in memory: created, queried, deleted. Leases are in `leases`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from runstead.resources.threads import ThreadRecord
from runstead.runtime.actor_context import OWN_ONLY, ActorContext, require_actor_context
from runstead.runtime.metadata_filter import json_contains
from runstead.runtime.runs.exceptions import (
    CronMoved,
    IdempotencyMismatch,
    RunConflict,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from runstead.runtime.runs.store.create_store import Admit, CreatedRun, Decide, Refuse
from runstead.runtime.runs.types import (
    Idempotency,
    RunFilter,
    RunId,
    RunRecord,
    RunSpec,
    RunStatus,
    Scheduling,
    ThreadId,
    ThreadPriority,
)

from .tables import InMemoryTables, ThreadRow, page


class InMemoryRunStore:
    """RunCreateStore, RunQueryStore and RunDeleteStore over `InMemoryTables`."""

    def __init__(self, tables: InMemoryTables, ring: Callable[[], None] = lambda: None) -> None:
        """Create the store.

        ``ring`` is called after a commit that may have made a run claimable: a local dispatcher's bell.
        """
        self._tables, self._ring = tables, ring

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        actor = require_actor_context("creating a run")
        with self._tables.transaction():
            created = [self._create(spec, decide, actor) for spec in specs]
        self._ring()
        # A later run of the batch may have stopped an earlier one: return the rows as committed.
        return [replace(each, record=self._committed(each.record)) for each in created]

    def _committed(self, record: RunRecord) -> RunRecord:
        row = self._tables.runs.get(record.run_id)
        return record if row is None else row.record

    def _create(self, spec: RunSpec, decide: Decide, actor: ActorContext) -> CreatedRun:
        tables = self._tables
        run_id = spec.run_id or tables.mint("run")
        if spec.tick is not None:
            # This storage has no crons.
            raise CronMoved(spec.tick.cron_id)
        if spec.idempotency is not None and (made := self._repeated(spec.idempotency, RunId(run_id), actor)):
            return CreatedRun(made, repeated=True)
        if spec.run_id is not None and (spec.run_id in tables.runs or spec.run_id in tables.undone):
            raise RunConflict(spec.run_id)
        thread = self._thread_for(spec, actor)
        thread_id = thread.record.thread_id
        in_flight = tables.in_flight(thread_id)
        admission = decide(spec.multitask_strategy, [row.record.run_id for row in in_flight])
        shown, scheduling = spec.thread_config, spec.scheduling
        spec = replace(spec, thread_config=None, scheduling=None, approval=None)
        if isinstance(admission, Refuse):
            raise ThreadBusy(admission.busy_with)
        # Without a store of messages, a run that steers waits for its turn.
        stopping, ended = self._make_room(admission if isinstance(admission, Admit) else Admit())
        now = tables.clock.now()
        thread.last_queue_seq += 1
        record = RunRecord(
            run_id=RunId(run_id),
            thread_id=thread_id,
            assistant_id=spec.assistant_id,
            spec=spec,
            actor=actor.as_stored(),
            status=RunStatus.PENDING,
            created_at=now,
            updated_at=now,
            due_at=now + timedelta(seconds=max(spec.after_seconds, 0)),
            queue_seq=thread.last_queue_seq,
        )
        tables.insert(record, _turn(thread, scheduling))
        metadata = {**thread.record.metadata, "graph_id": spec.graph_id, "assistant_id": spec.assistant_id}
        config = thread.record.config if shown is None else shown
        thread.record = replace(thread.record, metadata=metadata, config=config, updated_at=now)
        tables.derive_thread_status(thread_id)
        return CreatedRun(record, stopping=stopping, ended=ended)

    def _repeated(self, idempotency: Idempotency, run_id: RunId, actor: ActorContext) -> RunRecord | None:
        tables = self._tables
        key = (actor.tenant_id, actor.user_id, idempotency.key)
        if key not in tables.idempotency:
            tables.idempotency[key] = (idempotency.fingerprint, run_id)
            return None
        fingerprint, made = tables.idempotency[key]
        if fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch(made)
        if made not in tables.runs:
            raise RunNotFound(made)
        return tables.runs[made].record

    def _thread_for(self, spec: RunSpec, actor: ActorContext) -> ThreadRow:
        tables = self._tables
        thread_id = spec.thread_id
        if thread_id is not None and (row := tables.threads.get(thread_id)) is not None:
            if not tables.reaches_thread(actor, row):
                raise ThreadNotFound(thread_id)
            return row
        is_stateless = spec.scope.kind == "stateless"
        if not is_stateless and spec.scope.if_not_exists == "reject":
            raise ThreadNotFound(ThreadId(thread_id or ""))
        now = tables.clock.now()
        record = ThreadRecord(ThreadId(thread_id or tables.mint("thread")), "idle", dict(spec.metadata), {}, now, now)
        row = ThreadRow(record, actor.with_scope(OWN_ONLY), temporary=spec.scope.is_temporary)
        tables.threads[record.thread_id] = row
        return row

    def _make_room(self, admission: Admit) -> tuple[tuple[RunId, ...], tuple[RunRecord, ...]]:
        """Carry out the decision: flag the held runs, end the waiting ones."""
        stopping: list[RunId] = []
        ended: list[RunRecord] = []
        for run_id in admission.stopping:
            assert admission.reason is not None, "a decision that stops runs says why"
            row = self._tables.runs[run_id]
            if self._tables.can_end_at_once(row):
                ended.append(self._tables.end_pending(row, admission.reason))
            else:
                self._tables.flag(row, admission.reason)
                stopping.append(run_id)
        return tuple(stopping), tuple(ended)

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        row = self._tables.visible_run(run_id, "reading a run")
        return None if row is None else row.record

    async def get_latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        begun = [record for record in self._matching(RunFilter(thread_id)) if record.attempt > 0]
        return max(begun, key=lambda record: record.queue_seq, default=None)

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        return page(self._matching(where), limit, offset)

    async def is_foreign_thread(self, thread_id: ThreadId) -> bool:
        actor, row = require_actor_context("looking for a thread"), self._tables.threads.get(thread_id)
        return row is not None and not self._tables.reaches_thread(actor, row)

    async def count_runs(self, where: RunFilter) -> int:
        return len(self._matching(where))

    def _matching(self, where: RunFilter) -> list[RunRecord]:
        actor = require_actor_context("listing runs")
        found = [
            row.record
            for row in self._tables.runs.values()
            if self._tables.reaches_run(actor, row.record)
            and (where.thread_id is None or row.record.thread_id == where.thread_id)
            and (not where.statuses or row.record.status in where.statuses)
            and (not where.dead_letters_only or row.record.dead_letter)
            and where.assistant_id in (None, row.record.assistant_id)
            and json_contains(row.record.metadata, where.metadata)
            and set(where.tags) <= set(row.record.spec.config.get("tags", ()))
            and (where.error is None or (row.record.failure is not None and row.record.failure.error == where.error))
        ]
        return sorted(found, key=lambda record: (record.created_at, record.queue_seq, record.run_id), reverse=True)

    async def delete_run(self, run_id: RunId) -> bool:
        row = self._tables.visible_run(run_id, "deleting a run")
        if row is None:
            return False
        if row.record.status.is_held:
            raise ThreadBusy([run_id])
        self._tables.remove(row)
        self._tables.drop_temporary_thread(row.record)
        self._tables.derive_thread_status(row.record.thread_id)
        self._ring()
        return True


def _turn(thread: ThreadRow, scheduling: Scheduling | None) -> ThreadPriority:
    if scheduling is None:
        return ThreadPriority()
    if scheduling.by_thread and thread.priority is None:
        thread.priority = scheduling.assigned
    return scheduling.turn(thread.priority if scheduling.by_thread else None)
