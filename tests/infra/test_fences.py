"""Law 6 in the database: a worker that was frozen for longer than its lease, and woken again, cannot write.

The frozen worker's own check of its lease succeeds: the storage has to refuse.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from sqlalchemy import Connection, text

from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.checkpoints.saver import SqlCheckpointSaver
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.database import Database
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.resources.items import ActorScopedStore
from runstead.resources.storage_errors import StorageDemoted, StorageUnavailable
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.store import RunEvent
from runstead.runtime.runs.types import Lease, Outcome, RunStatus, ThreadId
from runstead.runtime.storage_fault import StorageFault
from runstead.testing.conformance.run_storage import ALICE, DONE, TERM, RunStorage
from tests.processes.client import eventually
from tests.servers.stores import stores_over

ROOT: RunnableConfig = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}


@pytest.fixture
def storage(database: Database) -> RunStorage:
    return stores_over(database)


async def taken_over(storage: RunStorage) -> tuple[Lease, Lease]:
    """A run whose first worker froze: its lease, and that of the worker that has taken the run over."""
    run = await storage.accept()
    late = await storage.begun(run, "frozen")
    await storage.clock.advance(2 * TERM)
    assert await storage.leases.recover(run.run_id, 10) is not None
    return late, await storage.begun(run, "successor")


def all_is_well() -> bool:
    return True


def a_checkpoint(checkpoint_id: str) -> Any:
    empty: dict[str, Any] = {"channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    return {"v": 4, "id": checkpoint_id, "ts": "2030-01-01T00:00:00+00:00", **empty}


def an_event(lease: Lease) -> RunEvent:
    return RunEvent(
        lease.run_id, lease.thread_id, "custom", "trace", {"by": lease.worker}, datetime(2030, 1, 1, tzinfo=UTC)
    )


async def test_late_worker_writes_no_status(storage: RunStorage) -> None:
    late, now = await taken_over(storage)
    for write in (
        lambda: storage.leases.begin(late, None),
        lambda: storage.leases.renew(late, TERM),
        lambda: storage.leases.settle(late, Outcome(RunStatus.ERROR)),
        lambda: storage.leases.release(late),
    ):
        with pytest.raises(LeaseLost):
            await write()
    assert (await storage.leases.settle(now, DONE)).record.status is RunStatus.SUCCESS


async def test_late_worker_writes_no_events(storage: RunStorage, database: Database) -> None:
    events = SqlRunEventStore(database)
    late, now = await taken_over(storage)
    with acting(ALICE):
        with pytest.raises(LeaseLost):
            await events.append([an_event(late)], holder=late.holder)
        await events.append([an_event(now)], holder=now.holder)
        await storage.leases.settle(now, DONE)
        # The successor cannot either, once it has settled.
        with pytest.raises(LeaseLost):
            await events.append([an_event(now)], holder=now.holder)
        found = await events.list_events(ThreadId("t-1"))
    assert [(one.seq, one.event.content) for one in found] == [(1, {"by": "successor"})]


async def test_late_worker_writes_no_items(storage: RunStorage, database: Database) -> None:
    items = ActorScopedStore(SqlItemStore(database, storage.clock))
    late, now = await taken_over(storage)
    theirs, ours = (items.fenced(all_is_well, lease.holder) for lease in (late, now))
    with acting(ALICE):
        await ours.aput(("notes",), "k", {"by": "successor"})
        with pytest.raises(LeaseLost):
            await theirs.aput(("notes",), "k", {"by": "frozen"})
        with pytest.raises(LeaseLost):
            await theirs.adelete(("notes",), "k")
        kept = await items.aget(("notes",), "k")
        assert kept is not None
        assert kept.value == {"by": "successor"}
        # It may read, like any caller.
        assert await theirs.aget(("notes",), "k") is not None


async def test_abandoned_code_of_a_stopped_run_cannot_write_items(storage: RunStorage, database: Database) -> None:
    lease = await storage.begun(await storage.accept())

    def over() -> None:
        raise LeaseLost(lease.run_id, lease.attempt)

    items = ActorScopedStore(SqlItemStore(database, storage.clock))
    with acting(ALICE):
        with pytest.raises(LeaseLost):
            await items.fenced(over, lease.holder).aput(("notes",), "k", {})
        assert await items.aget(("notes",), "k") is None


class _NotWritten(Exception):
    """Rolls a transaction back."""


async def _is_waiting(database: Database, count: int) -> bool:
    """Return whether so many statements in the server wait for a lock."""
    statement = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    waiting = await database.read(lambda connection: connection.execute(statement).scalar_one())
    return bool(waiting >= count)


class TestCheckpointsOfALateWorker:
    """On PostgreSQL, where other workers may have taken the run. SQLite has one process, which knows by itself."""

    @pytest.fixture
    def storage(self, postgres_storage: RunStorage) -> RunStorage:
        return postgres_storage

    @pytest.fixture
    async def checkpoints(self, postgres_database: PostgresDatabase, storage: RunStorage) -> PostgresCheckpoints:
        return PostgresCheckpoints(postgres_database)

    @staticmethod
    async def put(saver: SqlCheckpointSaver, lease: Lease, checkpoint_id: str) -> RunnableConfig:
        metadata: Any = {"run_id": lease.run_id, "run_attempt": lease.attempt}
        return await saver.aput(ROOT, a_checkpoint(checkpoint_id), metadata, {})

    async def test_late_worker_writes_no_checkpoints_and_no_pending_writes(
        self, storage: RunStorage, checkpoints: PostgresCheckpoints
    ) -> None:
        late, now = await taken_over(storage)
        theirs, ours = (checkpoints.saver.fenced(all_is_well, lease.holder) for lease in (late, now))
        at = await self.put(ours, now, "c-1")
        await ours.aput_writes(at, [("said", "successor")], "task-1")
        with pytest.raises(LeaseLost):
            await self.put(theirs, late, "c-2")
        with pytest.raises(LeaseLost):
            await self.put(theirs, late, "c-1")
        with pytest.raises(LeaseLost):
            await theirs.aput_writes(at, [("said", "frozen")], "task-2")
        found = await ours.aget_tuple(ROOT)
        assert found is not None
        assert found.checkpoint["id"] == "c-1"
        assert found.metadata["run_attempt"] == now.attempt  # type: ignore[typeddict-item]
        assert found.pending_writes == [("task-1", "said", "successor")]

    async def test_writes_after_settle_or_release_are_refused(
        self, storage: RunStorage, checkpoints: PostgresCheckpoints
    ) -> None:
        lease = await storage.begun(await storage.accept())
        await storage.leases.release(lease)
        with pytest.raises(LeaseLost):
            await self.put(checkpoints.saver.fenced(all_is_well, lease.holder), lease, "c-1")
        again = await storage.begun(lease.run)
        await storage.leases.settle(again, DONE)
        with pytest.raises(LeaseLost):
            await self.put(checkpoints.saver.fenced(all_is_well, again.holder), again, "c-1")
        assert await checkpoints.saver.aget_tuple(ROOT) is None

    async def test_next_lease_holder_sees_the_write_in_progress(
        self, storage: RunStorage, checkpoints: PostgresCheckpoints, postgres_database: PostgresDatabase
    ) -> None:
        """Between the database's check and the commit, which are one statement: until the commit, no other worker gets
        the run. The statement waits for another transaction that is writing the same row."""
        lease = await storage.begun(await storage.accept())
        await storage.clock.advance(2 * TERM)
        writing, go_on = threading.Event(), threading.Event()

        def block(connection: Connection) -> None:
            connection.exec_driver_sql(
                "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, position)"
                " VALUES ('t-1', '', 'c-1', 0)"
            )
            writing.set()
            go_on.wait(30)
            raise _NotWritten

        blocking = asyncio.ensure_future(postgres_database.write(block))
        await asyncio.to_thread(writing.wait, 30)
        put = asyncio.ensure_future(self.put(checkpoints.saver.fenced(all_is_well, lease.holder), lease, "c-1"))
        await eventually(lambda: _is_waiting(postgres_database, 1))
        recovery = asyncio.ensure_future(storage.leases.recover(lease.run_id, 10))
        await eventually(lambda: _is_waiting(postgres_database, 2))
        assert not put.done()
        assert not recovery.done()
        go_on.set()
        with pytest.raises(_NotWritten):
            await blocking
        await put
        assert await recovery is not None
        assert await checkpoints.saver.aget_tuple(ROOT) is not None

    async def test_rollback_removes_a_write_in_progress(
        self, storage: RunStorage, checkpoints: PostgresCheckpoints
    ) -> None:
        lease = await storage.begun(await storage.accept())
        await checkpoints.mark(ThreadId("t-1"), lease.run_id)
        writing, go_on, over = threading.Event(), threading.Event(), threading.Event()

        def check() -> None:
            if over.is_set():
                raise LeaseLost(lease.run_id, lease.attempt)
            writing.set()
            go_on.wait(10)

        saver = checkpoints.saver.fenced(check, lease.holder)
        put = asyncio.ensure_future(self.put(saver, lease, "c-1"))
        await asyncio.to_thread(writing.wait, 10)
        # Like the executor: first new writes are refused, then the rollback happens.
        over.set()
        undoing = asyncio.ensure_future(checkpoints.undo(ThreadId("t-1"), lease.run_id))
        await asyncio.sleep(0.05)
        later = asyncio.ensure_future(self.put(saver, lease, "c-2"))
        go_on.set()
        await put
        await undoing
        with pytest.raises(LeaseLost):
            await later
        assert await checkpoints.saver.aget_tuple(ROOT) is None

    async def test_write_without_a_run_needs_no_lease(self, checkpoints: PostgresCheckpoints) -> None:
        """For example a client that updates a thread's state."""
        await checkpoints.saver.fenced(all_is_well).aput(ROOT, a_checkpoint("c-1"), {}, {})
        assert await checkpoints.saver.aget_tuple(ROOT) is not None


