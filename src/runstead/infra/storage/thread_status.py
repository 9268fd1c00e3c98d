"""The status of a thread, derived from its runs in the transaction that changes them.

A thread is busy while a run has not ended, even one with a later due time; otherwise its status is the result of the
last run. A temporary thread is deleted with its last run.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, case, delete, exists, func, literal, or_, select, update

from runstead.resources.threads import changed_title
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import AssistantId, RunFailure, ThreadId, ThreadOutcome, ThreadStatus

from . import json_text
from .dialect import lock_thread
from .prepared import Prepared
from .schema import (
    approval_events,
    approvals,
    channel_conversations,
    channel_messages,
    crons,
    run_event_threads,
    run_events,
    runs,
    thread_priorities,
    thread_ttls,
    threads,
)
from .steering_tables import steering_messages

_NOW: Final = bindparam("now", type_=runs.c.due_at.type)
_THREAD: Final[BindParameter[str]] = bindparam("the_thread")

_IN_FLIGHT: Final = exists().where(runs.c.thread_id == threads.c.thread_id, runs.c.ended_at.is_(None))
_STATUS: Final = (threads.c.status, threads.c.temporary, threads.c.metadata)

_HOLD: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == _THREAD, threads.c.status != "busy")
    .values(status="busy", updated_at=_NOW)
)
_REST: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == _THREAD)
    .values(status=case((_IN_FLIGHT, literal("busy")), else_=threads.c.resting), updated_at=_NOW)
    .returning(*_STATUS)
)
_FAIL: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == _THREAD)
    .values(
        status=case((_IN_FLIGHT, literal("busy")), else_=literal("error")),
        resting="error",
        error=bindparam("error"),
        updated_at=_NOW,
    )
)
_LEAVE: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == _THREAD)
    .values(
        status=case((_IN_FLIGHT, literal("busy")), else_=bindparam("resting")),
        resting=bindparam("resting"),
        interrupts=bindparam("interrupts"),
        error=bindparam("error"),
        state_values=func.coalesce(bindparam("values", type_=threads.c.state_values.type), threads.c.state_values),
        state_updated_at=func.coalesce(bindparam("state_at", type_=runs.c.due_at.type), threads.c.state_updated_at),
        updated_at=_NOW,
    )
    .returning(*_STATUS)
)
_STILL_NEEDED: Final = Prepared(
    select(runs.c.run_id)
    .where(runs.c.thread_id == _THREAD, or_(runs.c.ended_at.is_(None), runs.c.dead_letter))
    .limit(1)
)
_NOW_IS: Final = Prepared(select(threads.c.status).where(threads.c.thread_id == _THREAD))
_DESCRIBED: Final = Prepared(
    update(threads).where(threads.c.thread_id == _THREAD).values(metadata=bindparam("the_metadata"))
)
_LAST_SPEC: Final = Prepared(
    select(runs.c.spec).where(runs.c.thread_id == _THREAD).order_by(runs.c.queue_seq.desc()).limit(1)
)
_VALUES: Final = Prepared(select(threads.c.state_values).where(threads.c.thread_id == _THREAD))
_METADATA: Final = Prepared(select(threads.c.metadata).where(threads.c.thread_id == _THREAD))
_OF_TEMPORARY: Final = (run_events, run_event_threads, thread_ttls, crons)
"""Tables that a temporary thread may have rows in, beside its own."""
_FORGET: Final = tuple(
    Prepared(delete(table).where(table.c.thread_id == bindparam("the_thread"))) for table in (*_OF_TEMPORARY, threads)
)
_DROPPED: Final = (
    delete(threads)
    .where(
        threads.c.thread_id == _THREAD,
        threads.c.temporary,
        ~exists().where(runs.c.thread_id == _THREAD, or_(runs.c.ended_at.is_(None), runs.c.dead_letter)),
    )
    .returning(threads.c.thread_id)
    .cte("dropped")
)
_DROP: Final = Prepared(
    select(_DROPPED.c.thread_id).add_cte(
        *(
            delete(table).where(table.c.thread_id.in_(select(_DROPPED.c.thread_id))).cte(f"dropped_{table.name}")
            for table in _OF_TEMPORARY
        )
    )
)
_FORGET_PRIORITY: Final = Prepared(delete(thread_priorities).where(thread_priorities.c.thread_id == _THREAD))
_FORGET_APPROVALS: Final = Prepared(delete(approvals).where(approvals.c.thread_id == _THREAD))
_FORGET_APPROVAL_EVENTS: Final = Prepared(delete(approval_events).where(approval_events.c.thread_id == _THREAD))
_FORGET_CONVERSATION: Final = Prepared(
    delete(channel_conversations).where(channel_conversations.c.thread_id == _THREAD)
)
_FORGET_STEERING: Final = Prepared(delete(steering_messages).where(steering_messages.c.thread_id == _THREAD))
# The rows stay: a chat service may deliver a message again.
_FORGET_MESSAGES: Final = Prepared(
    update(channel_messages)
    .where(channel_messages.c.thread_id == _THREAD)
    .values(
        status="ended",
        ended_at=func.coalesce(channel_messages.c.ended_at, channel_messages.c.received_at),
        payload="{}",
        progress="{}",
    )
)

TITLE_LENGTH: Final = 200


def mark_busy(connection: Connection, thread_id: ThreadId, now: datetime) -> None:
    """Mark the thread busy, since one of its runs is being started."""
    _HOLD.rows(connection, {"the_thread": thread_id, "now": now})


def status_of(connection: Connection, thread_id: ThreadId) -> ThreadStatus | None:
    """Return the current status; None if the thread is deleted."""
    row = _NOW_IS.first(connection, {"the_thread": thread_id})
    return None if row is None else row[0]


def derive_status(connection: Connection, thread_id: ThreadId, now: datetime) -> ThreadStatus | None:
    """Derive the status after a run has gone without a result. Return it; None if the thread is deleted."""
    row = _REST.first(connection, {"the_thread": thread_id, "now": now})
    return _settled(connection, thread_id, row, {})


def apply_outcome(
    connection: Connection, thread_id: ThreadId, after: ThreadOutcome, now: datetime, *, title: str | None = None
) -> ThreadStatus | None:
    """Write the result of a run or of a state update. Return the status after that; None if the thread is deleted."""
    more = after.described
    if more is None:
        # What the graph itself writes counts more than what a model said.
        title = _new_title(connection, thread_id, after.values) or title
        more = {"title": title[:TITLE_LENGTH]} if title else {}
    values = {
        "the_thread": thread_id,
        "now": now,
        # Busy is derived, and would stay forever if it were stored as a result.
        "resting": "idle" if after.status == "busy" else after.status,
        "interrupts": after.interrupts,
        "error": None if after.error is None else json_text.dump(after.error.to_json()),
        "values": after.values,
        "state_at": None if after.values is None else now,
    }
    return _settled(connection, thread_id, _LEAVE.first(connection, values), more)


def _new_title(connection: Connection, thread_id: ThreadId, values: bytes | None) -> str | None:
    if values is None or b'"title"' not in values:
        return None
    row = _VALUES.first(connection, {"the_thread": thread_id})
    return changed_title(None if row is None else row[0], values)


def mark_failed(connection: Connection, thread_id: ThreadId, failure: RunFailure, now: datetime) -> None:
    """Set the status to ``error`` after a run was given up; the thread's state stays."""
    text = json_text.dump(failure.to_json())
    _FAIL.rows(connection, {"the_thread": thread_id, "error": text, "now": now})


