"""Runs are delivered to workers by procrastinate, on the PostgreSQL that stores them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy import text

from runstead.cli.servers.postgres import PostgresServer
from runstead.infra.dispatch.procrastinate import ProcrastinateDispatcher
from runstead.infra.dispatch.procrastinate_jobs import TASK, JobRouting, RunJobs
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.store import Admission
from runstead.runtime.runs.types import RunId, ThreadId, WorkerId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.dispatcher import RecordingWorker, RunDispatcherConformance, eventually, serving
from runstead.testing.conformance.run_storage import ALICE, DONE, a_spec
from tests.servers.job_queue import TERM, Cluster, LocalNotices
from tests.servers.postgres import PostgresSchema, SchemaPlace, own_postgres


@pytest.fixture
async def cluster(postgres_schema: PostgresSchema) -> Cluster:
    return Cluster(postgres_schema, await postgres_schema.emptied())


class TestProcrastinateDispatcher(RunDispatcherConformance):
    @pytest.fixture
    def waiting(self, cluster: Cluster) -> Cluster:
        return cluster

    @pytest.fixture
    def dispatcher(self, cluster: Cluster) -> ProcrastinateDispatcher:
        return cluster.dispatcher()

    async def test_delayed_run_is_delivered_when_due_and_not_before(  # type: ignore[override]
        self, dispatcher: ProcrastinateDispatcher, waiting: Cluster, clock: ManualClock
    ) -> None:
        """The database's time is not manual: seconds in the suite are tenths here."""
        worker = RecordingWorker(waiting)
        async with serving(dispatcher, worker):
            await waiting.add(RunId("later"), due_in=1.5)
            await waiting.add(RunId("sooner"), due_in=0.6)
            await asyncio.sleep(0.4)
            assert worker.launched == []
            await eventually(clock, worker.launched, 2)
        assert worker.launched == ["sooner", "later"]


async def test_only_the_next_run_of_a_thread_has_a_job(cluster: Cluster) -> None:
    first, second, third = [await cluster.accept("t-1") for _ in range(3)]
    assert [run for run, _, _ in await cluster.queued()] == [first.run_id]
    lease = await cluster.leases.claim(first.run_id, WorkerId("w"), TERM)
    assert lease is not None
    await cluster.leases.settle(await cluster.leases.begin(lease, None), DONE)
    # The job of the first one still exists: it has no effect, which is harmless.
    assert [run for run, _, _ in await cluster.queued()] == [first.run_id, second.run_id]
    assert third.run_id not in {run for run, _, _ in await cluster.queued()}


async def test_job_is_committed_and_rolled_back_with_its_run(cluster: Cluster) -> None:
    """They are in one transaction."""
    with acting(ALICE), pytest.raises(RuntimeError):
        await cluster.runs.create_runs(
            [a_spec(ThreadId("t-1")), a_spec(ThreadId("t-1"), multitask_strategy="reject")], _refuse
        )
    assert await cluster.queued() == []


def _refuse(*_: object) -> Admission:
    raise RuntimeError


async def test_run_goes_to_the_queue_of_its_graph_and_the_urgent_ones_first(postgres_schema: PostgresSchema) -> None:
    routing = JobRouting(queues={"painter": "gpu"}, priorities={"painter": 5})
    cluster = Cluster(postgres_schema, await postgres_schema.emptied(), routing)
    plain = await cluster.accept("t-1")
    painted = await cluster.accept("t-2", graph_id="painter")
    assert set(await cluster.queued()) == {(plain.run_id, "default", 0), (painted.run_id, "gpu", 5)}
    painter, writer = RecordingWorker(cluster), RecordingWorker(cluster)
    async with (
        serving(cluster.dispatcher(queues=["gpu"]), painter),
        serving(cluster.dispatcher(queues=["default"]), writer),
    ):
        await eventually(ManualClock(), painter.launched, 1)
        await eventually(ManualClock(), writer.launched, 1)
    assert (painter.launched, writer.launched) == ([painted.run_id], [plain.run_id])


async def test_job_lost_with_its_worker_is_recreated(cluster: Cluster) -> None:
    run = await cluster.accept("t-1")
    await cluster.do("UPDATE procrastinate_jobs SET status = 'doing'")
    assert await cluster.queued() == []
    worker = RecordingWorker(cluster)
    async with serving(cluster.dispatcher(), worker):
        await eventually(ManualClock(), worker.launched, 1)
    assert worker.launched == [run.run_id]