async def test_parallel_writes_of_one_attempt_do_not_wait_for_each_other(
    postgres_storage: RunStorage, postgres_database: PostgresDatabase
) -> None:
    checkpoints = PostgresCheckpoints(postgres_database)
    lease = await postgres_storage.begun(await postgres_storage.accept())
    both = threading.Barrier(2, timeout=10)
    saver = checkpoints.saver.fenced(lambda: both.wait(), lease.holder)
    at: RunnableConfig = {"configurable": {**ROOT["configurable"], "checkpoint_id": "c-1"}}
    await asyncio.gather(*(saver.aput_writes(at, [("said", n)], f"task-{n}") for n in range(2)))


@pytest.mark.parametrize(
    "fault", [StorageUnavailable("a database", "it is a test"), StorageDemoted("a database")], ids=["away", "a standby"]
)
async def test_run_continues_after_an_outage_longer_than_the_timeout(
    postgres_storage: RunStorage, postgres_database: PostgresDatabase, fault: StorageFault
) -> None:
    lease = await postgres_storage.begun(await postgres_storage.accept())
    away = Away(postgres_database, times=2, fault=fault)
    saver = SqlCheckpointSaver(away).fenced(all_is_well, lease.holder)
    await saver.aput(ROOT, a_checkpoint("c-1"), {}, {})
    assert away.times == 0
    assert await PostgresCheckpoints(postgres_database).saver.aget_tuple(ROOT) is not None


class Away:
    """A Database that is unavailable for a number of calls."""

    def __init__(self, inner: Database, times: int, fault: StorageFault) -> None:
        self._inner, self.times, self._fault = inner, times, fault

    async def write(self, work: Any, **how: Any) -> Any:
        if self.times:
            self.times -= 1
            raise self._fault
        return await self._inner.write(work, **how)

    async def read(self, work: Any, **how: Any) -> Any:
        return await self._inner.read(work, **how)
