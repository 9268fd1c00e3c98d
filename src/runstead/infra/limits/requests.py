"""Requests in a moving window, by the library limits: in memory, or in Redis for all gateways together."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.limits import Limit, LimitExceeded

_log = logging.getLogger(__name__)


class WindowRequestLimiter:
    """RequestLimiter. While the storage of the counters is unreachable, requests are accepted and a warning is logged.

    A request that a limit refuses has been counted by the limits before it.
    """

    def __init__(self, limits: Sequence[Limit], storage: Storage) -> None:
        self._limiter = MovingWindowRateLimiter(storage)
        self._limits = [(limit, _item(limit)) for limit in limits]

    async def take(self, actor: ActorContext) -> None:
        for limit, item in self._limits:
            names = (limit.scope, *limit.owner(actor))
            try:
                is_accepted = await self._limiter.hit(item, *names)
                reset = time.time() if is_accepted else (await self._limiter.get_window_stats(item, *names)).reset_time
            except Exception as error:
                _log.warning("requests are not counted: %s", error)
                return
            if not is_accepted:
                raise LimitExceeded("requests", limit, math.ceil(reset - time.time()))


def _item(limit: Limit) -> RateLimitItem:
    return RateLimitItemPerSecond(limit.amount, limit.seconds, namespace="requests")


def memory_storage() -> Storage:
    """Return counters of this process alone."""
    return MemoryStorage()


def redis_storage(url: str, prefix: str) -> Storage:
    """Return counters that all processes share. Key names begin with ``prefix``."""
    return RedisStorage(f"async+{url}", implementation="redispy", key_prefix=f"{prefix}:limits")
