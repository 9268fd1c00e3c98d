"""Threads, assistants and events on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunDeleteStore, SqlRunQueryStore
from runstead.infra.storage.run_usage import SqlRunUsageStore
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.thread_expiry import SqlThreadExpiryStore
from runstead.infra.storage.threads import SqlThreadStore
from runstead.resources.threads import ThreadTtl
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunScope, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.assistant_store import AssistantStoreConformance
from runstead.testing.conformance.run_storage import ALICE, EnqueueRecorder, RunStorage
from runstead.testing.conformance.thread_expiry import ThreadExpiryConformance
from runstead.testing.conformance.thread_store import ThreadStoreConformance
from tests.servers.sqlite import current


class TestSqliteThreadStore(ThreadStoreConformance):
    @pytest.fixture
    def storage(self, sqlite_storage: RunStorage) -> RunStorage:
        return sqlite_storage


def storage_over(database: SqliteDatabase, *, default_ttl: ThreadTtl | None = None) -> RunStorage:
    """All stores on one database."""
    clock, bell = ManualClock(), EnqueueRecorder()
    return RunStorage(
        create=SqlRunCreateStore(database, clock, bell, default_ttl=default_ttl),
        query=SqlRunQueryStore(database),
        delete=SqlRunDeleteStore(database, clock, bell),
        leases=SqlRunLeaseStore(database, clock, bell),
        threads=SqlThreadStore(database, clock, default_ttl=default_ttl),
        usage=SqlRunUsageStore(database),
        clock=clock,
        bell=bell,
    )


class TestSqliteThreadExpiry(ThreadExpiryConformance):
    @pytest.fixture
    async def storage(self, rows: SqliteDatabase) -> RunStorage:
        return storage_over(rows)

    @pytest.fixture
    def expiry(self, rows: SqliteDatabase, storage: RunStorage) -> SqlThreadExpiryStore:
        return SqlThreadExpiryStore(rows, storage.clock)

    @pytest.fixture
    async def rows(self, tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
        async with open_storage(current(tmp_path / "runs.sqlite")) as database:
            yield database


class TestThreadsThatAreNotGivenATtl:
    """The server's default applies to all new threads that are not temporary, however they are created."""

    async def test_threads_without_ttl_get_the_server_default(self, tmp_path: Path) -> None:
        ttl = ThreadTtl(60, "keep_latest")
        async with open_storage(current(tmp_path / "runs.sqlite")) as database:
            before = storage_over(database)
            await before.new_thread(ThreadId("t-before"))
            storage = storage_over(database, default_ttl=ttl)
            await storage.new_thread(ThreadId("t-made"))
            await storage.accept(ThreadId("t-run"))
            await storage.accept(ThreadId("t-before"))
            kept = await storage.accept(None, scope=RunScope("stateless", "create", "keep"))
            temporary = await storage.accept(None, scope=RunScope("stateless", "create", "delete"))
            with acting(ALICE):
                await storage.threads.create(ThreadId("t-own"), ttl=ThreadTtl(1))
                found = {
                    name: await storage.threads.get_ttl(ThreadId(thread_id))
                    for name, thread_id in {
                        "made": "t-made", "run": "t-run", "before": "t-before", "own": "t-own",
                        "kept": kept.thread_id, "temporary": temporary.thread_id,
                    }.items()
                }  # fmt: skip
        assert found == {
            "made": ttl, "run": ttl, "kept": ttl, "own": ThreadTtl(1), "before": None, "temporary": None,
        }  # fmt: skip


class TestSqliteAssistantStore(AssistantStoreConformance):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def assistants(self, tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqlAssistantStore]:
        async with open_storage(current(tmp_path / "runs.sqlite")) as database:
            yield SqlAssistantStore(database, clock)
