"""What every stream bridge must do for those who publish."""

from __future__ import annotations

import pytest

from runstead.runtime.stream_bridge import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    Sentinel,
    StaleAttempt,
    StreamBridge,
    StreamEvent,
    StreamNotFound,
    StreamStatus,
    StreamTerminated,
    TerminalKind,
)

from .stream_reading import RUN, StreamBridgeTerms, ids_of, order_of, publish_many, read_events, read_to_end


class StreamPublishing(StreamBridgeTerms):
    async def test_what_was_published_is_read_in_order_as_it_was(self, bridge: StreamBridge) -> None:
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

    async def test_ids_are_attempt_and_sequence_and_strictly_increase_as_numbers(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 12)
        assert ids == [f"1-{seq}" for seq in range(1, 13)]
        terminal = await bridge.publish_end(RUN)
        assert order_of(terminal) > order_of(ids[-1])

    async def test_opening_an_open_stream_keeps_its_log(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        first = await bridge.publish(RUN, "values", b"1")
        await bridge.open(RUN)
        second = await bridge.publish(RUN, "values", b"2")
        assert ids_of(await read_events(await bridge.subscribe(RUN), 2)) == [first, second] == ["1-1", "1-2"]

    async def test_a_higher_attempt_takes_over_and_its_ids_begin_anew_behind_its_number(
        self, bridge: StreamBridge
    ) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 3)
        await bridge.open(RUN, 2)
        assert await bridge.publish(RUN, "values", b"1", attempt=2) == "2-1"
        assert ids_of(await read_events(await bridge.subscribe(RUN), 4)) == ["1-1", "1-2", "1-3", "2-1"]

    async def test_a_reader_reads_on_over_a_takeover(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN)
        await publish_many(bridge, 2)
        assert ids_of(await read_events(subscription, 2)) == ["1-1", "1-2"]
        await bridge.open(RUN, 3)
        await publish_many(bridge, 1, attempt=3)
        assert ids_of(await read_events(subscription, 1)) == ["3-1"]

    async def test_opening_for_a_lower_attempt_changes_nothing(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN, 2)
        await bridge.open(RUN, 1)
        assert await bridge.publish(RUN, "values", b"1", attempt=2) == "2-1"

    async def test_a_late_worker_cannot_publish(self, bridge: StreamBridge) -> None:
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

    async def test_publishing_to_a_stream_that_was_never_opened_is_an_error_and_creates_nothing(
        self, bridge: StreamBridge
    ) -> None:
        with pytest.raises(StreamNotFound):
            await bridge.publish("nobody", "values", b"1")
        with pytest.raises(StreamNotFound):
            await bridge.publish_end("nobody")
        assert await bridge.status("nobody") is None

    @pytest.mark.parametrize(
        ("kind", "status", "sentinel"),
        [
            ("end", StreamStatus.ENDED, END_SENTINEL),
            ("error", StreamStatus.ERRORED, END_SENTINEL),
            ("cancel", StreamStatus.CANCELLED, CANCELLED_SENTINEL),
        ],
    )
    async def test_the_terminal_event_is_the_last_and_is_followed_by_its_sentinel(
        self, bridge: StreamBridge, kind: TerminalKind, status: StreamStatus, sentinel: Sentinel
    ) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 2)
        terminal_id = await bridge.publish_terminal(RUN, kind, b'{"why":"x"}')
        items = await read_to_end(await bridge.subscribe(RUN))
        assert items[2:] == [StreamEvent(terminal_id, kind, b'{"why":"x"}', terminal=kind), sentinel]
        assert [item.terminal for item in items[:2] if isinstance(item, StreamEvent)] == [None, None]
        assert await bridge.status(RUN) is status

    async def test_a_second_terminal_is_the_first_one(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        first = await bridge.publish_terminal(RUN, "error", b'{"error":"x"}')
        assert await bridge.publish_terminal(RUN, "cancel", b"null") == first
        assert await bridge.publish_end(RUN) == first
        await bridge.cancel(RUN)
        assert await bridge.status(RUN) is StreamStatus.ERRORED
        assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == [first]

    async def test_nothing_is_published_after_the_end(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        end = await bridge.publish_end(RUN)
        with pytest.raises(StreamTerminated):
            await bridge.publish(RUN, "values", b"1")
        assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == [end]

    async def test_opening_a_terminated_stream_leaves_it_terminated(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await bridge.publish_end(RUN)
        await bridge.open(RUN, 2)
        assert await bridge.status(RUN) is StreamStatus.ENDED
        with pytest.raises(StreamTerminated):
            await bridge.publish(RUN, "values", b"1", attempt=2)

    async def test_ending_and_cancelling_carry_null(self, bridge: StreamBridge) -> None:
        for run_id, kind in (("one", "end"), ("two", "cancel")):
            await bridge.open(run_id)
            await (bridge.publish_end(run_id) if kind == "end" else bridge.cancel(run_id))
            [event, _] = await read_to_end(await bridge.subscribe(run_id))
            assert event == StreamEvent("1-1", kind, b"null", terminal=kind)  # type: ignore[arg-type]

    async def test_cancelling_a_stream_that_is_not_there_does_nothing(self, bridge: StreamBridge) -> None:
        await bridge.cancel("nobody")
        assert await bridge.status("nobody") is None

    async def test_the_streams_of_two_runs_have_nothing_to_do_with_each_other(self, bridge: StreamBridge) -> None:
        await bridge.open("one")
        await bridge.open("two")
        await publish_many(bridge, 2, run_id="one")
        await bridge.publish_end("two")
        assert await bridge.status("one") is StreamStatus.OPEN
        assert ids_of(await read_events(await bridge.subscribe("one"), 2)) == ["1-1", "1-2"]
        assert ids_of(await read_to_end(await bridge.subscribe("two"))) == ["1-1"]
