"""Priorities of threads, beside their rows: only threads that a priority function was called for have one."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.runs.store import ThreadScheduling
from runstead.runtime.runs.types import RunSpec, ThreadId, ThreadPriority

from . import json_text
from .access_predicates import is_storable, reaches_thread
from .database import Database
from .prepared import Prepared, PreparedInsert
from .schema import thread_priorities, threads

_FIRST_COME: Final = ThreadPriority()
_ADD: Final = PreparedInsert(
    thread_priorities, ("thread_id", "priority", "fairness_group"), thread_priorities.c.thread_id
)
_FIND: Final = Prepared(
    select(thread_priorities.c.priority, thread_priorities.c.fairness_group).where(
        thread_priorities.c.thread_id == bindparam("the_thread")
    )
)
_THREAD: Final = Prepared(
    select(threads.c.tenant_id, threads.c.user_id, threads.c.metadata).where(
        threads.c.thread_id == bindparam("the_thread")
    )
)


def turn_of(connection: Connection, thread_id: ThreadId, spec: RunSpec) -> ThreadPriority:
    """Return the priority and group of a new run, and store what was assigned.

    The caller must have locked the thread.
    """
    scheduling = spec.scheduling
    if scheduling is None:
        return _FIRST_COME
    priority: ThreadPriority | None = None
    if scheduling.by_thread:
        # A temporary thread has only one run, so its priority is not needed again.
        priority = None if spec.scope.is_temporary else _stored(connection, thread_id)
        if priority is None and (priority := scheduling.assigned) is not None and not spec.scope.is_temporary:
            row = {"thread_id": thread_id, "priority": priority.priority, "fairness_group": priority.group}
            _ADD.rows(connection, row)
    return scheduling.turn(priority)


def _stored(connection: Connection, thread_id: ThreadId) -> ThreadPriority | None:
    row = _FIND.first(connection, {"the_thread": thread_id})
    return None if row is None else ThreadPriority(*row)


class SqlThreadPriorityStore:
    """ThreadPriorityStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, thread_id: ThreadId) -> ThreadScheduling | None:
        actor = require_actor_context("reading a thread")
        if not is_storable(thread_id):
            return None

        def work(connection: Connection) -> ThreadScheduling | None:
            row = _THREAD.first(connection, {"the_thread": thread_id})
            if row is None or not reaches_thread(actor, thread_id, *row):
                return None
            return ThreadScheduling(json_text.load(row[2]), _stored(connection, thread_id))

        return await self._database.read(work, quick=True)
