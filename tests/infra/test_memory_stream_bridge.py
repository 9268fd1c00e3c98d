from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.memory.log import RunLog
from runstead.infra.stream_bridge.memory.log_reader import LogReader
from runstead.infra.stream_bridge.timers import DeadlineScheduler
from runstead.runtime.stream_bridge.contract import HEARTBEAT_SENTINEL, StreamEvent, StreamStatus
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, CapacityExceeded, StaleAttempt
from runstead.testing.clock import ManualClock, turn
from tests.infra.stream_suites import MemoryStreamSuite


class TestMemoryStreamBridge(MemoryStreamSuite):
    pass


RUN = "run-1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def bridge_with(clock: ManualClock, **terms: float) -> AsyncIterator[MemoryStreamBridge]:
    settings = MemoryStreamSettings(**terms)  # type: ignore[arg-type]
    async with MemoryStreamBridge.running(settings, clock) as bridge:
        yield bridge


async def end_a_run(bridge: MemoryStreamBridge, run_id: str, size: int = 10) -> None:
    await bridge.open(run_id)
    await bridge.publish(run_id, "values", b"x" * size)
    await bridge.publish_end(run_id)


async def kept(bridge: MemoryStreamBridge, run_ids: Sequence[str]) -> list[str]:
    return [run_id for run_id in run_ids if await bridge.status(run_id) is not None]


