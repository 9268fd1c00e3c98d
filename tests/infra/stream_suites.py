"""The suites of stream bridges and caches over memory, files and Redis, with or without encryption."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar, Final

import pytest

from runstead.infra.cache.redis import RedisCache
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.redis import RedisConnections, open_redis
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.memory.spilling import SpillSettings
from runstead.infra.stream_bridge.memory.spool import Spool
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.cache import CacheConformance
from runstead.testing.conformance.stream_bridge import StreamBridgeConformance
from tests.servers.redis_streams import a_prefix, age, let_pass

UNOWNED: Final = 1_200.0


class MemoryStreamSuite(StreamBridgeConformance):
    """The suite in memory; with ``memory_bytes``, events beyond them are in files."""

    memory_bytes: ClassVar[int | None] = None
    cipher: ClassVar[Cipher | None] = None

    @pytest.fixture(autouse=True)
    def clock(self) -> ManualClock:
        self._clock = ManualClock()
        return self._clock

    @pytest.fixture
    async def bridge(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[MemoryStreamBridge]:
        settings = MemoryStreamSettings(
            window_events=self.window_events,
            window_bytes=self.window_bytes,
            retention=self.retention,
            awaiting_retention=self.awaiting_retention,
            max_streams=self.max_streams,
        )
        spill = None
        if self.memory_bytes is not None:
            spill = SpillSettings(self.memory_bytes, spool=Spool(tmp_path / "streams", cipher=self.cipher))
        async with MemoryStreamBridge.running(settings, clock, spill) as bridge:
            yield bridge

    async def let_pass(self, seconds: float) -> None:
        await self._clock.advance(seconds)


class RedisStreamSuite(StreamBridgeConformance):
    """The suite on a server whose URL is the fixture ``url``."""

    cipher: ClassVar[Cipher | None] = None

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    async def bridge(self, url: str) -> AsyncIterator[RedisStreamBridge]:
        self._clock, self._prefix = ManualClock(), a_prefix()
        settings = RedisStreamSettings(
            window_events=self.window_events,
            window_bytes=self.window_bytes,
            retention=self.retention,
            awaiting_retention=self.awaiting_retention,
            unowned_retention=UNOWNED,
            max_streams=self.max_streams,
            prefix=self._prefix,
        )
        async with (
            open_redis(url) as connections,
            RedisStreamBridge.running(connections, settings, self._clock, self.cipher) as bridge,
        ):
            self._connections: RedisConnections = connections
            yield bridge

    async def let_pass(self, seconds: float) -> None:
        await let_pass(self._clock, self._connections, self._prefix, seconds, UNOWNED / 3)


class RedisCacheSuite(CacheConformance):
    """The suite on a server whose URL is the fixture ``url``."""

    cipher: ClassVar[Cipher | None] = None

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    async def cache(self, url: str) -> AsyncIterator[RedisCache]:
        self._prefix = a_prefix()
        async with open_redis(url) as connections:
            self._connections: RedisConnections = connections
            yield RedisCache(connections, self._prefix, self.cipher)

    async def let_pass(self, seconds: float) -> None:
        await age(self._connections, self._prefix, seconds)
