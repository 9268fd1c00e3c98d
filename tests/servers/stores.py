"""All stores on one database, with a manual clock, as the conformance suites need them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunDeleteStore, SqlRunQueryStore
from runstead.infra.storage.run_usage import SqlRunUsageStore
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.threads import SqlThreadStore
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import EnqueueRecorder, RunStorage

from .sqlite import current


def stores_over(database: Database, *, by_turns: bool = False) -> RunStorage:
    clock, bell = ManualClock(), EnqueueRecorder()
    return RunStorage(
        create=SqlRunCreateStore(database, clock, bell),
        query=SqlRunQueryStore(database),
        delete=SqlRunDeleteStore(database, clock, bell),
        leases=SqlRunLeaseStore(database, clock, bell, by_turns=by_turns),
        threads=SqlThreadStore(database, clock),
        usage=SqlRunUsageStore(database),
        clock=clock,
        bell=bell,
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty SQLite database with all tables. Suites for another engine override it."""
    async with open_storage(current(tmp_path / "runs.sqlite")) as database:
        yield database


@pytest.fixture
def storage(database: Database) -> RunStorage:
    """All stores over the database."""
    return stores_over(database)
