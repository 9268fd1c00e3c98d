"""One-time migration of items from the separate file of earlier versions, unchanged."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from runstead.runtime.json_types import JsonObject

from ..database import Database
from ..dialect import add_unless_there
from ..schema import items


async def import_legacy_items(path: Path, database: Database) -> int:
    """Copy the items of langgraph's own store in ``path`` into ``database``; return their number.

    The file is kept under another name, so that this happens once. If there is no such file, nothing happens.
    """
    if (rows := await asyncio.to_thread(_read, path)) is None:
        return 0

    def work(connection: Connection) -> int:
        return sum(add_unless_there(connection, items, row) for row in rows)

    taken = await database.write(work)
    await asyncio.to_thread(path.rename, path.with_name(f"{path.name}.taken-over"))
    return taken


def _read(path: Path) -> list[JsonObject] | None:
    return list(_rows(path)) if path.is_file() else None


def _rows(path: Path) -> Iterator[JsonObject]:
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'store'").fetchone():
            return
        statement = "SELECT prefix, key, value, created_at, updated_at, expires_at, ttl_minutes FROM store"
        for namespace, key, value, created, updated, expires, ttl in connection.execute(statement):
            yield {
                "namespace": namespace,
                "key": key,
                "value": value,
                "created_at": _moment(created),
                "updated_at": _moment(updated),
                "expires_at": _moment(expires) if expires else None,
                "ttl_minutes": ttl,
                "searched": None,
            }


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
