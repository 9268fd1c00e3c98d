"""Steering messages in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, or_, select, update

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.runs.steering import (
    MessageId,
    MessageNotFound,
    MessageNotWaiting,
    MovedMessage,
    SteeringMessage,
    TakenMessage,
    Taking,
    TakingTask,
)
from runstead.runtime.runs.types import NO_INTERRUPTS, Lease, RunStatus, ThreadId

from . import json_text
from .access_predicates import access_predicate, is_storable
from .database import Database
from .dialect import lock_thread
from .prepared import Prepared
from .run_create import SqlRunCreateStore
from .run_predicates import lock_attempt
from .run_queries import clamp_limit
from .schema import runs, threads
from .steering_rows import SHOWN, TAKEN, to_message, to_spec, to_taken
from .steering_tables import steering_messages as table

_OPEN: Final = table.c.ended_at.is_(None)
_FOR_RUN: Final = and_(
    table.c.thread_id == bindparam("the_thread"),
    _OPEN,
    table.c.tenant_id == bindparam("the_tenant"),
    table.c.user_id == bindparam("the_user"),
    table.c.assistant_id == bindparam("the_assistant"),
)
_ANY_FOR_RUN: Final = Prepared(select(table.c.seq).where(_FOR_RUN).limit(1))
_ALL_FOR_RUN: Final = Prepared(
    select(table.c.seq, table.c.task_id, *TAKEN, *SHOWN).where(_FOR_RUN).order_by(table.c.seq)
)
_TAKE: Final = Prepared(
    update(table)
    .where(table.c.seq == bindparam("the_seq"))
    .values(
        status="taken",
        run_id=bindparam("the_run"),
        taken_attempt=bindparam("the_attempt"),
        task_id=bindparam("the_task"),
        task=bindparam("the_place"),
    )
)
_STILL_TAKEN: Final = and_(
    table.c.message_id == bindparam("the_message"),
    table.c.status == "taken",
    table.c.run_id == bindparam("the_run"),
    table.c.taken_attempt == bindparam("the_attempt"),
)
_DELIVER: Final = Prepared(
    update(table)
    .where(_STILL_TAKEN)
    .values(status="delivered", ended_at=bindparam("now", type_=table.c.created_at.type), spec=None)
    .returning(table.c.message_id)
)
_RETURN: Final = Prepared(
    update(table).where(_STILL_TAKEN).values(status="waiting", taken_attempt=None, task_id=None, task=None)
)
_RUN_ENDED: Final = ~exists().where(runs.c.run_id == table.c.run_id, runs.c.ended_at.is_(None))


class SqlSteeringStore:
    """SteeringStore over a Database. ``create`` writes the runs that messages start."""

    def __init__(self, database: Database, clock: Clock, create: SqlRunCreateStore) -> None:
        self._database, self._clock, self._create = database, clock, create

    async def get(self, thread_id: ThreadId, message_id: str) -> SteeringMessage:
        actor = require_actor_context("reading a message")

        def work(connection: Connection) -> SteeringMessage:
            return to_message(_reached(connection, actor, thread_id, message_id))

        return await self._database.read(work)

    async def list(
        self, thread_id: ThreadId, *, only_open: bool = False, limit: int = 100, offset: int = 0
    ) -> Sequence[SteeringMessage]:
        actor = require_actor_context("listing messages")
        if not is_storable(thread_id):
            return []
        statement = (
            select(*SHOWN)
            .where(table.c.thread_id == thread_id, _has_access(actor), *((_OPEN,) if only_open else ()))
            .order_by(table.c.seq)
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        return await self._database.read(lambda connection: [to_message(row) for row in connection.execute(statement)])

    async def withdraw(self, thread_id: ThreadId, message_id: str) -> SteeringMessage:
        actor = require_actor_context("withdrawing a message")

        def work(connection: Connection) -> SteeringMessage:
            if is_storable(thread_id):
                lock_thread(connection, threads, thread_id)
            found = to_message(_reached(connection, actor, thread_id, message_id))
            if found.status == "withdrawn":
                return found
            if found.status != "waiting":
                raise MessageNotWaiting(message_id, found.status, found.run_id)
            withdrawn = (
                update(table)
                .where(table.c.message_id == message_id)
                .values(status="withdrawn", ended_at=self._clock.now(), spec=None)
                .returning(*SHOWN)
            )
            return to_message(connection.execute(withdrawn).one())

        return await self._database.write(work)

    async def take(self, lease: Lease, task: TakingTask) -> Taking:
        run = lease.run
        wanted = {
            "the_thread": run.thread_id,
            "the_tenant": run.actor.tenant_id,
            "the_user": run.actor.user_id,
            "the_assistant": run.assistant_id,
        }

        def work(connection: Connection) -> Taking:
            lock_thread(connection, threads, run.thread_id)
            lock_attempt(connection, lease.holder)
            rows = [
                (seq, task_id, to_message(row[len(TAKEN) :]), row[: len(TAKEN)])
                for seq, task_id, *row in _ALL_FOR_RUN.rows(connection, wanted)
            ]
            held = (run.run_id, lease.attempt)
            elsewhere = [taken for _, _, one, taken in rows if one.status == "taken" and tuple(taken[1:3]) != held]
            if elsewhere:
                return Taking(unresolved=[to_taken(taken) for taken in elsewhere])
            place = json_text.dump(task.to_json())
            found = []
            for seq, task_id, message, _ in rows:
                if message.status == "taken" and task_id != task.task_id:
                    continue
                found.append(message)
                values = {"the_seq": seq, "the_run": run.run_id, "the_attempt": lease.attempt}
                _TAKE.rows(connection, {**values, "the_task": task.task_id, "the_place": place})
            return Taking(messages=found)

        # The usual case, once for each model call: nothing waits, and nothing is written.
        waits = await self._database.read(lambda connection: _ANY_FOR_RUN.first(connection, wanted), quick=True)
        return Taking() if waits is None else await self._database.write(work)

    async def resolve(self, taken: Sequence[TakenMessage], delivered: Collection[MessageId]) -> Sequence[MessageId]:
        def work(connection: Connection) -> list[MessageId]:
            now, done = self._clock.now(), []
            for one in taken:
                values = {"the_message": one.message_id, "the_run": one.run_id, "the_attempt": one.attempt}
                if one.message_id not in delivered:
                    _RETURN.rows(connection, values)
                elif _DELIVER.first(connection, {**values, "now": now}) is not None:
                    done.append(one.message_id)
            return done

        return await self._database.write(work) if taken else []

    async def list_unresolved(self, thread_id: ThreadId) -> Sequence[TakenMessage]:
        statement = (
            select(*TAKEN)
            .where(table.c.thread_id == thread_id, _OPEN, table.c.status == "taken", _RUN_ENDED)
            .order_by(table.c.seq)
        )
        return await self._database.read(lambda connection: [to_taken(row) for row in connection.execute(statement)])

    async def move(self, thread_id: ThreadId) -> MovedMessage | None:
        first = (
            select(table.c.message_id, table.c.status, table.c.actor, table.c.spec)
            .where(table.c.thread_id == thread_id, _OPEN)
            .order_by(table.c.seq)
            .limit(1)
        )
        idle = _IDLE.where(threads.c.thread_id == thread_id)

        def work(connection: Connection) -> MovedMessage | None:
            lock_thread(connection, threads, thread_id)
            thread = connection.execute(idle).first()
            if thread is None or _waits_for_human(thread):
                return None
            row = connection.execute(first).first()
            if row is None or row.status != "waiting":
                return None
            actor = ActorContext.from_json(json_text.load(row.actor)).with_access_to(thread_id)
            spec = to_spec(row.spec)
            created = self._create.create_next(connection, spec, thread_id, actor, self._clock.now())
            changed = {"status": "moved", "run_id": created.run_id, "ended_at": self._clock.now(), "spec": None}
            connection.execute(update(table).where(table.c.message_id == row.message_id).values(**changed))
            return MovedMessage(row.message_id, created)

        return await self._database.write(work, committed=lambda moved: self._create.ring_if(moved is not None))

    async def list_idle(self, page: int = 1_000) -> Sequence[ThreadId]:
        found: list[ThreadId] = []
        while True:
            statement = _WITH_OPEN.where(threads.c.thread_id > found[-1]) if found else _WITH_OPEN
            following = await self._database.read(partial(_thread_ids, statement.limit(page)))
            found += following
            if len(following) < page:
                return found


_LAST_STATUS: Final = (
    select(runs.c.status)
    .where(runs.c.thread_id == threads.c.thread_id)
    .order_by(runs.c.queue_seq.desc())
    .limit(1)
    .scalar_subquery()
)
_NO_RUN: Final = ~exists().where(runs.c.thread_id == threads.c.thread_id, runs.c.ended_at.is_(None))
_IDLE: Final = select(
    threads.c.thread_id, threads.c.status, threads.c.interrupts, _LAST_STATUS.label("last_status")
).where(_NO_RUN)
"""Threads without a run in flight."""
_WITH_OPEN: Final = (
    select(threads.c.thread_id)
    .where(
        threads.c.thread_id.in_(select(table.c.thread_id).where(_OPEN)),
        _NO_RUN,
        or_(threads.c.status != "interrupted", _LAST_STATUS.is_distinct_from(RunStatus.SUCCESS.value)),
    )
    .order_by(threads.c.thread_id)
)
"""Those with open messages, without those that certainly wait for an answer. SQL cannot read encrypted questions."""


def _thread_ids(statement: Select[tuple[ThreadId]], connection: Connection) -> Sequence[ThreadId]:
    return [ThreadId(row.thread_id) for row in connection.execute(statement)]


def _waits_for_human(thread: Any) -> bool:
    """Return whether a thread waits for an answer, or at a breakpoint. A thread whose run was stopped does not."""
    return thread.status == "interrupted" and (
        bytes(thread.interrupts) != NO_INTERRUPTS or thread.last_status == RunStatus.SUCCESS.value
    )


def _has_access(actor: ActorContext) -> ColumnElement[bool]:
    thread = select(threads.c.thread_id).where(
        threads.c.thread_id == table.c.thread_id, access_predicate(threads, actor)
    )
    return and_(table.c.tenant_id == actor.tenant_id, thread.exists())


def _reached(connection: Connection, actor: ActorContext, thread_id: str, message_id: str) -> Any:
    row = None
    if is_storable(thread_id) and is_storable(message_id):
        found = select(*SHOWN).where(
            table.c.message_id == message_id, table.c.thread_id == thread_id, _has_access(actor)
        )
        row = connection.execute(found).first()
    if row is None:
        raise MessageNotFound(message_id)
    return row
