from __future__ import annotations

from datetime import timedelta

import pytest

from runstead.infra.cache.memory import MemoryCache, MemoryCacheLimits
from runstead.infra.cache.redis import RedisCache
from runstead.infra.engines.redis import open_redis
from runstead.infra.engines.redis_errors import RedisFull
from runstead.resources.cache import MAX_TTL
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.cache import CacheConformance
from tests.infra.stream_suites import RedisCacheSuite
from tests.servers.redis_streams import a_prefix
from tests.servers.valkey import own_valkey


class TestMemoryCache(CacheConformance):
    @pytest.fixture
    def cache(self) -> MemoryCache:
        self._clock = ManualClock()
        return MemoryCache(self._clock)

    async def let_pass(self, seconds: float) -> None:
        await self._clock.advance(seconds)


class TestRedisCache(RedisCacheSuite):
    pass


class TestRedisClusterCache(RedisCacheSuite):
    @pytest.fixture
    def url(self, redis_cluster_url: str) -> str:
        return redis_cluster_url


async def test_processes_of_a_deployment_share_a_cache_and_deployments_do_not(redis_url: str) -> None:
    ours, others = a_prefix(), a_prefix()
    async with open_redis(redis_url) as one, open_redis(redis_url) as another:
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
