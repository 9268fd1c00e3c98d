"""Threads, assistants and events on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.sqlite import open_storage
from runstead.testing.clock import HandClock
from runstead.testing.conformance.assistant_store import AssistantStoreConformance
from runstead.testing.conformance.run_storage import RunStorage
from runstead.testing.conformance.thread_store import ThreadStoreConformance


class TestSqliteThreadStore(ThreadStoreConformance):
    @pytest.fixture
    def storage(self, sqlite_storage: RunStorage) -> RunStorage:
        return sqlite_storage


class TestSqliteAssistantStore(AssistantStoreConformance):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    async def assistants(self, tmp_path: Path, clock: HandClock) -> AsyncIterator[SqlAssistantStore]:
        async with open_storage(tmp_path / "runs.sqlite") as database:
            yield SqlAssistantStore(database, clock)
