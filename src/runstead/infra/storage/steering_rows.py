"""Rows of steering messages: accepting a message in the transaction that would create a run, and reading rows."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.exceptions import RunConflict
from runstead.runtime.runs.steering import (
    MessageId,
    MessageLimits,
    SteeringMessage,
    TakenMessage,
    TakingTask,
    TooManyMessages,
)
from runstead.runtime.runs.store import CreatedRun
from runstead.runtime.runs.types import NOT_STORED, RunId, RunRecord, RunSpec, ThreadId

from . import json_text
from .prepared import Prepared, PreparedInsert
from .run_rows import RECORD, actor_text, to_record
from .schema import runs
from .steering_tables import steering_messages as table

_CREATED: Final = (
    "message_id", "thread_id", "tenant_id", "user_id", "assistant_id", "run_id", "status", "bytes", "created_at",
    "actor", "spec",
)  # fmt: skip
_INSERT: Final = PreparedInsert(table, _CREATED, table.c.seq)
_TARGET: Final = Prepared(
    select(*RECORD)
    .where(
        runs.c.thread_id == bindparam("the_thread"),
        runs.c.ended_at.is_(None),
        runs.c.tenant_id == bindparam("the_tenant"),
        runs.c.user_id == bindparam("the_user"),
        runs.c.assistant_id == bindparam("the_assistant"),
    )
    .order_by(runs.c.queue_seq)
    .limit(1)
)
_RUN: Final = Prepared(select(*RECORD).where(runs.c.run_id == bindparam("the_run")))
_WAITING: Final = Prepared(
    select(func.count(), func.coalesce(func.sum(table.c.bytes), 0)).where(
        table.c.thread_id == bindparam("the_thread"), table.c.ended_at.is_(None)
    )
)

SHOWN: Final = (
    table.c.message_id,
    table.c.thread_id,
    table.c.run_id,
    table.c.user_id,
    table.c.status,
    table.c.created_at,
    table.c.ended_at,
    table.c.spec,
)
"""The columns of a SteeringMessage."""
TAKEN: Final = (table.c.message_id, table.c.run_id, table.c.taken_attempt, table.c.task)
"""The columns of a TakenMessage."""
_OWNER: Final = ("tenant_id", "user_id", "thread_id", "assistant_id")
_STORED: Final = Prepared(
    select(table.c.spec, *(table.c[name] for name in _OWNER)).where(table.c.message_id == bindparam("the_message"))
)
_ONE: Final = Prepared(select(*SHOWN).where(table.c.message_id == bindparam("the_message")))


def accept_message(
    connection: Connection,
    spec: RunSpec,
    message_id: str,
    thread_id: ThreadId,
    actor: ActorContext,
    now: datetime,
    limits: MessageLimits,
) -> CreatedRun | None:
    """Store the input of ``spec`` as a message for the first run in flight of its user and assistant.

    Return None if there is no such run, or its thread is deleted with it. The caller holds the lock of the thread.
    Raises TooManyMessages, and RunConflict for the id of another message.
    """
    values = {
        "the_thread": thread_id,
        "the_tenant": actor.tenant_id,
        "the_user": actor.user_id,
        "the_assistant": spec.assistant_id,
    }
    row = _TARGET.first(connection, values)
    if row is None:
        return None
    target = to_record(row)
    if target.spec.scope.is_temporary:
        return None
    size = len(json_text.dump(spec.input).encode())
    _check_limits(connection, thread_id, size, limits)
    stored = {
        "message_id": message_id,
        "thread_id": thread_id,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "assistant_id": spec.assistant_id,
        "run_id": target.run_id,
        "status": "waiting",
        "bytes": size,
        "created_at": now,
        "actor": actor_text(actor),
        "spec": _spec_text(spec),
    }
    if _INSERT.first(connection, stored) is None:
        return _same_message(connection, stored)
    message = SteeringMessage(MessageId(message_id), thread_id, target.run_id, actor.user_id, "waiting", now)
    return CreatedRun(_shown(target, message), message=message)


def repeated_message(connection: Connection, message_id: RunId) -> CreatedRun | None:
    """Return the result of a request that stored this message; None if there is no such message, or its run is gone.

    The caller has checked that the message is the actor's own.
    """
    row = _ONE.first(connection, {"the_message": message_id})
    if row is None:
        return None
    message = dataclasses.replace(to_message(row), input=None)
    run = _RUN.first(connection, {"the_run": message.run_id})
    if run is None:
        return None
    return CreatedRun(_shown(to_record(run), message), repeated=True, message=message)


def _same_message(connection: Connection, given: JsonMapping) -> CreatedRun:
    """Return the result of the first request with this id, if it was the same: of this user, on this thread, with this
    input. Raises RunConflict otherwise, and once the input of a delivered message is erased."""
    message_id = RunId(given["message_id"])
    row = _STORED.first(connection, {"the_message": message_id})
    owner = tuple(given[name] for name in _OWNER)
    if row is None or tuple(row[1:]) != owner or _input_of(row[0]) != _input_of(given["spec"]):
        raise RunConflict(message_id)
    if (found := repeated_message(connection, message_id)) is None:
        raise RunConflict(message_id)
    return found


def _input_of(spec: str | None) -> Any:
    return None if spec is None else json_text.load(spec).get("input")


def to_message(row: Any) -> SteeringMessage:
    """Return the message for a row of SHOWN."""
    message_id, thread_id, run_id, user_id, status, created_at, ended_at, spec = row
    return SteeringMessage(message_id, thread_id, run_id, user_id, status, created_at, ended_at, _input_of(spec))


def to_taken(row: Any) -> TakenMessage:
    """Return the message for a row of TAKEN."""
    message_id, run_id, attempt, task = row
    return TakenMessage(message_id, run_id, attempt, TakingTask.from_json(json_text.load(task)))


def to_spec(text: str) -> RunSpec:
    """Return the specification of the run that a message starts."""
    optional = dict.fromkeys(field.name for field in dataclasses.fields(RunSpec) if field.default is None)
    return RunSpec.from_json({**optional, **json_text.load(text)})


def _shown(run: RunRecord, message: SteeringMessage) -> RunRecord:
    return dataclasses.replace(run, message_id=message.message_id)


def _spec_text(spec: RunSpec) -> str:
    names = [field.name for field in dataclasses.fields(RunSpec) if field.name not in NOT_STORED]
    return json_text.dump({name: value for name in names if (value := getattr(spec, name)) is not None})


def _check_limits(connection: Connection, thread_id: ThreadId, size: int, limits: MessageLimits) -> None:
    row = _WAITING.first(connection, {"the_thread": thread_id})
    count, held = (0, 0) if row is None else row
    if count >= limits.count:
        raise TooManyMessages(f"{count} messages, the maximum,")
    if held + size > limits.content_bytes:
        raise TooManyMessages(f"messages of {held} bytes (with this one {held + size} of {limits.content_bytes})")
