"""Free pages of SQLite files, given back to the file system a little at a time."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from .sqlite import SqliteDatabase

_PAGES: Final = 1_000
"""Pages per transaction: moving them takes some milliseconds, in which other writes wait."""
_KEPT: Final = 0.1
"""Share of a file's pages that may stay free for the next writes."""
_LEAST: Final = 1_000
"""Free pages that are never given back."""


async def give_back_space(database: SqliteDatabase) -> int:
    """Shrink a file with many free pages, and return the bytes that it gave back.

    A file that was created by SQLite's default, without incremental vacuum, keeps its size.
    """
    given = 0
    while (freed := await database.write(_shrink, durable=False)) > 0:
        given += freed
    return given


def _shrink(connection: Connection) -> int:
    def pragma(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    free, pages = pragma("freelist_count"), pragma("page_count")
    over = free - max(_LEAST, int(pages * _KEPT))
    if over <= 0:
        return 0
    driver: Any = connection.connection.dbapi_connection
    for _ in range(min(over, _PAGES)):
        # Python's driver takes one step of a statement without rows, and this one gives a page back in each step.
        driver.execute("PRAGMA incremental_vacuum(1)")
    return (free - pragma("freelist_count")) * pragma("page_size")
