"""Owners of threads in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, select

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.types import ThreadId

from .access_predicates import access_predicate, is_storable
from .database import Database
from .schema import threads


class SqlThreadOwnerStore:
    """ThreadOwnerStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owner_of(self, thread_id: ThreadId) -> ActorContext | None:
        actor = require_actor_context("the owner of a thread")
        if not is_storable(thread_id):
            return None
        statement = select(threads.c.user_id, threads.c.tenant_id).where(
            threads.c.thread_id == thread_id, access_predicate(threads, actor)
        )

        def work(connection: Connection) -> ActorContext | None:
            row = connection.execute(statement).first()
            return None if row is None else ActorContext(row.user_id, row.tenant_id)

        return await self._database.read(work, quick=True)
