"""`cache_get`, `cache_set` and `swr` as user code calls them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from pydantic import BaseModel

from runstead.infra.cache.memory import MemoryCache
from runstead.infra.engines.redis_errors import RedisUnavailable
from runstead.resources.cache import MAX_VALUE_BYTES, UserCache
from runstead.resources.stale_while_revalidate import StaleWhileRevalidate
from runstead.testing.clock import ManualClock, turn

SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)


class Team(BaseModel):
    """Possible result of a loader."""

    name: str


class Source:
    """A loader that counts its calls, and can be blocked."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> Any:
        self.calls += 1
        answer = self.calls
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return answer


class AwayCache:
    """A cache whose server does not respond."""

    async def get(self, key: str) -> bytes | None:
        raise RedisUnavailable("redis://localhost", "refused")

    async def set(self, key: str, value: bytes, ttl: timedelta) -> None:
        raise RedisUnavailable("redis://localhost", "refused")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def cache(clock: ManualClock) -> UserCache:
    return UserCache(MemoryCache(clock))


@pytest.fixture
def swr(cache: UserCache, clock: ManualClock) -> Callable[..., Awaitable[Any]]:
    return StaleWhileRevalidate(cache, clock).swr


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "é", [], [1, [None]], {}, {"a": {"b": [1]}}])
async def test_json_values_round_trip(cache: UserCache, value: Any) -> None:
    await cache.set("key", value)
    assert await cache.get("key") == value


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: 2}, b"bytes", 1 << 70], ids=lambda value: type(value).__name__)
async def test_value_that_is_not_json_is_refused_with_its_key(cache: UserCache, value: Any) -> None:
    with pytest.raises(TypeError, match="cache key 'k'"):
        await cache.set("k", value)
    assert await cache.get("k") is None


async def test_too_large_value_is_refused_with_a_remedy(cache: UserCache) -> None:
    await cache.set("k", "x" * (MAX_VALUE_BYTES - 2))
    with pytest.raises(ValueError, match=r"'k' has .* at most .* store"):
        await cache.set("k", "x" * MAX_VALUE_BYTES)


