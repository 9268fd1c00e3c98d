"""The run stores on SQLite."""

from __future__ import annotations

import pytest

from runstead.testing.conformance.lease_store import RunLeaseStoreConformance
from runstead.testing.conformance.run_storage import RunStorage
from runstead.testing.conformance.run_stores import RunStoreConformance


@pytest.fixture
def storage(sqlite_storage: RunStorage) -> RunStorage:
    return sqlite_storage


class TestSqliteRunStores(RunStoreConformance):
    pass


class TestSqliteLeaseStore(RunLeaseStoreConformance):
    pass
