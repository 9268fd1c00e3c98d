"""Where items are kept: langgraph's own store on a SQLite file. Who may see which is `runstead.resources.items`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.store.base import TTLConfig
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.store.sqlite.base import SqliteIndexConfig

from runstead.infra.engines.exceptions import StorageError, StorageUnusable
from runstead.infra.engines.sqlite import BUSY_TIMEOUT, translate


@asynccontextmanager
async def open_items(
    path: Path, *, index: SqliteIndexConfig | None = None, ttl: TTLConfig | None = None
) -> AsyncIterator[AsyncSqliteStore]:
    """Open the item file, made when absent. ``index`` makes items searchable by meaning, ``ttl`` lets them expire.

    Raises StorageError, saying what to do.
    """
    if index is not None:
        _require_extensions()
    connection = await _connect(path)
    try:
        store = AsyncSqliteStore(connection, index=index, ttl=ttl)
        # It does; of its two parents the one that says so comes second.
        store.supports_ttl = True
        await store.setup()
        if ttl is not None:
            await store.start_ttl_sweeper()
        try:
            yield store
        finally:
            await store.stop_ttl_sweeper()
    finally:
        await connection.close()


def _require_extensions() -> None:
    """An index needs sqlite-vec, an extension that a Python built without them cannot load."""
    probe: Any = sqlite3.connect(":memory:")
    try:
        probe.enable_load_extension(True)
    except (AttributeError, sqlite3.Error) as error:
        raise StorageUnusable(
            "an index over items needs SQLite extensions and this Python was built without them; "
            "leave store.index out of the configuration, or use another Python"
        ) from error
    finally:
        probe.close()


async def _connect(path: Path) -> aiosqlite.Connection:
    try:
        connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT)
    except sqlite3.Error as error:
        raise _clear(error, path) from error
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 67108864"):
            await connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        await connection.close()
        raise _clear(error, path) from error
    return connection


def _clear(error: sqlite3.Error, path: Path) -> BaseException:
    found = translate(error, path)
    return found if isinstance(found, StorageError) else StorageUnusable(f"cannot open {path}: {error}")
