"""A queue in the same database is notified of every run that becomes next, in the same transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from sqlalchemy import Connection, select

from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunDeleteStore, SqlRunQueryStore
from runstead.infra.storage.run_usage import SqlRunUsageStore
from runstead.infra.storage.schema import runs
from runstead.infra.storage.threads import SqlThreadStore
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunId, StopReason, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import DONE, EnqueueRecorder, RunStorage


class Queue:
    """Records its notifications: the pending runs of the thread, as the transaction saw them."""

    def __init__(self) -> None:
        self.told: list[set[RunId]] = []

    def __call__(self, connection: Connection, thread_id: ThreadId) -> None:
        waiting = select(runs.c.run_id).where(
            runs.c.thread_id == thread_id, runs.c.ended_at.is_(None), runs.c.lease_until.is_(None)
        )
        self.told.append(set(connection.execute(waiting).scalars()))


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def storage(database: Database, queue: Queue) -> RunStorage:
    clock, bell = ManualClock(), EnqueueRecorder()
    return RunStorage(
        create=SqlRunCreateStore(database, clock, bell, queue),
        query=SqlRunQueryStore(database),
        delete=SqlRunDeleteStore(database, clock, bell, queue),
        leases=SqlRunLeaseStore(database, clock, bell, queue),
        threads=SqlThreadStore(database, clock),
        usage=SqlRunUsageStore(database),
        clock=clock,
        bell=bell,
    )


async def settled(storage: RunStorage) -> None:
    run, _ = [await storage.accept() for _ in range(2)]
    await storage.leases.settle(await storage.begun(run), DONE)


async def handed_back(storage: RunStorage) -> None:
    await storage.leases.release(await storage.begun(await storage.accept()))


async def recovered(storage: RunStorage) -> None:
    await storage.lost(await storage.accept())


async def stopped_before_it_began(storage: RunStorage) -> None:
    run, _ = [await storage.accept() for _ in range(2)]
    await storage.leases.request_stop(run.run_id, StopReason.BY_USER)


async def deleted(storage: RunStorage) -> None:
    run, _ = [await storage.accept() for _ in range(2)]
    with acting(storage.actor):
        await storage.delete.delete_run(run.run_id)


async def retried(storage: RunStorage) -> None:
    dead = await storage.lost(await storage.accept(), max_attempts=1)
    await storage.leases.retry(dead.run_id)


Deed = Callable[[RunStorage], Awaitable[None]]
DEEDS: Final[list[Deed]] = [settled, handed_back, recovered, stopped_before_it_began, deleted, retried]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
async def test_queue_is_notified_of_the_next_run_when_a_run_ends(deed: Deed, storage: RunStorage, queue: Queue) -> None:
    await deed(storage)
    (waiting,) = await storage.leases.list_claimable(10)
    assert queue.told[-1] == {waiting}


async def test_queue_is_notified_of_accepted_and_delayed_runs(storage: RunStorage, queue: Queue) -> None:
    now = await storage.accept()
    later = await storage.accept(ThreadId("t-2"), after_seconds=60)
    assert queue.told == [{now.run_id}, {later.run_id}]