async def test_run_is_released_while_another_transaction_returns_its_job_to_the_queue(cluster: Cluster) -> None:
    """Both would leave a waiting job of the run. There is an index against that."""
    run = await cluster.accept("t-1")
    await cluster.do("UPDATE procrastinate_jobs SET status = 'doing'")
    lease = await cluster.leases.claim(run.run_id, WorkerId("w"), TERM)
    assert lease is not None
    async with await psycopg.AsyncConnection.connect(cluster.schema.url) as other:
        await other.execute(f"SET LOCAL search_path TO {cluster.schema.name}")
        await other.execute("UPDATE procrastinate_jobs SET status = 'todo'")
        releasing = asyncio.create_task(cluster.leases.release(lease))
        while not await cluster.database.read(lambda c: c.execute(text(_WAITING)).scalar()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await other.commit()
        await releasing
    assert [run_id for run_id, _, _ in await cluster.queued()] == [run.run_id]


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%procrastinate%'"


async def test_finished_jobs_are_deleted(cluster: Cluster) -> None:
    worker = RecordingWorker(cluster)
    for number in range(5):
        await cluster.add(RunId(f"run-{number}"))
    async with serving(cluster.dispatcher(), worker):
        await eventually(ManualClock(), worker.launched, 5)
        for run_id in worker.launched:
            worker.finish(run_id)
        left: object = None
        for _ in range(200):
            left = await cluster.database.read(lambda c: c.execute(text("SELECT * FROM procrastinate_jobs")).all())
            if not left:
                break
            await asyncio.sleep(0.02)
    assert left == []


async def test_worker_recovers_from_cut_connections(cluster: Cluster) -> None:
    worker = RecordingWorker(cluster)
    async with serving(cluster.dispatcher(), worker):
        await cluster.add(RunId("before"))
        await eventually(ManualClock(), worker.launched, 1)
        await cluster.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await cluster.add(RunId("after"))
        await eventually(ManualClock(), worker.launched, 2)
    assert worker.launched == ["before", "after"]


@pytest.fixture
async def own_server() -> AsyncIterator[tuple[PostgresServer, Cluster]]:
    """A server that a test may stop."""
    with own_postgres() as server:
        async with open_postgres_storage(server.url, PostgresOptions(pool_size=4)) as database:
            yield server, Cluster(SchemaPlace(server.url, "runstead"), database)


async def test_worker_is_notified_immediately_after_a_server_restart(
    own_server: tuple[PostgresServer, Cluster],
) -> None:
    server, cluster = own_server
    worker = RecordingWorker(cluster)
    # It polls too seldom to explain immediate deliveries.
    async with serving(cluster.dispatcher(poll=45.0, restore_every=600.0), worker), asyncio.timeout(110):
        await delivered(cluster, worker, RunId("before"))
        await asyncio.to_thread(server.stop)
        # For as long as a listener is refused.
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)
        await delivered(cluster, worker, RunId("found by the one that begins anew"))
        await cluster.is_heard()
        async with asyncio.timeout(30):
            await delivered(cluster, worker, RunId("noticed"))


async def delivered(cluster: Cluster, worker: RecordingWorker, run_id: RunId) -> None:
    await cluster.add(run_id)
    while run_id not in worker.launched:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def begin_anew(cluster: Cluster, worker: RecordingWorker) -> None:
    """End procrastinate's worker, with the delivered runs still held."""
    await cluster.do("DELETE FROM procrastinate_workers")
    # Its next fetch is refused, since it is not registered; that of the next worker is not.
    await delivered(cluster, worker, RunId("the first of the next life"))


async def test_restarted_worker_has_all_slots_after_older_runs_end(cluster: Cluster) -> None:
    worker = RecordingWorker(cluster, slots=4)
    async with serving(cluster.dispatcher(), worker), asyncio.timeout(60):
        for number in range(3):
            await delivered(cluster, worker, RunId(f"old-{number}"))
        await begin_anew(cluster, worker)
        for number in range(3):
            worker.finish(RunId(f"old-{number}"))
        for number in range(3):
            await delivered(cluster, worker, RunId(f"new-{number}"))
    assert worker.free == 0


async def test_restarted_full_worker_gets_the_next_run_when_an_older_one_ends(
    cluster: Cluster,
) -> None:
    worker = RecordingWorker(cluster, slots=2)
    async with serving(cluster.dispatcher(poll=600.0), worker), asyncio.timeout(60):
        await cluster.is_heard()
        await delivered(cluster, worker, RunId("old"))
        await begin_anew(cluster, worker)
        await cluster.add(RunId("waits"))
        await asyncio.sleep(0.3)
        assert worker.free == 0
        assert "waits" not in worker.offered
        worker.finish(RunId("old"))
        while "waits" not in worker.launched:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_job_of_an_unknown_run_delays_no_other(cluster: Cluster) -> None:
    """No code creates one; but any client may write into a table."""
    worker = RecordingWorker(cluster)
    async with serving(cluster.dispatcher(), worker), asyncio.timeout(60):
        await cluster.do(
            f"INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('default', '{TASK}', '{{}}')"
        )
        await delivered(cluster, worker, RunId("r1"))


class NobodysWorker:
    """Has capacity, and is never given a run."""

    slots = free = 1
    reserved = 0

    async def wait_free(self, more_than: int = 0) -> None: ...

    async def launch(self, run_id: RunId) -> bool:
        raise AssertionError("there is no run")

    async def finished(self, run_id: RunId) -> None: ...

    def check_stop_request(self, run_id: RunId) -> None: ...


async def test_stop_works_while_the_database_is_unavailable() -> None:
    with own_postgres() as server:
        async with open_postgres_storage(server.url, PostgresOptions(pool_size=3)) as database:
            clock = SystemClock()
            dispatcher = ProcrastinateDispatcher(server.url, RunJobs(database, clock), LocalNotices(), clock)
            delivering = asyncio.create_task(dispatcher.serve(NobodysWorker()))
            count = text("SELECT count(*) FROM procrastinate_workers")
            async with asyncio.timeout(60):
                while not await database.read(lambda c: c.execute(count).scalar()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            server.stop()
            delivering.cancel()
            await asyncio.wait([delivering], timeout=10)
            assert delivering.cancelled()
