from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from runstead.cli.servers.valkey import ValkeyServer
from runstead.infra.engines.redis import open_redis
from runstead.infra.notices.redis import RedisNotices
from runstead.infra.notices.stops import StopNotices
from runstead.infra.notices.threads import RedisThreadNotices
from runstead.resources.thread_notices import NO_RUN
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import RunId, ThreadId
from tests.servers.redis_streams import PATIENCE, a_prefix, until
from tests.servers.valkey import own_valkey


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with own_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    return a_prefix()


@asynccontextmanager
async def a_process(server: ValkeyServer, prefix: str) -> AsyncIterator[RedisNotices]:
    """Started notices with their own connections, like a process."""
    async with open_redis(server.url) as connections, RedisNotices.running(connections, prefix) as notices:
        await soon(notices.listening.wait())
        yield notices


async def soon(waiting: Awaitable[object]) -> None:
    async with asyncio.timeout(PATIENCE):
        await waiting


class Worker:
    """Receives stop notices."""

    def __init__(self) -> None:
        self.noticed: list[RunId] = []
        self.heard = asyncio.Event()

    def notice_stop(self, run_id: RunId) -> None:
        if run_id == "broken":
            raise RuntimeError("this one does not want to hear")
        self.noticed.append(run_id)
        self.heard.set()


async def test_stop_reaches_the_holder_in_another_process_within_milliseconds(
    server: ValkeyServer, prefix: str
) -> None:
    worker = Worker()
    async with a_process(server, prefix) as gateway, a_process(server, prefix) as holder:
        with StopNotices(holder).brought_to(worker.notice_stop):
            took = []
            for number in range(20):
                begun = time.perf_counter()
                worker.heard.clear()
                await StopNotices(gateway).request_stop(RunId(f"run-{number}"))
                await soon(worker.heard.wait())
                took.append(time.perf_counter() - begun)
    assert worker.noticed == [f"run-{number}" for number in range(20)]
    # The faster half: on a busy machine any of them may wait for a CPU.
    assert sorted(took)[len(took) // 4] < 0.1


async def test_stop_reaches_a_local_worker_once_without_redis(server: ValkeyServer, prefix: str) -> None:
    worker = Worker()
    async with a_process(server, prefix) as process:
        with StopNotices(process).brought_to(worker.notice_stop):
            server.freeze()
            try:
                await StopNotices(process).request_stop(RunId("run-1"))
                assert worker.noticed == ["run-1"]
            finally:
                server.thaw()
            await StopNotices(process).request_stop(RunId("run-2"))
            await asyncio.sleep(0.05)
        await StopNotices(process).request_stop(RunId("run-3"))
    assert worker.noticed == ["run-1", "run-2"]


async def test_worker_failing_on_a_notice_receives_the_next(server: ValkeyServer, prefix: str) -> None:
    worker = Worker()
    async with a_process(server, prefix) as gateway, a_process(server, prefix) as holder:
        with StopNotices(holder).brought_to(worker.notice_stop):
            for run_id in ("broken", "run-1"):
                await StopNotices(gateway).request_stop(RunId(run_id))
            await until(lambda: worker.noticed == ["run-1"])


async def test_deployments_with_other_prefixes_are_isolated(server: ValkeyServer, prefix: str) -> None:
    worker, neighbour = Worker(), Worker()
    async with (
        a_process(server, prefix) as gateway,
        a_process(server, prefix) as holder,
        a_process(server, a_prefix()) as stranger,
    ):
        with (
            StopNotices(holder).brought_to(worker.notice_stop),
            StopNotices(stranger).brought_to(neighbour.notice_stop),
        ):
            await StopNotices(gateway).request_stop(RunId("run-1"))
            await until(lambda: worker.noticed == ["run-1"])
    assert neighbour.noticed == []


def begun(thread_id: str, run_id: str) -> RunLifecycleEvent:
    return RunLifecycleEvent(
        event_id="event",
        event_type=RunLifecycleEventType.RUN_STARTED,
        run_id=RunId(run_id),
        thread_id=ThreadId(thread_id),
        sequence=1,
        occurred_at=datetime.now(UTC),
        payload={},
    )


async def test_thread_readers_are_notified_of_runs_on_other_nodes(server: ValkeyServer, prefix: str) -> None:
    async with a_process(server, prefix) as one, a_process(server, prefix) as two:
        with RedisThreadNotices.heard_in(one) as worker, RedisThreadNotices.heard_in(two) as gateway:
            here, there = worker.listener(ThreadId("thread-1")), gateway.listener(ThreadId("thread-1"))
            other = gateway.listener(ThreadId("thread-2"))
            await worker.on_event(begun("thread-1", "run-1"))
            assert here.take() == ["run-1"]
            await soon(there.heard.wait())
            assert there.take() == ["run-1"]
            assert not other.heard.is_set()
            gateway.leave(ThreadId("thread-1"), there)
        assert other.closed


async def test_thread_readers_are_notified_of_state_changes_on_other_nodes(server: ValkeyServer, prefix: str) -> None:
    async with a_process(server, prefix) as one, a_process(server, prefix) as two:
        with RedisThreadNotices.heard_in(one) as here, RedisThreadNotices.heard_in(two) as there:
            listener = there.listener(ThreadId("thread-1"))
            await here.notify_state_change(ThreadId("thread-2"))
            await here.notify_state_change(ThreadId("thread-1"))
            await soon(listener.heard.wait())
            assert listener.take() == [NO_RUN]


async def test_cut_connection_triggers_a_recheck_and_notices_resume(server: ValkeyServer, prefix: str) -> None:
    looks: list[str] = []
    async with a_process(server, prefix) as one, a_process(server, prefix) as two:

        def look(*_: str) -> None:
            looks.append("look")

        with RedisThreadNotices.heard_in(two) as threads, two.listener("stop", look, missed=look):
            listener = threads.listener(ThreadId("thread-1"))
            server.ask("CLIENT", "KILL", "TYPE", "pubsub")
            await soon(listener.heard.wait())
            assert listener.in_doubt
            assert listener.take() == []
            await until(lambda: bool(looks))
            await soon(two.listening.wait())
            looks.clear()
            one.publish("stop", "")
            await until(lambda: looks == ["look"])


async def test_notices_resume_after_a_restart_and_missed_ones_arrive_late(server: ValkeyServer, prefix: str) -> None:
    worker = Worker()
    async with a_process(server, prefix) as gateway, a_process(server, prefix) as holder:
        with StopNotices(holder).brought_to(worker.notice_stop):
            server.stop()
            await StopNotices(gateway).request_stop(RunId("run-1"))
            server.start()
            # It may be published before the other one listens again: the flag on the row covers that.
            await soon(holder.listening.wait())
            async with asyncio.timeout(PATIENCE):
                while "run-2" not in worker.noticed:
                    await StopNotices(gateway).request_stop(RunId("run-2"))
                    await asyncio.sleep(0.05)
