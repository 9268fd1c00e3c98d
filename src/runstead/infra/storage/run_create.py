"""Creation of runs: one transaction reads the thread, decides on admission, and writes the row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, func, select, update
from uuid_utils.compat import uuid7

from runstead.resources.threads import ThreadTtl
from runstead.runtime.actor_context import OWN_ONLY, ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.limits import RunQuota
from runstead.runtime.runs.exceptions import (
    IdempotencyMismatch,
    InvalidRunSpec,
    RunConflict,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from runstead.runtime.runs.steering import MessageLimits
from runstead.runtime.runs.store import Admit, CreatedRun, Decide, Refuse, Steer
from runstead.runtime.runs.types import (
    Idempotency,
    RunId,
    RunRecord,
    RunSpec,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadPriority,
)

from . import json_text
from .access_predicates import is_storable, reaches_thread
from .approval_changes import take_questions
from .crons import tick
from .database import Database, EnqueueHook, no_enqueue
from .dialect import line_up
from .prepared import Prepared, PreparedInsert
from .run_budgets import Budgets
from .run_ends import WEBHOOKS_ONLY, RunEnds
from .run_quota import check_quota, lock_quota
from .run_rows import NEW, RECORD, new_row, to_record
from .run_stop import stop
from .schema import idempotency_keys, runs, threads
from .steering_rows import accept_message, repeated_message
from .thread_priorities import turn_of
from .thread_rows import ADD_THREAD, new_thread, set_ttl
from .thread_status import derive_status, described

_NOW: Final = bindparam("now", type_=runs.c.due_at.type)
_THREAD: Final = Prepared(
    select(threads.c.tenant_id, threads.c.user_id, threads.c.metadata)
    .where(threads.c.thread_id == bindparam("the_thread"))
    .with_for_update()
)
_IN_FLIGHT: Final = Prepared(
    select(runs.c.run_id)
    .where(runs.c.thread_id == bindparam("the_thread"), runs.c.ended_at.is_(None))
    .order_by(runs.c.queue_seq)
)
_INSERT: Final = PreparedInsert(runs, NEW, runs.c.queue_seq)
_CONFIG: Final = func.coalesce(bindparam("the_config", type_=threads.c.config.type), threads.c.config)
_TOUCH: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == bindparam("the_thread"))
    .values(status="busy", metadata=bindparam("the_metadata"), config=_CONFIG, updated_at=_NOW)
)


class SqlRunCreateStore:
    """RunCreateStore over a Database. ``on_waiting`` is called when runs were added that can be claimed, now or later.

    ``default_ttl`` is for threads that are created with a run and stay; None keeps them forever.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        on_waiting: Callable[[], None],
        announce: EnqueueHook = no_enqueue,
        *,
        default_ttl: ThreadTtl | None = None,
        quota: RunQuota | None = None,
        budgets: Budgets | None = None,
        ends: RunEnds = WEBHOOKS_ONLY,
        messages: MessageLimits | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_waiting = on_waiting
        self._announce = announce
        self._messages = messages or MessageLimits()
        self._default_ttl = default_ttl
        self._quota = quota
        self._budgets = budgets
        self._ends = ends

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        actor = require_actor_context("creating a run")

        def work(connection: Connection) -> list[CreatedRun]:
            now = self._clock.now()
            if self._quota is not None:
                lock_quota(connection, self._quota, actor)
            line_up(connection, (spec.thread_id for spec in specs if spec.thread_id and is_storable(spec.thread_id)))
            created = _as_committed([self._create(connection, spec, decide, actor, now) for spec in specs])
            if self._quota is not None and not all(one.repeated for one in created):
                check_quota(connection, self._quota, actor)
            if self._budgets is not None:
                new = [one.record for one in created if not one.repeated and one.message is None]
                self._budgets.check_new(connection, actor, new, now)
            for thread_id in dict.fromkeys(one.record.thread_id for one in created if one.message is None):
                self._announce(connection, thread_id)
            return created

        try:
            return await self._database.write(work, committed=lambda _: self._on_waiting())
        except json_text.NotJson as error:
            raise InvalidRunSpec(str(error)) from error

    def create_next(
        self, connection: Connection, spec: RunSpec, thread_id: ThreadId, actor: ActorContext, now: datetime
    ) -> RunRecord:
        """Create a run on an idle thread whose lock the transaction holds. Call `ring_if` after the commit."""
        spec = dataclasses.replace(
            spec, thread_id=thread_id, multitask_strategy="enqueue", idempotency=None, tick=None, run_id=None
        )
        created = self._create(connection, spec, lambda strategy, in_flight: Admit(), actor, now)
        self._announce(connection, thread_id)
        return created.record

    def ring_if(self, has_waiting_runs: bool) -> None:
        """Signal that a run may be claimable."""
        if has_waiting_runs:
            self._on_waiting()

    def _create(
        self, connection: Connection, spec: RunSpec, decide: Decide, actor: ActorContext, now: datetime
    ) -> CreatedRun:
        due_at = _due_at(spec, now)
        if not is_storable(spec.assistant_id):
            raise InvalidRunSpec(f"assistant_id {spec.assistant_id!a} cannot be used as an id")
        run_id = RunId(_id_or_new("run_id", spec.run_id))
        if spec.idempotency is not None and (made := repeated(connection, spec.idempotency, run_id, actor, now)):
            return made
        thread_id = ThreadId(_id_or_new("thread_id", spec.thread_id))
        before = _lock_thread(connection, spec, thread_id, actor, now)
        # A newly created thread has no runs, and its metadata are complete.
        in_flight = () if before is None else _in_flight(connection, thread_id)
        admission = decide(spec.multitask_strategy, in_flight)
        if isinstance(admission, Refuse):
            raise ThreadBusy(admission.busy_with)
        if isinstance(admission, Steer):
            accepted = accept_message(connection, spec, run_id, thread_id, actor, now, self._messages)
            if accepted is not None:
                if spec.tick is not None:
                    tick(connection, spec.tick, accepted.record.run_id, actor)
                return accepted
            admission = Admit()
        if spec.tick is not None:
            # After the thread: deletion of a thread locks in the same order, the thread before its crons.
            tick(connection, spec.tick, run_id, actor)
        stopping, ended = _stop_others(connection, admission, now, self._ends)
        turn = turn_of(connection, thread_id, spec)
        if before is not None:
            take_questions(connection, thread_id, spec, run_id, actor, now, self._ends.approvals)
        stored = dataclasses.replace(spec, thread_config=None, scheduling=None, approval=None)
        record = _insert(connection, stored, run_id, thread_id, actor, now, due_at, turn)
        if before is None and not spec.scope.is_temporary:
            set_ttl(connection, thread_id, self._default_ttl, now)
        if before is not None:
            values = {
                "the_thread": thread_id,
                "the_metadata": described(before, spec.graph_id, spec.assistant_id),
                "the_config": None if spec.thread_config is None else json_text.dump(spec.thread_config),
                "now": now,
            }
            _TOUCH.rows(connection, values)
            if ended:
                derive_status(connection, thread_id, now)
        return CreatedRun(record, stopping, ended)


