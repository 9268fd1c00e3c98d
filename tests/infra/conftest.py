"""Both storages, as the suites need them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.database import Database
from runstead.infra.storage.sqlite import open_storage
from runstead.testing.conformance.run_storage import RunStorage
from tests.servers.postgres import PostgresSchema
from tests.servers.sqlite import current
from tests.servers.stores import stores_over


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with all tables; tests with this fixture run on either engine."""
    if request.param == "sqlite":
        async with open_storage(current(tmp_path / "runs.sqlite")) as database:
            yield database
    else:
        schema: PostgresSchema = request.getfixturevalue("postgres_schema")
        yield await schema.emptied()


@pytest.fixture
async def sqlite_storage(tmp_path: Path) -> AsyncIterator[RunStorage]:
    """All stores over one SQLite file."""
    async with open_storage(current(tmp_path / "runs.sqlite")) as database:
        yield stores_over(database)


@pytest.fixture
async def postgres_database(postgres_schema: PostgresSchema) -> PostgresDatabase:
    """An empty PostgreSQL database with all tables."""
    return await postgres_schema.emptied()


@pytest.fixture
def postgres_storage(postgres_database: PostgresDatabase) -> RunStorage:
    """All stores over one PostgreSQL database."""
    return stores_over(postgres_database)
