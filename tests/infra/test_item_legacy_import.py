"""Items of an older data directory: taken over once, with their times."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runstead.infra.storage.database import Database
from runstead.infra.storage.items.legacy_import import import_legacy_items
from runstead.infra.storage.items.store import SqlItemStore
from runstead.resources.items import ActorScopedStore
from runstead.runtime.actor_context import ActorContext, acting
from runstead.testing.clock import ManualClock

TABLE = """
CREATE TABLE store (
    prefix text NOT NULL, key text NOT NULL, value text NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expires_at TIMESTAMP, ttl_minutes REAL, PRIMARY KEY (prefix, key)
)
"""


@pytest.fixture
def before(tmp_path: Path) -> Path:
    path = tmp_path / "items.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(TABLE)
        made = "2026-01-02 03:04:05"
        rows = [
            ("default.alice.notes", "stays", '{"x":1}', made, made, None, None),
            ("default.alice.notes", "mortal", '{"x":2}', made, made, "2030-01-01T00:01:00+00:00", 1.0),
            ("default.bob.notes", "k", '{"x":3}', made, made, None, None),
        ]
        connection.executemany("INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return path


async def test_taken_over_items_exist_once_for_their_owners(before: Path, database: Database) -> None:
    clock = ManualClock()
    store = ActorScopedStore(SqlItemStore(database, clock))
    assert await import_legacy_items(before, database) == 3
    assert await import_legacy_items(before, database) == 0
    with acting(ActorContext("alice")):
        found = await store.aget(("notes",), "stays")
        assert found is not None
        assert (found.value, found.created_at) == ({"x": 1}, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert len(await store.asearch(("notes",), refresh_ttl=False)) == 2
        await clock.advance(61)
        assert [item.key for item in await store.asearch(("notes",))] == ["stays"]
    with acting(ActorContext("bob")):
        assert [item.value for item in await store.asearch(())] == [{"x": 3}]


async def test_item_written_since_is_not_overwritten(before: Path, database: Database) -> None:
    store = ActorScopedStore(SqlItemStore(database, ManualClock()))
    with acting(ActorContext("alice")):
        await store.aput(("notes",), "stays", {"x": "new"})
        assert await import_legacy_items(before, database) == 2
        found = await store.aget(("notes",), "stays")
        assert found is not None
        assert found.value == {"x": "new"}
