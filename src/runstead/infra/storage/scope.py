"""Whose row it is, and who reaches it. Every store for users asks here, and reads nothing without an actor."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, not_, or_, select

from runstead.runtime.actor_context import OWN, ActorContext
from runstead.runtime.metadata_filter import MetadataFilter, matches_metadata

from . import json_text
from .dialect import metadata_matches
from .tables import assistants, crons, runs, threads, webhook_deliveries


def reached_by(table: Table, actor: ActorContext) -> ColumnElement[bool]:
    """The condition that the actor reaches a row of threads, runs, webhook deliveries, assistants or crons.

    Whatever the reach, it is one within the actor's tenant. A thread that is being swept belongs to no tenant at all.
    """
    reach = actor.reach
    if table is threads:
        return _reached(table, actor, reach.threads, table.c.thread_id, reach.thread_ids)
    if table is runs or table is webhook_deliveries:
        return _reached_on_threads(table, actor)
    if table is assistants:
        return or_(
            _reached(table, actor, reach.assistants, table.c.assistant_id, reach.assistant_ids),
            # The server's own are of no tenant, and for everybody; a filter counts for them too.
            and_(table.c.shared, *_narrowed(table, reach.assistants)),
        )
    if table is crons:
        return _reached(table, actor, reach.crons, table.c.cron_id, frozenset())
    raise ValueError(f"nobody has said who reaches {table.name}")


def reaches_thread(actor: ActorContext, thread_id: str, tenant_id: str, user_id: str, metadata: str) -> bool:
    """What `reached_by` says of a thread, of one that is at hand."""
    if tenant_id != actor.tenant_id:
        return False
    if thread_id in actor.reach.thread_ids:
        return True
    wanted = actor.reach.threads
    return user_id == actor.user_id if wanted is None else matches_metadata(json_text.load(metadata), wanted)


def only_own(actor: ActorContext) -> bool:
    """Whether the actor reaches their own rows alone, which a statement that is prepared for it finds sooner."""
    return actor.reach == OWN


def _reached(
    table: Table, actor: ActorContext, wanted: MetadataFilter | None, key: ColumnElement[Any], ids: frozenset[str]
) -> ColumnElement[bool]:
    matching = table.c.user_id == actor.user_id if wanted is None else metadata_matches(table.c.metadata, wanted)
    return and_(table.c.tenant_id == actor.tenant_id, or_(matching, key.in_(ids)) if ids else matching)


def _reached_on_threads(table: Table, actor: ActorContext) -> ColumnElement[bool]:
    """What is on a thread goes with it. Where the thread has gone, as a stateless run's does, it speaks for itself."""
    reach = actor.reach
    if reach.threads is None:
        matching: ColumnElement[bool] = table.c.user_id == actor.user_id
    else:
        thread = select(threads.c.thread_id).where(threads.c.thread_id == table.c.thread_id)
        shared = thread.where(_reached(threads, actor, reach.threads, threads.c.thread_id, frozenset())).exists()
        matching = or_(shared, and_(not_(thread.exists()), metadata_matches(table.c.metadata, reach.threads)))
    ids = reach.thread_ids
    return and_(table.c.tenant_id == actor.tenant_id, or_(matching, table.c.thread_id.in_(ids)) if ids else matching)


def _narrowed(table: Table, wanted: MetadataFilter | None) -> list[ColumnElement[bool]]:
    return [] if wanted is None else [metadata_matches(table.c.metadata, wanted)]


LONGEST_ID: Final = 512
"""Bytes: three of them still fit into an entry of an index."""


def is_storable(name: str) -> bool:
    """Whether an id can be a key in every database: no NUL, no half of a surrogate pair, at most LONGEST_ID bytes.
    What cannot be is absent.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return size <= LONGEST_ID and "\0" not in name
