"""Source and target of a transfer: one database, or one with a checkpoint file beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, func, select, text

from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.storage.database import Database
from runstead.infra.storage.dialect import prepare_sqlite
from runstead.infra.storage.migrations import HEAD, migrate, revision_of
from runstead.infra.storage.schema import runs
from runstead.resources.storage_errors import StorageUnusable

from .exceptions import StillUsed, TransferError
from .table_groups import CHECKPOINT_TABLES, moved_tables

if TYPE_CHECKING:
    from runstead.infra.engines.postgres_pool import PostgresOptions

_SILENT_SECONDS: Final = 30
"""Seconds without a heartbeat after which a worker is gone; procrastinate's own limit."""
_WORKERS: Final = text(
    "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => :silent)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A source or target. ``steps``: sets of tables that one transaction can write, in the required order."""

    name: str
    database: Database
    steps: Sequence[frozenset[str]]
    is_shared: bool

    def refuse_while_used(self, connection: Connection) -> None:
        """Check that no server or worker uses the database.

        Raises StillUsed. We own a data directory, so it is not checked.
        """
        if not self.is_shared:
            return
        workers = connection.execute(_WORKERS, {"silent": _SILENT_SECONDS}).scalar() or 0
        # By the database's clock, as workers do.
        held = runs.c.lease_until.is_not(None) & (runs.c.lease_until > func.now())
        running = connection.execute(select(func.count()).select_from(runs).where(held)).scalar() or 0
        if workers or running:
            raise StillUsed(
                f"{self.name} is in use: {workers} workers are alive there, and {running} runs are being executed; "
                f"stop its servers and workers. One that was killed counts for up to {_SILENT_SECONDS} s."
            )


@asynccontextmanager
async def data_dir_place(data_dir: Path, *, making: bool) -> AsyncIterator[Place]:
    """Open the files of a directory that the caller owns; they are created if missing and ``making``.

    Raises StorageError, TransferError.
    """
    file, checkpoints = data_dir / RUNS_FILE, data_dir / CHECKPOINTS_FILE
    if not file.exists() and not making:
        raise TransferError(f"there is nothing in {data_dir}; use the --data-dir of the server")
    async with open_sqlite(file) as database:
        found = await database.read(revision_of)
        _check_revision(str(file), found, making=making)
        await database.write(migrate)
    async with open_checkpoints(checkpoints):
        pass
    async with open_sqlite(file, prepare=partial(_prepare, checkpoints)) as database:
        others = frozenset(table.name for table in moved_tables()) - CHECKPOINT_TABLES
        # SQLite commits two files one after the other. A thread is visible once its own row exists, so that comes
        # last.
        yield Place(str(data_dir), database, (CHECKPOINT_TABLES, others), is_shared=False)


def _prepare(checkpoints: Path, connection: SqliteConnection) -> None:
    prepare_sqlite(connection)
    connection.execute("ATTACH DATABASE ? AS checkpoints", (str(checkpoints),))
    # If something has to be sorted after all, do it on disk.
    connection.execute("PRAGMA temp_store = FILE")


@asynccontextmanager
async def postgres_place(url: str, options: PostgresOptions, *, making: bool) -> AsyncIterator[Place]:
    """Open a schema in PostgreSQL; it is created if missing and ``making``. Raises StorageError, TransferError."""
    from runstead.infra.engines.postgres import open_postgres
    from runstead.infra.storage.postgres import migrate_postgres, schema_revision

    async with open_postgres(url, options) as database:
        found = await database.read(lambda connection: schema_revision(connection, options.schema))
        _check_revision(f"schema {options.schema} of {database.place}", found, making=making)
        if found is None:
            await database.write(lambda connection: migrate_postgres(connection, options.schema))
        name = f"schema {options.schema} of {database.place}"
        yield Place(name, database, (frozenset(table.name for table in moved_tables()),), is_shared=True)


def _check_revision(place: str, found: str | None, *, making: bool) -> None:
    if found == HEAD or (found is None and making):
        return
    if found is None:
        raise TransferError(f"there is nothing in {place}; check the settings")
    if found > HEAD:
        raise StorageUnusable(f"{place} is at revision {found}, which this version does not know; use a later version")
    raise StorageUnusable(f"{place} is at revision {found} and {HEAD} is needed; run `runstead migrate` first")