async def test_key_is_a_string(cache: UserCache) -> None:
    with pytest.raises(TypeError, match="string, not int"):
        await cache.get(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="string, not bytes"):
        await cache.set(b"k", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("ttl", [None, timedelta(0), -SECOND, 30 * DAY], ids=str)
async def test_time_to_live_is_a_day_at_most(cache: UserCache, clock: ManualClock, ttl: timedelta | None) -> None:
    await cache.set("k", 1, ttl)
    await clock.advance(DAY - SECOND)
    assert await cache.get("k") == 1
    await clock.advance(2 * SECOND)
    assert await cache.get("k") is None


async def test_shorter_time_to_live_counts(cache: UserCache, clock: ManualClock) -> None:
    await cache.set("k", 1, 5 * SECOND)
    await clock.advance(6)
    assert await cache.get("k") is None


async def test_cache_is_usable_from_any_event_loop(cache: UserCache) -> None:
    def in_a_thread() -> Any:
        async def use() -> Any:
            await cache.set("k", "from a thread")
            return await cache.get("k")

        return asyncio.run(use())

    assert await asyncio.to_thread(in_a_thread) == "from a thread"
    assert await cache.get("k") == "from a thread"


async def test_swr_and_plain_values_are_separate(cache: UserCache, swr: Any, source: Source) -> None:
    await cache.set("k", "plain")
    assert (await swr("k", source)).status == "miss"
    assert await cache.get("k") == "plain"


async def test_swr_misses_then_is_fresh_then_stale_then_expired(clock: ManualClock, swr: Any, source: Source) -> None:
    times = {"fresh_for": 10 * SECOND, "max_age": 100 * SECOND}
    seen = []
    for passed in (0, 9, 2, 50, 200):
        await clock.advance(passed)
        result = await swr("k", source, **times)
        seen.append((result.value, result.status))
        await settled()
    # At 11 s the old value is returned while the second is loaded.
    assert seen == [(1, "miss"), (1, "fresh"), (1, "stale"), (2, "stale"), (4, "miss")]


async def test_swr_without_times_loads_in_the_background_each_time(swr: Any, source: Source) -> None:
    seen = []
    for _ in range(3):
        result = await swr("k", source)
        seen.append((result.value, result.status))
        await settled()
    assert seen == [(1, "miss"), (1, "stale"), (2, "stale")]


async def test_concurrent_callers_share_a_load(swr: Any, source: Source) -> None:
    source.gate.clear()
    callers = [asyncio.ensure_future(swr("k", source)) for _ in range(10)]
    await settled()
    callers[0].cancel()
    await settled()
    source.gate.set()
    assert {(await caller).value for caller in callers[1:]} == {1}
    assert callers[0].cancelled()
    assert source.calls == 1


async def test_error_of_the_loader_reaches_its_callers_and_is_not_kept(swr: Any, source: Source) -> None:
    source.error = RuntimeError("no answer")
    with pytest.raises(RuntimeError, match="no answer"):
        await swr("k", source)
    source.error = None
    assert (await swr("k", source)).value == 2


async def test_refresh_that_fails_is_logged_and_keeps_the_value(
    swr: Any, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    await swr("k", source)
    source.error = RuntimeError("no answer")
    assert (await swr("k", source)).value == 1
    await settled()
    assert (await swr("k", source)).value == 1
    await settled()
    assert "no answer" in caplog.text


async def test_mutate_writes_a_value_and_loads_one(swr: Any, source: Source) -> None:
    result = await swr("k", source, fresh_for=DAY)
    assert await result.mutate(41) == result.value == 41
    assert (await swr("k", source, fresh_for=DAY)).value == 41
    assert await result.mutate() == result.value == 2
    assert (await swr("k", source, fresh_for=DAY)).value == 2


async def test_value_that_was_given_is_not_replaced_by_an_older_load(swr: Any, source: Source) -> None:
    result = await swr("k", source)
    source.gate.clear()
    await swr("k", source)
    await result.mutate(41)
    source.gate.set()
    await settled()
    assert (await swr("k", source, fresh_for=DAY)).value == 41


async def test_models_are_kept_as_json_and_come_back_as_models(cache: UserCache, swr: Any) -> None:
    async def load() -> Team:
        return Team(name="blue")

    first = await swr("k", load, model=Team, fresh_for=DAY)
    second = await swr("k", load, model=Team, fresh_for=DAY)
    assert (first.value, second.value) == (Team(name="blue"), Team(name="blue"))
    await second.mutate(Team(name="red"))
    assert (await swr("k", load, model=Team, fresh_for=DAY)).value == Team(name="red")
    assert (await swr("k", load, fresh_for=DAY)).value == {"name": "red"}


async def test_value_of_an_earlier_model_is_reloaded(swr: Any, source: Source) -> None:
    async def load() -> Team:
        return Team(name="blue")

    await swr("k", source, fresh_for=DAY)
    result = await swr("k", load, model=Team, fresh_for=DAY)
    assert (result.value, result.status) == (Team(name="blue"), "miss")


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ({"fresh_for": -SECOND}, "fresh_for must be >= 0"),
        ({"max_age": timedelta(0)}, "max_age must be > 0"),
        ({"max_age": -SECOND}, "max_age must be > 0"),
        ({"fresh_for": 2 * SECOND, "max_age": SECOND}, "fresh_for must be <= max_age"),
    ],
)
async def test_invalid_times_are_refused(swr: Any, source: Source, times: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        await swr("k", source, **times)
    assert source.calls == 0


async def test_unavailable_server_swr_loads_and_plain_calls_raise(
    clock: ManualClock, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    away = UserCache(AwayCache())
    for expected in (1, 2):
        result = await StaleWhileRevalidate(away, clock).swr("k", source)
        assert (result.value, result.status) == (expected, "miss")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    with pytest.raises(RedisUnavailable, match="refused"):
        await away.get("k")
    with pytest.raises(RedisUnavailable, match="refused"):
        await away.set("k", 1)


async def test_each_event_loop_loads_for_itself(swr: Any) -> None:
    async def load() -> str:
        return threading.current_thread().name

    assert (await asyncio.to_thread(lambda: asyncio.run(swr("k", load)))).status == "miss"
    assert (await swr("k", load, fresh_for=DAY)).status == "fresh"


async def settled() -> None:
    """Let background loads end: each calls the cache a few times, through the loop."""
    await turn(100)
