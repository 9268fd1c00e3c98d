"""Crons on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.crons import SqlCronStore
from runstead.infra.storage.database import Database
from runstead.testing.conformance.cron_store import CronStoreConformance
from runstead.testing.conformance.run_storage import RunStorage
from tests.servers.postgres import PostgresSchema


@pytest.fixture
def crons(database: Database, storage: RunStorage) -> SqlCronStore:
    return SqlCronStore(database, storage.clock, storage.bell)


class TestSqliteCronStore(CronStoreConformance):
    pass


class TestPostgresCronStore(CronStoreConformance):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()
