"""Whose row it is. Every store for users asks here, and reads nothing without an actor."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_

from runstead.runtime.actor_context import ActorContext


def owned_by(table: Table, actor: ActorContext) -> ColumnElement[bool]:
    """The condition that a row belongs to the actor."""
    return and_(table.c.tenant_id == actor.tenant_id, table.c.user_id == actor.user_id)


def is_storable(name: str) -> bool:
    """Whether an id can be a key in a database: no NUL, no half of a surrogate pair. What cannot be is absent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name
