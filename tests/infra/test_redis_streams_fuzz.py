"""Random scenarios, applied to the memory bridge and to Redis: their results are equal, and no reader in Redis gets
an event twice or misses any that is not reported exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge
from runstead.runtime.stream_bridge.contract import (
    LIVE,
    ResumeResult,
    Sentinel,
    StreamBridge,
    StreamSubscription,
    TerminalKind,
)
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError
from runstead.testing.conformance.stream_reading import ids_of, read
from tests.servers.redis_streams import a_bridge, a_prefix
from tests.servers.valkey import valkey_url

T = TypeVar("T")
RUN: Final = "run-1"
EVENTS, BYTES = 12, 600
KINDS: Final[tuple[TerminalKind, ...]] = ("end", "error", "cancel")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_url(tmp_path_factory.mktemp("valkey")) as url:
        yield url


class Audit:
    """One reader, checked against everything that was ever published."""

    def __init__(self, ledger: list[str], subscription: StreamSubscription) -> None:
        self.subscription, self.over = subscription, False
        self._ledger = ledger
        resumed = self._resumed = subscription.resumed
        self._requested = resumed.requested if resumed.status in ("resumed", "evicted") else None
        self._missed = resumed.gap_count if resumed.status == "evicted" else 0
        self._next = self._start(resumed)

    def _start(self, resumed: ResumeResult) -> int:
        if resumed.requested == LIVE:
            return len(self._ledger)
        if resumed.status == "resumed" and resumed.requested in self._ledger:
            return self._ledger.index(resumed.requested) + 1
        return self._ledger.index(resumed.oldest) if resumed.oldest else len(self._ledger)

    @property
    def is_behind(self) -> bool:
        return not self.over and self._next < len(self._ledger)

    async def read(self) -> None:
        items = await read(self.subscription)
        ids = ids_of(items)
        if ids:
            self._look_at_gap(ids[0])
            assert ids == self._ledger[self._next : self._next + len(ids)]
            self._next += len(ids)
            self._requested, self._missed = ids[-1], 0
        self.over = isinstance(items[-1], Sentinel)

    def _look_at_gap(self, first: str) -> None:
        resumed, place = self.subscription.resumed, self._ledger.index(first)
        if place == self._next:
            assert resumed is self._resumed
            return
        assert place > self._next, "something was given twice"
        # Ids from before all known events cannot be counted.
        missed = None if self._missed is None else self._missed + place - self._next
        assert resumed == ResumeResult("evicted", self._requested, first, missed)
        self._resumed, self._next = resumed, place


class Scenario:
    """Applies each action to both bridges; in Redis, through one process or another."""

    def __init__(self, memory: StreamBridge, redis: tuple[RedisStreamBridge, RedisStreamBridge], seed: int) -> None:
        self._memory, self._redis = memory, redis
        self._chance = random.Random(seed)
        self._attempt, self._worker = 1, redis[0]
        self._ledger: list[str] = []
        self._readers: list[Audit] = []

    async def publish(self, steps: int) -> None:
        await self._both(lambda bridge: bridge.open(RUN))
        for _ in range(steps):
            await self._step()
        kind = self._chance.choice(KINDS)
        end = await self._both(lambda bridge: bridge.publish_terminal(RUN, kind, b"null", attempt=self._attempt))
        assert isinstance(end, str)
        self._ledger.append(end)
        await self._both(lambda bridge: bridge.mark_awaiting_input(RUN))
        assert await self._worker.status(RUN) == await self._memory.status(RUN)
        for _ in range(4):
            await self._subscribe()
        for reader in self._readers:
            while not reader.over:
                await reader.read()

    async def _step(self) -> None:
        chance = self._chance.random()
        behind = [reader for reader in self._readers if reader.is_behind]
        if chance < 0.5:
            await self._publish()
        elif chance < 0.7:
            await self._subscribe()
        elif chance < 0.9 and behind:
            await self._chance.choice(behind).read()
        elif chance < 0.96:
            await self._take_over()
        else:
            # Ignored while the stream is open.
            await self._both(lambda bridge: bridge.mark_awaiting_input(RUN))

    async def _take_over(self) -> None:
        self._attempt += self._chance.choice((0, 1, 2))
        if self._attempt > 1:
            self._worker = self._chance.choice(self._redis)
        await self._both(lambda bridge: bridge.open(RUN, self._attempt))

    async def _publish(self) -> None:
        for _ in range(self._chance.choice((1, 1, 3, 20))):
            data = b"x" * self._chance.choice((1, 20, 100, 700))

            def publish(bridge: StreamBridge, data: bytes = data) -> Awaitable[str]:
                return bridge.publish(RUN, "values", data, attempt=self._attempt)

            event_id = await self._both(publish)
            assert isinstance(event_id, str)
            self._ledger.append(event_id)
        assert await self._worker.status(RUN) == await self._memory.status(RUN)
        if self._chance.random() < 0.5:
            # Delivered by readers' connections or by pages: both happen.
            await asyncio.sleep(0.003)

    async def _subscribe(self) -> None:
        known = self._chance.choices(self._ledger, k=5) if self._ledger else []
        asked = self._chance.choice((None, "-1", "0-0", LIVE, "garbage", "77-1", "1-9999", *known))
        process = self._chance.choice(self._redis)
        memory, redis = await self._memory.subscribe(RUN, asked), await process.subscribe(RUN, asked)
        assert redis.resumed == memory.resumed
        if asked != LIVE or await self._memory.status(RUN) == "open":
            self._readers.append(Audit(self._ledger, redis))

    async def _both(self, do: Callable[[StreamBridge], Awaitable[T]]) -> T | str:
        results: list[T | str] = []
        for bridge in (self._memory, self._worker):
            try:
                results.append(await do(bridge))
            except StreamBridgeError as error:
                results.append(repr(error))
        assert results[0] == results[1]
        return results[0]


@pytest.mark.parametrize("seed", range(20))
async def test_gaps_report_exactly_the_missed_events(url: str, seed: int) -> None:
    prefix = a_prefix()
    terms = {"window_events": EVENTS, "window_bytes": BYTES}
    # Tiny tails send readers back to pages all the time.
    tails = 1_000 if seed % 2 else 10_000_000
    async with (
        MemoryStreamBridge.running(MemoryStreamSettings(**terms)) as memory,
        a_bridge(url, prefix=prefix, tail_bytes=tails, **terms) as one,
        a_bridge(url, prefix=prefix, tail_bytes=tails, **terms) as two,
    ):
        await Scenario(memory, (one, two), seed).publish(60)
