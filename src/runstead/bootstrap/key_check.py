"""Comparison of the configured encryption keys with those recorded in the database. Nothing is changed."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.encryption_keys import (
    HANDLERS as HANDLERS,
)
from runstead.infra.storage.encryption_keys import (
    keys_problem as keys_problem,
)
from runstead.infra.storage.encryption_keys import (
    needs_of as needs_of,
)
from runstead.resources.health_checks import HealthCheck
from runstead.settings import Settings

if TYPE_CHECKING:
    from runstead.infra.encryption.cipher import Cipher


def check_keys(settings: Settings, cipher: Cipher | None, *, has_handlers: bool) -> HealthCheck | None:
    """Return whether a server would start on the data with these keys; None if no finding is needed."""
    from runstead.infra.storage.encryption_keys import keys_problem
    from runstead.resources.storage_errors import StorageError

    try:
        recorded = key_ids_of_data(settings)
    except (StorageError, ImportError):
        # The check of the database itself has already reported this.
        recorded = frozenset()
    if problem := keys_problem(recorded, cipher, place_of(settings), has_handlers=has_handlers):
        return HealthCheck("encryption", "failed", problem)
    if cipher is None:
        return None
    is_new = recorded and cipher.key_id not in recorded
    more = "; nothing is encrypted with it yet, `runstead encryption rewrite` does that" if is_new else ""
    return HealthCheck("encryption", "ok", f"{len(cipher.key_ids)} keys; {cipher.key_id} encrypts{more}")


def place_of(settings: Settings) -> str:
    """Return the name of the data's location, for messages."""
    return str(settings.data_dir) if settings.database_url is None else f"schema {settings.database_schema}"


def key_ids_of_data(settings: Settings) -> frozenset[str]:
    """Return the key ids recorded in the database; none if there is no database yet, or one without this table.

    Raises StorageError, ImportError.
    """
    if settings.database_url is not None:
        return asyncio.run(_recorded_in_postgres(settings, settings.database_url.get_secret_value()))
    file = settings.data_dir / RUNS_FILE
    if not file.exists():
        return frozenset()
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return frozenset(key_id for (key_id,) in connection.execute("SELECT key_id FROM encryption_keys"))
    except sqlite3.DatabaseError:
        return frozenset()


async def _recorded_in_postgres(settings: Settings, url: str) -> frozenset[str]:
    from sqlalchemy import inspect, select

    from runstead.bootstrap.postgres_options import postgres_options
    from runstead.infra.engines.postgres import open_postgres
    from runstead.infra.storage.schema import encryption_keys

    async with open_postgres(url, postgres_options(settings)) as database:
        if not await database.read(lambda connection: inspect(connection).has_table("encryption_keys")):
            return frozenset()
        ids = select(encryption_keys.c.key_id)
        return await database.read(lambda connection: frozenset(connection.execute(ids).scalars()))
