"""The rows that the in-memory stores share, and the rules that derive a thread's status from its runs.

Nothing here awaits: whatever a store does between two lines is one transaction, on any event loop. These are the rows
that a database would keep: they survive the process that wrote them, so a test can start a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar

from runstead.resources.threads import ThreadRecord, ThreadTtl, changed_title
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.metadata_filter import matches_metadata
from runstead.runtime.runs.types import (
    Lease,
    ModelUsage,
    RunId,
    RunRecord,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadOutcome,
    ThreadPriority,
    ThreadStatus,
)

_LONGEST_TITLE: Final = 200

Watch: TypeAlias = Callable[[RunRecord | None, RunRecord | None], None]

T = TypeVar("T")


@dataclass(slots=True)
class RunRow:
    """A run and its lease holder. ``settled_by`` is the attempt that ended it."""

    record: RunRecord
    holder: str | None = None
    deadline: datetime | None = None
    settled_by: int | None = None
    turn: ThreadPriority = field(default_factory=ThreadPriority)


@dataclass(slots=True)
class ThreadRow:
    """A thread, its owner, and the status that it has while no run is in flight."""

    record: ThreadRecord
    owner: ActorContext
    resting: ThreadStatus = "idle"
    last_queue_seq: int = 0
    temporary: bool = False
    ttl: ThreadTtl | None = None
    priority: ThreadPriority | None = None


def owns(actor: ActorContext, owner: ActorContext) -> bool:
    """Return whether ``actor`` owns a row of ``owner``."""
    return (actor.tenant_id, actor.user_id) == (owner.tenant_id, owner.user_id)


@dataclass(slots=True)
class InMemoryTables:
    """All rows of one simulated database.

    ``mint`` makes ids in the order of the calls, so that a seeded test is repeatable. ``watch`` is called with every
    committed change of a run: the record before (None for a new run) and after (None for a deleted one).
    """

    clock: Clock = field(default_factory=SystemClock)
    watch: Watch = field(default=lambda before, after: None)
    mint: Callable[[str], str] = field(default_factory=lambda: _numbered())
    runs: dict[RunId, RunRow] = field(default_factory=dict)
    threads: dict[ThreadId, ThreadRow] = field(default_factory=dict)
    idempotency: dict[tuple[str, str, str], tuple[str, RunId]] = field(default_factory=dict)
    """By tenant, user and key: the fingerprint of a request, and the run that it created."""
    usage: dict[tuple[Any, ...], tuple[RunRecord, date, ModelUsage]] = field(default_factory=dict)
    """By run, attempt, model, provider, caller and day; outlives its run."""
    undone: dict[RunId, tuple[int, RunRecord]] = field(default_factory=dict)
    """The final records of undone runs with their attempt: their rows are gone, but settling must be idempotent."""
    _moves: list[tuple[RunRecord | None, RunRecord | None]] | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes of the block, or none if it raises. A single statement needs no transaction."""
        runs = {key: copy(row) for key, row in self.runs.items()}
        threads = {key: copy(row) for key, row in self.threads.items()}
        idempotency = dict(self.idempotency)
        moves: list[tuple[RunRecord | None, RunRecord | None]] = []
        self._moves = moves
        try:
            yield
        except BaseException:
            self.runs, self.threads, self.idempotency = runs, threads, idempotency
            moves.clear()
            raise
        finally:
            self._moves = None
        for before, after in moves:
            self.watch(before, after)

    def reaches_thread(self, actor: ActorContext, row: ThreadRow) -> bool:
        """Return whether the actor has access: to their own threads, or to those granted in addition or instead."""
        if row.owner.tenant_id != actor.tenant_id:
            return False
        if row.record.thread_id in actor.access_scope.thread_ids:
            return True
        wanted = actor.access_scope.threads
        return owns(actor, row.owner) if wanted is None else matches_metadata(row.record.metadata, wanted)

    def reaches_run(self, actor: ActorContext, run: RunRecord) -> bool:
        """Return whether the actor has access to the run's thread; if that is gone, the run's own metadata decide."""
        if run.actor.tenant_id != actor.tenant_id:
            return False
        if run.thread_id in actor.access_scope.thread_ids:
            return True
        if actor.access_scope.threads is None:
            return owns(actor, run.actor)
        row = self.threads.get(run.thread_id)
        return (
            matches_metadata(run.metadata, actor.access_scope.threads)
            if row is None
            else self.reaches_thread(actor, row)
        )

    def visible_thread(self, thread_id: ThreadId, boundary: str) -> ThreadRow | None:
        """Return the thread if the bound actor may see it. Raises ActorRequired without an actor."""
        actor = require_actor_context(boundary)
        row = self.threads.get(thread_id)
        return row if row is not None and self.reaches_thread(actor, row) else None

    def visible_run(self, run_id: RunId, boundary: str) -> RunRow | None:
        """Return the run if the bound actor may see it. Raises ActorRequired without an actor."""
        actor = require_actor_context(boundary)
        row = self.runs.get(run_id)
        return row if row is not None and self.reaches_run(actor, row.record) else None

    def of_thread(self, thread_id: ThreadId) -> list[RunRow]:
        """Return the thread's runs, the oldest first."""
        rows = [row for row in self.runs.values() if row.record.thread_id == thread_id]
        return sorted(rows, key=lambda row: row.record.queue_seq)

    def in_flight(self, thread_id: ThreadId) -> list[RunRow]:
        """Return all runs of the thread that have not ended, the oldest first."""
        return [row for row in self.of_thread(thread_id) if not row.record.status.is_terminal]

    def is_claimable(self, row: RunRow) -> bool:
        """Return whether the run is pending, due, and the head of its thread."""
        record, now = row.record, self.clock.now()
        if record.status is not RunStatus.PENDING or record.due_at > now:
            return False
        others = [other.record for other in self.in_flight(record.thread_id) if other is not row]
        return not any(
            other.status.is_held or (other.due_at <= now and _goes_before(other, record)) for other in others
        )

    def insert(self, record: RunRecord, turn: ThreadPriority) -> None:
        self._tell(None, record)
        self.runs[record.run_id] = RunRow(record, turn=turn)

    def write(self, row: RunRow, **changes: Any) -> RunRecord:
        """Change a run's record and its ``updated_at``."""
        before = row.record
        row.record = replace(before, updated_at=self.clock.now(), **changes)
        self._tell(before, row.record)
        return row.record

    def use(self, lease: Lease, usage: Sequence[ModelUsage]) -> None:
        """Write the usage of an attempt so far."""
        for one in usage:
            key, day = (lease.run_id, lease.attempt, *one.key), self.clock.now().date()
            for earlier, (_, other_day, before) in self.usage.items():
                if earlier[:-1] == key and other_day < day:
                    one = one.minus(before)
            if one.calls or (*key, day) in self.usage:
                self.usage[*key, day] = (lease.run, day, one)

    def _tell(self, before: RunRecord | None, after: RunRecord | None) -> None:
        if self._moves is None:
            self.watch(before, after)
        else:
            self._moves.append((before, after))

    def remove(self, row: RunRow) -> None:
        """Delete a run's row."""
        self._tell(row.record, None)
        del self.runs[row.record.run_id]

    def undo(self, row: RunRow) -> None:
        """Delete the row of a rolled-back run, and restore the graph and the assistant of the previous one."""
        self.remove(row)
        thread, left = self.threads.get(row.record.thread_id), self.of_thread(row.record.thread_id)
        if thread is not None and left:
            spec = left[-1].record.spec
            described = {"graph_id": spec.graph_id, "assistant_id": spec.assistant_id}
            thread.record = replace(thread.record, metadata={**thread.record.metadata, **described})

    def derive_thread_status(self, thread_id: ThreadId) -> None:
        """Set the status: ``busy`` while a run is in flight, else the result of the last run."""
        row = self.threads.get(thread_id)
        if row is None:
            return
        status: ThreadStatus = "busy" if self.in_flight(thread_id) else row.resting
        if status != row.record.status:
            row.record = replace(row.record, status=status, updated_at=self.clock.now())

    def leave_thread(self, thread_id: ThreadId, after: ThreadOutcome, title: str | None = None) -> None:
        """Write the result of a run or of a state update to the thread."""
        row = self.threads.get(thread_id)
        if row is None:
            return
        now = self.clock.now()
        row.resting = after.status
        title = changed_title(row.record.values, after.values) or title
        row.record = replace(
            row.record,
            values=row.record.values if after.values is None else after.values,
            state_updated_at=row.record.state_updated_at if after.values is None else now,
            interrupts=after.interrupts,
            error=None if after.error is None else {"error": after.error.error, "message": after.error.message},
            metadata={**row.record.metadata, **({"title": title[:_LONGEST_TITLE]} if title else {})},
            updated_at=now,
        )
        self.derive_thread_status(thread_id)

    def can_end_at_once(self, row: RunRow) -> bool:
        """Return whether no worker holds the run and it has never begun; otherwise a worker must stop it properly."""
        return row.record.status is RunStatus.PENDING and row.record.started_at is None

    def end_pending(self, row: RunRow, reason: StopReason) -> RunRecord:
        """End a run that no worker holds; if the reason rolls back, delete its row."""
        self.flag(row, reason)
        actor = row.record.actor.with_kept_claims()
        ended = self.write(row, status=RunStatus.INTERRUPTED, ended_at=self.clock.now(), actor=actor)
        if ended.stop_requested is not None and ended.stop_requested.rolls_back:
            self.undo(row)
        self.drop_temporary_thread(ended)
        self.derive_thread_status(ended.thread_id)
        return ended

    def drop_temporary_thread(self, ended: RunRecord) -> None:
        """Delete the thread of an ended stateless run; the run's row stays for late waiters."""
        if ended.spec.scope.is_temporary:
            self.threads.pop(ended.thread_id, None)

    def flag(self, row: RunRow, reason: StopReason) -> None:
        """Set the durable stop flag. The first reason applies, but a rollback replaces another reason."""
        current = row.record.stop_requested
        if current is None or (reason.rolls_back and not current.rolls_back):
            self.write(row, stop_requested=reason)


def page(rows: Sequence[T], limit: int, offset: int) -> list[T]:
    return list(rows[offset : offset + limit])


def _goes_before(one: RunRecord, other: RunRecord) -> bool:
    """Return whether ``one`` precedes ``other``: runs that have begun come first, then the queue's order applies."""
    if (one.started_at is None) != (other.started_at is None):
        return one.started_at is not None
    return one.queue_seq < other.queue_seq


def _numbered() -> Callable[[str], str]:
    numbers = count(1)
    return lambda noun: f"{noun}-{next(numbers):06d}"
