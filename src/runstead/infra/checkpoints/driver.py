"""Database drivers for the statements of checkpoints: one interface for all engines.

The statements are the same for all engines, in SQLite's syntax (``?`` and ``:name``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Protocol

from sqlalchemy import Connection

_SLOT: Final = re.compile(r"\?|:(\w+)")


class Driver(Protocol):
    """The part of sqlite3's connection that is used here."""

    def execute(self, sql: str, parameters: object = ..., /) -> Any: ...

    def executemany(self, sql: str, parameters: Iterable[object], /) -> Any: ...


class PostgresDriver:
    """The same interface over a psycopg connection. Values use the binary format: states are not sent as hex digits."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self._connection.cursor(binary=True).execute(_translated(sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        cursor = self._connection.cursor()
        cursor.executemany(_translated(sql), parameters)
        return cursor


def driver_of(connection: Connection) -> Driver:
    """Return the driver's own connection below SQLAlchemy's: the statements are many, and all are constant."""
    driver: Any = connection.connection.dbapi_connection
    found: Driver = PostgresDriver(driver) if connection.dialect.name == "postgresql" else driver
    return found


@lru_cache(maxsize=128)
def _translated(sql: str) -> str:
    return _SLOT.sub(lambda slot: f"%({slot[1]})s" if slot[1] else "%s", sql)


REPLACING_CHECKPOINT: Final = """
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
        parent_checkpoint_id = excluded.parent_checkpoint_id, type = excluded.type, checkpoint = excluded.checkpoint,
        metadata = excluded.metadata, run_id = excluded.run_id
"""
REPLACING_WRITE: Final = """
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET
        task_path = excluded.task_path, channel = excluded.channel, type = excluded.type, value = excluded.value
"""
