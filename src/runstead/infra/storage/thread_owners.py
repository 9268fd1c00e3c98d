"""Owners of threads in SQL."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.types import ThreadId

from .access_predicates import access_predicate, granted_access, is_storable, own_or_granted
from .database import Database
from .prepared import Prepared
from .schema import threads

_OWNER: Final = select(threads.c.user_id, threads.c.tenant_id).where(threads.c.thread_id == bindparam("the_thread"))
_GRANTED: Final = Prepared(_OWNER.where(own_or_granted(threads)))


class SqlThreadOwnerStore:
    """ThreadOwnerStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owner_of(self, thread_id: ThreadId) -> ActorContext | None:
        actor = require_actor_context("the owner of a thread")
        if not is_storable(thread_id):
            return None

        def work(connection: Connection) -> ActorContext | None:
            row: Any
            if (access := granted_access(actor)) is not None:
                row = _GRANTED.first(connection, {**access, "the_thread": thread_id})
            else:
                reached = _OWNER.where(access_predicate(threads, actor))
                row = connection.execute(reached, {"the_thread": thread_id}).first()
            return None if row is None else ActorContext(row[0], row[1])

        return await self._database.read(work, quick=True)
