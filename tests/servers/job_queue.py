"""Pending runs on PostgreSQL and their jobs, without a server around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import text

from runstead.infra.dispatch.fair_jobs import FairJobs
from runstead.infra.dispatch.procrastinate import ProcrastinateDispatcher, ProcrastinateSettings
from runstead.infra.dispatch.procrastinate_jobs import JobRouting, RunJobs
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.types import RunId, RunRecord, ThreadId, WorkerId
from runstead.testing.conformance.run_storage import ALICE, a_spec, decide
from tests.servers.postgres import SchemaPlace

TERM = timedelta(seconds=30)


class LocalNotices:
    """Stop notices within one process."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[RunId], None]] = []

    async def request_stop(self, run_id: RunId) -> None:
        for hear in self._listeners:
            hear(run_id)

    @contextmanager
    def brought_to(self, notice_stop: Callable[[RunId], None]) -> Iterator[None]:
        self._listeners.append(notice_stop)
        try:
            yield
        finally:
            self._listeners.remove(notice_stop)


class Cluster:
    """Runs on PostgreSQL and their jobs; the WaitingRuns of the suite."""

    def __init__(self, schema: SchemaPlace, database: PostgresDatabase, routing: JobRouting | None = None) -> None:
        self.schema, self.database = schema, database
        clock = SystemClock()
        self.jobs = RunJobs(database, clock, routing)
        self.runs = SqlRunCreateStore(database, clock, lambda: None, self.jobs.enqueue)
        self.leases = SqlRunLeaseStore(database, clock, lambda: None, self.jobs.enqueue)
        self.clock = clock

    def dispatcher(self, *, fair: bool = False, **settings: object) -> ProcrastinateDispatcher:
        quick = {"schema": self.schema.name, "poll": 0.2, "restore_every": 0.5, "silent": 30.0, "patience": 0.1}
        chosen = ProcrastinateSettings(**{**quick, **settings})  # type: ignore[arg-type]
        turns = FairJobs(self.database, self.clock, chosen.queues) if fair else None
        return ProcrastinateDispatcher(self.schema.url, self.jobs, LocalNotices(), self.clock, chosen, fair=turns)

    async def registered(self) -> int:
        """A running worker of procrastinate."""
        statement = "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"
        return await self.database.write(lambda c: int(c.execute(text(statement)).scalar_one()))

    async def accept(self, thread_id: str, **fields: object) -> RunRecord:
        with acting(ALICE):
            (created,) = await self.runs.create_runs([a_spec(ThreadId(thread_id), **fields)], decide)
        return created.record

    async def add(self, run_id: RunId, *, due_in: float = 0) -> None:
        await self.accept(f"thread-of-{run_id}", run_id=run_id, after_seconds=due_in)

    async def take(self, run_id: RunId) -> bool:
        return await self.leases.claim(run_id, WorkerId("w"), TERM) is not None

    async def queued(self) -> list[tuple[str, str, int]]:
        """Run, queue and priority of every pending job."""
        rows = "SELECT queueing_lock, queue_name, priority FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
        return await self.database.read(lambda c: [tuple(row) for row in c.execute(text(rows))])

    async def is_heard(self) -> None:
        """Return once a worker listens: it may find jobs added before only by polling."""
        listening = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
        while not await self.database.read(lambda c: c.execute(text(listening)).scalar()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def do(self, statement: str) -> None:
        await self.database.write(lambda c: c.execute(text(statement)).close())
