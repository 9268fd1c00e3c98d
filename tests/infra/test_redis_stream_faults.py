"""Streams during faults of Redis: each fault really happens to a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from runstead.cli.servers.valkey import ValkeyServer
from runstead.infra.engines.redis_checks import check_redis
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge
from runstead.runtime.stream_bridge.contract import (
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    StreamEvent,
    StreamItem,
    StreamStatus,
    StreamSubscription,
)
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, StaleAttempt
from tests.servers.redis_streams import PATIENCE, a_bridge, a_prefix, until
from tests.servers.valkey import own_valkey

RUN: Final = "run-1"


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with own_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(module_server: ValkeyServer) -> ValkeyServer:
    """For tests that disturb it, and leave it working."""
    return module_server


class Processes:
    """Bridges on one server with the same streams, like the processes of a deployment."""

    def __init__(self, server: ValkeyServer, stack: AsyncExitStack) -> None:
        self._server, self._stack, self._prefix = server, stack, a_prefix()

    async def start(self, **terms: float) -> RedisStreamBridge:
        return await self._stack.enter_async_context(
            a_bridge(self._server.url, prefix=self._prefix, patience=terms.pop("patience", 0.5), **terms)
        )


@pytest.fixture
async def processes(server: ValkeyServer) -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield Processes(server, stack)


class Reading:
    """A reader that reads to the end, and records events, with gaps in their positions."""

    def __init__(self, subscription: StreamSubscription) -> None:
        self.subscription = subscription
        self.ids: list[str] = []
        self.gaps: list[tuple[str | None, str | None, int | None]] = []
        self.heartbeats = 0
        self.last: StreamItem | None = None
        self._resumed = subscription.resumed
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while items := await self.subscription.read():
            if self.subscription.resumed is not self._resumed:
                self._resumed = self.subscription.resumed
                if self._resumed.status == "evicted":
                    self.gaps.append((self._resumed.requested, self._resumed.oldest, self._resumed.gap_count))
            self.ids += [item.id for item in items if isinstance(item, StreamEvent)]
            self.heartbeats += items.count(HEARTBEAT_SENTINEL) if isinstance(items, list) else 0
            self.last = items[-1]

    async def has(self, count: int) -> None:
        await until(lambda: len(self.ids) >= count)

    async def to_the_end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.task


async def publish(bridge: RedisStreamBridge, count: int, *, attempt: int = 1, run_id: str = RUN) -> list[str]:
    """Publish events like an agent: one after another, each soon."""
    ids: list[str] = []
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    for number in range(count):
        begun, before = time.perf_counter(), ticks
        ids.append(await bridge.publish(run_id, "messages", b'{"n":%d}' % number, attempt=attempt))
        # Waiting lets other tasks run; on a busy machine, nothing here does.
        assert time.perf_counter() - begun < 0.25 or ticks - before < 5, "an agent was held up"
        if number % 50 == 0:
            await asyncio.sleep(0)
    ticking.cancel()
    return ids


async def test_frozen_server_delays_no_run_and_loses_nothing(server: ValkeyServer, processes: Processes) -> None:
    worker, gateway = await processes.start(), await processes.start()
    await worker.open(RUN)
    reading = Reading(await gateway.subscribe(RUN, heartbeat_interval=0.5))
    ids = await publish(worker, 50)
    server.freeze()
    try:
        for _ in range(10):
            ids += await publish(worker, 100)
            await asyncio.sleep(0.2)
    finally:
        server.thaw()
    ids.append(await worker.publish_end(RUN))
    await reading.to_the_end()
    assert reading.ids == ids
    assert reading.gaps == []
    assert reading.heartbeats >= 2
    assert reading.last is END_SENTINEL


async def test_stream_opened_during_an_outage_is_listed_as_open(server: ValkeyServer, processes: Processes) -> None:
    """Also if its opener has died since: it was not counted then, and no process renews it."""
    bridge, other = await processes.start(), await processes.start()
    server.stop()
    await bridge.open(RUN)
    server.start()
    for _ in range(100):
        await asyncio.sleep(0.05)
        if await other.status(RUN) is not None:
            break
    await bridge.close()
    assert list(await other.list_open()) == [RUN]


async def test_freeze_longer_than_the_timeouts_repeats_nothing(tmp_path: Path) -> None:
    """Commands without a reply are sent again; the server then executes both."""
    with own_valkey(tmp_path) as server:
        async with (
            a_bridge(server.url, prefix="shared", timeout=0.3) as worker,
            a_bridge(server.url, prefix="shared", timeout=0.3) as gateway,
        ):
            await worker.open(RUN)
            reading = Reading(await gateway.subscribe(RUN))
            ids = await publish(worker, 10)
            server.freeze()
            try:
                for _ in range(8):
                    ids += await publish(worker, 20)
                    await asyncio.sleep(0.2)
            finally:
                server.thaw()
            ids += await publish(worker, 10)
            ids.append(await worker.publish_end(RUN))
            await reading.to_the_end()
            again = Reading(await gateway.subscribe(RUN))
            await again.to_the_end()
    assert reading.ids == again.ids == ids
    assert reading.gaps == again.gaps == []


async def test_restart_with_its_data_loses_nothing(server: ValkeyServer, processes: Processes) -> None:
    worker, gateway = await processes.start(), await processes.start()
    await worker.open(RUN)
    reading = Reading(await gateway.subscribe(RUN, heartbeat_interval=0.2))
    ids = await publish(worker, 100)
    await reading.has(100)
    server.stop()
    ids += await publish(worker, 1_000)
    await asyncio.sleep(1)
    assert not reading.task.done()
    server.start()
    ids += await publish(worker, 100)
    await reading.has(len(ids))
    ids.append(await worker.publish_end(RUN))
    await reading.to_the_end()
    assert reading.ids == ids
    assert reading.gaps == []
    assert reading.heartbeats
    late = Reading(await gateway.subscribe(RUN, "1-50"))
    await late.to_the_end()
    assert late.ids == ids[50:]


async def test_restart_without_data_is_reported_as_a_gap(server: ValkeyServer, processes: Processes) -> None:
    worker, gateway = await processes.start(), await processes.start()
    await worker.open(RUN)
    reading, stalled = Reading(await gateway.subscribe(RUN)), await gateway.subscribe(RUN, "-1")
    ids = await publish(worker, 100)
    await reading.has(100)
    server.kill()
    server.forget()
    ids += await publish(worker, 30)
    server.start()
    ids += await publish(worker, 20)
    await reading.has(150)
    ids.append(await worker.publish_end(RUN))
    await reading.to_the_end()
    # A reader that had read everything has missed nothing.
    assert reading.ids == ids
    assert reading.gaps == []
    # Other readers get the number of missed events, also late ones.
    for subscription in (stalled, await gateway.subscribe(RUN, "1-40"), await gateway.subscribe(RUN, "1-99")):
        resumed = subscription.resumed
        late = Reading(subscription)
        await late.to_the_end()
        assert late.ids == ids[100:]
        told = [*late.gaps, *([(resumed.requested, resumed.oldest, resumed.gap_count)] if not late.gaps else [])]
        assert told[0][1] == "1-101"
        assert told[0][2] in (100, 60, 1)


async def test_stream_of_a_silent_run_is_recreated_after_loss(server: ValkeyServer, processes: Processes) -> None:
    """No event is published, so only its owner knows that a stream existed."""
    worker, gateway = await processes.start(), await processes.start()
    await worker.open(RUN)
    await publish(worker, 5)
    assert await gateway.status(RUN) is StreamStatus.OPEN
    server.kill()
    server.forget()
    server.start()
    # An event of any other run informs the worker that Redis is back.
    await worker.open("another")
    # The renewal that follows is not announced.
    for _ in range(100):
        await asyncio.sleep(0.05)
        if await gateway.status(RUN) is not None:
            break
    subscription = await gateway.subscribe(RUN, "1-5")
    assert subscription.resumed.status == "resumed"
    assert RUN in await gateway.list_open()


async def test_loss_of_worker_and_data_is_reported_and_the_next_attempt_read(
    server: ValkeyServer, processes: Processes
) -> None:
    first, second, gateway = [await processes.start() for _ in range(3)]
    await first.open(RUN)
    reading = Reading(await gateway.subscribe(RUN))
    await publish(first, 30)
    await reading.has(30)
    await first.close()
    server.kill()
    server.forget()
    server.start()
    await second.open(RUN, 2)
    ids = await publish(second, 3, attempt=2)
    ids.append(await second.publish_end(RUN, attempt=2))
    await reading.to_the_end()
    assert reading.ids[30:] == ids
    assert reading.gaps == [("1-30", "2-1", None)]


async def test_cut_connections_lose_nothing(server: ValkeyServer, processes: Processes) -> None:
    worker, gateway = await processes.start(), await processes.start()
    await worker.open(RUN)
    reading = Reading(await gateway.subscribe(RUN))
    ids: list[str] = []
    for _ in range(10):
        ids += await publish(worker, 40)
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.02)
    ids.append(await worker.publish_end(RUN))
    await reading.to_the_end()
    assert reading.ids == ids
    assert reading.gaps == []


async def test_full_server_is_logged_and_the_run_continues(
    server: ValkeyServer, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    worker, gateway = await processes.start(), await processes.start()
    await worker.open(RUN)
    reading = Reading(await gateway.subscribe(RUN))
    ids = await publish(worker, 10)
    await reading.has(10)
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        ids += await publish(worker, 200)
        await asyncio.sleep(0.3)
        [memory] = [found for found in await check_redis(server.url) if found.subject == "redis memory"]
        assert memory.state == "failed"
        assert "raise its maxmemory" in (memory.remedy or "")
        assert "raise its maxmemory" in caplog.text
        assert len(reading.ids) == 10
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    ids.append(await worker.publish_end(RUN))
    await reading.to_the_end()
    assert reading.ids == ids
    assert reading.gaps == []


async def test_full_server_evicts_oldest_ended_streams_first(
    server: ValkeyServer, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    worker, gateway = await processes.start(), await processes.start()
    ended = [f"ended-{number}" for number in range(40)]
    for run_id in ended:
        await worker.open(run_id)
        await worker.publish(run_id, "values", b"x" * 50_000)
        await worker.publish_end(run_id)
    await worker.open(RUN)
    reading = Reading(await gateway.subscribe(RUN))
    used = int(next(line for line in server.ask("INFO", "memory").split() if line.startswith("used_memory:"))[12:])
    server.ask("CONFIG", "SET", "maxmemory", str(used + 20_000))
    try:
        ids = [await worker.publish(RUN, "values", b"y" * 50_000) for _ in range(10)]
        ids.append(await worker.publish_end(RUN))
        await reading.to_the_end()
        assert reading.ids == ids
        assert reading.gaps == []
        kept = [run_id for run_id in ended if await gateway.status(run_id) is not None]
        assert kept == ended[-len(kept) :]
        assert 5 <= len(kept) < 40
        assert "streams of ended runs are deleted early" in caplog.text
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")


async def test_outage_longer_than_the_buffer_is_a_gap_with_bounded_memory(
    server: ValkeyServer, processes: Processes
) -> None:
    worker, gateway = await processes.start(buffer_bytes=200_000), await processes.start()
    await worker.open(RUN)
    reading = Reading(await gateway.subscribe(RUN))
    ids = await publish(worker, 10)
    await reading.has(10)
    server.stop()
    most = 0
    for _ in range(3_000):
        ids.append(await worker.publish(RUN, "messages", b'"%s"' % (b"x" * 800)))
        most = max(most, worker.events_waiting)
    assert most <= 202_000
    end = await worker.publish_end(RUN)
    server.start()
    await reading.to_the_end()
    kept = reading.ids[10:-1]
    assert worker.events_dropped == 3_000 - len(kept) > 0
    assert kept == ids[-len(kept) :]
    assert reading.gaps == [("1-10", kept[0], worker.events_dropped)]
    assert reading.ids[-1] == end


async def test_run_during_an_outage_can_be_read_afterwards(server: ValkeyServer, processes: Processes) -> None:
    worker, gateway = await processes.start(), await processes.start()
    server.stop()
    begun = time.perf_counter()
    await gateway.open(RUN)
    reading = Reading(await gateway.subscribe(RUN, heartbeat_interval=0.1))
    await worker.open(RUN)
    ids = await publish(worker, 20)
    ids.append(await worker.publish_end(RUN))
    await worker.mark_awaiting_input(RUN)
    assert await gateway.status(RUN) is None
    assert time.perf_counter() - begun < 5
    await asyncio.sleep(0.3)
    server.start()
    await reading.to_the_end()
    assert reading.ids == ids
    assert reading.heartbeats >= 2
    assert await gateway.status(RUN) is StreamStatus.AWAITING_INPUT


async def test_close_during_an_outage_wakes_readers_without_waiting(server: ValkeyServer, processes: Processes) -> None:
    worker = await processes.start()
    await worker.open(RUN)
    live, behind = await worker.subscribe(RUN), await worker.subscribe(RUN, "1-1")
    await publish(worker, 3)
    await live.read()
    readings = [asyncio.create_task(live.read())]
    await asyncio.sleep(0.05)
    server.stop()
    try:
        await publish(worker, 3)
        readings += [asyncio.create_task((await worker.subscribe(RUN)).read())]
        await asyncio.sleep(0.2)
        begun = time.perf_counter()
        async with asyncio.timeout(PATIENCE):
            await worker.close()
            results = await asyncio.gather(*readings, return_exceptions=True)
        assert time.perf_counter() - begun < 4
        assert [type(result) for result in results] == [BridgeClosed, BridgeClosed]
        with pytest.raises(BridgeClosed):
            await worker.publish(RUN, "values", b"1")
        await behind.aclose()
    finally:
        server.start()


async def test_late_worker_is_refused_and_its_events_are_not_read(processes: Processes) -> None:
    late, successor, gateway = [await processes.start() for _ in range(3)]
    await late.open(RUN)
    reading = Reading(await gateway.subscribe(RUN))
    ids = await publish(late, 5)
    await reading.has(5)
    await successor.open(RUN, 2)
    ids += await publish(successor, 5, attempt=2)
    await reading.has(10)
    # Its first event is refused on the way; from then on it knows.
    await late.publish(RUN, "values", b'"late"')
    assert await late.status(RUN) is StreamStatus.OPEN
    with pytest.raises(StaleAttempt):
        await late.publish(RUN, "values", b'"late"')
    with pytest.raises(StaleAttempt):
        await late.publish_terminal(RUN, "error", b'"late"')
    ids.append(await successor.publish_end(RUN, attempt=2))
    await reading.to_the_end()
    assert reading.ids == ids


async def test_frozen_worker_that_wakes_during_an_outage_is_still_refused(
    server: ValkeyServer, processes: Processes
) -> None:
    late, successor, gateway = [await processes.start() for _ in range(3)]
    await late.open(RUN)
    ids = await publish(late, 3)
    await successor.open(RUN, 2)
    server.stop()
    await publish(late, 50)
    ids += await publish(successor, 4, attempt=2)
    server.start()
    ids.append(await successor.publish_end(RUN, attempt=2))
    reading = Reading(await gateway.subscribe(RUN))
    await reading.to_the_end()
    assert reading.ids == ids
