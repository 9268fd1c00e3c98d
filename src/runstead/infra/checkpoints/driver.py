"""What the statements of checkpoints are run on: one way to ask, whichever engine answers.

The statements are the same for all engines, written as SQLite reads them (``?`` and ``:name``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Protocol

from sqlalchemy import Connection

_SLOT: Final = re.compile(r"\?|:(\w+)")


class Driver(Protocol):
    """As much of sqlite3's connection as is used here."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any: ...


class PostgresDriver:
    """The same over a psycopg connection. Values come in binary form: a state is not sent as hex digits."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self._connection.cursor(binary=True).execute(_translated(sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        cursor = self._connection.cursor()
        cursor.executemany(_translated(sql), parameters)
        return cursor


def driver_of(connection: Connection) -> Driver:
    """The driver's own connection below SQLAlchemy's: these statements are many, and none of them is built."""
    driver: Any = connection.connection.dbapi_connection
    found: Driver = PostgresDriver(driver) if connection.dialect.name == "postgresql" else driver
    return found


@lru_cache(maxsize=128)
def _translated(sql: str) -> str:
    return _SLOT.sub(lambda slot: f"%({slot[1]})s" if slot[1] else "%s", sql)
