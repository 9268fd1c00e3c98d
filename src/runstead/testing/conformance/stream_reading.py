"""Functions to read a stream in a test, and the settings that the parts of the StreamBridge suite share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from runstead.runtime.stream_bridge.contract import StreamBridge, StreamEvent, StreamItem, StreamSubscription

RUN: Final = "01a2b3c4-run"
PATIENCE: Final = 30.0
"""Real seconds that a response may take before the test fails instead of hanging."""


class StreamBridgeTerms:
    """The settings that the suite expects of ``bridge``. Use them for it, or change them for an adapter.

    ``let_pass`` lets time pass for the bridge: by a manual clock, or by a real sleep together with short times.
    """

    window_events: ClassVar[int] = 50
    window_bytes: ClassVar[int] = 10_000
    retention: ClassVar[float] = 300
    awaiting_retention: ClassVar[float] = 7_200
    max_streams: ClassVar[int] = 8
    heartbeat: ClassVar[float] = 5

    async def let_pass(self, seconds: float) -> None:
        raise NotImplementedError("implement let_pass: it lets time pass for this adapter")


async def read(subscription: StreamSubscription) -> Sequence[StreamItem]:
    """Return the next batch, within the time limit."""
    async with asyncio.timeout(PATIENCE):
        return await subscription.read()


async def read_events(subscription: StreamSubscription, count: int) -> list[StreamEvent]:
    """Return exactly the next ``count`` events, in as many batches as necessary."""
    events: list[StreamEvent] = []
    while len(events) < count:
        items = await read(subscription)
        assert items, f"the stream ended after {len(events)} of {count} events"
        events += [item for item in items if isinstance(item, StreamEvent)]
    assert len(events) == count, f"{len(events)} events instead of {count}"
    return events


async def read_to_end(subscription: StreamSubscription) -> list[StreamItem]:
    """Return all items until the stream has ended."""
    everything: list[StreamItem] = []
    while items := await read(subscription):
        everything += items
    return everything


async def publish_many(bridge: StreamBridge, count: int, *, run_id: str = RUN, attempt: int = 1) -> list[str]:
    """Publish ``count`` small events with different data, and return their ids."""
    return [await bridge.publish(run_id, "values", b'{"n":%d}' % number, attempt=attempt) for number in range(count)]


def ids_of(items: Sequence[StreamItem]) -> list[str]:
    return [item.id for item in items if isinstance(item, StreamEvent)]


def order_of(event_id: str) -> tuple[int, int]:
    attempt, seq = event_id.split("-")
    return int(attempt), int(seq)
