"""Whose row it is. Every store for users asks here, and reads nothing without an actor."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Table, and_

from runstead.runtime.actor_context import ActorContext


def owned_by(table: Table, actor: ActorContext) -> ColumnElement[bool]:
    """The condition that a row belongs to the actor."""
    return and_(table.c.tenant_id == actor.tenant_id, table.c.user_id == actor.user_id)


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
