"""Dispatchers give turns to groups: one process on its rows, and procrastinate on several workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runstead.infra.dispatch.fair_jobs import FairJobs
from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.dispatch.procrastinate import ProcrastinateDispatcher
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.runs.store import RunCreateStore, RunLeaseStore
from runstead.runtime.runs.types import Lease, RunId, ThreadId, WorkerId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.dispatcher import RecordingWorker, eventually, serving
from runstead.testing.conformance.fair_dispatcher import FairDispatcherConformance
from runstead.testing.conformance.fair_turns import assigned
from runstead.testing.conformance.run_storage import ALICE, DONE, a_spec, decide
from runstead.testing.fakes import InMemoryLeaseStore, InMemoryRunStore, InMemoryTables
from tests.servers.job_queue import TERM, Cluster
from tests.servers.postgres import PostgresSchema


class Runs:
    """Pending runs of groups, in a store with turns."""

    def __init__(self, create: RunCreateStore, leases: RunLeaseStore) -> None:
        self.create, self.leases = create, leases
        self._held: dict[RunId, Lease] = {}

    async def add(self, run_id: RunId, *, due_in: float = 0) -> None:
        await self.add_to("a", run_id)

    async def add_to(self, group: str, run_id: RunId, priority: int = 0) -> None:
        spec = a_spec(ThreadId(f"thread-of-{run_id}"), run_id=run_id, scheduling=assigned(priority, group))
        with acting(ALICE):
            await self.create.create_runs([spec], decide)

    async def take(self, run_id: RunId) -> bool:
        lease = await self.leases.claim(run_id, WorkerId("w"), TERM)
        if lease is not None:
            self._held[run_id] = await self.leases.begin(lease, None)
        return lease is not None

    async def end(self, run_id: RunId) -> None:
        await self.leases.settle(self._held.pop(run_id), DONE)


class TestLocalTurnsInMemory(FairDispatcherConformance):
    @pytest.fixture
    def bell(self) -> WakeupSignal:
        return WakeupSignal()

    @pytest.fixture
    def waiting(self, bell: WakeupSignal, clock: ManualClock) -> Runs:
        tables = InMemoryTables(SystemClock())
        return Runs(InMemoryRunStore(tables, bell.notify), InMemoryLeaseStore(tables, bell.notify, by_turns=True))

    @pytest.fixture
    def dispatcher(self, waiting: Runs, bell: WakeupSignal, clock: ManualClock) -> LocalDispatcher:
        return LocalDispatcher(waiting.leases, bell, clock)


class TestLocalTurnsOverEitherDatabase(FairDispatcherConformance):
    @pytest.fixture
    def bell(self) -> WakeupSignal:
        return WakeupSignal()

    @pytest.fixture
    def waiting(self, database: Database, bell: WakeupSignal) -> Runs:
        return over(database, SystemClock(), bell.notify)

    @pytest.fixture
    def dispatcher(self, waiting: Runs, bell: WakeupSignal, clock: ManualClock) -> LocalDispatcher:
        return LocalDispatcher(waiting.leases, bell, clock)


def over(database: Database, clock: Clock, ring: Callable[[], None]) -> Runs:
    return Runs(SqlRunCreateStore(database, clock, ring), SqlRunLeaseStore(database, clock, ring, by_turns=True))


class ClusterOfGroups(Cluster):
    """Runs of groups on PostgreSQL, and their jobs."""

    def __init__(self, schema: PostgresSchema, database: PostgresDatabase) -> None:
        super().__init__(schema, database)
        grouped = Runs(self.runs, self.leases)
        self.add_to, self.take, self.end = grouped.add_to, grouped.take, grouped.end  # type: ignore[method-assign]


@pytest.fixture
async def cluster(postgres_schema: PostgresSchema) -> ClusterOfGroups:
    return ClusterOfGroups(postgres_schema, await postgres_schema.emptied())


class TestProcrastinateTurns(FairDispatcherConformance):
    @pytest.fixture
    def waiting(self, cluster: ClusterOfGroups) -> ClusterOfGroups:
        return cluster

    @pytest.fixture
    def dispatcher(self, cluster: ClusterOfGroups) -> ProcrastinateDispatcher:
        return cluster.dispatcher(fair=True)


async def test_worker_takes_turns_in_its_own_queues_alone(cluster: ClusterOfGroups) -> None:
    await cluster.add_to("a", RunId("a-0"))
    assert await FairJobs(cluster.database, cluster.clock, ["gpu"]).take(1, 1) is None
    job = await FairJobs(cluster.database, cluster.clock, ["gpu", "default"]).take(await cluster.registered(), 1)
    assert job is not None
    assert job.task_kwargs == {"run_id": "a-0"}


async def test_run_without_a_group_is_delivered_too(cluster: ClusterOfGroups) -> None:
    """Created like a node of an earlier version does, during a rolling update."""
    worker = RecordingWorker(cluster, slots=3, reserved=1)
    await cluster.accept("thread-of-old", run_id="old")
    async with serving(cluster.dispatcher(fair=True), worker):
        await eventually(ManualClock(), worker.launched, 1)
    assert worker.launched == ["old"]


async def test_priority_of_a_run_and_of_its_graph_are_added(cluster: ClusterOfGroups) -> None:
    await cluster.add_to("a", RunId("urgent"), -5)
    await cluster.add_to("a", RunId("late"), 5)
    assert await cluster.queued() == [("urgent", "default", 5), ("late", "default", -5)]
