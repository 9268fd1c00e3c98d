"""Approvals on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.approvals import SqlApprovalStore
from runstead.infra.storage.database import Database
from runstead.testing.conformance.approval_store import ApprovalStoreConformance
from runstead.testing.conformance.run_storage import RunStorage
from tests.servers.postgres import PostgresSchema


@pytest.fixture
def approvals(database: Database, storage: RunStorage) -> SqlApprovalStore:
    return SqlApprovalStore(database, storage.clock)


class TestSqliteApprovalStore(ApprovalStoreConformance):
    pass


class TestPostgresApprovalStore(ApprovalStoreConformance):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()
