"""Cache that graphs, http.app and auth handlers share: the port, and its front end for user code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

import orjson

from runstead.runtime.user_code.thread_loop import submit_to

T = TypeVar("T")

MAX_TTL: Final = timedelta(days=1)
MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of a value, as JSON, in bytes."""


class Cache(Protocol):
    """Bytes by key, each for a limited time, shared by all processes of a deployment and all its users.

    An entry may be evicted early when memory is short. The cache belongs to the event loop on which it was opened.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value of ``key``; None if it was never set, has expired, or was evicted.

        Raises StorageFault if the cache cannot be reached.
        """
        ...

    async def set(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Replace the value of ``key`` and its time to live, which must be more than zero.

        Raises StorageFault if the cache cannot be reached or has no memory left.
        """
        ...


class UserCache:
    """JSON values in a `Cache`, for user code: its methods may be awaited on any event loop.

    Create it on the loop of the cache.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache, self._home = cache, asyncio.get_running_loop()

    async def get(self, key: str) -> Any:
        """Return the value of ``key``; None if there is none."""
        found = await self._there(lambda: self._cache.get(_checked(key)))
        return None if found is None else orjson.loads(found)

    async def set(self, key: str, value: object, ttl: timedelta | None = None) -> None:
        """Set the value of ``key``. ``ttl`` is at most a day, and a day if it is None, zero or less.

        Raises TypeError for a value that is not JSON, ValueError for one larger than MAX_VALUE_BYTES.
        """
        _checked(key)
        text = _encoded(key, value)
        lifetime = MAX_TTL if ttl is None or ttl <= timedelta(0) else min(ttl, MAX_TTL)
        await self._there(lambda: self._cache.set(key, text, lifetime))

    async def _there(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        task = submit_to(self._home, work)
        await task.wait()
        return task.result()


def _checked(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key of a cached value is a string, not {type(key).__name__}")
    return key


def _encoded(key: str, value: object) -> bytes:
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        raise TypeError(
            f"the value of cache key {key!r} is not JSON: {error}; give it dicts, lists and strings"
        ) from error
    if len(text) > MAX_VALUE_BYTES:
        raise ValueError(
            f"the value of cache key {key!r} has {len(text)} bytes, and at most {MAX_VALUE_BYTES} can be cached; "
            "split it, or put it into the store"
        )
    return text
