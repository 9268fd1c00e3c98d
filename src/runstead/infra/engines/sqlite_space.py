"""Free pages of SQLite files, given back to the file system a little at a time."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from runstead.runtime.pace import Pace

from .sqlite import SqliteDatabase

_PAGES: Final = 100
"""Pages per transaction: moving them takes about a millisecond, in which other writes wait."""
_KEPT: Final = 0.1
"""Share of a file's pages that may stay free for the next writes."""
_LEAST: Final = 1_000
"""Free pages that are never given back."""


async def give_back_space(database: SqliteDatabase, pace: Pace) -> int:
    """Shrink a file with many free pages, and return the bytes that it gave back.

    A file that was created by SQLite's default, without incremental vacuum, keeps its size.
    """
    given = 0
    while await database.read(_unneeded, quick=True) > 0:
        if (freed := await pace.step(database.write(_shrink, durable=False))) == 0:
            break
        given += freed
    return given


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _unneeded(connection: Connection) -> int:
    """Return the number of free pages that are not kept."""
    return _pragma(connection, "freelist_count") - max(_LEAST, int(_pragma(connection, "page_count") * _KEPT))


def _shrink(connection: Connection) -> int:
    before, page = _pragma(connection, "freelist_count"), _pragma(connection, "page_size")
    driver: Any = connection.connection.dbapi_connection
    for _ in range(min(max(_unneeded(connection), 0), _PAGES)):
        # Python's driver takes one step of a statement without rows, and this one gives a page back in each step.
        driver.execute("PRAGMA incremental_vacuum(1)")
    return (before - _pragma(connection, "freelist_count")) * page
