"""A stream that is lost, with the server that kept it, while somebody reads: never silence about what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.streams import RunStreamService
from runstead.runtime.runs.types import RunRecord
from runstead.runtime.storage_fault import FaultKind, StorageFault
from runstead.runtime.stream_bridge import (
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    Sentinel,
    StreamEvent,
    StreamItem,
    StreamNotFound,
)
from tests.faults.kernel import ALICE, Storage, a_spec


class Away(StorageFault):
    kind: FaultKind = "away"


class Reading:
    """A subscription that gives a few items and then finds its stream lost, or hears nothing any more."""

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


async def told(storage: Storage, ended: RunRecord, subscription: Reading, **ports: object) -> list[StreamItem]:
    """All that a reader gets who came back after 1-1, and whose subscription this is."""

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
async def test_a_reader_of_a_run_that_has_ended_is_told_of_a_gap_and_given_the_values(then: Sentinel | None) -> None:
    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            items = await told(storage, ended, Reading(StreamEvent("1-2", "values", b"1"), then=then))
    heard, gap, values, end = [item for item in items if item is not HEARTBEAT_SENTINEL]
    assert isinstance(heard, StreamEvent)
    assert isinstance(gap, StreamEvent)
    assert isinstance(values, StreamEvent)
    assert (gap.event, json.loads(gap.data)) == ("gap", {"from": "1-2", "to": None, "missed": None})
    assert (values.event, values.data) == ("values", b'{"log":["all"]}')
    assert end is END_SENTINEL


async def test_who_cannot_be_given_the_values_now_is_cut_off_to_come_back() -> None:
    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            with pytest.raises(Away):
                await told(storage, ended, Reading(then=None), values="away")
