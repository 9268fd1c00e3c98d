"""The storage of the scaled profile: one PostgreSQL schema, migrated before any store uses it.

Any number of servers may open it concurrently. A migration holds an advisory lock, so that one of them migrates and
the others wait for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Connection, text

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.postgres import PostgresDatabase, open_postgres
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.resources.storage_errors import SchemaTooNew, StorageUnusable

from .encrypted_types import use_cipher
from .migrations import REVISIONS, Revisions, migrate, revision_of
from .row_security import enforce_row_security


@asynccontextmanager
async def open_postgres_storage(
    url: str,
    options: PostgresOptions | None = None,
    *,
    migrating: bool = True,
    cipher: Cipher | None = None,
    revisions: Revisions = REVISIONS,
) -> AsyncIterator[PostgresDatabase]:
    """Open the database for the stores, with the schema of this version and values encrypted by ``cipher``.

    Without ``migrating``, an older schema is refused and not changed. Raises StorageError with the remedy;
    SchemaTooNew for a database that a later version has written.
    """
    async with open_postgres(url, options) as database:
        use_cipher(database.dialect, cipher)
        found = await database.read(lambda connection: schema_revision(connection, database.options.schema))
        if found != revisions.head:
            if found is not None and found > revisions.head:
                raise SchemaTooNew(found)
            if not migrating:
                raise StorageUnusable(f"the schema of {database.place} is behind; run `runstead migrate` first")
            await database.write(lambda connection: migrate_postgres(connection, database.options.schema, revisions))
        if database.options.row_security:
            await database.write(enforce_row_security)
        yield database


def migrate_postgres(connection: Connection, schema: str, revisions: Revisions = REVISIONS) -> None:
    """Create the schema if it is missing, and migrate it to the latest revision, in the caller's transaction."""
    # Building an index may take long, and so may a migration that came before us.
    for name, value in (
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
    ):
        connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value})
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"runstead {schema}"})
    # From here on, no one should wait behind us for long: rather than that, the migration fails and is retried.
    connection.execute(text("SET LOCAL lock_timeout = '10s'"))
    if not _exists(connection, schema):
        connection.exec_driver_sql(f"CREATE SCHEMA {connection.dialect.identifier_preparer.quote(schema)}")
    migrate(connection, revisions)


def schema_revision(connection: Connection, schema: str) -> str | None:
    """Return the revision of ``schema``; None if there is none, or no such schema."""
    return revision_of(connection) if _exists(connection, schema) else None


def _exists(connection: Connection, schema: str) -> bool:
    found = connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": schema})
    return found.first() is not None
