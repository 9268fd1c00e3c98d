"""The part of the StreamBridge suite about waiting readers and retention."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from runstead.runtime.stream_bridge.contract import (
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    StreamBridge,
    StreamStatus,
    TerminalKind,
)
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, CapacityExceeded, StreamNotFound
from runstead.testing.clock import turn

from .stream_reading import (
    PATIENCE,
    RUN,
    StreamBridgeTerms,
    ids_of,
    publish_many,
    read,
    read_events,
    read_to_end,
)


class StreamReaders(StreamBridgeTerms):
    async def test_waiting_reader_gets_a_published_event(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        reading = asyncio.create_task(read_events(subscription, 1))
        await turn()
        assert not reading.done()
        [published] = await publish_many(bridge, 1)
        assert ids_of(await reading) == [published]

    async def test_reader_gets_the_end_with_its_sentinel_and_then_nothing(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        reading = asyncio.create_task(read(subscription))
        await turn()
        end = await bridge.publish_end(RUN)
        items = await reading
        assert ids_of(items) == [end]
        assert items[-1] is END_SENTINEL
        for _ in range(3):
            assert list(await read(subscription)) == []

    async def test_slow_reader_loses_nothing_and_does_not_delay_others(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        slow, quick = await bridge.subscribe(RUN), await bridge.subscribe(RUN)
        ids: list[str] = []
        for _ in range(self.window_events):
            ids += await publish_many(bridge, 1)
            assert ids_of(await read_events(quick, 1)) == ids[-1:]
        ids.append(await bridge.publish_end(RUN))
        assert ids_of(await read_to_end(slow)) == ids

    async def test_read_returns_all_available_events_at_once(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        ids = await publish_many(bridge, 20)
        ids.append(await bridge.publish_end(RUN))
        # The first batch may be what an adapter had fetched by then; the rest comes in one batch.
        batches = [await read(subscription)]
        while items := await read(subscription):
            batches.append(items)
        assert [event_id for batch in batches for event_id in ids_of(batch)] == ids
        assert len(batches) <= 2

    async def test_reader_overtaken_by_the_window_gets_its_gap(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        ids = await publish_many(bridge, 2)
        await read_events(subscription, 2)
        started = subscription.resumed
        ids += await publish_many(bridge, self.window_events * 3)
        await bridge.publish_end(RUN)
        items = ids_of(await read_to_end(subscription))[:-1]
        assert items == ids[-len(items) :]
        missed = len(ids) - 2 - len(items)
        if missed:
            assert subscription.resumed == ResumeResult("evicted", "1-2", items[0], missed)
        else:
            assert subscription.resumed == started

    async def test_cancelled_read_loses_nothing(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        ids: list[str] = []
        seen: list[str] = []
        for round_ in range(10):
            reading = asyncio.create_task(subscription.read())
            await turn(round_ % 4)
            ids += await publish_many(bridge, 1)
            await turn(round_ % 3)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                seen += ids_of(await reading)
        ids.append(await bridge.publish_end(RUN))
        assert seen + ids_of(await read_to_end(subscription)) == ids

    async def test_aclose_twice_does_not_affect_other_readers(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        leaver, stayer = await bridge.subscribe(RUN), await bridge.subscribe(RUN)
        await publish_many(bridge, 2)
        await leaver.aclose()
        await leaver.aclose()
        assert list(await read(leaver)) == []
        assert await bridge.status(RUN) is StreamStatus.OPEN
        assert len(await read_events(stayer, 2)) == 2

    async def test_aclose_ends_a_waiting_read(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        reading = asyncio.create_task(read(subscription))
        await turn()
        await subscription.aclose()
        assert list(await reading) == []

    async def test_close_wakes_every_reader_with_bridge_closed(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscriptions = [await bridge.subscribe(RUN, heartbeat_interval=beat) for beat in (None, 5, None)]
        readings = [asyncio.create_task(subscription.read()) for subscription in subscriptions]
        await turn()
        await bridge.close()
        async with asyncio.timeout(PATIENCE):
            results = await asyncio.gather(*readings, return_exceptions=True)
        assert [type(result) for result in results] == [BridgeClosed] * 3
        with pytest.raises(BridgeClosed):
            await bridge.subscribe(RUN)
        with pytest.raises(BridgeClosed):
            await bridge.publish(RUN, "values", b"1")
        await bridge.close()

    async def test_idle_reader_gets_heartbeats(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN, heartbeat_interval=self.heartbeat)
        for _ in range(3):
            reading = asyncio.create_task(read(subscription))
            await self.let_pass(self.heartbeat * 0.5)
            assert not reading.done()
            await self.let_pass(self.heartbeat * 0.6)
            assert list(await reading) == [HEARTBEAT_SENTINEL]
        ids = await publish_many(bridge, 1)
        assert ids_of(await read(subscription)) == ids

    async def test_heartbeats_are_not_stored(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN, heartbeat_interval=self.heartbeat)
        await publish_many(bridge, 1)
        await read(subscription)
        reading = asyncio.create_task(read(subscription))
        await self.let_pass(self.heartbeat * 1.1)
        assert list(await reading) == [HEARTBEAT_SENTINEL]
        assert await bridge.publish(RUN, "values", b"2") == "1-2"
        assert ids_of(await read_events(await bridge.subscribe(RUN), 2)) == ["1-1", "1-2"]

    async def test_event_restarts_the_heartbeat_interval(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN, heartbeat_interval=self.heartbeat)
        for _ in range(4):
            reading = asyncio.create_task(read(subscription))
            await self.let_pass(self.heartbeat * 0.6)
            ids = await publish_many(bridge, 1)
            assert ids_of(await reading) == ids

    async def test_reader_without_an_interval_gets_no_heartbeats(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        reading = asyncio.create_task(read(subscription))
        await self.let_pass(self.heartbeat * 3)
        assert not reading.done()
        reading.cancel()


class StreamKeeping(StreamBridgeTerms):
    async def test_ended_stream_expires_after_its_retention(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 2)
        await bridge.publish_end(RUN)
        await self.let_pass(self.retention * 0.8)
        assert len(ids_of(await read_to_end(await bridge.subscribe(RUN)))) == 3
        await self.let_pass(self.retention * 0.4)
        assert await bridge.status(RUN) is None
        with pytest.raises(StreamNotFound):
            await bridge.subscribe(RUN)

    async def test_silent_stream_stays_open(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 1)
        await self.let_pass(self.awaiting_retention * 3)
        assert await bridge.status(RUN) is StreamStatus.OPEN
        assert await bridge.publish(RUN, "values", b"1") == "1-2"

    async def test_stream_awaits_input_from_its_end_to_the_answer(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 1)
        await bridge.publish_end(RUN)
        assert await bridge.status(RUN) is StreamStatus.ENDED
        await bridge.mark_awaiting_input(RUN)
        assert await bridge.status(RUN) is StreamStatus.AWAITING_INPUT
        assert list(await bridge.list_open()) == []
        await self.let_pass(self.awaiting_retention * 0.8)
        assert await bridge.status(RUN) is StreamStatus.AWAITING_INPUT
        assert len(ids_of(await read_to_end(await bridge.subscribe(RUN)))) == 2
        await bridge.mark_answered(RUN)
        assert await bridge.status(RUN) is StreamStatus.ENDED
        await self.let_pass(self.retention * 1.2)
        assert await bridge.status(RUN) is None

    async def test_stream_awaiting_input_is_deleted_after_its_retention(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await bridge.publish_end(RUN)
        await bridge.mark_awaiting_input(RUN)
        await self.let_pass(self.awaiting_retention * 1.2)
        assert await bridge.status(RUN) is None

    @pytest.mark.parametrize("kind", [None, "error", "cancel"])
    async def test_stream_that_has_not_ended_normally_awaits_no_input(
        self, bridge: StreamBridge, kind: TerminalKind | None
    ) -> None:
        await bridge.open(RUN)
        if kind is not None:
            await bridge.publish_terminal(RUN, kind, b"null")
        before = await bridge.status(RUN)
        await bridge.mark_awaiting_input(RUN)
        assert await bridge.status(RUN) is before
        await bridge.mark_answered(RUN)
        assert await bridge.status(RUN) is before

    async def test_answered_stream_may_await_input_again(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await bridge.publish_end(RUN)
        for _ in range(2):
            await bridge.mark_awaiting_input(RUN)
            assert await bridge.status(RUN) is StreamStatus.AWAITING_INPUT
            await bridge.mark_answered(RUN)
            assert await bridge.status(RUN) is StreamStatus.ENDED

    async def test_mark_awaiting_input_ignores_an_unknown_run(self, bridge: StreamBridge) -> None:
        await bridge.mark_awaiting_input("unknown")
        await bridge.mark_answered("unknown")
        assert await bridge.status("unknown") is None

    async def test_cleanup_lets_an_active_reader_read_to_the_end(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 2)
        subscription = await bridge.subscribe(RUN)
        await read_events(subscription, 2)
        ids = await publish_many(bridge, 3)
        ids.append(await bridge.publish_end(RUN))
        await bridge.cleanup(RUN)
        assert await bridge.status(RUN) is None
        with pytest.raises(StreamNotFound):
            await bridge.subscribe(RUN)
        assert ids_of(await read_to_end(subscription)) == ids

    async def test_cleanup_with_a_delay_deletes_later(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await bridge.publish_end(RUN)
        await bridge.cleanup(RUN, self.retention / 2)
        await self.let_pass(self.retention * 0.4)
        assert await bridge.status(RUN) is StreamStatus.ENDED
        await self.let_pass(self.retention * 0.2)
        assert await bridge.status(RUN) is None

    async def test_cleanup_of_an_open_stream_ends_its_readers_with_an_error(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        waiting, behind = await bridge.subscribe(RUN), await bridge.subscribe(RUN)
        ids = await publish_many(bridge, 2)
        await read_events(waiting, 2)
        reading = asyncio.create_task(read(waiting))
        await turn()
        await bridge.cleanup(RUN)
        with pytest.raises(StreamNotFound):
            await reading
        assert ids_of(await read_events(behind, 2)) == ids
        with pytest.raises(StreamNotFound):
            await read(behind)

    async def test_cleanup_ignores_an_unknown_run(self, bridge: StreamBridge) -> None:
        await bridge.cleanup("unknown")
        await bridge.cleanup("unknown", 5)

    async def test_open_after_cleanup_starts_a_new_stream(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 2)
        await bridge.publish_terminal(RUN, "error", b"{}")
        await bridge.cleanup(RUN)
        await bridge.open(RUN, 2)
        ids = await publish_many(bridge, 1, attempt=2)
        subscription = await bridge.subscribe(RUN, "1-2")
        assert subscription.resumed == ResumeResult("evicted", "1-2", "2-1", None)
        assert ids_of(await read_events(subscription, 1)) == ids

    async def test_unended_returns_the_open_streams(self, bridge: StreamBridge) -> None:
        for number in range(3):
            await bridge.open(f"run-{number}")
        assert set(await bridge.list_open()) == {"run-0", "run-1", "run-2"}
        await bridge.publish_end("run-0")
        await bridge.cleanup("run-1")
        assert list(await bridge.list_open()) == ["run-2"]
        await bridge.cancel("run-2")
        assert list(await bridge.list_open()) == []

    async def test_open_at_the_limit_deletes_an_ended_stream(self, bridge: StreamBridge) -> None:
        for number in range(self.max_streams):
            await bridge.open(f"run-{number}")
        await bridge.publish_end("run-3")
        await bridge.open("one-more")
        assert await bridge.status("one-more") is StreamStatus.OPEN
        assert await bridge.status("run-3") is None

    async def test_open_at_the_limit_raises_when_all_streams_are_open(self, bridge: StreamBridge) -> None:
        for number in range(self.max_streams):
            await bridge.open(f"run-{number}")
        with pytest.raises(CapacityExceeded) as full:
            await bridge.open("one-more")
        assert full.value.limit == self.max_streams
        await bridge.open("run-0", 2)
        assert await bridge.publish("run-0", "values", b"1", attempt=2) == "2-1"
        assert await bridge.status("one-more") is None
