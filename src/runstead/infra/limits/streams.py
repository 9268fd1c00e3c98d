"""Open streams per user and per tenant: counted in this process, or in Redis for all gateways together."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.limits import STREAM_RETRY_SECONDS, Limit, LimitExceeded

if TYPE_CHECKING:
    from runstead.infra.engines.redis import RedisConnections

_log = logging.getLogger(__name__)

_LEASE_SECONDS: Final = 30
_RENEW_SECONDS: Final = 10.0
# Streams of gateways that died expire with their lease. Redis' own clock decides, so that gateways agree.
_OPEN: Final = """
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3] * 2)
return 1
"""


class LocalStreamLimiter:
    """StreamLimiter of one process."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self._open: Counter[tuple[str, ...]] = Counter()

    @asynccontextmanager
    async def open(self, actor: ActorContext) -> AsyncIterator[None]:
        names = [(limit.scope, *limit.owner(actor)) for limit in self._limits]
        for limit, name in zip(self._limits, names, strict=True):
            if self._open[name] >= limit.amount:
                raise LimitExceeded("open streams", limit, STREAM_RETRY_SECONDS)
        self._open.update(names)
        try:
            yield
        finally:
            self._open.subtract(names)
            for name in names:
                if self._open[name] <= 0:
                    del self._open[name]


class RedisStreamLimiter:
    """StreamLimiter of all gateways: each stream holds a place in a sorted set, renewed while it is open.

    While Redis is unreachable, streams are accepted and a warning is logged.
    """

    def __init__(self, limits: Sequence[Limit], connections: RedisConnections, prefix: str) -> None:
        self._limits, self._connections, self._prefix = limits, connections, prefix

    @asynccontextmanager
    async def open(self, actor: ActorContext) -> AsyncIterator[None]:
        member, taken = uuid.uuid4().hex, list[tuple[Limit, str]]()
        try:
            for limit in self._limits:
                owner = json.dumps([limit.scope, *limit.owner(actor)])
                key = f"{self._prefix}:streams:{owner}"
                if not await self._take(key, member, limit):
                    raise LimitExceeded("open streams", limit, STREAM_RETRY_SECONDS)
                taken.append((limit, key))
            renewing = asyncio.create_task(self._renew(taken, member), name="stream-limit")
            try:
                yield
            finally:
                renewing.cancel()
        finally:
            for _, key in taken:
                await self._release(key, member)

    async def _take(self, key: str, member: str, limit: Limit) -> bool:
        try:
            return bool(await self._connections.ask("EVAL", _OPEN, 1, key, member, limit.amount, _LEASE_SECONDS))
        except Exception as error:
            _log.warning("streams are not counted: %s", error)
            return True

    async def _renew(self, taken: Sequence[tuple[Limit, str]], member: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            for limit, key in taken:
                await self._take(key, member, limit)

    async def _release(self, key: str, member: str) -> None:
        try:
            await self._connections.ask("ZREM", key, member)
        except Exception as error:
            _log.warning("a stream that has ended is counted for up to %s s: %s", _LEASE_SECONDS, error)
