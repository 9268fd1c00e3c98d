"""Sizes of the databases on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from .checkpoint_tables import metadata as checkpoint_tables
from .database import Database

_LARGEST_SCAN: Final = 1024**3
"""Bytes: SQLite reads a whole file to measure its tables."""
_PAGES: Final = (
    "SELECT coalesce(entry.tbl_name, dbstat.name), sum(dbstat.pgsize) FROM dbstat"
    " LEFT JOIN sqlite_master AS entry ON entry.name = dbstat.name WHERE dbstat.aggregate = TRUE GROUP BY 1"
)
_TABLES: Final = (
    "SELECT relname, pg_total_relation_size(pg_class.oid), CAST(reltuples AS bigint) FROM pg_class"
    " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = current_schema() AND relkind = 'r'"
)


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """Bytes on disk with indexes; ``free`` of these are empty pages that the next writes use (SQLite only)."""

    used: int
    free: int = 0


@dataclass(frozen=True, slots=True)
class TableSize:
    """Bytes of a table with its indexes. ``rows`` is the database's estimate; None where it has none."""

    name: str
    used: int
    rows: int | None = None


async def table_sizes(databases: Sequence[Database]) -> Sequence[TableSize]:
    """Return the sizes of all tables, the largest first; none of a file of SQLite that is too large to be read for it,
    or if SQLite was built without the table ``dbstat``."""
    found = [size for database in databases for size in await database.read(_of_tables, slow=True)]
    return sorted(found, key=lambda size: (-size.used, size.name))


def _of_tables(connection: Connection) -> Sequence[TableSize]:
    if connection.dialect.name == "postgresql":
        rows = connection.exec_driver_sql(_TABLES)
        return [TableSize(name, int(size), int(count) if count >= 0 else None) for name, size, count in rows]
    if _of_file(connection).used > _LARGEST_SCAN:
        return []
    try:
        return [TableSize(str(name), int(size)) for name, size in connection.exec_driver_sql(_PAGES)]
    except OperationalError:
        return []


async def database_sizes(databases: Sequence[Database]) -> Mapping[str, DatabaseSize]:
    """Return the sizes by ``runs`` and ``checkpoints``.

    ``databases`` are the two files of SQLite, in this order, or the one database of PostgreSQL.
    """
    if len(databases) > 1:
        found = [await database.read(_of_file) for database in databases]
        return dict(zip(("runs", "checkpoints"), found, strict=False))
    return await databases[0].read(_of_schema, slow=True)


def _of_file(connection: Connection) -> DatabaseSize:
    page, pages, free = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count")
    )
    return DatabaseSize(pages * page, free * page)


def _of_schema(connection: Connection) -> Mapping[str, DatabaseSize]:
    if connection.dialect.name != "postgresql":
        return {"runs": _of_file(connection)}
    sizes = {"runs": 0, "checkpoints": 0}
    for name, size, _ in connection.exec_driver_sql(_TABLES):
        sizes["checkpoints" if name in checkpoint_tables.tables else "runs"] += int(size)
    return {name: DatabaseSize(size) for name, size in sizes.items()}
