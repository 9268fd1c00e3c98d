"""The part of the StreamBridge suite about publishing."""

from __future__ import annotations

import pytest

from runstead.runtime.stream_bridge.contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    Sentinel,
    StreamBridge,
    StreamEvent,
    StreamStatus,
    TerminalKind,
)
from runstead.runtime.stream_bridge.exceptions import StaleAttempt, StreamNotFound, StreamTerminated

from .stream_reading import RUN, StreamBridgeTerms, ids_of, order_of, publish_many, read_events, read_to_end


class StreamPublishing(StreamBridgeTerms):
    async def test_read_returns_events_as_published_in_order(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        published = [
            ("metadata", b'{"a":1}'),
            ("values|child:0b5c", b"[]"),
            ("messages", '"grüße \U0001f44b"'.encode()),
        ]
        ids = [await bridge.publish(RUN, name, data) for name, data in published]
        events = await read_events(await bridge.subscribe(RUN), 3)
        assert events == [
            StreamEvent(event_id, name, data) for event_id, (name, data) in zip(ids, published, strict=True)
        ]

    async def test_publish_returns_increasing_ids_of_attempt_and_sequence(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 12)
        assert ids == [f"1-{seq}" for seq in range(1, 13)]
        terminal = await bridge.publish_end(RUN)
        assert order_of(terminal) > order_of(ids[-1])

    async def test_open_of_an_open_stream_keeps_its_log(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        first = await bridge.publish(RUN, "values", b"1")
        await bridge.open(RUN)
        second = await bridge.publish(RUN, "values", b"2")
        assert ids_of(await read_events(await bridge.subscribe(RUN), 2)) == [first, second] == ["1-1", "1-2"]

    async def test_open_with_a_higher_attempt_takes_over_with_new_ids(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 3)
        await bridge.open(RUN, 2)
        assert await bridge.publish(RUN, "values", b"1", attempt=2) == "2-1"
        assert ids_of(await read_events(await bridge.subscribe(RUN), 4)) == ["1-1", "1-2", "1-3", "2-1"]

    async def test_reader_continues_across_a_takeover(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        await publish_many(bridge, 2)
        assert ids_of(await read_events(subscription, 2)) == ["1-1", "1-2"]
        await bridge.open(RUN, 3)
        await publish_many(bridge, 1, attempt=3)
        assert ids_of(await read_events(subscription, 1)) == ["3-1"]

    async def test_open_with_a_lower_attempt_changes_nothing(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN, 2)
        await bridge.open(RUN, 1)
        assert await bridge.publish(RUN, "values", b"1", attempt=2) == "2-1"

    async def test_publish_of_a_lower_attempt_raises_stale_attempt(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 1)
        await bridge.open(RUN, 2)
        with pytest.raises(StaleAttempt) as late:
            await bridge.publish(RUN, "values", b"late")
        assert (late.value.run_id, late.value.attempt, late.value.current) == (RUN, 1, 2)
        with pytest.raises(StaleAttempt):
            await bridge.publish_terminal(RUN, "error", b"{}")
        with pytest.raises(StaleAttempt):
            await bridge.cancel(RUN)
        assert await bridge.status(RUN) is StreamStatus.OPEN
        await bridge.publish_end(RUN, attempt=2)
        assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == ["1-1", "2-1"]

    async def test_publish_without_a_stream_raises_and_creates_nothing(self, bridge: StreamBridge) -> None:
        with pytest.raises(StreamNotFound):
            await bridge.publish("unknown", "values", b"1")
        with pytest.raises(StreamNotFound):
            await bridge.publish_end("unknown")
        assert await bridge.status("unknown") is None

    @pytest.mark.parametrize(
        ("kind", "status", "sentinel"),
        [
            ("end", StreamStatus.ENDED, END_SENTINEL),
            ("error", StreamStatus.ERRORED, END_SENTINEL),
            ("cancel", StreamStatus.CANCELLED, CANCELLED_SENTINEL),
        ],
    )
    async def test_terminal_event_is_last_and_followed_by_its_sentinel(
        self, bridge: StreamBridge, kind: TerminalKind, status: StreamStatus, sentinel: Sentinel
    ) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 2)
        terminal_id = await bridge.publish_terminal(RUN, kind, b'{"why":"x"}')
        items = await read_to_end(await bridge.subscribe(RUN))
        assert items[2:] == [StreamEvent(terminal_id, kind, b'{"why":"x"}', terminal=kind), sentinel]
        assert [item.terminal for item in items[:2] if isinstance(item, StreamEvent)] == [None, None]
        assert await bridge.status(RUN) is status

    async def test_publish_terminal_twice_returns_the_first_id(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        first = await bridge.publish_terminal(RUN, "error", b'{"error":"x"}')
        assert await bridge.publish_terminal(RUN, "cancel", b"null") == first
        assert await bridge.publish_end(RUN) == first
        await bridge.cancel(RUN)
        assert await bridge.status(RUN) is StreamStatus.ERRORED
        assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == [first]

    async def test_publish_after_the_end_raises_stream_terminated(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        end = await bridge.publish_end(RUN)
        with pytest.raises(StreamTerminated):
            await bridge.publish(RUN, "values", b"1")
        assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == [end]

    async def test_open_of_an_ended_stream_keeps_it_ended(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await bridge.publish_end(RUN)
        await bridge.open(RUN, 2)
        assert await bridge.status(RUN) is StreamStatus.ENDED
        with pytest.raises(StreamTerminated):
            await bridge.publish(RUN, "values", b"1", attempt=2)

    async def test_end_and_cancel_events_have_null_data(self, bridge: StreamBridge) -> None:
        for run_id, kind in (("one", "end"), ("two", "cancel")):
            await bridge.open(run_id)
            await (bridge.publish_end(run_id) if kind == "end" else bridge.cancel(run_id))
            [event, _] = await read_to_end(await bridge.subscribe(run_id))
            assert event == StreamEvent("1-1", kind, b"null", terminal=kind)  # type: ignore[arg-type]

    async def test_cancel_without_a_stream_does_nothing(self, bridge: StreamBridge) -> None:
        await bridge.cancel("unknown")
        assert await bridge.status("unknown") is None

    async def test_streams_of_two_runs_are_independent(self, bridge: StreamBridge) -> None:
        await bridge.open("one")
        await bridge.open("two")
        await publish_many(bridge, 2, run_id="one")
        await bridge.publish_end("two")
        assert await bridge.status("one") is StreamStatus.OPEN
        assert ids_of(await read_events(await bridge.subscribe("one"), 2)) == ["1-1", "1-2"]
        assert ids_of(await read_to_end(await bridge.subscribe("two"))) == ["1-1"]
