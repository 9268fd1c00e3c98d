"""Redis streams for tests: a bridge with separate keys, and a manual clock for time in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final

from runstead.infra.engines.redis import TIMEOUT, RedisConnections, open_redis
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.runtime.clock import Clock
from runstead.testing.clock import ManualClock

PATIENCE: Final = 60.0
"""Real seconds as a limit for any operation, on a busy machine."""
_AGE: Final = """
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left >= 0 then
    if left <= tonumber(ARGV[1]) then redis.call('DEL', key) else redis.call('PEXPIRE', key, left - ARGV[1]) end
  end
  if redis.call('TYPE', key).ok == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[1], member) end
  end
end
"""


@asynccontextmanager
async def a_bridge(
    url: str, clock: Clock | None = None, /, *, prefix: str | None = None, timeout: float = TIMEOUT, **terms: float
) -> AsyncIterator[RedisStreamBridge]:
    """A bridge with its own connections, like a process. Bridges with one prefix share their streams."""
    settings = RedisStreamSettings(prefix=prefix or a_prefix(), **terms)  # type: ignore[arg-type]
    async with (
        open_redis(url, timeout=timeout) as connections,
        RedisStreamBridge.running(connections, settings, clock) as bridge,
    ):
        yield bridge


async def until(is_so: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail instead of hanging."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - what happens in another process sets no event here
            await asyncio.sleep(0.005)


def a_prefix() -> str:
    return f"test-{token_hex(6)}"


async def age(connections: RedisConnections, prefix: str, seconds: float) -> None:
    """Age everything in Redis: keys that would have expired in that time are removed."""
    keys: list[Any] = await connections.ask("KEYS", f"*{prefix}*")
    for key in keys:
        await connections.ask("EVAL", _AGE, 1, key, round(seconds * 1000))


async def let_pass(clock: ManualClock, connections: RedisConnections, prefix: str, seconds: float, step: float) -> None:
    """Advance time here and in Redis, in steps that let owners renew their streams."""
    left = seconds
    while left > 0:
        now = min(step, left)
        await clock.advance(now)
        await age(connections, prefix, now)
        # Replies from Redis come in real time.
        await asyncio.sleep(0.02)
        left -= now


async def everything_in(connections: RedisConnections, prefix: str) -> bytes:
    """All keys with ``prefix`` in their names, and their content."""
    found: list[bytes] = []
    for key in await connections.ask("KEYS", f"*{prefix}*"):
        kind = (await connections.ask("TYPE", key)).decode()
        read = {
            "stream": ("XRANGE", key, "-", "+"),
            "hash": ("HGETALL", key),
            "zset": ("ZRANGE", key, 0, -1),
            "string": ("GET", key),
        }
        found += [key, repr(await connections.ask(*read[kind])).encode()]
    return b"\n".join(found)
