"""Assistants in SQL: an actor's own, and those that the server shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select

from runstead.resources.assistants import AssistantFilter, AssistantRecord, AssistantSortField, assistant_id_of
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock

from . import json_text
from .database import Database
from .dialect import add_unless_there, containing
from .prepared import Prepared
from .run_queries import within
from .scope import is_storable, owned_by
from .tables import assistants

RECORD: Final = (
    assistants.c.assistant_id,
    assistants.c.graph_id,
    assistants.c.name,
    assistants.c.config,
    assistants.c.context,
    assistants.c.metadata,
    assistants.c.version,
    assistants.c.created_at,
    assistants.c.updated_at,
    assistants.c.description,
    assistants.c.shared,
)


_ONE: Final = Prepared(
    select(*RECORD).where(
        assistants.c.assistant_id == bindparam("the_assistant"),
        or_(
            assistants.c.shared,
            and_(assistants.c.tenant_id == bindparam("the_tenant"), assistants.c.user_id == bindparam("the_user")),
        ),
    )
)


class SqlAssistantStore:
    """AssistantStore over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def register_graphs(self, graphs: Mapping[str, str | None]) -> None:
        def work(connection: Connection) -> None:
            now = self._clock.now()
            for graph_id, description in graphs.items():
                row = {**_shared_row(graph_id, description), "created_at": now, "updated_at": now}
                add_unless_there(connection, assistants, row)

        await self._database.write(work)

    async def get(self, assistant_id: str) -> AssistantRecord | None:
        actor = require_actor_context("reading an assistant")
        if not is_storable(assistant_id):
            return None
        wanted = {"the_assistant": assistant_id, "the_tenant": actor.tenant_id, "the_user": actor.user_id}

        def work(connection: Connection) -> AssistantRecord | None:
            row = _ONE.first(connection, wanted)
            return None if row is None else _to_record(row)

        return await self._database.read(work, quick=True)

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
            .limit(within(limit))
            .offset(within(offset))
        )
        return await self._database.read(lambda connection: [_to_record(row) for row in connection.execute(statement)])

    async def count(self, where: AssistantFilter) -> int:
        actor = require_actor_context("counting assistants")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(assistants).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())


def _shared_row(graph_id: str, description: str | None) -> dict[str, Any]:
    return {
        "assistant_id": assistant_id_of(graph_id),
        "shared": True,
        "graph_id": graph_id,
        "name": graph_id,
        "description": description,
        "config": "{}",
        "context": "{}",
        "metadata": json_text.dump({"created_by": "system"}),
        "version": 1,
    }


def _visible_to(actor: ActorContext) -> ColumnElement[bool]:
    return or_(assistants.c.shared, owned_by(assistants, actor))


def _can_match(where: AssistantFilter) -> bool:
    """No name in the database holds what cannot be stored."""
    return all(is_storable(text) for text in (where.graph_id, where.name) if text is not None)


def _matching(where: AssistantFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions: list[ColumnElement[Any]] = [_visible_to(actor)]
    if where.graph_id is not None:
        conditions.append(assistants.c.graph_id == where.graph_id)
    if where.name:
        conditions.append(func.lower(assistants.c.name).contains(where.name.lower(), autoescape=True))
    if where.metadata:
        conditions.append(containing(assistants.c.metadata, where.metadata))
    return and_(*conditions)


def _to_record(row: Any) -> AssistantRecord:
    assistant_id, graph_id, name, config, context, metadata, version, created, updated, description, shared = row
    return AssistantRecord(
        assistant_id=assistant_id,
        graph_id=graph_id,
        name=name,
        config=json_text.load(config),
        context=json_text.load(context),
        metadata=json_text.load(metadata),
        version=version,
        created_at=created,
        updated_at=updated,
        description=description,
        shared=bool(shared),
    )