def _as_committed(created: list[CreatedRun]) -> list[CreatedRun]:
    """Return the final records: a later run of a batch may have ended an earlier one."""
    if len(created) == 1:
        return created
    ended = {record.run_id: record for one in created for record in one.ended if not _is_gone(record)}
    return [dataclasses.replace(one, record=ended.get(one.record.run_id, one.record)) for one in created]


def _is_gone(ended: RunRecord) -> bool:
    return ended.stop_requested is not None and ended.stop_requested.rolls_back


def _due_at(spec: RunSpec, now: datetime) -> datetime:
    try:
        return now + timedelta(seconds=max(spec.after_seconds, 0))
    except (OverflowError, ValueError) as error:
        raise InvalidRunSpec(f"after_seconds={spec.after_seconds} is not a delay that can be waited for") from error


def _id_or_new(name: str, given: str | None) -> str:
    if given is None:
        return str(uuid7())
    if not given or not is_storable(given):
        raise InvalidRunSpec(f"{name} {given!a} cannot be used as an id; leave it out to get a new one")
    return given


def _lock_thread(
    connection: Connection, spec: RunSpec, thread_id: ThreadId, actor: ActorContext, now: datetime
) -> str | None:
    """Lock the thread and return its metadata; return None if it was created here, as the spec allowed."""
    row = None if spec.thread_id is None else _THREAD.first(connection, {"the_thread": thread_id})
    if row is None:
        if spec.scope.kind != "stateless" and spec.scope.if_not_exists != "create":
            raise ThreadNotFound(thread_id)
        # A new thread starts with the metadata of its first run, which searches and access filters use.
        own = described(json_text.dump(spec.metadata), spec.graph_id, spec.assistant_id)
        config = json_text.dump(spec.thread_config or {})
        new = new_thread(thread_id, actor, now, own, config=config, status="busy", temporary=spec.scope.is_temporary)
        if ADD_THREAD.rows(connection, new):
            return None
        row = _THREAD.first(connection, {"the_thread": thread_id})
    if row is None or not reaches_thread(actor, thread_id, *row):
        raise ThreadNotFound(thread_id)
    metadata: str = row[2]
    return metadata


