"""Leases of runs in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from runstead.runtime.runs.exceptions import LeaseLost, RollbackRequested, RunNotRetriable, ThreadBusy
from runstead.runtime.runs.store.lease_store import SUSPECT_LOSSES, UNCOUNTED_STARTS, Recovery, Settled, StopRequest
from runstead.runtime.runs.types import (
    Lease,
    ModelUsage,
    Outcome,
    RunCompletionData,
    RunFailure,
    RunId,
    RunRecord,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadOutcome,
    ThreadStatus,
    WorkerId,
)

from .tables import InMemoryTables, RunRow
from .turns import next_in_turn


class InMemoryLeaseStore:
    """RunLeaseStore over `InMemoryTables`."""

    def __init__(
        self, tables: InMemoryTables, ring: Callable[[], None] = lambda: None, *, by_turns: bool = False
    ) -> None:
        """Create the store.

        ``ring`` is called after a commit that may have made a run claimable: a local dispatcher's bell.

        ``by_turns``: groups of runs begin in turn.
        """
        self._tables, self._ring, self._by_turns = tables, ring, by_turns

    async def claim(self, run_id: RunId, worker: WorkerId, term: timedelta) -> Lease | None:
        row = self._tables.runs.get(run_id)
        if row is None or not self._tables.is_claimable(row):
            return None
        record = self._tables.write(row, status=RunStatus.STARTING, attempt=row.record.attempt + 1)
        row.holder, row.deadline = worker, self._tables.clock.now() + term
        self._tables.derive_thread_status(record.thread_id)
        return Lease(record, worker, record.attempt, row.deadline)

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        row = self._held(lease)
        row.deadline = self._tables.clock.now() + term
        return Lease(row.record, lease.worker, lease.attempt, row.deadline)

    async def begin(self, lease: Lease, base_checkpoint_id: str | None) -> Lease:
        row = self._held(lease)
        if row.record.started_at is None:
            now = self._tables.clock.now()
            self._tables.write(row, started_at=now, base_checkpoint_id=base_checkpoint_id)
        record = self._tables.write(row, status=RunStatus.RUNNING)
        assert row.deadline is not None
        thread = self._tables.threads.get(record.thread_id)
        asked = thread is not None and thread.resting == "interrupted"
        return Lease(record, lease.worker, lease.attempt, row.deadline, follows_question=asked)

    async def record_usage(self, lease: Lease, completion: RunCompletionData, usage: Sequence[ModelUsage]) -> None:
        row = self._held(lease)
        row.record = replace(row.record, completion=completion)
        self._tables.use(lease, usage)

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        tables = self._tables
        settled = self._settled_before(lease)
        if settled is not None:
            return Settled(settled, self._thread_status(settled.thread_id, outcome))
        row = self._held(lease)
        stop = row.record.stop_requested
        if stop is not None and stop.rolls_back and not outcome.rolled_back:
            raise RollbackRequested(lease.run_id)
        ended = tables.write(
            row,
            status=outcome.status,
            failure=outcome.failure,
            completion=outcome.completion,
            final_checkpoint_id=outcome.final_checkpoint_id,
            ended_at=tables.clock.now(),
            actor=row.record.actor.with_kept_claims(),
        )
        tables.use(lease, outcome.usage)
        row.settled_by = lease.attempt
        row.holder = row.deadline = None
        if outcome.rolled_back:
            tables.undo(row)
            tables.undone[ended.run_id] = (lease.attempt, ended)
        if ended.spec.scope.is_temporary:
            tables.drop_temporary_thread(ended)
        else:
            tables.leave_thread(ended.thread_id, outcome.thread, outcome.title)
        self._ring()
        return Settled(ended, self._thread_status(ended.thread_id, outcome))

    def _thread_status(self, thread_id: ThreadId, outcome: Outcome) -> ThreadStatus:
        row = self._tables.threads.get(thread_id)
        return outcome.thread.status if row is None else row.record.status

    def _settled_before(self, lease: Lease) -> RunRecord | None:
        row = self._tables.runs.get(lease.run_id)
        if row is not None:
            return row.record if row.settled_by == lease.attempt else None
        attempt, record = self._tables.undone.get(lease.run_id, (None, None))
        return record if attempt == lease.attempt else None

    async def release(self, lease: Lease) -> None:
        row = self._held(lease)
        self._tables.write(row, status=RunStatus.PENDING)
        row.holder = row.deadline = None
        self._ring()

    async def request_stop(self, run_id: RunId, reason: StopReason) -> StopRequest | None:
        row = self._tables.runs.get(run_id)
        if row is None:
            return None
        if row.record.status.is_terminal:
            return StopRequest("already_ended", row.record)
        if not self._tables.can_end_at_once(row):
            self._tables.flag(row, reason)
            return StopRequest("flagged", row.record)
        ended = self._tables.end_pending(row, reason)
        # The run behind it may be the head now.
        self._ring()
        thread = self._tables.threads.get(ended.thread_id)
        return StopRequest("ended", ended, "idle" if thread is None else thread.record.status)

    async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
        if self._by_turns:
            return next_in_turn(self._tables, limit, limit if shared is None else shared)
        rows = [row.record for row in self._tables.runs.values() if self._tables.is_claimable(row)]
        rows.sort(key=lambda record: (record.due_at, record.created_at, record.queue_seq, record.run_id))
        return [record.run_id for record in rows[:limit]]

    async def next_due(self) -> datetime | None:
        now = self._tables.clock.now()
        records = (row.record for row in self._tables.runs.values())
        delayed = (record.due_at for record in records if record.status is RunStatus.PENDING and record.due_at > now)
        return min(delayed, default=None)

    async def list_expired(self, limit: int = 100) -> Sequence[RunId]:
        rows = [row for row in self._tables.runs.values() if self._has_expired(row)]
        rows.sort(key=lambda row: (row.deadline, row.record.run_id))
        return [row.record.run_id for row in rows[:limit]]

    async def list_ended_before(self, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
        records = (self._tables.runs[run_id].record for run_id in run_ids if run_id in self._tables.runs)
        return [record for record in records if record.ended_at is not None and record.ended_at < before]

    async def recover(self, run_id: RunId, max_attempts: int) -> Recovery | None:
        tables = self._tables
        row = tables.runs.get(run_id)
        if row is None or not self._has_expired(row):
            return None
        row.holder = row.deadline = None
        lost = row.record
        waited = lost.status is RunStatus.STARTING and lost.lost_attempts >= SUSPECT_LOSSES
        is_counted = not waited or lost.attempt - lost.lost_attempts > UNCOUNTED_STARTS
        record = tables.write(row, lost_attempts=lost.lost_attempts + is_counted)
        limit = record.spec.max_attempts or max_attempts
        if record.stop_requested is not None or record.lost_attempts < limit:
            record = tables.write(row, status=RunStatus.PENDING)
            self._ring()
            return Recovery("waiting", record)
        text = f"the worker was lost {record.lost_attempts} times; retry the run by hand"
        failure = RunFailure("AttemptsExhausted", text)
        now = tables.clock.now()
        record = tables.write(row, status=RunStatus.ERROR, failure=failure, dead_letter=True, ended_at=now)
        tables.leave_thread(record.thread_id, ThreadOutcome("error", error=failure))
        self._ring()
        return Recovery("dead", record)

    async def abandon_all(self) -> int:
        now = self._tables.clock.now()
        held = [row for row in self._tables.runs.values() if row.record.status.is_held]
        for row in held:
            row.deadline = now
        return len(held)

    async def release_all(self) -> int:
        held = [row for row in self._tables.runs.values() if row.record.status.is_held]
        for row in held:
            row.holder = row.deadline = None
            self._tables.write(row, status=RunStatus.PENDING)
        self._ring()
        return len(held)

    async def retry(self, run_id: RunId) -> RunRecord | None:
        tables = self._tables
        row = tables.runs.get(run_id)
        if row is None:
            return None
        if not row.record.dead_letter:
            raise RunNotRetriable(run_id, row.record.status)
        if busy := tables.in_flight(row.record.thread_id):
            raise ThreadBusy([other.record.run_id for other in busy])
        tables.write(
            row,
            status=RunStatus.PENDING,
            lost_attempts=0,
            dead_letter=False,
            failure=None,
            ended_at=None,
            stop_requested=None,
        )
        tables.derive_thread_status(row.record.thread_id)
        self._ring()
        return row.record

    def _has_expired(self, row: RunRow) -> bool:
        return row.record.status.is_held and row.deadline is not None and row.deadline <= self._tables.clock.now()

    def _held(self, lease: Lease) -> RunRow:
        """Return the row if the lease still holds it. An expired lease is valid until the run is recovered."""
        row = self._tables.runs.get(lease.run_id)
        if row is None or not row.record.status.is_held or row.record.attempt != lease.attempt:
            raise LeaseLost(lease.run_id, lease.attempt)
        return row