def set_title(connection: Connection, thread_id: ThreadId, metadata: str, more: JsonMapping) -> None:
    """Merge ``more`` into the thread's metadata, whose current text is ``metadata``."""
    text = json_text.dump({**json_text.load(metadata), **more})
    _DESCRIBED.rows(connection, {"the_thread": thread_id, "the_metadata": text})


def described(metadata: str, graph_id: str, assistant_id: AssistantId) -> str:
    """Return metadata with the graph and the assistant that the thread was last used with."""
    return json_text.dump({**json_text.load(metadata), "graph_id": graph_id, "assistant_id": assistant_id})


def restore_graph_metadata(connection: Connection, thread_id: ThreadId) -> None:
    """Restore the previous run's graph and assistant after a rollback: the state is read through that graph."""
    last = _LAST_SPEC.first(connection, {"the_thread": thread_id})
    thread = _METADATA.first(connection, {"the_thread": thread_id})
    if last is not None and thread is not None:
        spec = json_text.load(last[0])
        text = described(thread[0], spec["graph_id"], spec["assistant_id"])
        _DESCRIBED.rows(connection, {"the_thread": thread_id, "the_metadata": text})


def forget_thread(connection: Connection, thread_id: ThreadId) -> None:
    """Delete the thread with its events, its ttl, its priority, its crons, its approvals, its steering messages
    and its messages of chat services, but not its runs."""
    # Temporary threads have none of these, which saves statements for each stateless run.
    for statement in (
        _FORGET_PRIORITY,
        _FORGET_CONVERSATION,
        _FORGET_STEERING,
        _FORGET_MESSAGES,
        _FORGET_APPROVALS,
        _FORGET_APPROVAL_EVENTS,
    ):
        statement.rows(connection, {"the_thread": thread_id})
    _forget(connection, thread_id)


def _forget(connection: Connection, thread_id: ThreadId) -> None:
    for statement in _FORGET:
        statement.rows(connection, {"the_thread": thread_id})


def drop_temporary(connection: Connection, thread_id: ThreadId) -> bool:
    """Delete the thread as `forget_temporary` does, in one statement; return False where that is not possible.

    The caller must have locked the thread.
    """
    return connection.dialect.name != "sqlite" and _DROP.first(connection, {"the_thread": thread_id}) is not None


def forget_temporary(connection: Connection, thread_id: ThreadId, *, is_locked: bool = False) -> bool:
    """Delete a temporary thread that no run needs any more; a dead letter needs it, since it can be retried."""
    if not is_locked:
        # Before the check: a run that is being created on it would otherwise lose its thread.
        lock_thread(connection, threads, thread_id)
    if _STILL_NEEDED.first(connection, {"the_thread": thread_id}) is not None:
        return False
    _forget(connection, thread_id)
    return True


def _settled(connection: Connection, thread_id: ThreadId, row: Any, more: JsonMapping) -> ThreadStatus | None:
    if row is None:
        return None
    status, temporary, metadata = row
    # The row was updated just now, which locks it.
    if temporary and forget_temporary(connection, thread_id, is_locked=True):
        return None
    if more:
        set_title(connection, thread_id, metadata, more)
    left: ThreadStatus = status
    return left
