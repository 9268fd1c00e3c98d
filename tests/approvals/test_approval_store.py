"""Approvals on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.approvals import SqlApprovalStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.schema import approval_events as events
from runstead.infra.storage.schema import approvals as table
from runstead.resources.approvals import MAX_EVENTS, ApprovalFilter, ApprovalFull, ApprovalId
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import ThreadId
from runstead.testing.conformance.approval_store import ApprovalStoreConformance, X, asking, resuming
from runstead.testing.conformance.run_storage import ALICE, BOB, RunStorage
from tests.servers.postgres import PostgresSchema


@pytest.fixture
def approvals(database: Database, storage: RunStorage) -> SqlApprovalStore:
    return SqlApprovalStore(database, storage.clock)


class LimitSuite(ApprovalStoreConformance):
    """The conformance suite, and the limits of events."""

    async def test_approval_with_too_many_events_takes_no_more(
        self, database: Database, storage: RunStorage, approvals: SqlApprovalStore
    ) -> None:
        approval_id = await _asked(storage, approvals)
        await database.write(lambda c: c.execute(update(table).values(events=MAX_EVENTS - 1)))
        with acting(ALICE):
            await approvals.comment(approval_id, "the last one")
            before = await approvals.get(approval_id)
            with pytest.raises(ApprovalFull, match="has 1000 events"):
                await approvals.comment(approval_id, "one more")
            with pytest.raises(ApprovalFull):
                await approvals.delegate(approval_id, "bob")
            assert await approvals.get(approval_id) == before
        # It can still be answered.
        await storage.accept(**resuming(True))
        with acting(ALICE):
            answered = await approvals.get(approval_id)
        assert answered is not None
        assert answered.state == "answered"

    async def test_latest_events_of_a_thread_are_read(
        self, database: Database, storage: RunStorage, approvals: SqlApprovalStore
    ) -> None:
        thread = ThreadId("t-1")
        with acting(ALICE):
            assert await approvals.latest_event_at(thread) is None
        approval_id = await _asked(storage, approvals)
        now = storage.clock.now()
        owner = {"approval_id": approval_id, "tenant_id": ALICE.tenant_id, "user_id": "alice", "thread_id": thread}
        rows = [
            {**owner, "number": n, "at": now + timedelta(seconds=n), "kind": "commented", "details": "{}"}
            for n in range(2, MAX_EVENTS + 3)
        ]
        await database.write(lambda c: c.execute(insert(events), rows))
        with acting(ALICE):
            found = await approvals.events_of_thread(thread)
            assert [one.number for one in found] == list(range(3, MAX_EVENTS + 3))
            assert await approvals.latest_event_at(thread) == found[-1].at
        with acting(BOB):
            assert await approvals.latest_event_at(thread) is None


async def _asked(storage: RunStorage, approvals: SqlApprovalStore) -> ApprovalId:
    await storage.ended(await storage.accept(), asking(X))
    with acting(ALICE):
        (approval,) = await approvals.search(ApprovalFilter())
    return approval.approval_id


class TestSqliteApprovalStore(LimitSuite):
    pass


class TestPostgresApprovalStore(LimitSuite):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()
