"""The run stores on PostgreSQL."""

from __future__ import annotations

import pytest

from runstead.testing.conformance.lease_store import RunLeaseStoreConformance
from runstead.testing.conformance.run_storage import RunStorage
from runstead.testing.conformance.run_stores import RunStoreConformance


@pytest.fixture
def storage(postgres_storage: RunStorage) -> RunStorage:
    return postgres_storage


class TestPostgresRunStores(RunStoreConformance):
    pass


class TestPostgresLeaseStore(RunLeaseStoreConformance):
    pass