def _in_flight(connection: Connection, thread_id: ThreadId) -> Sequence[RunId]:
    return [row[0] for row in _IN_FLIGHT.rows(connection, {"the_thread": thread_id})]


def _stop_others(
    connection: Connection, admission: Admit, now: datetime, ends: RunEnds
) -> tuple[tuple[RunId, ...], tuple[RunRecord, ...]]:
    """Carry out the decision; return the ids of flagged runs, and the runs that ended at once."""
    reason = admission.reason or StopReason.SUPERSEDED
    stops = [stop(connection, run_id, reason, now, ends) for run_id in admission.stopping]
    flagged = tuple(one.record.run_id for one in stops if one is not None and one.effect == "flagged")
    ended = tuple(one.record for one in stops if one is not None and one.effect == "ended")
    return flagged, ended


def _insert(
    connection: Connection,
    spec: RunSpec,
    run_id: RunId,
    thread_id: ThreadId,
    actor: ActorContext,
    now: datetime,
    due_at: datetime,
    turn: ThreadPriority,
) -> RunRecord:
    inserted = _INSERT.first(connection, new_row(spec, run_id, thread_id, actor, now, due_at, turn))
    if inserted is None:
        raise RunConflict(run_id)
    return RunRecord(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=spec.assistant_id,
        spec=spec,
        actor=actor.with_scope(OWN_ONLY),
        status=RunStatus.PENDING,
        created_at=now,
        updated_at=now,
        due_at=due_at,
        queue_seq=inserted[0],
    )


_COLUMNS: Final = ("tenant_id", "user_id", "key", "fingerprint", "run_id", "created_at")
_KEEP: Final = PreparedInsert(idempotency_keys, _COLUMNS, idempotency_keys.c.run_id)
_KEPT: Final = Prepared(
    select(idempotency_keys.c.fingerprint, idempotency_keys.c.run_id).where(
        idempotency_keys.c.tenant_id == bindparam("tenant_id"),
        idempotency_keys.c.user_id == bindparam("user_id"),
        idempotency_keys.c.key == bindparam("key"),
    )
)
_RUN: Final = Prepared(select(*RECORD).where(runs.c.run_id == bindparam("run_id")))


def repeated(
    connection: Connection, idempotency: Idempotency, run_id: RunId, actor: ActorContext, now: datetime
) -> CreatedRun | None:
    """Return what this key has created, a run or a steering message.

    None if the key is new, and from now on refers to ``run_id``.

    The key is written before the run, so that on any engine a second request waits for the first one to commit. Raises
    IdempotencyMismatch, RunNotFound.
    """
    if not is_storable(idempotency.key):
        raise InvalidRunSpec(f"{idempotency.key!a} cannot be used as an idempotency key")
    row = {
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "key": idempotency.key,
        "fingerprint": idempotency.fingerprint,
        "run_id": run_id,
        "created_at": now,
    }
    if _KEEP.first(connection, row) is not None:
        return None
    kept = _KEPT.first(connection, row)
    assert kept is not None, "a key that is taken is there"
    fingerprint, made = kept
    if fingerprint != idempotency.fingerprint:
        raise IdempotencyMismatch(made)
    found = _RUN.first(connection, {"run_id": made})
    if found is not None:
        return CreatedRun(to_record(found), repeated=True)
    if (accepted := repeated_message(connection, made)) is None:
        raise RunNotFound(made)
    return accepted
