"""Leases of runs. Every write of a lease holder is fenced: it only changes the row while the attempt holds the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Boolean, Connection, and_, bindparam, case, delete, exists, func, or_, select, update

from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.exceptions import LeaseLost, RollbackRequested
from runstead.runtime.runs.store import Recovery, Settled, StopRequest
from runstead.runtime.runs.types import (
    Lease,
    ModelUsage,
    Outcome,
    RunCompletionData,
    RunId,
    RunRecord,
    RunStatus,
    StopReason,
    WorkerId,
)

from . import json_text
from .approval_changes import settle_approvals
from .approval_takes import take_for_run, take_for_waiting
from .database import Database, EnqueueHook, no_enqueue
from .dialect import lock_thread, lock_thread_of
from .fair_queue import FairQueue, held_by_group
from .prepared import Prepared
from .run_ends import WEBHOOKS_ONLY, RunEnds
from .run_predicates import IS_HEAD, NOW, WAITS
from .run_recovery import abandon_all, ended, expired, recover, release_all, retry
from .run_rows import PROGRESS, RECORD, completion_text, ended_actor, to_progress, to_record
from .run_stop import stop
from .run_usage import write_usage
from .schema import runs, threads
from .steering_tables import steering_messages
from .thread_status import apply_outcome, derive_status, drop_temporary, mark_busy, restore_graph_metadata, status_of

_DEADLINE: Final = bindparam("deadline", type_=runs.c.lease_until.type)
_PENDING: Final = RunStatus.PENDING.value

_HELD_BY: Final = and_(
    runs.c.run_id == bindparam("the_run"),
    runs.c.attempt == bindparam("the_attempt"),
    runs.c.worker == bindparam("the_worker"),
    runs.c.lease_until.is_not(None),
)
_CLAIM: Final = Prepared(
    update(runs)
    .where(runs.c.run_id == bindparam("the_run"), runs.c.status == _PENDING, runs.c.due_at <= NOW, IS_HEAD)
    .values(
        status=RunStatus.STARTING.value,
        attempt=runs.c.attempt + 1,
        worker=bindparam("the_worker"),
        lease_until=_DEADLINE,
        updated_at=NOW,
    )
    .returning(*RECORD)
)
_RENEW: Final = Prepared(
    update(runs).where(_HELD_BY).values(lease_until=_DEADLINE).returning(*PROGRESS, runs.c.lease_until)
)
_BEGIN: Final = Prepared(
    update(runs)
    .where(_HELD_BY)
    .values(
        status=RunStatus.RUNNING.value,
        base_checkpoint_id=case((runs.c.started_at.is_(None), bindparam("base")), else_=runs.c.base_checkpoint_id),
        started_at=func.coalesce(runs.c.started_at, NOW),
        updated_at=NOW,
    )
    .returning(
        *PROGRESS,
        runs.c.lease_until,
        # By a parameter: SQLAlchemy names columns of `runs` in RETURNING without their table, which `threads` has too.
        select(threads.c.resting).where(threads.c.thread_id == bindparam("the_thread")).scalar_subquery(),
    )
)
_SETTLE: Final = Prepared(
    update(runs)
    .where(
        _HELD_BY,
        or_(
            bindparam("undone", type_=Boolean()),
            runs.c.stop_requested.is_(None),
            and_(*(runs.c.stop_requested != reason.value for reason in StopReason if reason.rolls_back)),
        ),
    )
    .values(
        status=bindparam("the_status"),
        lease_until=None,
        ended_at=NOW,
        updated_at=NOW,
        final_checkpoint_id=bindparam("final"),
        failure=bindparam("the_failure"),
        completion=bindparam("the_completion"),
        actor=func.coalesce(bindparam("the_actor", type_=runs.c.actor.type), runs.c.actor),
    )
    .returning(
        *PROGRESS,
        exists()
        .where(steering_messages.c.thread_id == bindparam("the_thread"), steering_messages.c.ended_at.is_(None))
        .label("has_messages"),
    )
)
_USE: Final = Prepared(
    update(runs).where(_HELD_BY).values(completion=bindparam("the_completion")).returning(runs.c.run_id)
)
_RELEASE: Final = Prepared(
    update(runs)
    .where(_HELD_BY)
    .values(status=_PENDING, worker=None, lease_until=None, updated_at=NOW)
    .returning(runs.c.run_id)
)
_STANDS: Final = Prepared(select(*PROGRESS, runs.c.worker).where(runs.c.run_id == bindparam("the_run")))
_UNDO: Final = Prepared(delete(runs).where(runs.c.run_id == bindparam("the_run")))
_WAITING: Final = Prepared(
    select(runs.c.run_id)
    .where(WAITS, runs.c.due_at <= NOW, IS_HEAD)
    .order_by(runs.c.due_at, runs.c.queue_seq)
    .limit(bindparam("the_limit"))
)
_IN_TURN: Final = FairQueue.for_groups(IS_HEAD)
_NEXT_DUE: Final = Prepared(select(func.min(runs.c.due_at)).where(WAITS, runs.c.due_at > NOW))


class SqlRunLeaseStore:
    """RunLeaseStore over a Database. ``on_waiting`` is called after each commit that may have made a run claimable.

    ``by_turns``: groups of runs begin in turn; otherwise the runs that are due first begin first.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        on_waiting: Callable[[], None],
        announce: EnqueueHook = no_enqueue,
        *,
        by_turns: bool = False,
        ends: RunEnds = WEBHOOKS_ONLY,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_waiting = on_waiting
        self._announce = announce
        self._by_turns = by_turns
        self._ends = ends

    async def claim(self, run_id: RunId, worker: WorkerId, term: timedelta) -> Lease | None:
        def work(connection: Connection) -> Lease | None:
            status = lock_thread_of(connection, runs, threads, run_id)
            now = self._clock.now()
            wanted = {"the_run": run_id, "the_worker": worker, "now": now, "deadline": now + term}
            row = _CLAIM.first(connection, wanted)
            if row is None:
                return None
            run = to_record(row)
            if status != "busy":
                mark_busy(connection, run.thread_id, now)
            if run.spec.after_seconds > 0:
                # When it was created, its delay left the questions open.
                take_for_run(connection, run, now, self._ends.approvals)
            return Lease(run, worker, run.attempt, now + term)

        # A claim has no visible effect before `begin` makes it durable: if a power cut loses it, it never happened.
        return await self._database.write(work, durable=False, quick=True)

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        def work(connection: Connection) -> Lease:
            deadline = self._clock.now() + term
            return _again(lease, _RENEW.first(connection, {**_holder(lease), "deadline": deadline}))

        # Durable: a database server may crash and restart while its workers continue with the renewed lease.
        return await self._database.write(work, single=True)

    async def begin(self, lease: Lease, base_checkpoint_id: str | None) -> Lease:
        # One statement, which changes nothing if it returns no row.
        def work(connection: Connection) -> Lease:
            values = {**_holder(lease), "base": base_checkpoint_id, "the_thread": lease.thread_id}
            values["now"] = self._clock.now()
            row = _BEGIN.first(connection, values)
            begun = _again(lease, row and row[:-1])
            return dataclasses.replace(begun, follows_question=row is not None and row[-1] == "interrupted")

        return await self._database.write(work, single=True)

    async def record_usage(self, lease: Lease, completion: RunCompletionData, usage: Sequence[ModelUsage]) -> None:
        def work(connection: Connection) -> None:
            values = {**_holder(lease), "the_completion": completion_text(completion)}
            if _USE.first(connection, values) is None:
                raise LeaseLost(lease.run_id, lease.attempt)
            write_usage(connection, lease.run, lease.attempt, usage, self._clock.now())

        # Like events: the end of the run is durable before it is reported, and makes earlier writes durable too.
        await self._database.write(work, durable=False)

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        def work(connection: Connection) -> Settled:
            lock_thread(connection, threads, lease.thread_id)
            settled = _settle(connection, lease, outcome, self._clock.now(), self._ends)
            if settled.thread_status == "busy":
                self._announce(connection, lease.thread_id)
            return settled

        # A thread that is still busy has another claimable run; otherwise there is nothing to signal.
        return await self._database.write(
            work, committed=lambda settled: self._ring_if(settled.thread_status == "busy")
        )

    async def release(self, lease: Lease) -> None:
        def work(connection: Connection) -> None:
            lock_thread(connection, threads, lease.thread_id)
            if _RELEASE.first(connection, {**_holder(lease), "now": self._clock.now()}) is None:
                raise LeaseLost(lease.run_id, lease.attempt)
            self._announce(connection, lease.thread_id)

        await self._database.write(work, committed=lambda _: self._on_waiting())

    async def request_stop(self, run_id: RunId, reason: StopReason) -> StopRequest | None:
        def work(connection: Connection) -> StopRequest | None:
            lock_thread_of(connection, runs, threads, run_id)
            now = self._clock.now()
            stopped = stop(connection, run_id, reason, now, self._ends)
            if stopped is not None and stopped.effect == "ended":
                if reason.rolls_back:
                    restore_graph_metadata(connection, stopped.record.thread_id)
                status = derive_status(connection, stopped.record.thread_id, now)
                stopped = dataclasses.replace(stopped, thread_status=status or "idle")
                self._announce(connection, stopped.record.thread_id)
            return stopped

        return await self._database.write(work, committed=lambda stopped: self._ring_if(stopped is not None))

    async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
        def work(connection: Connection) -> Sequence[RunId]:
            if self._by_turns:
                held = held_by_group(connection)
                return _IN_TURN.first(connection, held, self._clock.now(), limit, limit if shared is None else shared)
            found = _WAITING.rows(connection, {"now": self._clock.now(), "the_limit": limit})
            return [run_id for (run_id,) in found]

        return await self._database.read(work)

    async def next_due(self) -> datetime | None:
        def work(connection: Connection) -> datetime | None:
            row = _NEXT_DUE.first(connection, {"now": self._clock.now()})
            return None if row is None else row[0]

        # The first entry of an index.
        return await self._database.read(work, quick=True)

    async def list_expired(self, limit: int = 100) -> Sequence[RunId]:
        return await self._database.read(lambda connection: expired(connection, self._clock.now(), limit), single=True)

    async def list_ended_before(self, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
        return await self._database.read(lambda connection: ended(connection, run_ids, before), single=True)

    async def recover(self, run_id: RunId, max_attempts: int) -> Recovery | None:
        def work(connection: Connection) -> Recovery | None:
            lock_thread_of(connection, runs, threads, run_id)
            recovered = recover(connection, run_id, max_attempts, self._clock.now(), self._ends)
            if recovered is not None:
                self._announce(connection, recovered.record.thread_id)
            return recovered

        return await self._database.write(work, committed=lambda recovered: self._ring_if(recovered is not None))

    async def abandon_all(self) -> int:
        return await self._database.write(lambda connection: abandon_all(connection, self._clock.now()))

    async def release_all(self) -> int:
        return await self._database.write(
            lambda connection: release_all(connection, self._clock.now()), committed=lambda _: self._on_waiting()
        )

    async def retry(self, run_id: RunId) -> RunRecord | None:
        def work(connection: Connection) -> RunRecord | None:
            lock_thread_of(connection, runs, threads, run_id)
            now = self._clock.now()
            retried = retry(connection, run_id, now)
            if retried is not None:
                # Its questions were opened again when it was given up.
                take_for_run(connection, retried, now, self._ends.approvals)
                self._announce(connection, retried.thread_id)
            return retried

        return await self._database.write(work, committed=lambda retried: self._ring_if(retried is not None))

    def _ring_if(self, has_waiting_runs: bool) -> None:
        if has_waiting_runs:
            self._on_waiting()


def _holder(lease: Lease) -> JsonObject:
    return {"the_run": lease.run_id, "the_attempt": lease.attempt, "the_worker": lease.worker}


def _again(lease: Lease, row: Sequence[Any] | None) -> Lease:
    """Return the lease after a write; its specification never changes, so it is not read again."""
    if row is None:
        raise LeaseLost(lease.run_id, lease.attempt)
    run = dataclasses.replace(lease.run, **to_progress(row))
    return dataclasses.replace(lease, run=run, deadline=row[-1])


def _settle(connection: Connection, lease: Lease, outcome: Outcome, now: datetime, ends: RunEnds) -> Settled:
    actor = ended_actor(lease.run.actor)
    values = {**_holder(lease), **_ending(outcome), "the_actor": actor, "the_thread": lease.thread_id, "now": now}
    row = _SETTLE.first(connection, values)
    if row is None:
        record = _settled_before(connection, lease, outcome)
        return Settled(record, status_of(connection, lease.thread_id) or outcome.thread.status)
    record = dataclasses.replace(lease.run, **to_progress(row))
    write_usage(connection, lease.run, lease.attempt, outcome.usage, now)
    ends.write(connection, record, now, outcome)
    record = dataclasses.replace(record, actor=record.actor.with_kept_claims())
    if outcome.rolled_back:
        _UNDO.rows(connection, {"the_run": lease.run_id})
        restore_graph_metadata(connection, lease.thread_id)
    if lease.run.spec.scope.is_temporary and drop_temporary(connection, lease.thread_id):
        return Settled(record, outcome.thread.status, bool(row[-1]))
    status = apply_outcome(connection, lease.thread_id, outcome.thread, now, title=outcome.title)
    if status is not None:
        settle_approvals(connection, lease.thread_id, outcome.thread, now, ends.approvals, run=record)
        if status == "busy":
            take_for_waiting(connection, lease.thread_id, now, ends.approvals)
    return Settled(record, status or outcome.thread.status, bool(row[-1]))


def _ending(outcome: Outcome) -> JsonMapping:
    return {
        "the_status": outcome.status.value,
        "final": outcome.final_checkpoint_id,
        "the_failure": None if outcome.failure is None else json_text.dump(outcome.failure.to_json()),
        "the_completion": completion_text(outcome.completion),
        "undone": outcome.rolled_back,
    }


def _settled_before(connection: Connection, lease: Lease, outcome: Outcome) -> RunRecord:
    """Return the record if this very attempt has settled it before. Raises LeaseLost or RollbackRequested otherwise."""
    row = _STANDS.first(connection, {"the_run": lease.run_id})
    if row is None:
        if not outcome.rolled_back:
            raise LeaseLost(lease.run_id, lease.attempt)
        return dataclasses.replace(
            lease.run,
            status=outcome.status,
            failure=outcome.failure,
            completion=outcome.completion,
            final_checkpoint_id=outcome.final_checkpoint_id,
        )
    progress = to_progress(row)
    if row[-1] != lease.worker or progress["attempt"] != lease.attempt:
        raise LeaseLost(lease.run_id, lease.attempt)
    if not progress["status"].is_terminal:
        # Still held by this attempt, and not written: the stop flag of a rollback prevented it.
        raise RollbackRequested(lease.run_id)
    return dataclasses.replace(lease.run, **progress)
