"""The SQL storage beyond its ports: sweeps, stateless leftovers, query plans, long queues."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from runstead.infra.storage import run_leases, run_recovery, thread_status
from runstead.infra.storage.database import Database
from runstead.infra.storage.json_text import NotJson, dump, load
from runstead.infra.storage.prepared import Prepared
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.schema import runs
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import InvalidRunSpec, ThreadNotFound
from runstead.runtime.runs.store import RunEvent
from runstead.runtime.runs.types import RunId, RunScope, StopReason, ThreadId
from runstead.testing.conformance.run_storage import ALICE, BOB, DONE, STATELESS, RunStorage
from tests.servers.stores import stores_over

HOUR = timedelta(hours=1)


@pytest.fixture
def storage(database: Database) -> RunStorage:
    return stores_over(database)


@pytest.fixture
def sweeper(database: Database, storage: RunStorage) -> StorageSweeper:
    return StorageSweeper(database, storage.clock)


async def test_ended_stateless_runs_are_swept_after_their_time(storage: RunStorage, sweeper: StorageSweeper) -> None:
    old = await storage.ended(await storage.accept(None, scope=STATELESS))
    kept = await storage.ended(await storage.accept(ThreadId("t-1")))
    await storage.clock.advance(HOUR)
    young = await storage.ended(await storage.accept(None, scope=STATELESS))
    waiting = await storage.accept(None, scope=STATELESS)
    swept = await sweeper.sweep(HOUR)
    # Its checkpoints were deleted with the run; after a crash in between, they can be deleted now.
    assert (swept.runs, swept.threads) == ((old.run_id,), (old.thread_id,))
    assert await storage.run(old.run_id) is None
    for run in (kept, young, waiting):
        assert await storage.run(run.run_id) is not None
    assert (await sweeper.sweep(HOUR)).runs == ()


async def test_large_sweep_is_complete_in_small_transactions(storage: RunStorage, sweeper: StorageSweeper) -> None:
    runs = await asyncio.gather(*(storage.accept(None, scope=STATELESS) for _ in range(1100)))
    await asyncio.gather(*(storage.leases.request_stop(run.run_id, StopReason.BY_USER) for run in runs))
    await storage.clock.advance(HOUR)
    assert len((await sweeper.sweep(HOUR)).runs) == 1100


async def test_thread_of_an_old_dead_letter_is_swept_too(storage: RunStorage, sweeper: StorageSweeper) -> None:
    dead = await storage.lost(await storage.accept(None, scope=STATELESS), max_attempts=1)
    await storage.clock.advance(HOUR)
    swept = await sweeper.sweep(HOUR)
    assert (swept.runs, swept.threads) == ((dead.run_id,), (dead.thread_id,))
    assert not await storage.has_thread(dead.thread_id)


async def test_events_go_with_their_thread_and_late_ones_are_swept(
    storage: RunStorage, database: Database, sweeper: StorageSweeper
) -> None:
    events = SqlRunEventStore(database)
    run = await storage.accept(None, scope=STATELESS)
    lease = await storage.begun(run)
    late = RunEvent(run.run_id, run.thread_id, "run_end", "lifecycle", None, storage.clock.now())
    with acting(ALICE):
        await events.append([late])
        await storage.leases.settle(lease, DONE)
        assert await events.count_events(run.thread_id) == 0
        await events.append([late])
        await sweeper.sweep(HOUR)
        assert await events.count_events(run.thread_id) == 1
        await storage.clock.advance(HOUR)
        await sweeper.sweep(HOUR)
        assert await events.count_events(run.thread_id) == 0


async def test_events_belong_to_the_owner_of_the_thread(storage: RunStorage, database: Database) -> None:
    events = SqlRunEventStore(database)
    run = await storage.accept(ThreadId("t-1"))
    event = RunEvent(run.run_id, ThreadId("t-1"), "x", "trace", 1, storage.clock.now())
    with acting(BOB), pytest.raises(ThreadNotFound):
        await events.append([event])
    with acting(ALICE):
        assert [stored.seq for stored in await events.append([event])] == [1]


async def test_stateless_run_on_a_user_thread_keeps_the_thread(storage: RunStorage, sweeper: StorageSweeper) -> None:
    await storage.new_thread(ThreadId("t-1"))
    run = await storage.ended(await storage.accept(ThreadId("t-1"), scope=STATELESS))
    await storage.clock.advance(HOUR)
    swept = await sweeper.sweep(HOUR)
    assert (swept.runs, swept.threads) == ((run.run_id,), ())
    assert await storage.has_thread(ThreadId("t-1"))


async def test_temporary_thread_is_kept_while_another_run_uses_it(storage: RunStorage) -> None:
    first = await storage.accept(ThreadId("t-1"), scope=STATELESS)
    second = await storage.accept(ThreadId("t-1"), scope=RunScope(if_not_exists="reject"))
    assert (await storage.leases.settle(await storage.begun(first), DONE)).thread_status == "busy"
    assert await storage.has_thread(ThreadId("t-1"))
    await storage.ended(second)
    assert not await storage.has_thread(ThreadId("t-1"))


async def test_temporary_thread_is_kept_for_its_dead_letter(storage: RunStorage) -> None:
    dead = await storage.lost(await storage.accept(ThreadId("t-1"), scope=STATELESS), max_attempts=1)
    await storage.ended(await storage.accept(ThreadId("t-1")))
    assert await storage.has_thread(ThreadId("t-1"))
    await storage.leases.retry(dead.run_id)
    await storage.ended(dead)
    assert not await storage.has_thread(ThreadId("t-1"))


@pytest.mark.parametrize("after", [float("nan"), 1e18])
async def test_invalid_delay_is_refused(storage: RunStorage, after: float) -> None:
    with pytest.raises(InvalidRunSpec, match="after_seconds"):
        await storage.accept(after_seconds=after)


@pytest.mark.parametrize("bad", ["\ud800", "a\0b", ""], ids=ascii)
async def test_unstorable_id_is_refused(storage: RunStorage, bad: str) -> None:
    with pytest.raises(InvalidRunSpec):
        await storage.accept(run_id=bad)
    with pytest.raises(InvalidRunSpec):
        await storage.accept(ThreadId(bad))
    with acting(ALICE), pytest.raises(ValueError, match="cannot be used as an id"):
        await storage.threads.create(ThreadId(bad))


@pytest.mark.parametrize("what", [object(), b"bytes", {1, 2}, 10**5000], ids=["object", "bytes", "set", "huge"])
async def test_input_that_is_not_json_is_refused_and_leaves_nothing(storage: RunStorage, what: Any) -> None:
    with pytest.raises(InvalidRunSpec, match="cannot be stored as JSON"):
        await storage.accept(ThreadId("t-1"), input={"it": what})
    assert not await storage.has_thread(ThreadId("t-1"))


async def test_too_deeply_nested_input_is_refused(storage: RunStorage) -> None:
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidRunSpec):
        await storage.accept(input=deep)
    while deep:
        deep = deep.pop()


@pytest.mark.parametrize("limit", [-1, 10**30])
async def test_huge_limit_is_accepted(storage: RunStorage, limit: int) -> None:
    from runstead.runtime.runs.types import RunFilter

    await storage.accept()
    with acting(ALICE):
        found = await storage.query.list_runs(RunFilter(), limit=limit, offset=-5)
    assert len(found) == (0 if limit < 0 else 1)


def test_strict_json_and_other_json_are_stored() -> None:
    assert dump({"a": None}) == '{"a":null}'
    for hard in ({"a": float("inf"), "b": None}, [2**64], {"k": "\ud800"}, {1: 2}):
        assert dump(hard).startswith(" ")
    assert load(dump({1: 2})) == {"1": 2}
    assert load(dump(("a", ("b",)))) == ["a", ["b"]]
    assert load(None) is None
    with pytest.raises(NotJson):
        dump(object())


async def test_frequent_queries_do_not_scan_a_table(database: Database) -> None:
    often = {
        "claim": run_leases._CLAIM,
        "renew": run_leases._RENEW,
        "begin": run_leases._BEGIN,
        "settle": run_leases._SETTLE,
        "waiting": run_leases._WAITING,
        "next due": run_leases._NEXT_DUE,
        "expired": run_recovery._EXPIRED,
        "hold": thread_status._HOLD,
        "leave": thread_status._LEAVE,
        "rest": thread_status._REST,
    }

    def plans(connection: Connection) -> dict[str, list[str]]:
        return {name: plan_of(connection, statement) for name, statement in often.items()}

    scans = {
        name: [step for step in steps if step.startswith("SCAN") or "Seq Scan" in step]
        for name, steps in (await database.read(plans)).items()
    }
    assert [name for name, found in scans.items() if found] == []


def plan_of(connection: Connection, prepared: Prepared) -> list[str]:
    ready = prepared._compiled(connection.dialect)
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {ready.sql}", (0,) * len(ready.slots))
        return [row[3] for row in rows]
    # An empty table is read fastest as a whole; the test checks that an index exists.
    connection.exec_driver_sql("SET LOCAL enable_seqscan TO off")
    texts: dict[str, Any] = dict.fromkeys((slot.name for slot in ready.slots), "x")
    times = dict.fromkeys(("now", "deadline", "state_at"), datetime(2030, 1, 1, tzinfo=UTC))
    others = {"the_attempt": 1, "the_limit": 1, "undone": False, "interrupts": b"", "values": b""}
    plan = connection.exec_driver_sql(f"EXPLAIN {ready.sql}", ready.fill({**texts, **times, **others}))
    return list(plan.scalars())


async def test_claim_time_does_not_depend_on_the_queue_length(storage: RunStorage, database: Database) -> None:
    """The head of a thread is found by an index, not by scanning all pending runs behind it."""
    await storage.accept_all([])
    first = await storage.accept(ThreadId("t-1"))

    def crowd(connection: Connection) -> None:
        names = ", ".join(column.name for column in runs.c if column.name not in ("queue_seq", "run_id"))
        connection.execute(
            text(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
                f" INSERT INTO runs (run_id, {names}) SELECT 'x-' || i, {names} FROM n, runs WHERE run_id = :first"
            ),
            {"first": first.run_id},
        )

    await database.write(crowd)
    started = asyncio.get_running_loop().time()
    for n in range(20):
        run = first if n == 0 else (await storage.run(RunId(f"x-{n}")))
        assert run is not None
        await storage.ended(run)
    assert asyncio.get_running_loop().time() - started < 5
