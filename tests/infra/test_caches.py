from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from runstead.cli.servers.ports import free_port
from runstead.infra.cache.memory import MemoryCache, MemoryCacheLimits
from runstead.infra.cache.redis import RedisCache
from runstead.infra.engines.redis import RedisConnections, open_redis
from runstead.infra.engines.redis_errors import RedisFull
from runstead.resources.cache import MAX_TTL
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.cache import CacheConformance
from tests.servers.redis_streams import a_prefix, age
from tests.servers.valkey import own_valkey, valkey_url


class TestMemoryCache(CacheConformance):
    @pytest.fixture
    def cache(self) -> MemoryCache:
        self._clock = ManualClock()
        return MemoryCache(self._clock)

    async def let_pass(self, seconds: float) -> None:
        await self._clock.advance(seconds)


class RedisCacheConformance(CacheConformance):
    """The suite on a server whose URL is ``url``."""

    @pytest.fixture
    async def cache(self, url: str) -> AsyncIterator[RedisCache]:
        self._prefix = a_prefix()
        async with open_redis(url) as connections:
            self._connections: RedisConnections = connections
            yield RedisCache(connections, self._prefix)

    async def let_pass(self, seconds: float) -> None:
        await age(self._connections, self._prefix, seconds)


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_url(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bus = str(free_port())
    with own_valkey(tmp_path_factory.mktemp("cluster"), cluster_enabled="yes", cluster_port=bus) as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while "cluster_state:ok" not in server.ask("CLUSTER", "INFO"):
            time.sleep(0.05)
        yield server.url


class TestRedisCache(RedisCacheConformance):
    @pytest.fixture
    def url(self, server_url: str) -> str:
        return server_url


class TestRedisClusterCache(RedisCacheConformance):
    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url


async def test_processes_of_a_deployment_share_a_cache_and_deployments_do_not(server_url: str) -> None:
    ours, others = a_prefix(), a_prefix()
    async with open_redis(server_url) as one, open_redis(server_url) as another:
        await RedisCache(one, ours).set("key", b"1", MAX_TTL)
        assert await RedisCache(another, ours).get("key") == b"1"
        assert await RedisCache(another, others).get("key") is None


async def test_full_redis_raises_redis_full(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {"maxmemory": "3mb", "maxmemory_policy": "noeviction"}
    with own_valkey(tmp_path_factory.mktemp("full"), **settings) as server:
        async with open_redis(server.url) as connections:
            cache = RedisCache(connections, "full")

            async def fill() -> None:
                for number in range(100):
                    await cache.set(str(number), b"x" * 100_000, MAX_TTL)

            with pytest.raises(RedisFull, match="maxmemory"):
                await fill()
            assert await cache.get("0") == b"x" * 100_000


async def test_memory_cache_evicts_the_least_recently_used_value() -> None:
    cache = MemoryCache(ManualClock(), MemoryCacheLimits(entries=3))
    for key in "abc":
        await cache.set(key, key.encode(), MAX_TTL)
    await cache.get("a")
    await cache.set("d", b"d", MAX_TTL)
    assert [await cache.get(key) for key in "abcd"] == [b"a", None, b"c", b"d"]


async def test_memory_is_bounded_by_bytes_of_keys_and_values() -> None:
    cache = MemoryCache(ManualClock(), MemoryCacheLimits(bytes=10_000))
    for number in range(100):
        await cache.set(f"{number:0900}", b"x" * 900, MAX_TTL)
    assert sum([await cache.get(f"{number:0900}") is not None for number in range(100)]) == 2
    await cache.set("larger than all", b"x" * 20_000, MAX_TTL)
    assert await cache.get("larger than all") is None
    await cache.set("key", b"1", timedelta(seconds=1))
    assert await cache.get("key") == b"1"
