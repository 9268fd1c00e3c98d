"""Streams in Redis between processes, and the resources that they use in each."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest

from runstead.infra.engines.redis import open_redis
from runstead.infra.stream_bridge.redis.blocking_reader import BLOCK
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.infra.stream_bridge.redis.flusher import apply_reply
from runstead.infra.stream_bridge.redis.keys import KeySpace
from runstead.infra.stream_bridge.redis.pages import PAGE_EVENTS
from runstead.infra.stream_bridge.redis.scripts import ApplyResult, StreamState
from runstead.infra.stream_bridge.redis.tail_buffer import MOST_EVENTS, TailBudget, TailBuffer
from runstead.infra.stream_bridge.redis.write_buffer import WriteBuffer, WriteCommand
from runstead.runtime.stream_bridge.contract import (
    HEARTBEAT_SENTINEL,
    LIVE,
    ResumeResult,
    StreamEvent,
    StreamStatus,
    StreamSubscription,
)
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, StreamNotFound, StreamTerminated
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.stream_reading import ids_of, publish_many, read, read_events, read_to_end
from tests.servers.redis_streams import PATIENCE, a_bridge, a_prefix, let_pass, until
from tests.servers.valkey import valkey_url

RUN: Final = "run-1"
_WORKER: Final = """
import asyncio, sys
from runstead.infra.engines.redis import open_redis
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings

async def work(url, prefix, count, end):
    settings = RedisStreamSettings(prefix=prefix)
    async with open_redis(url) as connections, RedisStreamBridge.running(connections, settings) as bridge:
        await bridge.open("run-1")
        for number in range(count):
            await bridge.publish("run-1", "values", b"%d" % number)
            if number % 10 == 0:
                await asyncio.sleep(0.001)
        if end:
            await bridge.publish_end("run-1")
        else:
            await bridge.status("run-1")
            print("published", flush=True)
            await asyncio.sleep(60)

asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "end"))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_url(tmp_path_factory.mktemp("valkey")) as url:
        yield url


def worker(url: str, prefix: str, count: int, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WORKER, url, prefix, str(count), how], stdout=subprocess.PIPE)


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, 30)


