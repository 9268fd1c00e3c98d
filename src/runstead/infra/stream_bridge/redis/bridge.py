"""The stream bridge of the scaled profile: one Redis stream per run, read and written by any process.

Publishing appends to this process's write buffer, and one `Flusher` sends it to Redis; readers at the end of their
logs share a few blocked connections (`Follower`), and all others read pages. An outage of Redis does not block any
run: its events wait in the bounded buffer, and its readers wait with heartbeats. Events that are lost all the same,
with the server's data or beyond the buffer's limit, become a gap for readers, since the publisher numbers events.

Two errors are reported late: an event of an attempt that was taken over elsewhere gets an id and is refused later (the
next publish raises StaleAttempt); and while Redis is unavailable, a terminal event gets the id that it most likely
will have. Everything here belongs to the event loop on which `start` was called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final, TypeVar
from weakref import WeakSet

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.cancellation import cancel_and_wait
from runstead.infra.engines.redis import RedisConnections
from runstead.resources.storage_errors import StorageError
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.periodic import keep_running
from runstead.runtime.stream_bridge.contract import StreamStatus, TerminalKind
from runstead.runtime.stream_bridge.exceptions import (
    BridgeClosed,
    BridgeUnavailable,
    CapacityExceeded,
    StaleAttempt,
    StreamNotFound,
    StreamTerminated,
)
from runstead.runtime.stream_bridge.figures import StreamFigures

from ..timers import DeadlineScheduler, HeartbeatTimer
from .expiry import LINGER, StreamExpiry
from .flusher import Flusher
from .keepalive import StreamKeepalive
from .keys import KeySpace
from .pages import Pages
from .scripts import ApplyResult, script
from .settings import RedisStreamSettings
from .stream_index import StreamIndex
from .subscription import LogSubscription, ReaderContext, first_page
from .tail_registry import TailRegistry
from .write_buffer import CommandKind, StreamWriter, WriteBuffer, WriteCommand

T = TypeVar("T")
_HURRIED: Final = 0.05
"""Seconds to wait for a reply while Redis is known to be unavailable."""
_FINAL_FLUSH_SECONDS: Final = 2.0
"""Seconds to flush the buffer when the bridge is closed."""

_log = logging.getLogger(__name__)


class RedisStreamBridge:
    """A StreamBridge in Redis; its guarantees are in `runstead.runtime.stream_bridge.contract`."""

    def __init__(
        self,
        connections: RedisConnections,
        settings: RedisStreamSettings | None = None,
        clock: Clock | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        self._connections = connections
        self._settings = settings = settings or RedisStreamSettings()
        self._clock: Clock = clock or SystemClock()
        self._keys = KeySpace(settings.prefix)
        self._alarms = DeadlineScheduler(self._clock)
        self._outbox = WriteBuffer(self._keys, bound=settings.buffer_bytes)
        retention, awaiting = _ms(settings.retention), _ms(settings.awaiting_retention)
        unowned, linger = _ms(settings.unowned_retention), LINGER * 1000
        self._index = StreamIndex(connections, self._keys, settings.max_streams, unowned, retention, awaiting)
        self._follower = TailRegistry(
            connections, streams_per_shard=settings.streams_per_reader, bound=settings.tail_bytes, cipher=cipher
        )
        self._renewal = StreamKeepalive(
            connections,
            self._outbox,
            self._follower,
            self._index,
            self._clock,
            interval=min(30.0, settings.unowned_retention / 4),
            words=(unowned, linger),
        )
        # An id of this publisher: it lets a stream distinguish a repeated write from another publisher's.
        terms = (token_hex(8), settings.most_events, settings.window_bytes, retention, awaiting, unowned, linger)
        self._flusher = Flusher(connections, self._outbox, self._index, terms, self._renewal.notify, cipher)
        self._room = ReaderContext(Pages(connections, cipher), self._follower)
        self._subscriptions: WeakSet[LogSubscription] = WeakSet()
        self._forgetting = StreamExpiry(
            connections,
            self._keys,
            self._index,
            self._outbox,
            self._alarms,
            self._clock,
            lambda work: self._spawn(self._within(work), "stream-bridge-forgetting"),
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        connections: RedisConnections,
        settings: RedisStreamSettings | None = None,
        clock: Clock | None = None,
        cipher: Cipher | None = None,
    ) -> AsyncIterator[RedisStreamBridge]:
        """Start a bridge, and close it at the end of the block. ``cipher`` encrypts the data of events."""
        bridge = cls(connections, settings, clock, cipher)
        await bridge.start()
        try:
            yield bridge
        finally:
            await bridge.close()

    @property
    def events_waiting(self) -> int:
        """Return the bytes of memory, approximately, of events that Redis has not acknowledged."""
        return self._outbox.cost

    @property
    def events_dropped(self) -> int:
        """Return the number of events dropped since the start because an outage of Redis filled the buffer."""
        return self._outbox.dropped

    @property
    def readings(self) -> tuple[int, int]:
        """Return the number of streams read here at their live ends, and of the connections that wait for them."""
        return len(self._follower), self._follower.shards

    @property
    def bytes_held(self) -> int:
        """Return the bytes of events that are held for those readers."""
        return self._follower.bytes_held

    def figures(self) -> StreamFigures:
        """Return the figures of this moment."""
        return StreamFigures(
            streams=len(self._follower),
            readers=len(self._subscriptions),
            kept_bytes=self._follower.bytes_held,
            unsent_bytes=self._outbox.cost,
            dropped=self._outbox.dropped,
        )

    def renew_soon(self) -> None:
        """Run the periodic renewal now: keep owned and read streams alive, and tidy up."""
        self._renewal.notify()

    async def start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for name, serving in (
                ("flusher", self._flusher.run),
                ("renewal", self._renewal.run),
                ("housekeeping", self._alarms.run),
            ):
                self._spawn(keep_running(serving, f"stream-bridge-{name}", SystemClock()), f"stream-bridge-{name}")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._flusher.failing and self._loop is not None:
            try:
                async with asyncio.timeout(_FINAL_FLUSH_SECONDS):
                    await self._outbox.empty.wait()
            except TimeoutError:
                _log.warning("the stream bridge was closed before Redis had taken all events of its runs")
        await self._follower.close(BridgeClosed)
        for subscription in list(self._subscriptions):
            subscription.shut(BridgeClosed)
        await cancel_and_wait(self._tasks)

    async def open(self, run_id: str, attempt: int = 1) -> None:
        self._check()
        has_room = await self._make_room(run_id)
        writer = self._outbox.writer(run_id)
        writer.listed = writer.listed and has_room
        # In the buffer too: if Redis is unavailable, the stream is opened when it is back, before the events published
        # by then.
        applied = await self._status_of(writer, "open", attempt)
        if applied is None and not writer.known:
            # No other process can have numbered events of this attempt: the lease makes it ours.
            writer.take_over(attempt)
            writer.known = True
        elif applied is None and attempt > writer.attempt:
            writer.take_over(attempt)

    async def publish(self, run_id: str, event: str, data: bytes, *, attempt: int = 1) -> str:
        writer = self._outbox.find(run_id)
        if writer is None or not writer.known or self._closed:
            writer = await self._looked_at(run_id)
        seq = writer.number_event(attempt)
        self._outbox.put(writer, WriteCommand("event", attempt, seq, event, data))
        return f"{attempt}-{seq}"

    async def publish_end(self, run_id: str, *, attempt: int = 1) -> str:
        return await self.publish_terminal(run_id, "end", b"null", attempt=attempt)

    async def publish_terminal(self, run_id: str, kind: TerminalKind, data: bytes, *, attempt: int = 1) -> str:
        self._check()
        writer = self._outbox.writer(run_id)
        seq = writer.number_end(attempt)
        applied = await self._status_of(writer, "end", attempt, seq, kind, data)
        if applied is None:
            # The event stays in the buffer and is sent when Redis is back.
            if not seq:
                raise BridgeUnavailable(self._connections.place)
            return f"{attempt}-{seq}"
        if applied.status in ("missing", "gone"):
            raise StreamNotFound(run_id)
        if applied.status == "stale":
            raise StaleAttempt(run_id, attempt, applied.standing.attempt)
        return applied.standing.terminal or f"{attempt}-{seq}"

    async def subscribe(
        self, run_id: str, last_event_id: str | None = None, heartbeat_interval: float | None = None
    ) -> LogSubscription:
        if heartbeat_interval is not None and heartbeat_interval <= 0:
            raise ValueError("a heartbeat interval is a positive number of seconds, or None for no heartbeats")
        self._check()
        await self._own_writes_applied(run_id)
        keys = self._keys.of(run_id)
        page = await self._within(self._room.pages.read(keys, first_page(last_event_id)))
        if page is not None and not page.there:
            raise StreamNotFound(run_id)
        self._check()
        pulse = HeartbeatTimer(heartbeat_interval, self._clock, self._alarms)
        subscription = LogSubscription(run_id, keys, self._room, pulse, last_event_id, page)
        self._subscriptions.add(subscription)
        return subscription

    async def status(self, run_id: str) -> StreamStatus | None:
        if self._closed:
            return None
        await self._own_writes_applied(run_id)
        keys = self._keys.of(run_id)
        found = await self._within(self._connections.run(script("status"), (keys.meta, keys.log)))
        return StreamStatus(found.decode()) if found else None

    async def list_open(self) -> Sequence[str]:
        return () if self._closed else await self._within(self._index.live()) or ()

    async def mark_awaiting_input(self, run_id: str) -> None:
        self._check()
        writer = self._outbox.writer(run_id)
        self._outbox.put(writer, WriteCommand("await", writer.attempt))

    async def mark_answered(self, run_id: str) -> None:
        self._check()
        writer = self._outbox.writer(run_id)
        self._outbox.put(writer, WriteCommand("answer", writer.attempt))

    async def cancel(self, run_id: str, *, attempt: int = 1) -> None:
        try:
            await self.publish_terminal(run_id, "cancel", b"null", attempt=attempt)
        except StreamNotFound:
            return

    async def cleanup(self, run_id: str, delay: float = 0) -> None:
        self._check()
        await self._own_writes_applied(run_id)
        if await self._within(self._forgetting.forget(run_id, delay)) is None:
            _log.warning("the stream of run %s could not be deleted now; it will expire by itself", run_id)

    # --- internal methods ------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._closed:
            raise BridgeClosed
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the Redis stream bridge was called from another event loop than its own")

    async def _looked_at(self, run_id: str) -> StreamWriter:
        """Return the writer of a run that this process has not opened."""
        self._check()
        writer = self._outbox.writer(run_id)
        applied = await self._status_of(writer, "look", 0)
        if applied is None:
            raise BridgeUnavailable(self._connections.place)
        if applied.status in ("missing", "gone"):
            raise StreamNotFound(run_id)
        if applied.standing.terminal is not None:
            raise StreamTerminated(run_id)
        return writer

    async def _status_of(
        self, writer: StreamWriter, kind: CommandKind, attempt: int, seq: int = 0, name: str = "", data: bytes = b""
    ) -> ApplyResult | None:
        """Return the result of an order; None if Redis does not answer for now, and the order waits."""
        answer: asyncio.Future[ApplyResult] = asyncio.get_running_loop().create_future()
        self._outbox.put(writer, WriteCommand(kind, attempt, seq, name, data, answer))
        await asyncio.wait([answer], timeout=self._timeout)
        return answer.result() if answer.done() else None

    @property
    def _timeout(self) -> float:
        return min(_HURRIED, self._settings.patience) if self._flusher.failing else self._settings.patience

    async def _own_writes_applied(self, run_id: str) -> None:
        """Wait until everything published here is visible to later readers."""
        writer = self._outbox.find(run_id)
        if writer is not None and writer.orders:
            await self._status_of(writer, "look", writer.attempt)

    async def _within(self, asking: Coroutine[object, object, T]) -> T | None:
        """Return the result, or None if Redis does not answer in time."""
        try:
            async with asyncio.timeout(self._timeout):
                return await asking
        except (StorageError, TimeoutError) as error:
            _log.debug("Redis does not answer: %s", error)
            return None

    async def _make_room(self, run_id: str) -> bool:
        """Free capacity for a run; return False if streams cannot be counted now."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._forgetting.make_room(run_id)
                return True
        except CapacityExceeded:
            raise
        except (StorageError, TimeoutError) as error:
            # One stream too many is better than a run without a stream.
            _log.debug("streams could not be counted: %s", error)
            return False

    def _spawn(self, work: Coroutine[object, object, object], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


__all__ = ["RedisStreamBridge", "RedisStreamSettings"]
