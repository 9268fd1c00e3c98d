"""Ways to read a stream in a test, and what the parts of the stream bridge suite share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from runstead.runtime.stream_bridge import StreamBridge, StreamEvent, StreamItem, StreamSubscription

RUN: Final = "01a2b3c4-run"
PATIENCE: Final = 30.0
"""Real seconds that an answer may take before the test fails instead of hanging."""


class StreamBridgeTerms:
    """What the suite expects ``bridge`` to be set to. Build it from these, or change them for an adapter.

    ``let_pass`` lets time go by as the bridge knows it: a clock in the test's hand, or a real sleep together with
    terms that are short.
    """

    window_events: ClassVar[int] = 50
    window_bytes: ClassVar[int] = 10_000
    retention: ClassVar[float] = 300
    awaiting_retention: ClassVar[float] = 7_200
    max_streams: ClassVar[int] = 8
    heartbeat: ClassVar[float] = 5

    async def let_pass(self, seconds: float) -> None:
        raise NotImplementedError("tell the suite how time passes for this adapter")


async def read(subscription: StreamSubscription) -> Sequence[StreamItem]:
    """One batch, soon."""
    async with asyncio.timeout(PATIENCE):
        return await subscription.read()


async def read_events(subscription: StreamSubscription, count: int) -> list[StreamEvent]:
    """The next ``count`` events, in as many batches as it takes; neither more nor fewer."""
    events: list[StreamEvent] = []
    while len(events) < count:
        items = await read(subscription)
        assert items, f"the stream ended after {len(events)} of {count} events"
        events += [item for item in items if isinstance(item, StreamEvent)]
    assert len(events) == count, f"{len(events)} events instead of {count}"
    return events


async def read_to_end(subscription: StreamSubscription) -> list[StreamItem]:
    """Everything until the stream has ended."""
    everything: list[StreamItem] = []
    while items := await read(subscription):
        everything += items
    return everything


async def publish_many(bridge: StreamBridge, count: int, *, run_id: str = RUN, attempt: int = 1) -> list[str]:
    """Publish ``count`` small events, each with other data, and return their ids."""
    return [await bridge.publish(run_id, "values", b'{"n":%d}' % number, attempt=attempt) for number in range(count)]


def ids_of(items: Sequence[StreamItem]) -> list[str]:
    return [item.id for item in items if isinstance(item, StreamEvent)]


def order_of(event_id: str) -> tuple[int, int]:
    attempt, seq = event_id.split("-")
    return int(attempt), int(seq)
