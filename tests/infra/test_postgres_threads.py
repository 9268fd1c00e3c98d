"""Threads, assistants, events and keys on PostgreSQL."""

from __future__ import annotations

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.thread_expiry import SqlThreadExpiryStore
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.assistant_store import AssistantStoreConformance
from runstead.testing.conformance.event_store import RunEventStoreConformance
from runstead.testing.conformance.run_storage import RunStorage
from runstead.testing.conformance.thread_expiry import ThreadExpiryConformance
from runstead.testing.conformance.thread_store import ThreadStoreConformance


class TestPostgresThreadStore(ThreadStoreConformance):
    @pytest.fixture
    def storage(self, postgres_storage: RunStorage) -> RunStorage:
        return postgres_storage


class TestPostgresThreadExpiry(ThreadExpiryConformance):
    @pytest.fixture
    def storage(self, postgres_storage: RunStorage) -> RunStorage:
        return postgres_storage

    @pytest.fixture
    def expiry(self, postgres_database: PostgresDatabase, storage: RunStorage) -> SqlThreadExpiryStore:
        return SqlThreadExpiryStore(postgres_database, storage.clock)


class TestPostgresAssistantStore(AssistantStoreConformance):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def assistants(self, postgres_database: PostgresDatabase, clock: ManualClock) -> SqlAssistantStore:
        return SqlAssistantStore(postgres_database, clock)


class TestPostgresRunEventStore(RunEventStoreConformance):
    @pytest.fixture
    def events(self, postgres_database: PostgresDatabase) -> SqlRunEventStore:
        return SqlRunEventStore(postgres_database)
