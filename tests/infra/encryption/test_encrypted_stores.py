"""The stores on encrypted columns keep every guarantee but one: encrypted state cannot be searched."""

from __future__ import annotations

import pytest

from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.crons import SqlCronStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.resources.threads import ThreadFilter
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import Outcome, RunStatus, ThreadId, ThreadOutcome
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.assistant_store import AssistantStoreConformance
from runstead.testing.conformance.cron_store import CronStoreConformance
from runstead.testing.conformance.delivery_store import DeliveryStoreConformance
from runstead.testing.conformance.event_store import RunEventStoreConformance
from runstead.testing.conformance.run_storage import ALICE, RunStorage
from runstead.testing.conformance.run_stores import RunStoreConformance
from runstead.testing.conformance.thread_store import ThreadStoreConformance
from tests.servers.stores import stores_over

# The suites of handlers run on SQLite and have keys too: encrypted columns pass each suite on both engines.
ON_POSTGRES = pytest.mark.parametrize("encrypted", ["postgres"], indirect=True)


@pytest.fixture
def storage(encrypted: Database) -> RunStorage:
    return stores_over(encrypted)


@ON_POSTGRES
class TestEncryptedRuns(RunStoreConformance):
    pass


@ON_POSTGRES
@pytest.mark.usefixtures("encrypted")
class TestEncryptedThreads(ThreadStoreConformance):
    async def test_search_matches_values_by_containment(self, storage: RunStorage) -> None:
        after = ThreadOutcome(values=b'{"a":{"b":1}}')
        await storage.ended(await storage.accept(ThreadId("t-1")), Outcome(RunStatus.SUCCESS, after))
        with acting(ALICE):
            assert await storage.threads.search(ThreadFilter(values={"a": {"b": 1}})) == []
            assert await storage.threads.count(ThreadFilter(values={"a": {}})) == 0
            assert [one.values for one in await storage.threads.search(ThreadFilter())] == [after.values]


@ON_POSTGRES
class TestEncryptedAssistants(AssistantStoreConformance):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def assistants(self, encrypted: Database, clock: ManualClock) -> SqlAssistantStore:
        return SqlAssistantStore(encrypted, clock)


@ON_POSTGRES
class TestEncryptedRunEvents(RunEventStoreConformance):
    @pytest.fixture
    def events(self, encrypted: Database) -> SqlRunEventStore:
        return SqlRunEventStore(encrypted)


@ON_POSTGRES
class TestEncryptedCrons(CronStoreConformance):
    @pytest.fixture
    def crons(self, encrypted: Database, storage: RunStorage) -> SqlCronStore:
        return SqlCronStore(encrypted, storage.clock, storage.bell)


@ON_POSTGRES
class TestEncryptedDeliveries(DeliveryStoreConformance):
    @pytest.fixture
    def deliveries(self, encrypted: Database, storage: RunStorage) -> SqlDeliveryStore:
        return SqlDeliveryStore(encrypted, storage.clock, storage.bell)


async def test_search_finds_only_unencrypted_metadata(storage: RunStorage) -> None:
    with acting(ALICE):
        made = await storage.threads.create(
            ThreadId("t-1"), metadata={"colour": "red", "hidden": {"a": "x"}, "title": None}
        )
        assert made.metadata == {"colour": "red", "hidden": {"a": "x"}, "title": None}
        assert len(await storage.threads.search(ThreadFilter(metadata={"colour": "red"}))) == 1
        assert await storage.threads.search(ThreadFilter(metadata={"hidden": {"a": "x"}})) == []
        changed = await storage.threads.update(ThreadId("t-1"), metadata={"more": 1})
        assert changed is not None
        assert changed.metadata == {"colour": "red", "hidden": {"a": "x"}, "title": None, "more": 1}
