"""Webhook deliveries on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.storage.database import Database
from runstead.infra.storage.sweeper import DELIVERIES_KEPT, StorageSweeper
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.resources.webhooks import DeliveryStore
from runstead.testing.conformance.delivery_store import DeliveryStoreConformance, found, owed_by, settled
from runstead.testing.conformance.run_storage import RunStorage
from tests.servers.postgres import PostgresSchema


@pytest.fixture
def deliveries(database: Database, storage: RunStorage) -> SqlDeliveryStore:
    return SqlDeliveryStore(database, storage.clock, storage.bell)


class TestSqliteDeliveryStore(DeliveryStoreConformance):
    pass


class TestPostgresDeliveryStore(DeliveryStoreConformance):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()


async def test_sweep_removes_old_finished_deliveries_and_keeps_pending_ones(
    database: SqliteDatabase, storage: RunStorage, deliveries: DeliveryStore
) -> None:
    await owed_by(storage)
    await settled(storage, deliveries, status_code=200)
    pending = await owed_by(storage)
    sweeper = StorageSweeper(database, storage.clock)
    await sweeper.sweep(timedelta(seconds=300))
    assert len(await found(deliveries)) == 2
    await storage.clock.advance(DELIVERIES_KEPT)
    await sweeper.sweep(timedelta(seconds=300))
    assert [one.run_id for one in await found(deliveries)] == [pending.run_id]
    tables = await database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM webhook_attempts").scalar_one())
    assert tables == 0
