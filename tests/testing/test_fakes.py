"""The fakes pass the suites that every adapter passes."""

from __future__ import annotations

import pytest

from runstead.testing.clock import ManualClock
from runstead.testing.conformance.checkpoint_store import CheckpointStoreConformance
from runstead.testing.conformance.event_store import RunEventStoreConformance
from runstead.testing.conformance.fair_turns import FairTurnsConformance
from runstead.testing.conformance.lease_store import RunLeaseStoreConformance
from runstead.testing.conformance.run_storage import EnqueueRecorder, RunStorage
from runstead.testing.conformance.run_stores import RunStoreConformance
from runstead.testing.conformance.thread_store import ThreadStoreConformance
from runstead.testing.fakes import (
    InMemoryCheckpointStore,
    InMemoryLeaseStore,
    InMemoryRunEventStore,
    InMemoryRunStore,
    InMemoryRunUsageStore,
    InMemoryTables,
    InMemoryThreadStore,
)
from runstead.testing.fakes.checkpoints import OrderedMemorySaver


def in_memory(*, by_turns: bool = False) -> RunStorage:
    clock, bell = ManualClock(), EnqueueRecorder()
    tables = InMemoryTables(clock)
    runs = InMemoryRunStore(tables, bell)
    return RunStorage(
        create=runs,
        query=runs,
        delete=runs,
        leases=InMemoryLeaseStore(tables, bell, by_turns=by_turns),
        threads=InMemoryThreadStore(tables),
        usage=InMemoryRunUsageStore(tables),
        clock=clock,
        bell=bell,
    )


@pytest.fixture
def storage() -> RunStorage:
    return in_memory()


class TestInMemoryRunStore(RunStoreConformance):
    pass


class TestInMemoryLeaseStore(RunLeaseStoreConformance):
    pass


class TestTurnsInMemory(FairTurnsConformance):
    @pytest.fixture
    def storage(self) -> RunStorage:
        return in_memory(by_turns=True)


class TestInMemoryThreadStore(ThreadStoreConformance):
    pass


class TestInMemoryCheckpointStore(CheckpointStoreConformance):
    @pytest.fixture(params=["fast", "langgraph's own serialiser"])
    def checkpoints(self, request: pytest.FixtureRequest) -> InMemoryCheckpointStore:
        return InMemoryCheckpointStore(None if request.param == "fast" else OrderedMemorySaver())


class TestInMemoryRunEventStore(RunEventStoreConformance):
    @pytest.fixture
    def events(self) -> InMemoryRunEventStore:
        return InMemoryRunEventStore()
