"""The part of the StreamBridge suite about readers that reconnect and readers that come late."""

from __future__ import annotations

from typing import Final

import pytest

from runstead.runtime.stream_bridge.contract import END_SENTINEL, LIVE, ResumeResult, StreamBridge, StreamEvent
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from .stream_reading import (
    RUN,
    StreamBridgeTerms,
    ids_of,
    order_of,
    publish_many,
    read,
    read_events,
    read_to_end,
)

GARBAGE: Final = (
    *("", "7", "abc", "1-", "-2", "1-1-1", "1-x", "x-1", " 1-1", "1-1\n", "1.5-2", "+1-1", "1_0-1", "0x1-1", "01-1"),
    *("0-3", "1-0", "\u0663-\u0661", "1767225600000-0", "9" * 400 + "-1", "1-" + "9" * 400, "\x00", "1-1\x00"),
)


class StreamResuming(StreamBridgeTerms):
    async def test_subscribe_without_an_id_reads_kept_and_then_new_events(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 3)
        subscription = await bridge.subscribe(RUN)
        assert subscription.resumed == ResumeResult("fresh", None, "1-1")
        assert ids_of(await read_events(subscription, 3)) == ids
        later = await publish_many(bridge, 2)
        assert ids_of(await read_events(subscription, 2)) == later

    async def test_resume_after_any_id_loses_and_repeats_nothing(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 11)
        await bridge.open(RUN, 2)
        ids += await publish_many(bridge, 11, attempt=2)
        ids.append(await bridge.publish_end(RUN, attempt=2))
        for place, event_id in enumerate(ids):
            subscription = await bridge.subscribe(RUN, event_id)
            assert subscription.resumed == ResumeResult("resumed", event_id, "1-1")
            assert ids_of(await read_to_end(subscription)) == ids[place + 1 :]

    @pytest.mark.parametrize("start", ["-1", "0-0"])
    async def test_resume_from_the_start_reads_everything(self, bridge: StreamBridge, start: str) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 4)
        subscription = await bridge.subscribe(RUN, start)
        assert subscription.resumed == ResumeResult("resumed", start, "1-1")
        assert ids_of(await read_events(subscription, 4)) == ids

    @pytest.mark.parametrize("start", [None, "-1", "0-0"])
    async def test_subscribe_to_an_empty_stream_reads_later_events(
        self, bridge: StreamBridge, start: str | None
    ) -> None:
        await bridge.open(RUN)
        subscription = await bridge.subscribe(RUN, start)
        assert subscription.resumed == ResumeResult("fresh" if start is None else "resumed", start, None)
        ids = await publish_many(bridge, 1)
        assert ids_of(await read_events(subscription, 1)) == ids

    async def test_subscribe_live_omits_earlier_events(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 3)
        subscription = await bridge.subscribe(RUN, LIVE)
        assert subscription.resumed == ResumeResult("fresh", LIVE, "1-1")
        ids = await publish_many(bridge, 2)
        ids.append(await bridge.publish_end(RUN))
        assert ids_of(await read_to_end(subscription)) == ids

    async def test_subscribe_live_to_an_ended_stream_reads_its_end(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 3)
        end = await bridge.publish_end(RUN)
        assert ids_of(await read_to_end(await bridge.subscribe(RUN, LIVE))) == [end]

    async def test_resume_of_evicted_events_reports_the_exact_gap(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, self.window_events * 3)
        await bridge.publish_end(RUN)
        kept = ids_of(await read_to_end(await bridge.subscribe(RUN)))[:-1]
        assert kept == ids[-len(kept) :]
        assert self.window_events <= len(kept) < len(ids)
        gone = ids[: -len(kept)]
        for asked, missed in ((gone[0], len(gone) - 1), (gone[-2], 1), ("-1", len(gone)), ("0-0", len(gone))):
            subscription = await bridge.subscribe(RUN, asked)
            assert subscription.resumed == ResumeResult("evicted", asked, kept[0], missed)
            assert ids_of(await read_to_end(subscription))[:-1] == kept

    async def test_resume_after_the_last_evicted_event_reports_no_gap(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, self.window_events * 3)
        await bridge.publish_end(RUN)
        kept = ids_of(await read_to_end(await bridge.subscribe(RUN)))[:-1]
        last_gone = ids[-len(kept) - 1]
        subscription = await bridge.subscribe(RUN, last_gone)
        assert subscription.resumed == ResumeResult("resumed", last_gone, kept[0])

    async def test_resume_across_a_takeover_counts_the_gap_of_both_attempts(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, self.window_events)
        await bridge.open(RUN, 4)
        ids += await publish_many(bridge, self.window_events * 2, attempt=4)
        subscription = await bridge.subscribe(RUN, ids[0])
        assert subscription.resumed.oldest is not None
        assert subscription.resumed == ResumeResult(
            "evicted", ids[0], subscription.resumed.oldest, ids.index(subscription.resumed.oldest) - 1
        )

    @pytest.mark.parametrize("published", [0, 3])
    async def test_resume_from_position_before_an_attempt_reads_all_of_it(
        self, bridge: StreamBridge, published: int
    ) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 4)
        await bridge.open(RUN, 2)
        ids = await publish_many(bridge, published, attempt=2)
        subscription = await bridge.subscribe(RUN, "2-0")
        assert subscription.resumed == ResumeResult("resumed", "2-0", "1-1")
        ids += await publish_many(bridge, 2, attempt=2)
        assert ids_of(await read_events(subscription, len(ids))) == ids
        assert (await bridge.subscribe(RUN, "3-0")).resumed.status == "invalid"

    @pytest.mark.parametrize("ended", [True, False])
    @pytest.mark.parametrize("asked", ["2-17", "-1", "3-1", "9-9"])
    async def test_rejoin_after_a_lost_log_reads_everything_kept(
        self, bridge: StreamBridge, asked: str, ended: bool
    ) -> None:
        await bridge.open(RUN, 3)
        ids = await publish_many(bridge, 5, attempt=3)
        rejoin = (await bridge.subscribe(RUN, asked)).resumed.rejoin
        ids += await publish_many(bridge, 5, attempt=3)
        if ended:
            ids.append(await bridge.publish_end(RUN, attempt=3))
        again = await bridge.subscribe(RUN, rejoin)
        assert again.resumed == ResumeResult("resumed", rejoin, ids[0])
        assert ids_of(await read_events(again, len(ids))) == ids

    async def test_rejoin_of_an_ended_stream_reads_everything_kept(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, self.window_events * 3)
        await bridge.publish_end(RUN)
        kept = ids_of(await read_to_end(await bridge.subscribe(RUN)))
        again = await bridge.subscribe(RUN, (await bridge.subscribe(RUN, ids[0])).resumed.rejoin)
        assert again.resumed.status == "resumed"
        assert ids_of(await read_to_end(again)) == kept

    async def test_rejoin_position_is_still_kept_when_the_window_has_moved_on(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, self.window_events * 3)
        rejoin = (await bridge.subscribe(RUN, ids[0])).resumed.rejoin
        ids += await publish_many(bridge, self.window_events // 5)
        ids.append(await bridge.publish_end(RUN))
        again = await bridge.subscribe(RUN, rejoin)
        assert again.resumed.status == "resumed"
        assert ids_of(await read_to_end(again)) == ids[ids.index(str(rejoin)) + 1 :]

    @pytest.mark.parametrize("garbage", GARBAGE)
    async def test_resume_with_a_garbage_id_is_invalid_and_reads_everything(
        self, bridge: StreamBridge, garbage: str
    ) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 2)
        subscription = await bridge.subscribe(RUN, garbage)
        assert subscription.resumed == ResumeResult("invalid", garbage, "1-1")
        assert ids_of(await read_events(subscription, 2)) == ids

    @pytest.mark.parametrize("future", ["1-3", "1-4000", "2-1", "999-999"])
    async def test_resume_with_a_future_id_is_invalid_and_reads_everything(
        self, bridge: StreamBridge, future: str
    ) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 2)
        subscription = await bridge.subscribe(RUN, future)
        assert subscription.resumed == ResumeResult("invalid", future, "1-1")
        assert ids_of(await read_events(subscription, 2)) == ids

    @pytest.mark.parametrize("published", [0, 2])
    async def test_resume_after_a_lost_log_reports_a_gap_of_unknown_size(
        self, bridge: StreamBridge, published: int
    ) -> None:
        await bridge.open(RUN, 3)
        ids = await publish_many(bridge, published, attempt=3)
        subscription = await bridge.subscribe(RUN, "2-17")
        assert subscription.resumed == ResumeResult("evicted", "2-17", ids[0] if ids else None, None)
        ids += await publish_many(bridge, 1, attempt=3)
        assert ids_of(await read_events(subscription, len(ids))) == ids

    async def test_resume_compares_ids_as_numbers(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 12)
        assert sorted(ids) != sorted(ids, key=order_of) == ids
        subscription = await bridge.subscribe(RUN, "1-9")
        assert ids_of(await read_events(subscription, 3)) == ["1-10", "1-11", "1-12"]

    async def test_resume_after_the_terminal_event_reads_only_the_sentinel(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        await publish_many(bridge, 2)
        end = await bridge.publish_end(RUN)
        subscription = await bridge.subscribe(RUN, end)
        assert subscription.resumed.status == "resumed"
        assert list(await read(subscription)) == [END_SENTINEL]
        assert list(await read(subscription)) == []

    async def test_subscribe_to_an_ended_stream_replays_it_each_time(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, 3)
        ids.append(await bridge.publish_end(RUN))
        for _ in range(3):
            assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == ids

    @pytest.mark.parametrize("last_event_id", [None, "-1", "1-1", "garbage"])
    async def test_subscribe_without_a_stream_raises_and_creates_nothing(
        self, bridge: StreamBridge, last_event_id: str | None
    ) -> None:
        for _ in range(self.max_streams + 1):
            with pytest.raises(StreamNotFound):
                await bridge.subscribe("unknown", last_event_id)
        assert await bridge.status("unknown") is None
        # Missing streams take no capacity.
        for number in range(self.max_streams):
            await bridge.open(f"run-{number}")

    async def test_terminal_event_does_not_count_towards_the_window(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        ids = await publish_many(bridge, self.window_events)
        ids.append(await bridge.publish_terminal(RUN, "error", b'"' + b"x" * self.window_bytes * 2 + b'"'))
        assert ids_of(await read_to_end(await bridge.subscribe(RUN))) == ids

    async def test_window_is_limited_by_bytes(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        data = b'"' + b"x" * (self.window_bytes // 10) + b'"'
        ids = [await bridge.publish(RUN, "values", data) for _ in range(self.window_events)]
        await bridge.publish_end(RUN)
        kept = ids_of(await read_to_end(await bridge.subscribe(RUN)))[:-1]
        assert kept == ids[-len(kept) :]
        assert 1 <= len(kept) <= 10

    async def test_oversized_event_evicts_others_but_not_itself(self, bridge: StreamBridge) -> None:
        await bridge.open(RUN)
        small = await publish_many(bridge, 3)
        data = b'"' + b"x" * self.window_bytes * 3 + b'"'
        large = await bridge.publish(RUN, "values", data)
        subscription = await bridge.subscribe(RUN, small[0])
        assert subscription.resumed == ResumeResult("evicted", small[0], large, 2)
        assert await read_events(subscription, 1) == [StreamEvent(large, "values", data)]
        after = await bridge.publish(RUN, "values", b"1")
        assert ids_of(await read_events(await bridge.subscribe(RUN), 1)) == [after]
