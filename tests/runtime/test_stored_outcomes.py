"""Joining a run that has ended, while the stream with its terminal event is lost or unreachable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.streaming.stream_service import RunStreamService
from runstead.runtime.runs.internal.streaming.wait import RunWaitService
from runstead.runtime.runs.types import RunRecord
from runstead.runtime.stream_bridge.contract import (
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    StreamEvent,
    StreamItem,
    StreamStatus,
)
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, BridgeUnavailable, StreamBridgeError, StreamNotFound
from runstead.testing.clock import ManualClock
from tests.faults.kernel import ALICE, Storage, a_spec

LOST = [StreamNotFound("r1"), BridgeUnavailable("redis://somewhere"), BridgeClosed()]


class Shelf:
    """A bridge that keeps one ended stream, and can fail at each step of reading it."""

    def __init__(
        self,
        clock: ManualClock,
        *,
        at_status: StreamBridgeError | None = None,
        at_subscribe: StreamBridgeError | None = None,
        at_read: StreamBridgeError | None = None,
        items: Sequence[StreamItem] = (),
    ) -> None:
        self._clock, self._items = clock, items
        self._at_status, self._at_subscribe, self._at_read = at_status, at_subscribe, at_read
        self.readers = 0
        self.resumed = ResumeResult("fresh", "$")
        self._heartbeat: float | None = None

    async def status(self, run_id: str) -> StreamStatus | None:
        if self._at_status is not None:
            raise self._at_status
        return StreamStatus.ENDED

    async def subscribe(self, run_id: str, last_event_id: str | None = None, heartbeat: float | None = None) -> Shelf:
        if self._at_subscribe is not None:
            raise self._at_subscribe
        self.readers += 1
        self._heartbeat = heartbeat
        return self

    async def read(self) -> Sequence[StreamItem]:
        if self._at_read is not None:
            raise self._at_read
        if not self._items:
            # Silence, like an unavailable server: endless for readers without heartbeats.
            await self._clock.wait(asyncio.Event(), self._heartbeat)
            return [HEARTBEAT_SENTINEL]
        return self._items

    async def aclose(self) -> None:
        self.readers -= 1


async def joined(shelf: Shelf, storage: Storage) -> bytes | None:
    """Return the output for a waiter that joins a successfully ended run, with this bridge."""

    async def values(record: RunRecord) -> bytes | None:
        return b'"from the record"'

    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            runtime = storage.runtime(bridge=shelf)
            waiting = asyncio.create_task(
                RunWaitService(runtime, RunStreamService(runtime, values), values).wait(ended)
            )
            try:
                for _ in range(5):
                    await storage.clock.advance(1)
                assert waiting.done(), "who joins an ended run waits"
                assert shelf.readers == 0
                return waiting.result().output
            finally:
                waiting.cancel()


async def test_retained_terminal_event_is_the_wait_result() -> None:
    storage = Storage()
    end: list[StreamItem] = [StreamEvent("1-9", "end", b'"from the stream"', terminal="end"), END_SENTINEL]
    assert await joined(Shelf(storage.clock, items=end), storage) == b'"from the stream"'


@pytest.mark.parametrize("step", ["at_status", "at_subscribe", "at_read"])
@pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__)
async def test_run_record_answers_when_the_stream_is_lost_between_two_reads(step: str, lost: StreamBridgeError) -> None:
    storage = Storage()
    shelf = Shelf(storage.clock, **{step: lost})  # type: ignore[arg-type]
    assert await joined(shelf, storage) == b'"from the record"'


async def test_run_record_answers_when_the_stream_is_empty() -> None:
    storage = Storage()
    assert await joined(Shelf(storage.clock), storage) == b'"from the record"'
