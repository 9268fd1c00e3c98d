"""Registration of the graphs' default assistants at the start of a server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, insert, select, update
from uuid_utils.compat import uuid7

from runstead.resources.assistants import AssistantDraft, assistant_id_of

from .assistant_rows import said_row, version_row
from .dialect import add_unless_there
from .schema import assistant_versions, assistants

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


def _made_room(connection: Connection, assistant_id: str, row: Mapping[str, object]) -> bool:
    """Move an assistant that has the id of a graph to another id; return False if it is the graph's own already."""
    held = select(assistants.c.shared).where(assistants.c.assistant_id == assistant_id).with_for_update()
    if connection.execute(held).scalar():
        return False
    elsewhere = str(uuid7())
    for table in (assistants, assistant_versions):
        connection.execute(update(table).where(table.c.assistant_id == assistant_id).values(assistant_id=elsewhere))
    _log.warning("assistant %s has the id of graph %s; its new id is %s", assistant_id, row["graph_id"], elsewhere)
    return add_unless_there(connection, assistants, row)
