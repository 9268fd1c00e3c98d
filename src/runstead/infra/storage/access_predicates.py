"""Access to rows: owners, tenants and granted access. Every store for users applies it, and requires an actor."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, bindparam, not_, or_, select

from runstead.runtime.actor_context import OWN_ONLY, ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.runtime.metadata_filter import MetadataFilter, matches_metadata

from . import json_text
from .dialect import metadata_matches
from .schema import approvals, assistants, crons, runs, threads, webhook_deliveries


def access_predicate(table: Table, actor: ActorContext) -> ColumnElement[bool]:
    """Return the condition that the actor has access to a row of ``table``.

    For threads, runs, webhook deliveries, approvals, assistants and crons.

    Any access is limited to the actor's tenant. A thread that is being swept belongs to no tenant at all.
    """
    reach = actor.access_scope
    if table is threads:
        return _reached(table, actor, reach.threads, table.c.thread_id, reach.thread_ids)
    if table is runs or table is webhook_deliveries:
        return _reached_on_threads(table, actor)
    if table is approvals:
        return _reached_approvals(actor)
    if table is assistants:
        return or_(
            _reached(table, actor, reach.assistants, table.c.assistant_id, reach.assistant_ids),
            # The server's own assistants have no tenant and are visible to all; a filter also applies to them.
            and_(table.c.shared, *_narrowed(table, reach.assistants)),
        )
    if table is crons:
        return _reached(table, actor, reach.crons, table.c.cron_id, frozenset())
    raise ValueError(f"there is no access rule for {table.name}")


def reaches_thread(actor: ActorContext, thread_id: str, tenant_id: str, user_id: str, metadata: str) -> bool:
    """Return whether `access_predicate` holds for a thread whose columns are at hand."""
    if tenant_id != actor.tenant_id:
        return False
    if thread_id in actor.access_scope.thread_ids:
        return True
    wanted = actor.access_scope.threads
    return user_id == actor.user_id if wanted is None else matches_metadata(json_text.load(metadata), wanted)


def ownership_predicate(actor: ActorContext) -> bool:
    """Return whether the actor only has access to their own rows, for which there are faster prepared statements."""
    return actor.access_scope == OWN_ONLY


def own_or_granted(table: Table) -> ColumnElement[bool]:
    """Return the condition for rows of ``threads`` or ``runs`` that are the actor's, or on one granted thread.

    It is the same for all actors, so that its statement is prepared once; `granted_access` returns its values.
    """
    own = table.c.user_id == bindparam("the_user")
    return and_(
        table.c.tenant_id == bindparam("the_tenant"), or_(own, table.c.thread_id == bindparam("the_granted_thread"))
    )


def granted_access(actor: ActorContext) -> JsonObject | None:
    """Return the values of `own_or_granted`; None if the actor's access has another form, for `access_predicate`."""
    scope = actor.access_scope
    if scope.threads is not None or len(scope.thread_ids) > 1:
        return None
    # No thread has an empty id.
    granted = next(iter(scope.thread_ids), "")
    return {"the_tenant": actor.tenant_id, "the_user": actor.user_id, "the_granted_thread": granted}


def _reached(
    table: Table, actor: ActorContext, wanted: MetadataFilter | None, key: ColumnElement[Any], ids: frozenset[str]
) -> ColumnElement[bool]:
    matching = table.c.user_id == actor.user_id if wanted is None else metadata_matches(table.c.metadata, wanted)
    return and_(table.c.tenant_id == actor.tenant_id, or_(matching, key.in_(ids)) if ids else matching)


def _reached_on_threads(table: Table, actor: ActorContext) -> ColumnElement[bool]:
    """Return the condition for rows that belong to a thread: access to the thread decides.

    If the thread is gone, as for stateless runs, the row's own metadata decide.
    """
    reach = actor.access_scope
    if reach.threads is None:
        matching: ColumnElement[bool] = table.c.user_id == actor.user_id
    else:
        thread = select(threads.c.thread_id).where(threads.c.thread_id == table.c.thread_id)
        shared = thread.where(_reached(threads, actor, reach.threads, threads.c.thread_id, frozenset())).exists()
        matching = or_(shared, and_(not_(thread.exists()), metadata_matches(table.c.metadata, reach.threads)))
    ids = reach.thread_ids
    return and_(table.c.tenant_id == actor.tenant_id, or_(matching, table.c.thread_id.in_(ids)) if ids else matching)


def _reached_approvals(actor: ActorContext) -> ColumnElement[bool]:
    """Return the condition for approvals: access to the thread decides, and a delegate has access beside it."""
    table, reach = approvals, actor.access_scope
    if reach.threads is None:
        matching: ColumnElement[bool] = table.c.user_id == actor.user_id
    else:
        thread = select(threads.c.thread_id).where(threads.c.thread_id == table.c.thread_id)
        matching = thread.where(_reached(threads, actor, reach.threads, threads.c.thread_id, frozenset())).exists()
    ways = [matching, table.c.delegate_id == actor.user_id]
    if reach.thread_ids:
        ways.append(table.c.thread_id.in_(reach.thread_ids))
    return and_(table.c.tenant_id == actor.tenant_id, or_(*ways))


def _narrowed(table: Table, wanted: MetadataFilter | None) -> list[ColumnElement[bool]]:
    return [] if wanted is None else [metadata_matches(table.c.metadata, wanted)]


LONGEST_ID: Final = 512
"""Bytes: three of them still fit into an entry of an index."""


def is_storable(name: str) -> bool:
    """Return whether an id can be a key in every database: no NUL, no unpaired surrogate, at most LONGEST_ID bytes.

    Stores treat other ids as absent.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return size <= LONGEST_ID and "\0" not in name
