"""Feedback on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.storage.database import Database
from runstead.infra.storage.feedback import SqlFeedbackStore
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.resources.feedback import Feedback
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import ThreadId
from runstead.testing.conformance.feedback_store import FeedbackStoreConformance
from runstead.testing.conformance.run_storage import ALICE, RunStorage
from tests.servers.postgres import PostgresSchema


@pytest.fixture
def feedback(database: Database, storage: RunStorage) -> SqlFeedbackStore:
    return SqlFeedbackStore(database, storage.clock)


class TestSqliteFeedbackStore(FeedbackStoreConformance):
    pass


class TestPostgresFeedbackStore(FeedbackStoreConformance):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()


async def test_feedback_writes_a_delivery_to_the_webhook_of_its_run_if_enabled(
    database: SqliteDatabase, storage: RunStorage, feedback: SqlFeedbackStore
) -> None:
    woken: list[str] = []
    sending = SqlFeedbackStore(database, storage.clock, lambda: woken.append("sender"))
    run, without = await storage.accept(webhook="https://example.org/hook"), await storage.accept(ThreadId("t-2"))
    with acting(ALICE):
        await feedback.put(run.run_id, None, Feedback(0.0))
        await sending.put(without.run_id, None, Feedback(0.0))
        await sending.put(run.run_id, "m-1", Feedback(1.0, comment="good"))
    deliveries = SqlDeliveryStore(database, storage.clock, storage.bell)
    (due,) = await deliveries.claim(10, timedelta(seconds=60))
    body = json.loads(due.body)
    assert (body["event"], body["run_id"], body["thread_id"]) == ("feedback", run.run_id, run.thread_id)
    assert {name: body["feedback"][name] for name in ("message_id", "user_id", "score", "comment")} == {
        "message_id": "m-1",
        "user_id": "alice",
        "score": 1.0,
        "comment": "good",
    }
    assert (due.actor, woken) == (ALICE, ["sender", "sender"])
