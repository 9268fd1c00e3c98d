"""Assistants in SQL: those of an actor, and those that the server shares.

Each row has its current version's content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, insert, or_, select, update
from uuid_utils.compat import uuid7

from runstead.resources.assistants import (
    AssistantChange,
    AssistantDraft,
    AssistantExists,
    AssistantFilter,
    AssistantRecord,
    AssistantSortField,
    AssistantVersion,
    VersionNotFound,
)
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.types import AssistantId

from .access_predicates import access_predicate, is_storable, ownership_predicate
from .assistant_rows import RECORD, SAID, VERSION, register, said_row, to_record, to_version, version_row
from .database import Database
from .dialect import add_unless_there, containing, lowered
from .page_rows import rows_of_page
from .prepared import Prepared
from .run_queries import clamp_limit
from .schema import assistant_versions, assistants

_VISIBLE: Final = and_(
    assistants.c.assistant_id == bindparam("the_assistant"),
    or_(
        assistants.c.shared,
        and_(assistants.c.tenant_id == bindparam("the_tenant"), assistants.c.user_id == bindparam("the_user")),
    ),
)
_ONE: Final = Prepared(select(*RECORD).where(_VISIBLE))
_ANY: Final = Prepared(select(*RECORD).where(assistants.c.assistant_id == bindparam("the_assistant")))
_LOCKED: Final = Prepared(select(*RECORD).where(_VISIBLE).with_for_update())


class SqlAssistantStore:
    """AssistantStore over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def register_graphs(
        self, graphs: Mapping[str, str | None], names: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        await self._database.write(lambda connection: register(connection, graphs, names, self._clock.now()))

    async def get(self, assistant_id: AssistantId) -> AssistantRecord | None:
        actor = require_actor_context("reading an assistant")
        if not is_storable(assistant_id):
            return None
        return await self._database.read(lambda connection: _found(connection, assistant_id, actor), quick=True)

    async def create(
        self,
        draft: AssistantDraft,
        *,
        assistant_id: AssistantId | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> AssistantRecord:
        actor = require_actor_context("creating an assistant")
        if assistant_id is not None and (not assistant_id or not is_storable(assistant_id)):
            raise ValueError(f"assistant_id {assistant_id!a} cannot be used as an id; leave it out to get a new one")
        made_id, said = assistant_id or AssistantId(str(uuid7())), said_row(draft)

        def work(connection: Connection) -> AssistantRecord:
            now = self._clock.now()
            version = version_row(made_id, 1, said, now)
            owner = {"tenant_id": actor.tenant_id, "user_id": actor.user_id, "shared": False}
            is_new = add_unless_there(connection, assistants, {**version, **owner, "updated_at": now})
            if is_new:
                connection.execute(insert(assistant_versions).values(version))
                return _record_of(connection, made_id)
            found = _found(connection, made_id, actor) if if_exists == "do_nothing" else None
            if found is None:
                raise AssistantExists(made_id)
            return found

        return await self._database.write(work)

    async def update(self, assistant_id: AssistantId, change: AssistantChange) -> AssistantRecord | None:
        actor = require_actor_context("updating an assistant")
        if not is_storable(assistant_id):
            return None

        def work(connection: Connection) -> AssistantRecord | None:
            # Concurrent updates wait here, and then see our result.
            if (before := _found(connection, assistant_id, actor, lock=True)) is None:
                return None
            now, said = self._clock.now(), said_row(change.applied_to(before))
            version = _highest_version(connection, assistant_id) + 1
            connection.execute(insert(assistant_versions).values(version_row(assistant_id, version, said, now)))
            _make_current(connection, assistant_id, {**said, "version": version, "updated_at": now})
            return _record_of(connection, assistant_id)

        return await self._database.write(work)

    async def delete(self, assistant_id: AssistantId) -> bool:
        actor = require_actor_context("deleting an assistant")
        if not is_storable(assistant_id):
            return False

        def work(connection: Connection) -> bool:
            if _found(connection, assistant_id, actor, lock=True) is None:
                return False
            for table in (assistant_versions, assistants):
                connection.execute(delete(table).where(table.c.assistant_id == assistant_id))
            return True

        return await self._database.write(work)

    async def search(
        self,
        where: AssistantFilter,
        *,
        sort_by: AssistantSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[AssistantRecord]:
        actor = require_actor_context("searching assistants")
        if not _can_match(where):
            return []
        column = assistants.c[sort_by]
        statement = (
            select(*RECORD)
            .where(_matching(where, actor))
            .order_by(column.desc() if sort_order == "desc" else column.asc(), assistants.c.assistant_id)
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        budget = page_budget()
        return await self._database.read(
            lambda connection: [to_record(row) for row in rows_of_page(connection, statement, budget)]
        )

    async def count(self, where: AssistantFilter) -> int:
        actor = require_actor_context("counting assistants")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(assistants).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def versions(
        self, assistant_id: AssistantId, *, metadata: JsonMapping | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[AssistantVersion]:
        actor = require_actor_context("listing an assistant's versions")
        if not is_storable(assistant_id):
            return []
        conditions: list[ColumnElement[bool]] = [
            assistants.c.assistant_id == assistant_id,
            access_predicate(assistants, actor),
        ]
        if metadata:
            conditions.append(containing(assistant_versions.c.metadata, metadata))
        statement = (
            select(*VERSION)
            .join(assistants, assistants.c.assistant_id == assistant_versions.c.assistant_id)
            .where(*conditions)
            .order_by(assistant_versions.c.version.desc())
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        budget = page_budget()
        return await self._database.read(
            lambda connection: [to_version(row) for row in rows_of_page(connection, statement, budget)]
        )

    async def set_latest(self, assistant_id: AssistantId, version: int) -> AssistantRecord | None:
        actor = require_actor_context("setting an assistant's version")
        if not is_storable(assistant_id):
            return None
        asked_for = select(*(assistant_versions.c[name] for name in SAID)).where(
            assistant_versions.c.assistant_id == assistant_id, assistant_versions.c.version == version
        )

        def work(connection: Connection) -> AssistantRecord | None:
            if _found(connection, assistant_id, actor, lock=True) is None:
                return None
            # Our version numbers never exceed the limit of any engine; a larger number does not exist.
            row = connection.execute(asked_for).first() if clamp_limit(version) == version else None
            if row is None:
                raise VersionNotFound(assistant_id, version)
            said = dict(zip(SAID, row, strict=True))
            _make_current(connection, assistant_id, {**said, "version": version, "updated_at": self._clock.now()})
            return _record_of(connection, assistant_id)

        return await self._database.write(work)


def _wanted(assistant_id: AssistantId, actor: ActorContext) -> dict[str, str]:
    return {"the_assistant": assistant_id, "the_tenant": actor.tenant_id, "the_user": actor.user_id}


def _found(
    connection: Connection, assistant_id: AssistantId, actor: ActorContext, *, lock: bool = False
) -> AssistantRecord | None:
    """Return an assistant that the actor has access to. With ``lock``, the row is locked until the transaction ends."""
    row: Any
    if ownership_predicate(actor):
        row = (_LOCKED if lock else _ONE).first(connection, _wanted(assistant_id, actor))
    else:
        reached = select(*RECORD).where(assistants.c.assistant_id == assistant_id, access_predicate(assistants, actor))
        row = connection.execute(reached.with_for_update() if lock else reached).first()
    return None if row is None else to_record(row)


def _record_of(connection: Connection, assistant_id: AssistantId) -> AssistantRecord:
    """Return an assistant that must exist."""
    row = _ANY.first(connection, {"the_assistant": assistant_id})
    assert row is not None, "a row that this transaction wrote is there"
    return to_record(row)


def _highest_version(connection: Connection, assistant_id: AssistantId) -> int:
    highest = select(func.max(assistant_versions.c.version)).where(assistant_versions.c.assistant_id == assistant_id)
    return connection.execute(highest).scalar() or 0


def _make_current(connection: Connection, assistant_id: AssistantId, values: JsonMapping) -> None:
    connection.execute(update(assistants).where(assistants.c.assistant_id == assistant_id).values(values))


def _can_match(where: AssistantFilter) -> bool:
    """Return whether the filter can match: text that cannot be stored matches no row."""
    return all(is_storable(text) for text in (where.graph_id, where.name) if text is not None)


def _matching(where: AssistantFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions: list[ColumnElement[Any]] = [access_predicate(assistants, actor)]
    if where.graph_id is not None:
        conditions.append(assistants.c.graph_id == where.graph_id)
    if where.name:
        conditions.append(lowered(assistants.c.name).contains(where.name.lower(), autoescape=True))
    if where.metadata:
        conditions.append(containing(assistants.c.metadata, where.metadata))
    return and_(*conditions)
