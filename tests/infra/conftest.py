"""The embedded storage, as the suites want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.storage.run_creation import SqlRunCreateStore
from runstead.infra.storage.run_deletion import SqlRunDeleteStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.threads import SqlThreadStore
from runstead.testing.clock import HandClock
from runstead.testing.conformance.run_storage import Bell, RunStorage


@pytest.fixture
async def sqlite_storage(tmp_path: Path) -> AsyncIterator[RunStorage]:
    """All stores over one SQLite file."""
    clock, bell = HandClock(), Bell()
    async with open_storage(tmp_path / "runs.sqlite") as database:
        yield RunStorage(
            create=SqlRunCreateStore(database, clock, bell),
            query=SqlRunQueryStore(database),
            delete=SqlRunDeleteStore(database, clock, bell),
            leases=SqlRunLeaseStore(database, clock, bell),
            threads=SqlThreadStore(database, clock),
            clock=clock,
            bell=bell,
        )
