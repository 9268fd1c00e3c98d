"""Steering messages on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.steering import SqlSteeringStore
from runstead.testing.conformance.run_storage import RunStorage
from runstead.testing.conformance.steering_store import LIMITS, SteeringStoreConformance
from tests.servers.postgres import PostgresSchema


@pytest.fixture
def storage(storage: RunStorage, database: Database) -> RunStorage:
    return replace(storage, create=SqlRunCreateStore(database, storage.clock, storage.bell, messages=LIMITS))


@pytest.fixture
def steering(database: Database, storage: RunStorage) -> SqlSteeringStore:
    assert isinstance(storage.create, SqlRunCreateStore)
    return SqlSteeringStore(database, storage.clock, storage.create)


class TestSqliteSteeringStore(SteeringStoreConformance):
    pass


class TestPostgresSteeringStore(SteeringStoreConformance):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()
