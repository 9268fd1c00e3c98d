"""Concurrent operations of two servers on one PostgreSQL, each with its own connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import LeaseLost, ThreadBusy
from runstead.runtime.runs.store import RunEvent
from runstead.runtime.runs.types import Idempotency, MultitaskStrategy, RunFilter, RunId, RunStatus, ThreadId, WorkerId
from runstead.testing.conformance.run_storage import ALICE, DONE, STATELESS, TERM, RunStorage, a_spec
from tests.servers.postgres import PostgresSchema
from tests.servers.stores import stores_over


@pytest.fixture
async def two(postgres_schema: PostgresSchema) -> AsyncIterator[tuple[PostgresDatabase, PostgresDatabase]]:
    """The same empty schema, opened by two servers."""
    await postgres_schema.emptied()
    async with postgres_schema.opened(pool_size=9) as here, postgres_schema.opened(pool_size=9) as there:
        yield here, there


@pytest.fixture
def servers(two: tuple[PostgresDatabase, PostgresDatabase]) -> tuple[RunStorage, RunStorage]:
    here, there = (stores_over(database) for database in two)
    there.clock = here.clock
    return here, there


@pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback", "enqueue"])
async def test_concurrent_inputs_on_two_servers_run_one_at_a_time(
    servers: tuple[RunStorage, RunStorage], strategy: MultitaskStrategy
) -> None:
    async def text(n: int) -> str | None:
        try:
            return (await servers[n % 2].accept(ThreadId("t-1"), multitask_strategy=strategy)).run_id
        except ThreadBusy:
            return None

    accepted = [run_id for run_id in await asyncio.gather(*(text(n) for n in range(24))) if run_id is not None]
    assert len(accepted) == (1 if strategy == "reject" else 24)
    executed = await drained(servers)
    assert len(executed) == len(set(executed))
    with acting(ALICE):
        left = await servers[0].query.list_runs(RunFilter(thread_id=ThreadId("t-1")), limit=100)
    # Runs superseded before their start have ended or were removed; all others have been executed once.
    assert {run.run_id for run in left if run.status is RunStatus.SUCCESS} == set(executed)
    assert all(run.status.is_terminal for run in left)
    assert (await servers[0].thread(ThreadId("t-1"))).status == "idle"
    if strategy == "enqueue":
        in_order = sorted(left, key=lambda run: run.queue_seq)
        assert executed == [run.run_id for run in in_order]


async def drained(servers: tuple[RunStorage, RunStorage]) -> list[str]:
    """Claim and settle on both servers concurrently until no run is pending; return the runs in the order of
    execution.
    """
    executed: list[str] = []
    executing: set[str] = set()

    async def work(storage: RunStorage, worker: str) -> None:
        while waiting := await storage.leases.list_claimable(10):
            for run_id in waiting:
                lease = await storage.leases.claim(run_id, WorkerId(worker), TERM)
                if lease is None:
                    continue
                assert not executing, "two runs of a thread at once"
                executing.add(run_id)
                executed.append(run_id)
                await storage.leases.begin(lease, None)
                await asyncio.sleep(0)
                executing.discard(run_id)
                await storage.leases.settle(lease, DONE)

    await asyncio.gather(*(work(storage, f"w-{n}-{place}") for n, storage in enumerate(servers) for place in range(3)))
    return executed


async def test_concurrent_claims_on_two_servers_grant_one_lease(servers: tuple[RunStorage, RunStorage]) -> None:
    runs = [await servers[0].accept(ThreadId(f"t-{n}")) for n in range(20)]
    claims = [
        storage.leases.claim(run.run_id, WorkerId(f"w-{server}-{place}"), TERM)
        for run in runs
        for server, storage in enumerate(servers)
        for place in range(3)
    ]
    granted = [lease for lease in await asyncio.gather(*claims) if lease is not None]
    assert Counter(lease.run_id for lease in granted) == {run.run_id: 1 for run in runs}
    assert {lease.attempt for lease in granted} == {1}


async def test_concurrent_settle_and_recovery_apply_once(servers: tuple[RunStorage, RunStorage]) -> None:
    here, there = servers
    for n in range(20):
        run = await here.accept(ThreadId(f"t-{n}"))
        lease = await here.begun(run)
        await here.clock.advance(TERM)
        settled, recovered = await asyncio.gather(
            here.leases.settle(lease, DONE), there.leases.recover(run.run_id, 3), return_exceptions=True
        )
        if isinstance(settled, LeaseLost):
            assert (await here.stands(run)).status is RunStatus.PENDING
            assert recovered is not None
        else:
            assert not isinstance(settled, BaseException)
            assert recovered is None
            assert (await here.stands(run)).status is RunStatus.SUCCESS


async def test_same_request_sent_to_two_servers_creates_one_run(
    servers: tuple[RunStorage, RunStorage],
) -> None:
    key = Idempotency("key-1", "the same body")
    made = await asyncio.gather(*(servers[n % 2].created(ThreadId("t-1"), idempotency=key) for n in range(12)))
    assert len({one.record.run_id for one in made}) == 1
    assert sum(not one.repeated for one in made) == 1


async def test_events_of_two_concurrent_servers_have_dense_numbers(
    two: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    stores = [SqlRunEventStore(database) for database in two]

    def batch(writer: int, count: int) -> list[RunEvent]:
        at = datetime(2030, 1, 1, tzinfo=UTC)
        return [RunEvent(RunId(f"r-{writer}"), ThreadId("t-1"), "custom", "trace", {"n": n}, at) for n in range(count)]

    async def write(writer: int) -> None:
        for count in (1, 3, 2, 7):
            with acting(ALICE):
                stored = await stores[writer % 2].append(batch(writer, count))
            # A batch is contiguous.
            assert [one.seq for one in stored] == list(range(stored[0].seq, stored[0].seq + count))

    await asyncio.gather(*(write(writer) for writer in range(16)))
    with acting(ALICE):
        found = await stores[0].list_events(ThreadId("t-1"), limit=1000)
    assert [one.seq for one in found] == list(range(1, 16 * 13 + 1))
    for writer in range(16):
        assert [one.event.content["n"] for one in found if one.event.run_id == f"r-{writer}"] == [
            n for count in (1, 3, 2, 7) for n in range(count)
        ]


async def test_batches_locking_the_same_threads_both_succeed(
    servers: tuple[RunStorage, RunStorage],
) -> None:
    for thread_id in ("t-1", "t-2"):
        await servers[0].new_thread(ThreadId(thread_id))
    there_and_back = [
        [a_spec(ThreadId("t-1")), a_spec(ThreadId("t-2"))],
        [a_spec(ThreadId("t-2")), a_spec(ThreadId("t-1"))],
    ]
    batches = [servers[n % 2].accept_all(there_and_back[n % 2]) for n in range(10)]
    assert sum(len(created) for created in await asyncio.gather(*batches)) == 20


async def test_concurrent_sweeps_remove_each_run_once(
    two: tuple[PostgresDatabase, PostgresDatabase], servers: tuple[RunStorage, RunStorage]
) -> None:
    here = servers[0]
    runs = [created.record for created in await here.accept_all([a_spec(None, scope=STATELESS) for _ in range(40)])]
    for run in runs:
        await here.ended(run)
    kept = await here.ended(await here.accept(ThreadId("t-1")))
    await here.clock.advance(3600)
    sweeps = [StorageSweeper(database, here.clock).sweep(timedelta(minutes=1)) for database in two for _ in range(3)]
    swept = [run_id for one in await asyncio.gather(*sweeps) for run_id in one.runs]
    assert sorted(swept) == sorted(run.run_id for run in runs)
    assert await here.run(kept.run_id) is not None


async def test_sweep_keeps_a_temporary_thread_while_a_run_is_created(
    two: tuple[PostgresDatabase, PostgresDatabase], servers: tuple[RunStorage, RunStorage]
) -> None:
    here, there = servers
    for n in range(10):
        dead = await here.accept(ThreadId(f"temporary-{n}"), scope=STATELESS)
        lost = await here.lost(dead, max_attempts=1)
        assert lost.dead_letter
        await here.clock.advance(3600)
        _, run = await asyncio.gather(
            StorageSweeper(two[0], here.clock).sweep(timedelta(minutes=1)), there.accept(ThreadId(f"temporary-{n}"))
        )
        assert await there.has_thread(ThreadId(f"temporary-{n}"))
        assert (await there.ended(run)).status is RunStatus.SUCCESS