async def test_stream_opened_by_one_process_is_written_by_another_and_read_by_a_third(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as gateway, a_bridge(url, prefix=prefix) as other:
        await gateway.open(RUN)
        # Both are connected before the first event.
        readers = [await gateway.subscribe(RUN), await other.subscribe(RUN), await other.subscribe(RUN, LIVE)]
        readings = [asyncio.create_task(read_to_end(reader)) for reader in readers]
        process = worker(url, prefix, 300, "end")
        try:
            everything = await asyncio.gather(*readings)
        finally:
            assert await ended(process) == 0
    ids = [f"1-{number + 1}" for number in range(301)]
    assert [ids_of(items) for items in everything] == [ids] * 3
    data = [item.data for item in everything[0][:300] if isinstance(item, StreamEvent)]
    assert data == [b"%d" % number for number in range(300)]


async def test_stream_of_a_killed_worker_is_continued_by_the_next_attempt(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as gateway:
        await gateway.open(RUN)
        reader = await gateway.subscribe(RUN)
        process = worker(url, prefix, 50, "stay")
        try:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == b"published\n"
        finally:
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
            await ended(process)
        assert len(await read_events(reader, 50)) == 50
        async with a_bridge(url, prefix=prefix) as successor:
            await successor.open(RUN, 2)
            ids = await publish_many(successor, 3, run_id=RUN, attempt=2)
            ids.append(await successor.publish_end(RUN, attempt=2))
        assert ids_of(await read_to_end(reader)) == ids


async def test_terminal_event_of_a_process_that_never_opened_the_stream_ends_it(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as one, a_bridge(url, prefix=prefix) as two:
        await one.open(RUN)
        await publish_many(one, 3, run_id=RUN)
        assert await one.status(RUN) is StreamStatus.OPEN
        end = await two.publish_terminal(RUN, "error", b"{}", attempt=2)
        assert end == "2-1"
        assert await one.publish_terminal(RUN, "end", b"null") == end
        assert ids_of(await read_to_end(await one.subscribe(RUN, "1-1"))) == ["1-2", "1-3", end]


async def test_two_publishers_of_one_attempt_lose_nothing(url: str) -> None:
    """Leases prevent this. If it happens, ids are given up."""
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as one, a_bridge(url, prefix=prefix) as two:
        await one.open(RUN)
        await two.open(RUN)
        for bridge, letter in ((one, b"a"), (two, b"b"), (one, b"c"), (two, b"d")):
            for number in range(5):
                await bridge.publish(RUN, "values", b'"%s%d"' % (letter, number))
            await bridge.status(RUN)
        await two.publish_end(RUN)
        items = await read_to_end(await one.subscribe(RUN))
    assert ids_of(items) == [f"1-{number + 1}" for number in range(21)]
    said = [item.data for item in items[:20] if isinstance(item, StreamEvent)]
    assert said == [b'"%c%d"' % (letter, number) for letter in b"abcd" for number in range(5)]


async def test_concurrent_reconcilers_publish_one_terminal_event(url: str) -> None:
    """Of a run whose worker was lost: several reconcilers publish the gap, the values and the terminal event."""
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as one, a_bridge(url, prefix=prefix) as two:
        await one.open(RUN)
        await publish_many(one, 2, run_id=RUN)

        async def tell(bridge: RedisStreamBridge) -> None:
            await bridge.open(RUN, 2)
            with suppress(StreamTerminated):
                await bridge.publish(RUN, "gap", b"{}", attempt=2)
                await bridge.publish(RUN, "values", b"{}", attempt=2)
            await bridge.publish_end(RUN, attempt=2)

        await asyncio.gather(tell(one), tell(two))
        items = await read_to_end(await one.subscribe(RUN))
        assert ids_of(items) == ["1-1", "1-2", "2-1", "2-2", "2-3"]
        assert list(await two.list_open()) == []


async def test_many_streams_share_few_connections(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix, streams_per_reader=4) as gateway, a_bridge(url, prefix=prefix) as writer:
        run_ids = [f"run-{number}" for number in range(22)]
        for run_id in run_ids:
            await gateway.open(run_id)
        readers = {run_id: [await gateway.subscribe(run_id) for _ in range(3)] for run_id in run_ids}
        readings = [asyncio.create_task(read_to_end(reader)) for group in readers.values() for reader in group]
        for number in range(20):
            for run_id in run_ids:
                await writer.publish(run_id, "values", b"%d" % number)
            await asyncio.sleep(0.001)
        assert gateway.readings == (22, 6)
        for run_id in run_ids:
            await writer.publish_end(run_id)
        everything = await asyncio.wait_for(asyncio.gather(*readings), PATIENCE)
        assert {len(items) for items in everything} == {22}
        # No reader is left: nothing is waited for, and one connection is kept for later readers.
        assert gateway.readings == (0, 1)


async def test_added_stream_is_read_immediately_on_a_blocked_connection(url: str) -> None:
    prefix, streams = a_prefix(), 20
    async with (
        a_bridge(url, prefix=prefix) as gateway,
        a_bridge(url, prefix=prefix) as writer,
        # In sequence: if each waited for the blocking command of the others, it would take twice as long.
        asyncio.timeout(streams * BLOCK / 2),
    ):
        for number in range(streams):
            run_id = f"run-{number}"
            await gateway.open(run_id)
            reader = await gateway.subscribe(run_id)
            reading = asyncio.create_task(read(reader))
            # The blocking command of the others is in progress by now.
            await asyncio.sleep(0.01 if number % 2 else 0)
            await writer.publish(run_id, "values", b"1")
            assert ids_of(await reading) == ["1-1"]


async def test_slow_reader_reads_pages_and_takes_no_memory_from_the_others(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix, tail_bytes=100_000) as gateway, a_bridge(url, prefix=prefix) as writer:
        await gateway.open(RUN)
        slow, quick = await gateway.subscribe(RUN), await gateway.subscribe(RUN)
        await publish_many(writer, 1, run_id=RUN)
        assert [len(await read_events(reader, 1)) for reader in (slow, quick)] == [1, 1]
        seen: list[str] = []
        ids: list[str] = []
        for _ in range(40):
            ids += [await writer.publish(RUN, "values", b'"%s"' % (b"x" * 1_000)) for _ in range(100)]
            seen += ids_of(await read_events(quick, 100))
            assert gateway.bytes_held <= 110_000
        ids.append(await writer.publish_end(RUN))
        assert ids_of(await read_to_end(slow)) == ids
        assert seen == ids[:-1]
        assert slow.resumed == ResumeResult("fresh", None, None)


async def test_unreferenced_reader_is_not_read_for(url: str) -> None:
    async with a_bridge(url) as bridge:
        await bridge.open(RUN)
        ghost: StreamSubscription | None = await bridge.subscribe(RUN)
        await publish_many(bridge, 1, run_id=RUN)
        assert ghost is not None
        await read_events(ghost, 1)
        reading = asyncio.create_task(ghost.read())
        await asyncio.sleep(0.02)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert bridge.readings[0] == 1
        del ghost, reading
        gc.collect()
        bridge.renew_soon()
        await until(lambda: bridge.readings[0] == 0)


async def test_ended_runs_leave_no_state_in_the_process(url: str) -> None:
    async with a_bridge(url) as bridge:

        async def one(run_id: str) -> None:
            await bridge.open(run_id)
            reader = await bridge.subscribe(run_id)
            await publish_many(bridge, 5, run_id=run_id)
            await bridge.publish_end(run_id)
            assert len(ids_of(await read_to_end(reader))) == 6
            await bridge.cleanup(run_id)

        for number in range(50):
            await one(f"early-{number}")
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(50):
                await one(f"settling-{number}")
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for number in range(400):
                await one(f"late-{number}")
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert after - before < 100_000
        assert bridge.readings[0] == 0


async def test_unowned_stream_expires_unless_it_is_read(url: str) -> None:
    prefix, clock = a_prefix(), ManualClock()
    settings = RedisStreamSettings(prefix=prefix, unowned_retention=100)
    async with open_redis(url) as connections, RedisStreamBridge.running(connections, settings, clock) as gateway:
        async with a_bridge(url, prefix=prefix, unowned_retention=100) as worker:
            for run_id in ("read", "unread"):
                await worker.open(run_id)
                await publish_many(worker, 2, run_id=run_id)
        reader = await gateway.subscribe("read")
        await read_events(reader, 2)
        reading = asyncio.create_task(reader.read())
        await asyncio.sleep(0.02)
        await let_pass(clock, connections, prefix, 400, 25)
        assert [await gateway.status(run_id) for run_id in ("read", "unread")] == [StreamStatus.OPEN, None]
        with pytest.raises(StreamNotFound):
            await gateway.subscribe("unread")
        reading.cancel()


async def test_reader_of_a_permanently_lost_stream_gets_an_error(url: str) -> None:
    prefix, clock = a_prefix(), ManualClock()
    settings = RedisStreamSettings(prefix=prefix, unowned_retention=100)
    async with open_redis(url) as connections, RedisStreamBridge.running(connections, settings, clock) as gateway:
        await gateway.open(RUN)
        reading = asyncio.create_task((await gateway.subscribe(RUN)).read())
        await asyncio.sleep(0.02)
        await connections.ask("DEL", KeySpace(prefix).of(RUN).meta)
        await let_pass(clock, connections, prefix, 50, 25)
        assert not reading.done()
        await let_pass(clock, connections, prefix, 75, 25)
        with pytest.raises(StreamNotFound):
            await asyncio.wait_for(reading, PATIENCE)


async def throw_log_away(url: str, prefix: str) -> None:
    """The effect of a server short of memory. It evicts keys one by one, and may keep the one with the state of the
    stream.
    """
    async with open_redis(url) as connections:
        assert await connections.ask("DEL", KeySpace(prefix).of(RUN).log) == 1


@pytest.mark.parametrize("asked", [None, "-1", "1-1", "1-3", "2-7", "nonsense", LIVE])
async def test_ended_stream_whose_log_was_evicted_is_dropped(url: str, asked: str | None) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as worker, a_bridge(url, prefix=prefix) as gateway:
        await worker.open(RUN)
        await publish_many(worker, 2, run_id=RUN)
        end = await worker.publish_end(RUN)
        await throw_log_away(url, prefix)
        with pytest.raises(StreamNotFound):
            await gateway.subscribe(RUN, asked)
        assert await gateway.status(RUN) is None
        # It has ended all the same.
        await gateway.open(RUN, 2)
        assert await gateway.publish_end(RUN, attempt=2) == end
        with pytest.raises(StreamNotFound):
            await gateway.subscribe(RUN, asked)


async def test_reader_inside_an_evicted_ended_log_gets_stream_not_found(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as worker, a_bridge(url, prefix=prefix) as gateway:
        await worker.open(RUN)
        ids = await publish_many(worker, PAGE_EVENTS + 10, run_id=RUN)
        await worker.publish_end(RUN)
        reader = await gateway.subscribe(RUN)
        assert ids_of(await read_events(reader, PAGE_EVENTS)) == ids[:PAGE_EVENTS]
        await throw_log_away(url, prefix)
        with pytest.raises(StreamNotFound):
            await read(reader)


async def test_reader_at_the_end_of_an_evicted_ended_log_gets_stream_not_found(url: str) -> None:
    """Its terminal event was published while the connection that waits for it was cut."""
    prefix, clock = a_prefix(), ManualClock()
    settings = RedisStreamSettings(prefix=prefix, unowned_retention=100)
    async with (
        open_redis(url) as connections,
        RedisStreamBridge.running(connections, settings, clock) as gateway,
        a_bridge(url, prefix=prefix) as worker,
    ):
        await worker.open(RUN)
        reading = asyncio.create_task((await gateway.subscribe(RUN)).read())
        await asyncio.sleep(0.02)
        keys = KeySpace(prefix).of(RUN)
        await connections.ask("HSET", keys.meta, "terminal", "1-1", "status", "ended", "seq", 1)
        await let_pass(clock, connections, prefix, 150, 25)
        with pytest.raises(StreamNotFound):
            await asyncio.wait_for(reading, PATIENCE)


async def test_evicted_log_of_a_live_run_is_reported_as_a_gap(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as worker, a_bridge(url, prefix=prefix) as gateway:
        await worker.open(RUN)
        ids = await publish_many(worker, 5, run_id=RUN)
        assert await worker.status(RUN) is StreamStatus.OPEN
        waiting, behind = await gateway.subscribe(RUN), await gateway.subscribe(RUN, "1-2")
        await read_events(waiting, 5)
        await throw_log_away(url, prefix)
        assert await gateway.status(RUN) is StreamStatus.OPEN
        late = {asked: await gateway.subscribe(RUN, asked, 0.05) for asked in (None, LIVE, "-1", "1-2", "1-5")}
        for reader in late.values():
            assert list(await read(reader)) == [HEARTBEAT_SENTINEL]
        more = [*await publish_many(worker, 2, run_id=RUN), await worker.publish_end(RUN)]
        for reader in (waiting, behind, *late.values()):
            assert [event_id for event_id in ids_of(await read_to_end(reader)) if event_id not in ids] == more
        told = {asked: (reader.resumed.status, reader.resumed.gap_count) for asked, reader in late.items()}
        assert told == {
            None: ("fresh", 0),
            LIVE: ("fresh", 0),
            "-1": ("evicted", 5),
            "1-2": ("evicted", 3),
            "1-5": ("resumed", 0),
        }


async def test_late_event_does_not_recreate_a_removed_stream(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as gateway, a_bridge(url, prefix=prefix) as late:
        await late.open(RUN)
        await publish_many(late, 2, run_id=RUN)
        assert await late.status(RUN) is StreamStatus.OPEN
        await gateway.cleanup(RUN)
        await late.publish(RUN, "values", b"1")
        assert await late.status(RUN) is None
        with pytest.raises(StreamNotFound):
            await late.publish(RUN, "values", b"1")


async def test_delayed_cleanup_does_not_remove_a_later_attempt(url: str) -> None:
    prefix, clock = a_prefix(), ManualClock()
    settings = RedisStreamSettings(prefix=prefix)
    async with open_redis(url) as connections, RedisStreamBridge.running(connections, settings, clock) as bridge:
        for run_id in ("stays", "goes"):
            await bridge.open(run_id)
            await bridge.cleanup(run_id, 10)
        await bridge.open("stays", 2)
        await let_pass(clock, connections, prefix, 20, 10)
        assert await bridge.status("stays") is StreamStatus.OPEN
        assert await bridge.status("goes") is None


async def test_close_flushes_buffered_events(url: str) -> None:
    prefix = a_prefix()
    async with a_bridge(url, prefix=prefix) as gateway:
        async with a_bridge(url, prefix=prefix) as worker:
            await worker.open(RUN)
            ids = await publish_many(worker, 2_000, run_id=RUN)
            assert worker.events_waiting > 0
        reader = await gateway.subscribe(RUN)
        assert ids_of(await read_events(reader, 2_000)) == ids
        with pytest.raises(BridgeClosed):
            await worker.open(RUN)


async def test_call_from_another_event_loop_is_refused(url: str) -> None:
    async with a_bridge(url) as bridge:

        def elsewhere() -> None:
            asyncio.run(bridge.open(RUN))

        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(elsewhere)


async def test_deployments_on_one_server_are_isolated(url: str) -> None:
    async with a_bridge(url) as one, a_bridge(url) as other:
        await one.open(RUN)
        assert await other.status(RUN) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_events": 0},
        {"buffer_bytes": 0},
        {"streams_per_reader": 0},
        {"retention": -1},
        {"unowned_retention": 0},
        {"prefix": "{}"},
    ],
)
def test_invalid_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least|negative|braces"):
        RedisStreamSettings(**wrong)  # type: ignore[arg-type]


def test_full_write_buffer_drops_oldest_events_of_the_longest_queue() -> None:
    outbox = WriteBuffer(KeySpace("test"), bound=100_000)
    small, large = outbox.writer("small"), outbox.writer("large")
    outbox.put(small, WriteCommand("event", 1, 1, "values", b"x" * 100))
    outbox.put(large, WriteCommand("open", 1))
    for seq in range(1, 1_001):
        outbox.put(large, WriteCommand("event", 1, seq, "values", b"x" * 1_000))
        assert outbox.cost <= 101_300
    assert len(small.orders) == 1
    assert large.orders[0].kind == "open"
    kept = [order.seq for order in large.orders if order.kind == "event"]
    assert kept == list(range(1_001 - len(kept), 1_001))
    assert outbox.dropped == 1_000 - len(kept) > 900


def test_run_ended_by_another_process_leaves_no_buffered_writes() -> None:
    """A worker that was frozen wakes up, and publishes for a run that another one has ended by now."""
    outbox = WriteBuffer(KeySpace("test"), bound=100_000)
    writer = outbox.writer(RUN)
    writer.learn(StreamState(1, 1, 1, "1:0", asked=False, terminal=None))
    said = [WriteCommand("event", 1, writer.number_event(1), "values", b"1") for _ in range(3)]
    for order in said:
        outbox.put(writer, order)
    ended = StreamState(2, 2, 2, "1:0,2:1", asked=False, terminal="2-2")
    answered = apply_reply(outbox, writer, said[:2], ApplyResult("terminated", 0, ended))
    assert answered == said
    assert len(outbox) == 0
    assert outbox.cost == 0


def test_status_query_for_a_run_ended_elsewhere_is_answered() -> None:
    outbox = WriteBuffer(KeySpace("test"), bound=100_000)
    writer = outbox.writer(RUN)
    writer.learn(StreamState(1, 1, 1, "1:0", asked=False, terminal=None))
    event, look = WriteCommand("event", 1, writer.number_event(1), "values", b"1"), WriteCommand("look", 1)
    outbox.put(writer, event)
    outbox.put(writer, look)
    ended = StreamState(2, 2, 2, "1:0,2:1", asked=False, terminal="2-2")
    assert apply_reply(outbox, writer, [event, look], ApplyResult("terminated", 0, ended)) == [event]
    assert list(writer.orders) == [look]
    assert apply_reply(outbox, writer, [look], ApplyResult("ok", 1, ended)) == [look]
    assert len(outbox) == 0


def test_tail_restarts_after_a_hole_and_drops_old_events() -> None:
    budget = TailBudget(10_000_000)
    tail = TailBuffer(RUN, KeySpace("test").of(RUN), 1, 0, budget)
    for seq in range(1, MOST_EVENTS + 11):
        tail.add(StreamEvent(f"1-{seq}", "values", b"x"))
    assert tail.since(1, 10, 5) is not None
    assert tail.since(1, 9, 5) is None
    assert tail.since(2, 0, 5) is None
    tail.add(StreamEvent(f"1-{MOST_EVENTS + 20}", "values", b"x"))
    assert tail.since(1, MOST_EVENTS + 10, 5) is None
    assert tail.since(1, MOST_EVENTS + 20, 5) == []
    assert budget.held == 0
