"""Sweeps of a large storage, and of a failing one: small transactions, few queries, each kind separately."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage import sweeper
from runstead.infra.storage.database import Database
from runstead.infra.storage.schema import idempotency_keys, run_event_threads, run_events, runs, webhook_deliveries
from runstead.infra.storage.sweeper import BATCH, StorageSweeper
from runstead.resources.storage_errors import StorageBusy
from runstead.runtime.runs.types import ThreadId
from runstead.testing.conformance.run_storage import STATELESS, RunStorage
from tests.servers.stores import stores_over

HOUR = timedelta(hours=1)
KINDS = {
    "runs": runs,
    "events": run_events,
    "idempotency keys": idempotency_keys,
    "webhook deliveries": webhook_deliveries,
}


@pytest.fixture
def storage(database: Database) -> RunStorage:
    return stores_over(database)


class Watched:
    """A Database that calls ``before`` with the number of each write, from 0, before executing it."""

    def __init__(self, inner: Database, before: Callable[[int], None]) -> None:
        self._inner, self._before, self._number = inner, before, 0

    async def write(self, work: Any, **how: Any) -> Any:
        number, self._number = self._number, self._number + 1
        self._before(number)
        return await self._inner.write(work, **how)

    async def read(self, work: Any, **how: Any) -> Any:
        return await self._inner.read(work, **how)


def rows(connection: Connection) -> dict[str, int]:
    return {
        kind: connection.execute(select(func.count()).select_from(table)).scalar_one() for kind, table in KINDS.items()
    }


def put_keys(connection: Connection, at: datetime, count: int) -> None:
    keys = {"tenant_id": "t", "user_id": "u", "fingerprint": "", "run_id": "r", "created_at": at}
    connection.execute(insert(idempotency_keys), [{**keys, "key": f"k-{n}"} for n in range(count)])


def put_deliveries(connection: Connection, at: datetime, count: int) -> None:
    names = ("tenant_id", "user_id", "run_id", "thread_id", "url", "actor", "metadata")
    delivery: dict[str, Any] = {**dict.fromkeys(names, "x"), "status": "delivered", "attempts": 1, "claims": 1}
    delivery |= {"created_at": at, "ended_at": at, "body": b""}
    connection.execute(insert(webhook_deliveries), [{**delivery, "delivery_id": f"d-{n}"} for n in range(count)])


def put_events(connection: Connection, at: datetime, thread_ids: list[str]) -> None:
    event = {"run_id": "r", "event_type": "x", "category": "trace", "created_at": at, "metadata": "{}", "content": "1"}
    owner = {"tenant_id": "t", "user_id": "u", "last_seq": 1}
    connection.execute(insert(run_event_threads), [{"thread_id": one, **owner} for one in thread_ids])
    connection.execute(insert(run_events), [{"thread_id": one, "seq": 1, **event} for one in thread_ids])


async def test_keys_and_deliveries_are_swept_completely_in_small_transactions(
    storage: RunStorage, database: Database
) -> None:
    now, writes = storage.clock.now(), 0

    def fill(connection: Connection) -> None:
        put_keys(connection, now, 2 * BATCH + 3)
        put_deliveries(connection, now, 2 * BATCH + 3)

    def count(number: int) -> None:
        nonlocal writes
        writes = number + 1

    await database.write(fill)
    await storage.clock.advance(timedelta(days=8))
    await StorageSweeper(Watched(database, count), storage.clock).sweep(HOUR)
    assert (await database.read(rows)) == dict.fromkeys(KINDS, 0)
    # One to correct times, and one each for runs, events, messages of chat services and notices of budgets, of which
    # there are none.
    assert writes == 1 + 1 + 1 + 3 + 3 + 1 + 1


@pytest.mark.parametrize("failing", KINDS)
async def test_failing_sweep_of_one_kind_does_not_stop_the_others(
    storage: RunStorage, database: Database, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = storage.clock.now()
    run = await storage.ended(await storage.accept(None, scope=STATELESS))

    def fill(connection: Connection) -> None:
        put_keys(connection, now, 1)
        put_deliveries(connection, now, 1)
        put_events(connection, now, ["t-gone"])

    def fail(number: int) -> None:
        # The first write corrects times.
        if number == 1 + list(KINDS).index(failing):
            raise StorageBusy("a database", "it is a test")

    await database.write(fill)
    await storage.clock.advance(timedelta(days=8))
    swept = await StorageSweeper(Watched(database, fail), storage.clock).sweep(HOUR)
    assert swept.runs == (() if failing == "runs" else (run.run_id,))
    assert await database.read(rows) == {kind: int(kind == failing) for kind in KINDS}
    assert f"sweeping {failing} failed" in caplog.text
    await StorageSweeper(database, storage.clock).sweep(HOUR)
    assert await database.read(rows) == dict.fromkeys(KINDS, 0)


async def test_sweep_does_not_read_events_of_existing_threads(
    postgres_storage: RunStorage, postgres_database: PostgresDatabase
) -> None:
    there = [f"t-{n}" for n in range(20)]
    for thread_id in there:
        await postgres_storage.new_thread(ThreadId(thread_id))
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await postgres_database.write(lambda connection: put_events(connection, long_ago, there))
    assert await postgres_database.write(looks_at_events) == 0
    await postgres_database.write(lambda connection: put_events(connection, long_ago, ["t-gone"]))
    assert await postgres_database.write(looks_at_events) == 1


def looks_at_events(connection: Connection) -> int:
    statement = str(sweeper._LEFT_THREADS.compile(dialect=connection.dialect))
    values = {"cutoff": datetime.now(UTC), "the_limit": BATCH}
    plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalar_one()
    return sum(
        step["Actual Loops"]
        for step in steps_of((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
        if step.get("Relation Name") == run_events.name
    )


def steps_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [step, *(inner for one in step.get("Plans", ()) for inner in steps_of(one))]
