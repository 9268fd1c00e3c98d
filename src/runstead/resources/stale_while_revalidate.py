"""Cached values that are refreshed in the background, as ``langgraph_sdk.cache.swr`` does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from runstead.runtime.clock import Clock
from runstead.runtime.storage_fault import StorageFault

from .cache import MAX_TTL, UserCache

T = TypeVar("T")

CacheStatus: TypeAlias = Literal["miss", "fresh", "stale", "expired"]
Loader: TypeAlias = Callable[[], Awaitable[Any]]

_UNSET: Final[Any] = object()
_log = logging.getLogger(__name__)


class SwrResult(Generic[T]):
    """Cached or newly loaded ``value``, and its ``status`` in the cache."""

    def __init__(self, value: T, status: CacheStatus, entry: _Entry) -> None:
        self.value, self.status, self._entry = value, status, entry

    async def mutate(self, value: T = _UNSET) -> T:
        """Store ``value`` in the cache, or a newly loaded value if none is given; return it."""
        if value is _UNSET:
            self.value = self._entry.decode(await self._entry.load())
        else:
            await self._entry.write(self._entry.encode(value))
            self.value = value
        return self.value

    def __repr__(self) -> str:
        return f"SWRResult(value={self.value!r}, status={self.status!r})"


class StaleWhileRevalidate:
    """Implementation of `swr` over a cache, with at most one load at a time for each key and event loop."""

    def __init__(self, cache: UserCache, clock: Clock) -> None:
        self._cache, self._clock = cache, clock
        self._gate = threading.Lock()
        self._keys: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str], _KeyState] = WeakValueDictionary()

    async def swr(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        *,
        fresh_for: timedelta = timedelta(0),
        max_age: timedelta | None = None,
        model: type[T] | None = None,
    ) -> SwrResult[T]:
        """Return the cached value of ``key`` while it is younger than ``max_age``, otherwise the result of ``loader``.

        A value that is older than ``fresh_for`` is loaded again in the background. If the cache cannot be reached,
        ``loader`` is called each time. Raises the errors of ``loader``, and ValueError for inconsistent times.
        """
        fresh_for, max_age = _checked(fresh_for, max_age)
        if not isinstance(key, str):
            raise TypeError(f"the key of a cached value is a string, not {type(key).__name__}")
        entry = _Entry(f"swr:{key}", loader, max_age, _model(model), self._cache, self._clock, self._state(key))
        found = await entry.read()
        if found is None:
            return SwrResult(entry.decode(await entry.load()), "miss", entry)
        value, age = found
        if age < fresh_for:
            return SwrResult(value, "fresh", entry)
        if age < max_age:
            entry.refresh()
            return SwrResult(value, "stale", entry)
        return SwrResult(entry.decode(await entry.load()), "expired", entry)

    def _state(self, key: str) -> _KeyState:
        place = (asyncio.get_running_loop(), key)
        with self._gate:
            state = self._keys.get(place)
            if state is None:
                state = self._keys[place] = _KeyState()
            return state


@dataclass(eq=False)
class _KeyState:
    """Present state of a key on one event loop. ``writes`` counts values that were given, not loaded."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    load: asyncio.Task[Any] | None = None
    writes: int = 0


_LOADS: Final[set[asyncio.Task[object]]] = set()
"""Asyncio itself keeps only weak references to tasks."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One key of one caller. Its values are JSON, or converted by ``model``."""

    key: str
    loader: Loader
    max_age: timedelta
    model: Any
    cache: UserCache
    clock: Clock
    state: _KeyState

    def encode(self, value: Any) -> Any:
        return value if self.model is None else value.model_dump(mode="json")

    def decode(self, value: object) -> Any:
        return value if self.model is None else self.model.model_validate(value)

    async def read(self) -> tuple[Any, timedelta] | None:
        """Return the value and its age; None if there is no usable one."""
        if (stored := await self._stored()) is None:
            return None
        age = timedelta(milliseconds=max(0, self._now() - stored["stored_at_ms"]))
        try:
            return self.decode(stored["value"]), age
        except ValueError as error:
            # Written by another version of the model.
            _log.info("the cached value of key=%s no longer fits its model, loading it: %s", self.key, error)
            return None

    async def write(self, value: object) -> None:
        """Store a given value; a load in progress does not replace it."""
        async with self.state.lock:
            self.state.writes += 1
            await self._store(value)

    async def load(self) -> Any:
        """Return the loader's result, as it is stored; join a load in progress."""
        # Cancelling one caller must not cancel the load for the others.
        return await asyncio.shield(self._loading())

    def refresh(self) -> None:
        """Load in the background. A failure is logged: the next caller tries again."""
        self._loading().add_done_callback(self._report)

    def _loading(self) -> asyncio.Task[object]:
        if self.state.load is None or self.state.load.done():
            self.state.load = asyncio.create_task(self._load(self.state.writes))
            _LOADS.add(self.state.load)
            self.state.load.add_done_callback(_LOADS.discard)
        return self.state.load

    async def _load(self, writes: int) -> Any:
        loaded = self.encode(await self.loader())
        async with self.state.lock:
            if self.state.writes == writes:
                await self._store(loaded)
                return loaded
        stored = await self._stored()
        return loaded if stored is None else stored["value"]

    async def _stored(self) -> Any:
        try:
            return await self.cache.get(self.key)
        except StorageFault as error:
            _log.warning("could not read the cache, loading key=%s: %s", self.key, error)
            return None

    async def _store(self, value: object) -> None:
        try:
            await self.cache.set(self.key, {"value": value, "stored_at_ms": self._now()}, self.max_age)
        except StorageFault as error:
            _log.warning("could not cache the value of key=%s: %s", self.key, error)

    def _report(self, load: asyncio.Task[Any]) -> None:
        if not load.cancelled() and (error := load.exception()) is not None:
            _log.warning("refreshing the cached value of key=%s failed: %s: %s", self.key, type(error).__name__, error)

    def _now(self) -> int:
        return int(self.clock.now().timestamp() * 1000)


def _model(model: object) -> Any:
    return model if hasattr(model, "model_validate") else None


def _checked(fresh_for: timedelta, max_age: timedelta | None) -> tuple[timedelta, timedelta]:
    zero = timedelta(0)
    fresh_for = min(fresh_for, MAX_TTL)
    max_age = MAX_TTL if max_age is None else min(max_age, MAX_TTL)
    if fresh_for < zero:
        raise ValueError("fresh_for must be >= 0")
    if max_age <= zero:
        raise ValueError("max_age must be > 0")
    if fresh_for > max_age:
        raise ValueError("fresh_for must be <= max_age")
    return fresh_for, max_age
