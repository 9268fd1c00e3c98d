"""Access to the configured database alone, for commands that need no running server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.storage.database import Database
from runstead.infra.storage.migrations import REVISIONS, Revisions, revision_of
from runstead.infra.storage.sqlite import open_storage
from runstead.private_files import make_directory
from runstead.resources.storage_errors import SchemaTooNew, StorageUnusable
from runstead.settings import Settings

from .migration_backup import back_up_before_migration


@dataclass(frozen=True, slots=True)
class Migration:
    """Location of a database and the revisions of its schema, before and after a migration. None: no schema yet."""

    place: str
    before: str | None
    after: str | None
    head: str

    @property
    def is_current(self) -> bool:
        return self.after == self.head


@asynccontextmanager
async def open_database(
    settings: Settings, *, migrating: bool, revisions: Revisions = REVISIONS
) -> AsyncIterator[Database]:
    """Open the database of either profile with the schema of this version.

    Without ``migrating``, an older schema in PostgreSQL is refused, and not changed. Raises StorageError.
    """
    if settings.database_url is None:
        file = _file(settings)
        make_directory(file.parent)
        await asyncio.to_thread(back_up_before_migration, file.parent, revisions)
        async with open_storage(file, revisions=revisions) as database:
            yield database
        return
    from runstead.infra.storage.postgres import open_postgres_storage

    from .postgres_options import postgres_options

    url = settings.database_url.get_secret_value()
    async with open_postgres_storage(
        url, postgres_options(settings), migrating=migrating, revisions=revisions
    ) as shared:
        yield shared


async def look_at_schema(settings: Settings, revisions: Revisions = REVISIONS) -> Migration:
    """Return what a migration would find, without creating or changing anything. Raises StorageError, including
    SchemaTooNew."""
    if settings.database_url is None:
        file = _file(settings)
        if not file.exists():
            return Migration(str(file), None, None, revisions.head)
        if not os.access(file, os.R_OK):
            raise StorageUnusable(f"{file} cannot be read; check its rights")
        async with open_sqlite(file) as database:
            found = await database.read(revision_of)
        return _seen(str(file), found, revisions.head)
    from runstead.infra.engines.postgres import open_postgres
    from runstead.infra.storage.postgres import schema_revision

    from .postgres_options import postgres_options

    async with open_postgres(settings.database_url.get_secret_value(), postgres_options(settings)) as shared:
        found = await shared.read(lambda connection: schema_revision(connection, settings.database_schema))
        return _seen(shared.place, found, revisions.head)


async def migrate_schema(settings: Settings, revisions: Revisions = REVISIONS) -> Migration:
    """Migrate the schema to this version. Safe while servers run, and while another process migrates it. Raises
    StorageError."""
    found = await look_at_schema(settings, revisions)
    async with open_database(settings, migrating=True, revisions=revisions) as database:
        after = await database.read(revision_of)
    if settings.database_url is None:
        # In the embedded profile, checkpoints have a database file of their own.
        async with open_checkpoints(_file(settings).with_name(CHECKPOINTS_FILE)):
            pass
    return Migration(found.place, found.before, after, found.head)


def _seen(place: str, revision: str | None, head: str) -> Migration:
    if revision is not None and revision > head:
        raise SchemaTooNew(revision)
    return Migration(place, revision, revision, head)


def _file(settings: Settings) -> Path:
    return settings.data_dir / RUNS_FILE
