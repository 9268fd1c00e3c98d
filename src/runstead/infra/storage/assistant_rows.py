"""Rows of assistants and their versions, and the registration of default assistants."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, insert, select, update
from uuid_utils.compat import uuid7

from runstead.resources.assistants import AssistantDraft, AssistantRecord, AssistantVersion, assistant_id_of
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import AssistantId

from . import json_text
from .dialect import add_unless_there
from .schema import assistant_versions, assistants

SAID: Final = ("graph_id", "name", "config", "context", "metadata", "description")
"""The columns that an assistant and its versions have in common: their content."""

RECORD: Final[Sequence[ColumnElement[Any]]] = (
    *(assistants.c[name] for name in SAID),
    assistants.c.assistant_id,
    assistants.c.version,
    assistants.c.created_at,
    assistants.c.updated_at,
    assistants.c.shared,
)
VERSION: Final[Sequence[ColumnElement[Any]]] = (
    *(assistant_versions.c[name] for name in SAID),
    assistant_versions.c.assistant_id,
    assistant_versions.c.version,
    assistant_versions.c.created_at,
)


def said_row(draft: AssistantDraft) -> JsonObject:
    """Return the columns of SAID. Raises NotJson."""
    return {
        "graph_id": draft.graph_id,
        "name": draft.name,
        "config": json_text.dump(draft.config),
        "context": json_text.dump(draft.context),
        "metadata": json_text.dump(draft.metadata),
        "description": draft.description,
    }


def version_row(assistant_id: AssistantId, version: int, said: JsonMapping, now: datetime) -> JsonObject:
    """Return the row of a version created now."""
    return {**said, "assistant_id": assistant_id, "version": version, "created_at": now}


def to_record(row: Sequence[Any]) -> AssistantRecord:
    """Return the record for a row of RECORD."""
    assistant_id, version, created_at, updated_at, shared = row[len(SAID) :]
    return AssistantRecord(
        assistant_id=assistant_id,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
        shared=bool(shared),
        **_said(row),
    )


def to_version(row: Sequence[Any]) -> AssistantVersion:
    """Return the version for a row of VERSION."""
    assistant_id, version, created_at = row[len(SAID) :]
    return AssistantVersion(assistant_id=assistant_id, version=version, created_at=created_at, **_said(row))


def _said(row: Sequence[Any]) -> JsonObject:
    graph_id, name, config, context, metadata, description = row[: len(SAID)]
    return {
        "graph_id": graph_id,
        "name": name,
        "config": json_text.load(config),
        "context": json_text.load(context),
        "metadata": json_text.load(metadata),
        "description": description,
    }


_log = logging.getLogger(__name__)


def register(connection: Connection, graphs: Mapping[str, str | None], names: Mapping[str, str], now: datetime) -> None:
    """Register the assistants; see AssistantStore. Servers that start concurrently create each of them once."""
    for graph_id, description in graphs.items():
        assistant_id = assistant_id_of(graph_id)
        draft = AssistantDraft(
            graph_id, names.get(graph_id, graph_id), metadata={"created_by": "system"}, description=description
        )
        version = version_row(assistant_id, 1, said_row(draft), now)
        row = {**version, "shared": True, "updated_at": now}
        if add_unless_there(connection, assistants, row) or _made_room(connection, assistant_id, row):
            connection.execute(insert(assistant_versions).values(version))


def _made_room(connection: Connection, assistant_id: AssistantId, row: Mapping[str, object]) -> bool:
    """Move an assistant that has the id of a graph to another id; return False if it is the graph's own already."""
    held = select(assistants.c.shared).where(assistants.c.assistant_id == assistant_id).with_for_update()
    if connection.execute(held).scalar():
        return False
    elsewhere = AssistantId(str(uuid7()))
    for table in (assistants, assistant_versions):
        connection.execute(update(table).where(table.c.assistant_id == assistant_id).values(assistant_id=elsewhere))
    _log.warning("assistant %s has the id of graph %s; its new id is %s", assistant_id, row["graph_id"], elsewhere)
    return add_unless_there(connection, assistants, row)
