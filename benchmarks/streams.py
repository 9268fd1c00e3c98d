"""``python -m benchmarks.streams``: the Redis stream bridge compared with the obvious implementation.

The reference awaits one XADD per event, and reads with one blocked connection per subscriber. Both use the same child
server on loopback, and take turns.

With ``--embedded``: the memory stream bridge that moves older events to files, compared with the same one that keeps
all events in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Protocol

from redis.asyncio import Redis

from runstead.cli.servers.valkey import ValkeyServer
from runstead.infra.engines.redis import open_redis
from runstead.infra.stream_bridge.memory.bridge import MIB, MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.memory.spilling import SpillSettings
from runstead.infra.stream_bridge.memory.spool import Spool
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.runtime.stream_bridge.contract import StreamBridge, StreamEvent

from .figures import Measurement, percentile, rows, table

OURS, THEIRS = "bridge", "reference"
# As long as a token's frame with its metadata.
_DATA: Final = b'{"token":"' + b"x" * 200 + b'"}'


class Channel(Protocol):
    """Measured interface: runs are opened, published to, and read up to a number of events."""

    async def open(self, run_id: str) -> None: ...

    async def publish(self, run_id: str, data: bytes) -> None: ...

    async def reader(self, run_id: str) -> Callable[[int, Callable[[bytes], None]], Awaitable[None]]:
        """Return a reader that is attached now; call it with the number of events to read, and a callback for each."""
        ...


class Bridged:
    """Runstead's stream bridge."""

    def __init__(self, bridge: StreamBridge) -> None:
        self._bridge = bridge

    async def open(self, run_id: str) -> None:
        await self._bridge.open(run_id)

    async def publish(self, run_id: str, data: bytes) -> None:
        await self._bridge.publish(run_id, "messages", data)

    async def reader(self, run_id: str) -> Callable[[int, Callable[[bytes], None]], Awaitable[None]]:
        subscription = await self._bridge.subscribe(run_id)

        async def read(count: int, told: Callable[[bytes], None]) -> None:
            while count > 0:
                for item in await subscription.read():
                    if isinstance(item, StreamEvent):
                        count -= 1
                        told(item.data)
                # As the gateway does: readers of a long log let other tasks run.
                await asyncio.sleep(0)
            await subscription.aclose()

        return read


class Awaited:
    """One awaited XADD per event, one connection per subscriber."""

    def __init__(self, redis: Redis, url: str) -> None:
        self._redis, self._url = redis, url

    async def open(self, run_id: str) -> None:
        return

    async def publish(self, run_id: str, data: bytes) -> None:
        await self._redis.xadd(run_id, {"e": "messages", "d": data}, maxlen=20_000, approximate=True)

    async def reader(self, run_id: str) -> Callable[[int, Callable[[bytes], None]], Awaitable[None]]:
        redis = Redis.from_url(self._url, protocol=2)

        async def read(count: int, told: Callable[[bytes], None]) -> None:
            last: Any = "0-0"
            while count > 0:
                answer: Any = await redis.xread({run_id: last}, count=512, block=5_000)
                for _, entries in answer:
                    last = entries[-1][0]
                    count -= len(entries)
                    for _, fields in entries:
                        told(fields[b"d"])
            await redis.aclose()

        return read


async def throughput(channel: Channel, size: float, runs: int, events: int = 8_000) -> Mapping[str, float]:
    """Measure events per second, of all runs together, until every reader has received its whole run."""
    each = int(events * size / runs)
    run_ids = [token_hex(6) for _ in range(runs)]
    for run_id in run_ids:
        await channel.open(run_id)
    readers = [await channel.reader(run_id) for run_id in run_ids]
    reading = [asyncio.create_task(_all(read, each)) for read in readers]

    async def speak(run_id: str) -> None:
        for number in range(each):
            await channel.publish(run_id, _DATA)
            if number % 20 == 0:
                # Real agents wait now and then too.
                await asyncio.sleep(0)

    begun, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(speak(run_id) for run_id in run_ids))
    await asyncio.gather(*reading)
    seconds = time.perf_counter() - begun
    events = each * runs
    return {"events_per_s": events / seconds, "cpu_us_per_event": (time.process_time() - worked) / events * 1e6}


