"""A stream is lost with its server during reads: missing events are always reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.streaming.stream_service import RunStreamService
from runstead.runtime.runs.types import Outcome, RunId, RunRecord, RunStatus, WorkerId
from runstead.runtime.storage_fault import FaultKind, StorageFault
from runstead.runtime.stream_bridge.contract import (
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    Sentinel,
    StreamEvent,
    StreamItem,
    StreamStatus,
)
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.testing.gaps import gap_event_data
from tests.faults.kernel import ALICE, Storage, a_spec

TERM = timedelta(seconds=10)


class Away(StorageFault):
    kind: FaultKind = "away"


class Reading:
    """A subscription that yields a few items and then finds its stream lost, or yields nothing more."""

    def __init__(self, *items: StreamItem, then: Sentinel | None) -> None:
        self._items, self._then = list(items), then
        self.resumed = ResumeResult("resumed", "1-1", None, 0)

    async def read(self) -> Sequence[StreamItem]:
        if self._items:
            return [self._items.pop(0)]
        if self._then is None:
            raise StreamNotFound("r1")
        return [self._then]

    async def aclose(self) -> None:
        return


async def items_of(storage: Storage, ended: RunRecord, subscription: Reading, **ports: object) -> list[StreamItem]:
    """Return all items of a reader that resumed after 1-1 with this subscription."""

    async def values(record: RunRecord) -> bytes | None:
        if "values" in ports:
            raise Away
        return b'{"log":["all"]}'

    async def subscribe(*_: object) -> Reading:
        return subscription

    bridge = storage.bridge
    bridge.subscribe = subscribe  # type: ignore[method-assign, assignment]
    runtime = storage.runtime(**{name: port for name, port in ports.items() if name != "values"})
    streams = RunStreamService(runtime, values)
    async with await streams.open(ended, last_event_id="1-1") as stream:
        return [item async for item in stream]


@pytest.mark.parametrize("then", [None, HEARTBEAT_SENTINEL], ids=["forgotten", "silent"])
async def test_reader_of_an_ended_run_gets_a_gap_and_the_values(then: Sentinel | None) -> None:
    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            items = await items_of(storage, ended, Reading(StreamEvent("1-2", "values", b"1"), then=then))
    heard, gap, values, end = [item for item in items if item is not HEARTBEAT_SENTINEL]
    assert isinstance(heard, StreamEvent)
    assert isinstance(gap, StreamEvent)
    assert isinstance(values, StreamEvent)
    assert (gap.event, json.loads(gap.data)) == ("gap", gap_event_data("r1", "1-2", None, None, "2-0"))
    assert (values.event, values.data) == ("values", b'{"log":["all"]}')
    assert end is END_SENTINEL


async def test_running_run_with_a_lost_stream_is_read_on_and_not_cancelled() -> None:
    """Although the run is to be cancelled when its reader disconnects: it is the stream that was lost."""
    storage, left = Storage(), list[str]()
    subscriptions = [Reading(then=None), Reading(StreamEvent("1-9", "values", b"2"), then=END_SENTINEL)]

    async def on_leave() -> None:
        left.append("left")

    async def values(record: RunRecord) -> bytes | None:
        return b"{}"

    async def subscribe(*_: object) -> Reading:
        return subscriptions.pop(0)

    async with storage.workers(False) as (runs,):
        with acting(ALICE):
            waiting = await runs.create_background(a_spec("r1"))
            storage.bridge.subscribe = subscribe  # type: ignore[method-assign, assignment]
            streams = RunStreamService(storage.runtime(), values)
            async with await streams.open(waiting, last_event_id="1-1", on_leave=on_leave) as stream:
                items = [item async for item in stream]
    assert items == [StreamEvent("1-9", "values", b"2"), END_SENTINEL]
    assert left == []


async def test_stream_that_breaks_stops_no_run() -> None:
    storage, left = Storage(), list[str]()

    async def on_leave() -> None:
        left.append("left")

    async def values(record: RunRecord) -> bytes | None:
        raise Away

    async def subscribe(*_: object) -> Reading:
        reading = Reading(then=HEARTBEAT_SENTINEL)
        reading.resumed = ResumeResult("evicted", "1-1", None, None)
        return reading

    async with storage.workers(False) as (runs,):
        with acting(ALICE):
            waiting = await runs.create_background(a_spec("r1"))
            storage.bridge.subscribe = subscribe  # type: ignore[method-assign, assignment]
            streams = RunStreamService(storage.runtime(), values)
            stream = await streams.open(waiting, last_event_id="1-1", on_leave=on_leave)
            with pytest.raises(Away):
                await stream.read()
            await stream.aclose()
    assert left == []


async def test_reader_is_disconnected_when_values_cannot_be_read() -> None:
    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            with pytest.raises(Away):
                await items_of(storage, ended, Reading(then=None), values="away")


async def test_stream_of_an_unreachable_server_is_not_removed() -> None:
    """Its run has ended by now, and its worker is about to publish that."""
    storage = Storage()
    async with storage.workers(False) as (runs,):
        with acting(ALICE):
            waiting = await runs.create_background(a_spec("r1"))
            await storage.bridge.open("r1")
            lease = await storage.leases.claim(RunId("r1"), WorkerId("w-1"), TERM)
            assert lease is not None
            await storage.bridge.publish("r1", "values", b"1")
            await storage.leases.settle(await storage.leases.begin(lease, None), Outcome(RunStatus.SUCCESS))
            bridge = Unasked(storage.bridge)
            streams = RunStreamService(storage.runtime(bridge=bridge), no_values)
            async with await streams.open(waiting, last_event_id="-1") as stream:
                await storage.bridge.publish_end("r1")
                items = [item async for item in stream]
    assert [item.data for item in items if isinstance(item, StreamEvent)] == [b"1", b"null"]


class Unasked:
    """A bridge that cannot determine, at first, if a stream exists."""

    def __init__(self, inner: MemoryStreamBridge) -> None:
        self._inner, self._asked = inner, False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def status(self, run_id: str) -> StreamStatus | None:
        was_asked, self._asked = self._asked, True
        return await self._inner.status(run_id) if was_asked else None


async def no_values(record: RunRecord) -> bytes | None:
    return None


@pytest.mark.parametrize("comes", ["before", "after"])
async def test_full_replay_after_loss_of_the_first_log_gets_a_gap(comes: str) -> None:
    """The existing log begins with the second attempt, and lacks nothing of that."""
    storage = Storage()
    async with storage.workers(False) as (runs,):
        with acting(ALICE):
            run = await runs.create_background(a_spec("r1"))
            # Created like a reader does that found none.
            await storage.bridge.open("r1", 1)
            streams = RunStreamService(storage.runtime(), no_values)
            early = await streams.open(run, last_event_id="-1")
            await storage.bridge.open("r1", 2)
            await storage.bridge.publish("r1", "values", b"1", attempt=2)
            await storage.bridge.publish_end("r1", attempt=2)
            stream = early if comes == "before" else await streams.open(run, last_event_id="-1")
            async with early, stream:
                gap, *rest = [item async for item in stream if isinstance(item, StreamEvent)]
    assert (gap.event, json.loads(gap.data)) == ("gap", gap_event_data("r1", "-1", "2-1", None, "2-0"))
    assert [event.id for event in rest] == ["2-1", "2-2"]


async def test_reader_resumed_after_an_outage_misses_nothing() -> None:
    class Late(Reading):
        async def read(self) -> Sequence[StreamItem]:
            self.resumed = ResumeResult("resumed", "1-1", "1-1")
            return await super().read()

    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            items = await items_of(storage, ended, Late(StreamEvent("1-2", "values", b"1"), then=END_SENTINEL))
    assert items == [StreamEvent("1-2", "values", b"1"), END_SENTINEL]