async def test_thousand_idle_readers_share_one_timer_and_get_heartbeats(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        readings = [
            asyncio.create_task((await bridge.subscribe(RUN, heartbeat_interval=5)).read()) for _ in range(1_000)
        ]
        await clock.advance(1)
        assert clock.sleepers == 1
        await clock.advance(4.5)
        assert [list(await reading) for reading in readings] == [[HEARTBEAT_SENTINEL]] * 1_000


async def test_busy_reader_postpones_its_heartbeat_with_one_deadline(clock: ManualClock) -> None:
    alarms = DeadlineScheduler(clock)
    log = RunLog(RUN, 1, max_events=10, max_bytes=1_000)
    reader = LogReader(log, None, 5, clock, alarms)
    for _ in range(100):
        reading = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        log.append("values", b"1")
        assert len(await reading) == 1
    assert len(alarms) == 1


async def test_readers_get_heartbeats_at_their_own_interval(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        beats: dict[float, list[float]] = {2: [], 3: [], 10: []}

        async def listen(interval: float) -> None:
            subscription = await bridge.subscribe(RUN, heartbeat_interval=interval)
            while await subscription.read():
                beats[interval].append(clock.monotonic())

        listeners = [asyncio.create_task(listen(interval)) for interval in beats]
        await clock.advance(12)
        for listener in listeners:
            listener.cancel()
        assert beats == {2: [2, 4, 6, 8, 10, 12], 3: [3, 6, 9, 12], 10: [10]}


async def test_slow_reader_gets_its_overdue_heartbeat_immediately(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN, heartbeat_interval=5)
        await bridge.publish(RUN, "values", b"1")
        await subscription.read()
        await clock.advance(60)
        assert list(await subscription.read()) == [HEARTBEAT_SENTINEL]


async def test_burst_wakes_a_reader_once(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        reading = asyncio.create_task(subscription.read())
        await turn()
        for number in range(500):
            await bridge.publish(RUN, "values", b"%d" % number)
        assert len(await reading) == 500


async def test_long_backlog_is_read_in_chunks(clock: ManualClock) -> None:
    """A stalled reader then keeps one chunk alive, and not the whole window."""
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        for number in range(2_000):
            await bridge.publish(RUN, "values", b"%d" % number)
        for _ in range(5):
            await bridge.publish(RUN, "values", b"x" * 600_000)
        await bridge.publish_end(RUN)
        subscription = await bridge.subscribe(RUN)
        pieces = []
        while items := await subscription.read():
            pieces.append(items)
        events = [item for piece in pieces for item in piece if isinstance(item, StreamEvent)]
        assert [event.id for event in events] == [f"1-{number + 1}" for number in range(2_006)]
        assert max(len(piece) for piece in pieces) <= 512
        sizes = [sum(len(item.data) for item in piece if isinstance(item, StreamEvent)) for piece in pieces]
        assert max(sizes) <= 1024 * 1024
        assert isinstance(pieces[-1][-2], StreamEvent)
        assert pieces[-1][-2].terminal == "end"


async def test_data_is_shared_and_not_copied(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        data = b'"shared"'
        await bridge.publish(RUN, "values", data)
        first, second = [await (await bridge.subscribe(RUN)).read() for _ in range(2)]
        assert first[0] is second[0]
        assert isinstance(first[0], StreamEvent)
        assert first[0].data is data


async def test_ended_logs_stay_within_the_memory_limit(clock: ManualClock) -> None:
    async with bridge_with(clock, retained_bytes=1_000_000) as bridge:
        run_ids = [f"run-{number}" for number in range(2_000)]
        await bridge.open("live")
        for _ in range(20):
            await bridge.publish("live", "values", b"x" * 100_000)
        for run_id in run_ids:
            await end_a_run(bridge, run_id, size=10_000)
        left = await kept(bridge, run_ids)
        assert left == run_ids[-len(left) :]
        assert 50 < len(left) <= 100
        # The running log is larger than the limit, and is kept.
        live = await bridge.subscribe("live")
        assert len([*await live.read(), *await live.read()]) == 20


async def test_ten_thousand_ended_runs_use_no_more_memory_than_five_hundred(clock: ManualClock) -> None:
    async with bridge_with(clock, retained_bytes=500_000) as bridge:
        tracemalloc.start()
        try:
            for number in range(500):
                await end_a_run(bridge, f"early-{number}")
            await turn()
            gc.collect()
            after_few = tracemalloc.get_traced_memory()[0]
            for number in range(10_000):
                run_id = f"late-{number}"
                await end_a_run(bridge, run_id)
                await bridge.cleanup(run_id, 3_600)
                await (await bridge.subscribe(run_id, heartbeat_interval=5)).read()
            await clock.advance(3_600)
            gc.collect()
            after_many = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert after_many - after_few < 200_000


async def test_log_larger_than_the_memory_limit_is_kept_alone(clock: ManualClock) -> None:
    async with bridge_with(clock, retained_bytes=1_000) as bridge:
        await end_a_run(bridge, "small")
        await end_a_run(bridge, "large", size=100_000)
        assert await kept(bridge, ["small", "large"]) == ["large"]


async def test_eviction_takes_unread_then_waiting_then_read_streams(
    clock: ManualClock,
) -> None:
    async with bridge_with(clock, max_streams=4) as bridge:
        await end_a_run(bridge, "asks")
        await bridge.mark_awaiting_input("asks")
        await end_a_run(bridge, "read")
        reader = await bridge.subscribe("read")
        await end_a_run(bridge, "unread")
        await bridge.open("live")
        everyone = ["asks", "read", "unread", "live"]
        for newcomer, leaver in (("new-1", "unread"), ("new-2", "asks"), ("new-3", "read")):
            await bridge.open(newcomer)
            everyone.remove(leaver)
            assert await kept(bridge, ["asks", "read", "unread", "live"]) == everyone
        with pytest.raises(CapacityExceeded):
            await bridge.open("new-4")
        # A reader of the evicted log reads it to its end.
        assert len(await reader.read()) == 3


async def test_dropped_reader_does_not_count_against_the_limit(clock: ManualClock) -> None:
    async with bridge_with(clock, max_streams=2) as bridge:
        await end_a_run(bridge, "first")
        ghost = await bridge.subscribe("first")
        await end_a_run(bridge, "second")
        del ghost
        gc.collect()
        await bridge.open("third")
        assert await kept(bridge, ["first", "second"]) == ["second"]


async def test_retention_counts_from_the_end_of_the_log(clock: ManualClock) -> None:
    async with bridge_with(clock, retention=100) as bridge:
        for number in range(5):
            await end_a_run(bridge, f"run-{number}")
            await clock.advance(30)
        # Ended at 0, 30, 60, 90 and 120 s; now it is 150 s.
        run_ids = [f"run-{number}" for number in range(5)]
        assert await kept(bridge, run_ids) == run_ids[2:]
        await clock.advance(20)
        assert await kept(bridge, run_ids) == run_ids[3:]


async def test_cleanup_does_not_remove_a_later_attempt(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        await bridge.cleanup(RUN, 10)
        await bridge.open(RUN, 2)
        await clock.advance(20)
        assert await bridge.publish(RUN, "values", b"1", attempt=2) == "2-1"


async def test_cleanup_does_not_remove_a_reopened_stream(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        await bridge.cleanup(RUN, 10)
        await bridge.cleanup(RUN)
        await bridge.open(RUN)
        await clock.advance(20)
        assert await bridge.status(RUN) is StreamStatus.OPEN


async def test_higher_attempt_takes_over_by_publishing(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        assert await bridge.publish(RUN, "values", b"1", attempt=2) == "2-1"
        with pytest.raises(StaleAttempt):
            await bridge.publish(RUN, "values", b"1")


async def test_close_lets_readers_read_buffered_events_first(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        await end_a_run(bridge, "ended")
        subscription, to_the_end = await bridge.subscribe(RUN), await bridge.subscribe("ended")
        await bridge.publish(RUN, "values", b"1")
        await bridge.close()
        assert len(await subscription.read()) == 1
        with pytest.raises(BridgeClosed):
            await subscription.read()
        assert len(await to_the_end.read()) == 3
        assert list(await to_the_end.read()) == []


async def test_two_tasks_cannot_read_one_subscription_at_once(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        reading = asyncio.create_task(subscription.read())
        await turn()
        with pytest.raises(RuntimeError, match="one task at a time"):
            await subscription.read()
        await bridge.publish(RUN, "values", b"1")
        assert len(await reading) == 1


async def test_call_from_another_event_loop_is_refused(clock: ManualClock) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)

        def elsewhere() -> None:
            asyncio.run(bridge.publish(RUN, "values", b"1"))

        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(elsewhere)


async def test_deadline_that_fails_is_logged_and_the_others_are_kept(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    alarms = DeadlineScheduler(clock)
    called: list[float] = []
    serving = asyncio.create_task(alarms.run())
    alarms.call_at(2, lambda: called.append(1 // 0))
    alarms.call_at(3, lambda: called.append(clock.monotonic()))
    await turn()
    alarms.call_at(1, lambda: called.append(clock.monotonic()))
    await clock.advance(5)
    serving.cancel()
    assert called == [1, 3]
    assert "ZeroDivisionError" in caplog.text
    assert len(alarms) == 0


@pytest.mark.parametrize("interval", [0, -1.0])
async def test_invalid_heartbeat_interval_is_refused(clock: ManualClock, interval: float) -> None:
    async with bridge_with(clock) as bridge:
        await bridge.open(RUN)
        with pytest.raises(ValueError, match="positive"):
            await bridge.subscribe(RUN, heartbeat_interval=interval)


@pytest.mark.parametrize("wrong", [{"window_events": 0}, {"window_bytes": 0}, {"max_streams": 0}, {"retention": -1}])
def test_invalid_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|negative"):
        MemoryStreamSettings(**wrong)
