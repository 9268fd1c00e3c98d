"""Runs come into being: one transaction looks at the thread, asks who may go first, and writes the row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError
from uuid_utils.compat import uuid7

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.runs.exceptions import InvalidRunSpec, RunConflict, ThreadBusy, ThreadNotFound
from runstead.runtime.runs.store import Admit, CreatedRun, Decide, Refuse
from runstead.runtime.runs.types import RunId, RunRecord, RunSpec, RunStatus, Stopped, ThreadId

from . import json_text
from .database import Database
from .dialect import add_unless_there
from .run_rows import new_row
from .run_stops import stop
from .scope import is_storable
from .tables import runs, threads
from .thread_status import rest

_NOW: Final = bindparam("now", type_=runs.c.due_at.type)
_THREAD: Final = (
    select(threads.c.tenant_id, threads.c.user_id, threads.c.metadata)
    .where(threads.c.thread_id == bindparam("the_thread"))
    .with_for_update()
)
_IN_FLIGHT: Final = (
    select(runs.c.run_id)
    .where(
        runs.c.thread_id == bindparam("the_thread"),
        runs.c.ended_at.is_(None),
        or_(runs.c.lease_until.is_not(None), runs.c.due_at <= _NOW),
    )
    .order_by(runs.c.queue_seq)
)
_INSERT: Final = runs.insert()
_TOUCH: Final = (
    update(threads)
    .where(threads.c.thread_id == bindparam("the_thread"))
    .values(status=bindparam("the_status"), metadata=bindparam("the_metadata"), updated_at=_NOW)
)
_DESCRIBE: Final = (
    update(threads)
    .where(threads.c.thread_id == bindparam("the_thread"))
    .values(metadata=bindparam("the_metadata"), updated_at=_NOW)
)


class SqlRunCreateStore:
    """RunCreateStore over a Database. ``on_waiting`` is rung when runs have come that can be claimed, now or later."""

    def __init__(self, database: Database, clock: Clock, on_waiting: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._on_waiting = on_waiting

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        actor = require_actor_context("creating a run")

        def work(connection: Connection) -> list[CreatedRun]:
            now = self._clock.now()
            return _as_committed([_create(connection, spec, decide, actor, now) for spec in specs])

        try:
            return await self._database.write(work, committed=lambda _: self._on_waiting())
        except json_text.NotJson as error:
            raise InvalidRunSpec(str(error)) from error


def _as_committed(created: Sequence[CreatedRun]) -> list[CreatedRun]:
    """A later run of a batch may have ended an earlier one."""
    ended = {record.run_id: record for one in created for record in one.ended if not _is_gone(record)}
    return [dataclasses.replace(one, record=ended.get(one.record.run_id, one.record)) for one in created]


def _is_gone(ended: RunRecord) -> bool:
    return ended.stop_requested is not None and ended.stop_requested.undoes


def _create(connection: Connection, spec: RunSpec, decide: Decide, actor: ActorContext, now: datetime) -> CreatedRun:
    due_at = _due_at(spec, now)
    run_id = _id_or_new("run_id", spec.run_id)
    thread_id = _id_or_new("thread_id", spec.thread_id)
    metadata = _lock_thread(connection, spec, thread_id, actor, now)
    ended: list[RunRecord] = []
    stopping: list[RunId] = []
    admission = decide(spec.multitask_strategy, _in_flight(connection, thread_id, now))
    if isinstance(admission, Refuse):
        raise ThreadBusy(admission.busy_with)
    _stop_others(connection, admission, now, stopping, ended)
    record = _insert(connection, spec, run_id, thread_id, actor, now, due_at)
    described = json_text.dump(
        {**json_text.load(metadata), "graph_id": spec.graph_id, "assistant_id": spec.assistant_id}
    )
    values = {"the_thread": thread_id, "the_metadata": described, "now": now}
    if due_at <= now:
        connection.execute(_TOUCH, {**values, "the_status": "busy"})
    else:
        connection.execute(_DESCRIBE, values)
        if ended:
            rest(connection, thread_id, now)
    return CreatedRun(record, tuple(stopping), tuple(ended))


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


def _lock_thread(connection: Connection, spec: RunSpec, thread_id: ThreadId, actor: ActorContext, now: datetime) -> str:
    """Lock the thread, made where the spec allows it, and return its metadata."""
    row = connection.execute(_THREAD, {"the_thread": thread_id}).first()
    if row is None:
        if spec.scope.kind != "stateless" and spec.scope.if_not_exists != "create":
            raise ThreadNotFound(thread_id)
        if add_unless_there(connection, threads, _new_thread(spec, thread_id, actor, now)):
            return "{}"
        row = connection.execute(_THREAD, {"the_thread": thread_id}).one()
    if (row.tenant_id, row.user_id) != (actor.tenant_id, actor.user_id):
        raise ThreadNotFound(thread_id)
    return str(row.metadata)


def _new_thread(spec: RunSpec, thread_id: ThreadId, actor: ActorContext, now: datetime) -> dict[str, Any]:
    return {
        "thread_id": thread_id,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "status": "idle",
        "resting": "idle",
        "temporary": spec.scope.is_temporary,
        "metadata": "{}",
        "config": "{}",
        "created_at": now,
        "updated_at": now,
        "interrupts": b"{}",
    }


def _in_flight(connection: Connection, thread_id: ThreadId, now: datetime) -> Sequence[RunId]:
    return connection.execute(_IN_FLIGHT, {"the_thread": thread_id, "now": now}).scalars().all()


def _stop_others(
    connection: Connection, admission: Admit, now: datetime, stopping: list[RunId], ended: list[RunRecord]
) -> None:
    for run_id in admission.stopping:
        stopped = stop(connection, run_id, admission.reason or Stopped.SUPERSEDED, now)
        if stopped is not None and stopped.effect == "flagged":
            stopping.append(run_id)
        elif stopped is not None and stopped.effect == "ended":
            ended.append(stopped.record)


def _insert(
    connection: Connection,
    spec: RunSpec,
    run_id: RunId,
    thread_id: ThreadId,
    actor: ActorContext,
    now: datetime,
    due_at: datetime,
) -> RunRecord:
    row = new_row(spec, run_id, thread_id, actor, now, due_at)
    try:
        inserted = connection.execute(_INSERT, row)
    except IntegrityError as error:
        raise RunConflict(run_id) from error
    assert inserted.inserted_primary_key is not None
    return RunRecord(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=spec.assistant_id,
        spec=spec,
        actor=actor,
        status=RunStatus.PENDING,
        created_at=now,
        updated_at=now,
        due_at=due_at,
        queue_seq=inserted.inserted_primary_key[0],
    )
