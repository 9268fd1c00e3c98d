"""Rows of threads: a new one, and its time to live."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from runstead.resources.threads import ThreadTtl
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import ThreadId, ThreadStatus

from .prepared import Prepared, PreparedInsert
from .schema import thread_ttls, threads

_NEW: Final = (
    "thread_id",
    "tenant_id",
    "user_id",
    "status",
    "resting",
    "temporary",
    "metadata",
    "config",
    "created_at",
    "updated_at",
    "interrupts",
)

ADD_THREAD: Final = PreparedInsert(threads, _NEW, threads.c.thread_id)
"""Returns no row if the id exists."""


def new_thread(
    thread_id: ThreadId,
    actor: ActorContext,
    now: datetime,
    metadata: str,
    *,
    config: str = "{}",
    status: ThreadStatus = "idle",
    temporary: bool = False,
) -> JsonObject:
    """Return the row of a thread without a state. ``metadata`` and ``config`` are JSON."""
    return {
        "thread_id": thread_id,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "status": status,
        "resting": "idle",
        "temporary": temporary,
        "metadata": metadata,
        "config": config,
        "created_at": now,
        "updated_at": now,
        "interrupts": b"{}",
    }


_THREAD: Final = thread_ttls.c.thread_id == bindparam("the_thread")
_ADD: Final = PreparedInsert(thread_ttls, ("thread_id", "minutes", "strategy", "expires_at"), thread_ttls.c.thread_id)
_FIND: Final = select(thread_ttls.c.minutes, thread_ttls.c.strategy).where(_THREAD)
_DROP: Final = Prepared(delete(thread_ttls).where(_THREAD))
_LOOK_AGAIN: Final = Prepared(
    update(thread_ttls).where(_THREAD).values(expires_at=bindparam("then", type_=thread_ttls.c.expires_at.type))
)


def set_ttl(connection: Connection, thread_id: ThreadId, ttl: ThreadTtl | None, now: datetime) -> None:
    """Set the thread to expire ``ttl`` after now; None changes nothing."""
    if ttl is None:
        return
    _DROP.rows(connection, {"the_thread": thread_id})
    row = {"thread_id": thread_id, "minutes": ttl.minutes, "strategy": ttl.strategy, "expires_at": ttl.over_at(now)}
    _ADD.rows(connection, row)


def ttl_of(connection: Connection, thread_id: ThreadId) -> ThreadTtl | None:
    """Return the thread's ttl, if any."""
    row = connection.execute(_FIND, {"the_thread": thread_id}).first()
    return None if row is None else ThreadTtl(row.minutes, row.strategy)


def reschedule_expiry(connection: Connection, thread_id: ThreadId, then: datetime) -> None:
    """Postpone the next expiry check of the thread to ``then``."""
    _LOOK_AGAIN.rows(connection, {"the_thread": thread_id, "then": then})