async def latency_beside_replays(channel: Channel, size: float) -> Mapping[str, float]:
    """Measure latency while ten readers repeatedly read a long run from its start."""
    events = int(30_000 * size)
    await channel.open("long")
    for number in range(events):
        await channel.publish("long", _DATA)
        if number % 20 == 0:
            await asyncio.sleep(0)

    async def come_back() -> None:
        while True:
            read = await channel.reader("long")
            await read(events, lambda _: None)
            await asyncio.sleep(0.05)

    readers = [asyncio.create_task(come_back()) for _ in range(10)]
    try:
        return await latency(channel, size)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def latency(channel: Channel, size: float) -> Mapping[str, float]:
    """Measure milliseconds from a token to its reader, and the time for which publishing blocks its agent, at a hundred
    tokens per second for each of ten runs."""
    took: list[float] = []
    held: list[float] = []
    run_ids = [token_hex(6) for _ in range(10)]
    each = int(100 * size)
    for run_id in run_ids:
        await channel.open(run_id)
    readers = [await channel.reader(run_id) for run_id in run_ids]
    reading = [
        asyncio.create_task(_all(read, each, lambda data: took.append(time.perf_counter() - float(data))))
        for read in readers
    ]

    async def speak(run_id: str) -> None:
        for _ in range(each):
            begun = time.perf_counter()
            await channel.publish(run_id, b"%.9f" % begun)
            held.append(time.perf_counter() - begun)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(speak(run_id) for run_id in run_ids))
    await asyncio.gather(*reading)
    return {
        "ms_p50": percentile(took, 50) * 1e3,
        "ms_p99": percentile(took, 99) * 1e3,
        "agent_us_p50": percentile(held, 50) * 1e6,
        "agent_us_p99": percentile(held, 99) * 1e6,
    }


async def _all(read: Any, count: int, told: Callable[[bytes], None] = lambda _: None) -> None:
    await read(count, told)


SCENARIOS: Final[Mapping[str, Callable[[Channel, float], Awaitable[Mapping[str, float]]]]] = {
    "one run": lambda channel, size: throughput(channel, size, 1),
    "100 runs": lambda channel, size: throughput(channel, size, 100),
    "1000 tokens/s": latency,
}


EMBEDDED: Final[Mapping[str, tuple[int, Callable[[Channel, float], Awaitable[Mapping[str, float]]]]]] = {
    "one run": (64 * MIB, lambda channel, size: throughput(channel, size, 1, 600_000)),
    "32 runs": (64 * MIB, lambda channel, size: throughput(channel, size, 32, 600_000)),
    "1000 tokens/s": (64 * MIB, latency),
    "beside 10 replays": (MIB, latency_beside_replays),
}
"""Scenario, and the memory limit for events: half of the 120 MB of the first two, and almost none."""


@asynccontextmanager
async def _embedded(folder: Path, memory_bytes: int) -> AsyncIterator[Mapping[str, Channel]]:
    terms = MemoryStreamSettings(window_events=None, window_bytes=256 * MIB)
    spill = SpillSettings(memory_bytes=memory_bytes, spool=Spool(folder / "streams"))
    async with contextlib.AsyncExitStack() as stack:
        yield {
            OURS: Bridged(await stack.enter_async_context(MemoryStreamBridge.running(terms, spill=spill))),
            THEIRS: Bridged(await stack.enter_async_context(MemoryStreamBridge.running(terms))),
        }


@asynccontextmanager
async def _channels(url: str) -> AsyncIterator[Mapping[str, Channel]]:
    settings = RedisStreamSettings(prefix="bench")
    async with contextlib.AsyncExitStack() as stack:
        connections = await stack.enter_async_context(open_redis(url))
        bridge = await stack.enter_async_context(RedisStreamBridge.running(connections, settings))
        redis = await stack.enter_async_context(Redis.from_url(url, protocol=2))
        yield {OURS: Bridged(bridge), THEIRS: Awaited(redis, url)}


async def _measure(url: str, rounds: int, size: float) -> list[Measurement]:
    measured: list[Measurement] = []
    async with _channels(url) as channels:
        for channel in channels.values():
            await throughput(channel, 0.1, 1)
        for round in range(rounds):
            for name, scenario in SCENARIOS.items():
                for side in (OURS, THEIRS) if round % 2 == 0 else (THEIRS, OURS):
                    figures = await scenario(channels[side], size)
                    measured += [Measurement(round, side, name, figure, value) for figure, value in figures.items()]
    return measured


async def _measure_embedded(folder: Path, rounds: int, size: float) -> list[Measurement]:
    measured: list[Measurement] = []
    for round in range(rounds):
        for name, (memory_bytes, scenario) in EMBEDDED.items():
            for side in (OURS, THEIRS) if round % 2 == 0 else (THEIRS, OURS):
                # A new bridge for each, so that neither pays for events that the other has kept.
                async with _embedded(folder / f"{round}-{side}", memory_bytes) as channels:
                    figures = await scenario(channels[side], size)
                measured += [Measurement(round, side, name, figure, value) for figure, value in figures.items()]
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--size", type=float, default=1.0, help="a factor on the work of each scenario (default: 1)")
    parser.add_argument("--embedded", action="store_true", help="measure the bridge of the embedded profile")
    options = parser.parse_args()
    if options.embedded:
        with tempfile.TemporaryDirectory(prefix="runstead-bench-") as folder:
            measured = asyncio.run(_measure_embedded(Path(folder), options.rounds, options.size))
        print(table(rows(measured, OURS, THEIRS), OURS, THEIRS))
        return
    with tempfile.TemporaryDirectory(prefix="runstead-bench-") as folder:
        server = ValkeyServer(Path(folder))
        server.start()
        try:
            measured = asyncio.run(_measure(server.url, options.rounds, options.size))
        finally:
            server.stop()
    print(table(rows(measured, OURS, THEIRS), OURS, THEIRS))


if __name__ == "__main__":
    main()
