"""Sizes of the databases on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from .checkpoint_tables import metadata as checkpoint_tables
from .database import Database

_TABLES: Final = (
    "SELECT relname, pg_total_relation_size(pg_class.oid) FROM pg_class"
    " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = current_schema() AND relkind = 'r'"
)


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """Bytes on disk with indexes; ``free`` of these are empty pages that the next writes use (SQLite only)."""

    used: int
    free: int = 0


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
    for name, size in connection.exec_driver_sql(_TABLES):
        sizes["checkpoints" if name in checkpoint_tables.tables else "runs"] += int(size)
    return {name: DatabaseSize(size) for name, size in sizes.items()}
