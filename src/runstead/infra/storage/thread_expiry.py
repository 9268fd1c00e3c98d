"""Expiry of threads in SQL.

A thread that is to be deleted gets an owner that no actor can have, which hides it at once and keeps its id reserved
until its checkpoints are deleted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from runstead.resources.thread_expiry import ExpiredThread
from runstead.resources.threads import ThreadTtl
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId

from . import json_text
from .database import Database
from .prepared import Prepared
from .schema import runs, thread_ttls, threads, webhook_deliveries
from .thread_rows import reschedule_expiry
from .thread_status import forget_thread
from .webhook_deliveries import forget_deliveries

_NOBODY: Final = ""
"""A tenant's id is never empty."""

_DUE: Final = (
    select(
        threads.c.thread_id,
        threads.c.tenant_id,
        threads.c.user_id,
        threads.c.updated_at,
        thread_ttls.c.minutes,
        thread_ttls.c.strategy,
    )
    .join(thread_ttls, thread_ttls.c.thread_id == threads.c.thread_id)
    .where(thread_ttls.c.expires_at <= bindparam("now", type_=thread_ttls.c.expires_at.type))
    .order_by(thread_ttls.c.expires_at, threads.c.thread_id)
    .limit(bindparam("the_limit"))
    # A thread that is about to be used is left for the next time: waiting for several in this order could deadlock.
    .with_for_update(of=threads, skip_locked=True)
)
_THREAD: Final[BindParameter[str]] = bindparam("the_thread")
_TO_COME: Final = Prepared(select(runs.c.run_id).where(runs.c.thread_id == _THREAD, runs.c.ended_at.is_(None)).limit(1))
_HIDE: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == _THREAD)
    .values(tenant_id=bindparam("the_tenant"), user_id=bindparam("the_user"))
)
_HIDDEN: Final = Prepared(
    select(threads.c.thread_id).where(threads.c.thread_id == _THREAD, threads.c.tenant_id == _NOBODY).with_for_update()
)


class SqlThreadExpiryStore:
    """ThreadExpiryStore over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(self, limit: int) -> Sequence[ExpiredThread]:
        return await self._database.write(lambda connection: _take(connection, self._clock.now(), limit))

    async def finish(self, expired: ExpiredThread) -> Sequence[RunId]:
        return await self._database.write(lambda connection: _finish(connection, expired, self._clock.now()))


def _take(connection: Connection, now: datetime, limit: int) -> list[ExpiredThread]:
    taken: list[ExpiredThread] = []
    # Threads that were used meanwhile are postponed, and others take their place.
    while not taken and (rows := connection.execute(_DUE, {"now": now, "the_limit": limit}).all()):
        taken = [expired for row in rows if (expired := _judged(connection, row, now)) is not None]
    return taken


def _judged(connection: Connection, row: Any, now: datetime) -> ExpiredThread | None:
    """Return the thread of a row if it has expired, hidden if it is to be deleted; return None if it was postponed."""
    thread_id, tenant_id, user_id, last_used, minutes, strategy = row
    if tenant_id == _NOBODY:
        return ExpiredThread(thread_id, _hidden_owner(user_id), "delete")
    ttl = ThreadTtl(minutes, strategy)
    if _TO_COME.first(connection, {"the_thread": thread_id}) is not None:
        reschedule_expiry(connection, thread_id, ttl.over_at(now))
        return None
    if ttl.over_at(last_used) > now:
        reschedule_expiry(connection, thread_id, ttl.over_at(last_used))
        return None
    if strategy == "delete":
        owner = json_text.dump([tenant_id, user_id])
        _HIDE.rows(connection, {"the_thread": thread_id, "the_tenant": _NOBODY, "the_user": owner})
    return ExpiredThread(thread_id, ActorContext(user_id, tenant_id), strategy)


def _hidden_owner(text: str) -> ActorContext:
    tenant_id, user_id = json_text.load(text)
    return ActorContext(user_id, tenant_id)


def _finish(connection: Connection, expired: ExpiredThread, now: datetime) -> list[RunId]:
    if expired.strategy == "keep_latest":
        row = connection.execute(
            select(thread_ttls.c.minutes).where(thread_ttls.c.thread_id == expired.thread_id)
        ).first()
        if row is not None:
            reschedule_expiry(connection, expired.thread_id, ThreadTtl(row.minutes).over_at(now))
        return []
    if _HIDDEN.first(connection, {"the_thread": expired.thread_id}) is None:
        return []
    of_thread = runs.c.thread_id == expired.thread_id
    gone = list(connection.execute(select(runs.c.run_id).where(of_thread)).scalars())
    connection.execute(delete(runs).where(of_thread))
    forget_deliveries(connection, webhook_deliveries.c.thread_id == expired.thread_id)
    forget_thread(connection, expired.thread_id)
    return gone
