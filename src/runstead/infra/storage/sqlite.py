"""The storage of the embedded profile: one SQLite file, migrated before any store uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite

from .dialect import prepare_sqlite
from .encrypted_types import use_cipher
from .migrations import REVISIONS, Revisions, migrate


@asynccontextmanager
async def open_storage(
    path: Path, cipher: Cipher | None = None, revisions: Revisions = REVISIONS
) -> AsyncIterator[SqliteDatabase]:
    """Open ``path`` for the stores, with the schema of this version and values encrypted by ``cipher``.

    Raises StorageError with the remedy.
    """
    async with open_sqlite(path, synchronous="FULL", prepare=prepare_sqlite) as database:
        use_cipher(database.dialect, cipher)
        await database.write(lambda connection: migrate(connection, revisions))
        yield database
