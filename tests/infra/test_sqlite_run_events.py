"""Run events on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.sqlite import open_storage
from runstead.testing.conformance.event_store import RunEventStoreConformance
from tests.servers.sqlite import current


class TestSqliteRunEventStore(RunEventStoreConformance):
    @pytest.fixture
    async def events(self, tmp_path: Path) -> AsyncIterator[SqlRunEventStore]:
        async with open_storage(current(tmp_path / "runs.sqlite")) as database:
            yield SqlRunEventStore(database)
