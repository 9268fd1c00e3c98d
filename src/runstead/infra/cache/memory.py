"""A cache in the memory of one process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from runstead.runtime.clock import Clock

_ENTRY_BYTES: Final = 256
"""Overhead of an entry in bytes, in addition to its key and value."""


@dataclass(frozen=True, slots=True)
class MemoryCacheLimits:
    """Maximum size of the cache; beyond it, the least recently used entries are evicted."""

    entries: int = 10_000
    bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    expires: float
    size: int


class MemoryCache:
    """A `Cache` in process memory; its content is lost when the process ends."""

    def __init__(self, clock: Clock, limits: MemoryCacheLimits | None = None) -> None:
        self._clock, self._limits = clock, limits or MemoryCacheLimits()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        if (entry := self._entries.get(key)) is None:
            return None
        if entry.expires <= self._clock.monotonic():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def set(self, key: str, value: bytes, ttl: timedelta) -> None:
        self._remove(key)
        size = _ENTRY_BYTES + 4 * len(key) + len(value)
        self._entries[key] = _Entry(value, self._clock.monotonic() + ttl.total_seconds(), size)
        self._bytes += size
        while len(self._entries) > self._limits.entries or self._bytes > self._limits.bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= entry.size
